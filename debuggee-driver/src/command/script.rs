//! A script that the host sends to be run once, and the variables that all scripts share.

use super::{Context, event, register, too_long};
use crate::port::Ports;
use crate::run::machine::{Effects, Frame};
use crate::run::registers::Held;
use crate::run::{Runner, failure_of};
use crate::shared::Shared;
use wire_protocol::address::{CoreId, Extent};
use wire_protocol::bytecode::program::Reason;
use wire_protocol::bytecode::{Decoded, LOCAL_BYTES, Verified};
use wire_protocol::limits;
use wire_protocol::packet::{GlobalNames, GlobalOffset, GlobalOffsets, Reply};
use wire_protocol::refusal::{EventRefusal, ProgramPart, Refusal};
use wire_protocol::script::globals::GlobalError;

/// Runs a program with the registers and the address space of a held core. It does what it says,
/// also to registers and memory, since the user asked for it.
///
/// # Errors
/// It is no program, or longer than there is room to run it, or the core is not held.
pub fn run<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    program: &[u8],
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    register::file(context, core)?;
    let refused = |at, reason| {
        Refusal::Event(EventRefusal::BadProgram {
            part: ProgramPart::Action,
            at,
            reason,
        })
    };
    let verified = Verified::new(program).map_err(|bad| refused(bad.at, bad.reason))?;
    let room = scratch.len();
    let (locals, memory) = scratch
        .split_at_mut_checked(LOCAL_BYTES)
        .ok_or(too_long(room))?;
    locals.fill(0);
    let decoded = Decoded::new(&verified, memory).ok_or(refused(0, Reason::TooLong))?;
    let frame = Frame {
        core,
        event: None,
        context: 0,
        is_post: false,
        urgent: true,
        buffer: Extent::EMPTY,
    };
    let shared = context.shared;
    // A copy: if the core is the one that serves, it runs the program beside it.
    let mut file = *register::file(context, core)?;
    let server = context.halt.owner();
    let Context { halt, cpu, .. } = &mut *context;
    let mut runner = Runner::new(server, halt.parts());
    let registers = Held {
        file: &mut file,
        cpu: &**cpu,
    };
    let effects = &mut Effects::default();
    let outcome = runner
        .run(&decoded, locals, registers, shared, &frame, effects)
        .ok_or(Refusal::Malformed)?;
    *register::file(context, core)? = file;
    if shared.changes.take() {
        event::carry_out_wanted(context)?;
    }
    Ok(Reply::ScriptRan {
        value: outcome.value().unwrap_or(0),
        failure: failure_of(&outcome, shared.fixed.script_operations),
    })
}

/// Finds or makes variables.
///
/// # Errors
/// One has another size already, or there is no room; those before it stay.
pub fn define<'s, P: Ports>(
    shared: &Shared<P>,
    names: &GlobalNames<'_>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let room = scratch.len();
    let mut offsets = [GlobalOffset(0); limits::GLOBALS_PER_REQUEST];
    let defined = shared.globals.try_with(|globals| {
        for (slot, name) in offsets.iter_mut().zip(names.iter()) {
            let offset = globals.define(name.hash, name.len_bytes);
            let offset = offset.map_err(|error| refusal_of(error, name.len_bytes))?;
            *slot = GlobalOffset(u32::from(offset));
        }
        Ok(())
    });
    // Only the core that has the line comes here.
    defined.unwrap_or(Err(Refusal::NotHalted))?;
    let offsets = offsets.into_iter().take(names.len());
    GlobalOffsets::encode_into(offsets, shared.facts.kernel_base, scratch)
        .map(Reply::GlobalsDefined)
        .map_err(|_| too_long(room))
}

const fn refusal_of(error: GlobalError, asked_bytes: u32) -> Refusal {
    match error {
        GlobalError::OtherLength { len_bytes } => Refusal::GlobalLength {
            has_bytes: len_bytes,
            asked_bytes,
        },
        GlobalError::Full {
            free_bytes,
            free_names,
        } => Refusal::GlobalsFull {
            free_bytes,
            free_names,
            asked_bytes,
        },
    }
}
