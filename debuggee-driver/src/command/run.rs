//! Where the cores stand.

use super::{Context, register, task, too_long};
use crate::cores::roster::Presence;
use crate::guest::memory;
use crate::port::Ports;
use core::sync::atomic::Ordering::SeqCst;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::instruction::{self, CodeSize};
use wire_protocol::limits;
use wire_protocol::packet::{CoreState, CoreStates, Hits, Reply, Stop};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::Register;

/// State of every core, in order.
///
/// # Errors
/// None that the limits leave.
pub fn cores<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let mut states = [CoreState::Offline; limits::CORES];
    let count = usize::from(context.shared.facts.core_count).min(limits::CORES);
    for (number, slot) in (0u16..).zip(states.iter_mut().take(count)) {
        let core = CoreId(number);
        *slot = match context.halt.presence(core) {
            Presence::Held if context.halt.has_died(core) => CoreState::Died {
                rip: rip(context, core),
            },
            Presence::Held => CoreState::Halted {
                rip: rip(context, core),
            },
            Presence::Lost => CoreState::Lost,
            Presence::WaitForSipi => CoreState::WaitForSipi,
            Presence::Running => CoreState::Missing,
            Presence::Offline => CoreState::Offline,
        };
    }
    let room = scratch.len();
    let base = context.shared.facts.kernel_base;
    CoreStates::encode_into(states.into_iter().take(count), base, scratch)
        .map(Reply::Cores)
        .map_err(|_| too_long(room))
}

fn rip<P: Ports>(context: &mut Context<'_, '_, P>, core: CoreId) -> GuestVirtual {
    GuestVirtual(register::file(context, core).map_or(0, |file| file.get(Register::Rip)))
}

/// Bytes of the instruction at the beginning of `code`, however the processor reads it; all if that is none.
fn len_bytes(code: &[u8]) -> usize {
    let lengths = [CodeSize::Bits64, CodeSize::Bits32].map(|size| instruction::length(code, size));
    match lengths {
        [Some(long), Some(short)] => usize::from(long.max(short)),
        _ => code.len(),
    }
}

/// The halt the machine is in, with the instruction bytes at its place and the events that
/// matched since the halt before.
pub fn stop<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    code: &'s mut [u8],
    scratch: &'s mut [u8],
) -> Stop<'s> {
    let core = context.halt.owner();
    let registers = register::file(context, core).map_or((0, 0, 0), |file| {
        (
            file.get(Register::Rip),
            file.get(Register::Cr3),
            file.get(Register::Cr4),
        )
    });
    let shared = context.shared;
    let (rip, cr3, cr4) = registers;
    let present = context.halt.read(|installed| {
        memory::read_virtual(&shared.memory, installed, cr3, cr4, GuestVirtual(rip), code)
    });
    let code = code.get(..present.unwrap_or(0)).unwrap_or(&[]);
    let code = code.get(..len_bytes(code)).unwrap_or(code);
    let hits = context.halt.read(|installed| {
        Hits::encode_into(
            installed.hits_since_last_stop().take(limits::HITS_PER_STOP),
            shared.facts.kernel_base,
            scratch,
        )
    });
    let changed = context
        .halt
        .local_of(core)
        .and_then(|local| shared.changed_since_last_stop(core, &local.file));
    Stop {
        halt: shared.halts.load(SeqCst),
        cause: context.cause,
        core,
        rip: GuestVirtual(rip),
        code,
        missing_cores: context.halt.missing_mask(),
        hits: hits.unwrap_or(Hits::EMPTY),
        task: task::of_stop(shared, core, changed),
    }
}
