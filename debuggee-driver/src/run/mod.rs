//! Running programs: those of an event at a hit, and those that the host sends in a halt.
//!
//! Called by `hit` and by `command`, in VMX-root, by every core for itself; at a detour by a core that
//! runs as a guest. [`programs`] runs all
//! that an event has; [`machine`] is what a script sees.

mod inject;
pub mod machine;
pub mod registers;

use crate::event::Installed;
use crate::event::programs::{StoredCondition, StoredScript};
use crate::event::registry::Record;
use crate::port::{CodeCall, CodeEnd, Cpu, PhysicalMemory, Ports};
use crate::shared::{Local, Seat, Shared};
use core::sync::atomic::Ordering::Relaxed;
use machine::{Effects, Frame, RootMachine, SeenPage};
use registers::{Live, Registers};
use wire_protocol::address::{CoreId, EventId, Extent, GuestPhysical};
use wire_protocol::bytecode::{Compared, Comparison, Count, Decoded};
use wire_protocol::event::{Actions, EventChange};
use wire_protocol::packet::{Content, Failure, FailureCause, Source};
use wire_protocol::script::{self, End, FaultKind, Outcome, Workspace};

/// What one event of a hit led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramRun {
    /// The condition holds, so the actions were carried out.
    pub holds: bool,
    /// A program asked for a halt.
    pub pauses: bool,
    /// A program decided whether what is watched takes effect.
    pub short_circuit: Option<bool>,
}

/// The core that runs programs, with what it looks at and runs them in.
pub struct Runner<'a> {
    /// Its number.
    pub core: CoreId,
    /// What is installed.
    pub installed: &'a Installed,
    workspace: Option<&'a mut Workspace>,
}

impl<'a> Runner<'a> {
    /// `core`, with what its seat or its halt lends it.
    pub fn new(core: CoreId, (installed, local): (&'a Installed, &'a mut Local)) -> Self {
        Self {
            core,
            installed,
            workspace: local.workspace.as_deref_mut(),
        }
    }

    /// Runs a verified program. `None`: this core has no memory for it.
    #[inline]
    pub fn run<P: Ports, R: Registers>(
        &mut self,
        program: &Decoded<'_>,
        locals: &mut [u8],
        registers: R,
        shared: &Shared<P>,
        frame: &Frame,
        effects: &mut Effects,
    ) -> Option<Outcome> {
        let workspace = self.workspace.as_deref_mut()?;
        let mut machine = RootMachine {
            registers,
            installed: self.installed,
            core: self.core,
            shared,
            frame,
            effects,
            seen: SeenPage::default(),
        };
        let budget = shared.fixed.script_operations;
        let outcome = script::run(program, locals, workspace, &mut machine, budget);
        Some(outcome)
    }
}

/// Runs the programs of an event in VMX-root, and counts the hit if its condition holds. `event` is
/// its number and its place in the registry. `context` is what the event's type says; `is_post` tells
/// the stage.
pub fn programs<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    event: (EventId, u16),
    context: u64,
    is_post: bool,
) -> ProgramRun {
    let moment = (context, is_post);
    let runner = &mut Runner::new(seat.core(), seat.parts());
    run_all(runner, Live { cpu }, shared, event, moment, run_code)
}

/// The same for an event without machine code, in VMX-root or in the guest.
pub fn scripts<P: Ports, R: Registers>(
    runner: &mut Runner<'_>,
    registers: R,
    shared: &Shared<P>,
    event: (EventId, u16),
    context: u64,
) -> ProgramRun {
    let moment = (context, false);
    run_all(
        runner,
        registers,
        shared,
        event,
        moment,
        |_, _, _, _, _, _| None,
    )
}

fn run_all<P: Ports, R: Registers>(
    runner: &mut Runner<'_>,
    mut registers: R,
    shared: &Shared<P>,
    (event, place): (EventId, u16),
    (context, is_post): (u64, bool),
    run_code: impl Fn(
        &Runner<'_>,
        &mut R,
        &Shared<P>,
        &Frame,
        Extent<GuestPhysical>,
        &CodeCall,
    ) -> Option<u64>,
) -> ProgramRun {
    let (core, installed) = (runner.core, runner.installed);
    let Some(record) = installed.registry().seen_at(place, event) else {
        return ProgramRun::default();
    };
    let (stored, sizes) = (&record.programs, &record.sizes);
    let urgent = record.settings.options.immediate;
    let registers = &mut registers;
    let frame = Frame {
        core,
        event: Some(event),
        context,
        is_post,
        urgent,
        buffer: stored.buffer().unwrap_or_default(),
    };
    let mut effects = Effects::default();
    let holds = match stored.condition(sizes, core) {
        StoredCondition::Always => true,
        StoredCondition::Script(script) => {
            run_stored(runner, registers, shared, &frame, &mut effects, &script) != 0
        }
        StoredCondition::Code(code) => {
            let call = CodeCall::Condition { context };
            run_code(runner, registers, shared, &frame, code, &call).is_some_and(|value| value != 0)
        }
    };
    if !holds {
        return ProgramRun::default();
    }
    if !record.counts_and_acts() {
        return ProgramRun::default();
    }
    act(runner, registers, shared, &frame, &mut effects, record);
    if let Some(code) = stored.code(sizes) {
        let buffer = stored
            .buffer()
            .map_or(0, |buffer| shared.linear(buffer.start().0));
        let call = CodeCall::Action { buffer, context };
        run_code(runner, registers, shared, &frame, code, &call);
    }
    ProgramRun {
        holds,
        pauses: effects.pauses,
        short_circuit: effects.short_circuit,
    }
}

/// What the condition of an event compares, if nothing has to run to know whether it holds.
#[inline]
fn comparison<'r, P: Ports>(shared: &Shared<P>, record: &'r Record) -> Option<&'r Comparison> {
    let comparison = record.programs.comparison();
    comparison.filter(|_| shared.fixed.script_operations >= Comparison::OPERATIONS)
}

/// Whether nothing has to run to know that the condition of an event does not hold.
#[inline]
pub fn is_ruled_out<P: Ports>(
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    record: &Record,
    context: u64,
) -> bool {
    comparison(shared, record).is_some_and(|comparison| {
        !comparison.holds(match comparison.what {
            Compared::Context => context,
            Compared::Register(register) => Live { cpu }.get(register),
        })
    })
}

/// Runs the programs of an event that has scripts only and is not ruled out, before what is watched takes effect;
/// with what the event says itself.
#[inline]
pub fn scripts_of<P: Ports>(
    runner: &mut Runner<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    record: &Record,
    context: u64,
) -> ProgramRun {
    let core = runner.core;
    let registers = &mut Live { cpu };
    let (stored, sizes) = (&record.programs, &record.sizes);
    let frame = Frame {
        core,
        event: Some(record.id),
        context,
        is_post: false,
        urgent: record.settings.options.immediate,
        buffer: stored.buffer().unwrap_or_default(),
    };
    let mut effects = Effects::default();
    if comparison(shared, record).is_none()
        && let StoredCondition::Script(script) = stored.condition(sizes, core)
        && run_stored(runner, registers, shared, &frame, &mut effects, &script) == 0
    {
        return ProgramRun::default();
    }
    if !record.counts_and_acts() {
        return ProgramRun::default();
    }
    act(runner, registers, shared, &frame, &mut effects, record);
    let settings = &record.settings;
    let by_itself = settings.options.short_circuit.then_some(true);
    ProgramRun {
        holds: true,
        pauses: effects.pauses || settings.actions.contains(Actions::BREAK),
        short_circuit: effects.short_circuit.or(by_itself),
    }
}

/// Carries out the script of an event, if there is one.
fn act<P: Ports, R: Registers>(
    runner: &mut Runner<'_>,
    registers: &mut R,
    shared: &Shared<P>,
    frame: &Frame,
    effects: &mut Effects,
    record: &Record,
) {
    let stored = &record.programs;
    let count = stored.count();
    if let Some(count) = count.filter(|_| shared.fixed.script_operations >= Count::OPERATIONS) {
        count.add(shared.variables);
    } else if let Some(script) = stored.script(&record.sizes, runner.core) {
        run_stored(runner, registers, shared, frame, effects, &script);
    }
}

/// Runs a script of an event; its value, or 0 if it did not come to its end.
fn run_stored<P: Ports, R: Registers>(
    runner: &mut Runner<'_>,
    registers: &mut R,
    shared: &Shared<P>,
    frame: &Frame,
    effects: &mut Effects,
    script: &StoredScript<'_>,
) -> u64 {
    let StoredScript {
        program,
        layout,
        decoded,
        locals,
    } = *script;
    let mut memory = shared.memory.clone();
    let look = &shared.memory;
    let outcome = look.with_bytes(program.start().0, program.len_bytes() as usize, |bytes| {
        look.with_bytes(decoded.start().0, decoded.len_bytes() as usize, |words| {
            memory.with_bytes_mut(locals.start().0, locals.len_bytes() as usize, |locals| {
                // They were verified before.
                let program = Decoded::from_parts(bytes, *layout, words)?;
                runner.run(&program, locals, &mut *registers, shared, frame, effects)
            })
        })
    });
    let Some(outcome) = outcome else { return 0 };
    if let Some(failure) = failure_of(&outcome, shared.fixed.script_operations) {
        report(runner.installed, registers, shared, frame, failure);
    }
    outcome.value().unwrap_or(0)
}

/// Runs machine code of an event; what it returned. Code that did not return has its event
/// disabled, and the host is told.
fn run_code<P: Ports>(
    runner: &Runner<'_>,
    registers: &mut Live<'_, P::Cpu>,
    shared: &Shared<P>,
    frame: &Frame,
    code: Extent<GuestPhysical>,
    call: &CodeCall,
) -> Option<u64> {
    let limit = shared.fixed.code_instructions;
    let end = shared
        .memory
        .with_bytes(code.start().0, code.len_bytes() as usize, |bytes| {
            registers.cpu.run_code(bytes, call, limit)
        });
    let (cause, at, detail) = match end {
        CodeEnd::Returned { value } => return Some(value),
        CodeEnd::OverBudget { at } => (FailureCause::Instructions, at, limit),
        CodeEnd::Exception { vector, at } => (FailureCause::Exception, at, u64::from(vector)),
        CodeEnd::TooLong => (FailureCause::Broken, 0, 0),
    };
    if let Some(event) = frame.event {
        machine::change(shared, runner.installed, event, EventChange::Disable);
    }
    let failure = Failure { cause, at, detail };
    report(runner.installed, registers, shared, frame, failure);
    None
}

/// What went wrong in a run, if anything: what ended it, or else its first fault.
#[must_use]
pub fn failure_of(outcome: &Outcome, budget: u64) -> Option<Failure> {
    let (cause, at, detail) = match outcome.end {
        End::OverBudget { at } => (FailureCause::Operations, at, budget),
        End::StackOverflow { at } => (FailureCause::Depth, at, 0),
        End::Broken { at } => (FailureCause::Broken, at, 0),
        End::Finished { .. } => {
            let fault = outcome.first_fault?;
            let (cause, detail) = match fault.kind {
                FaultKind::DivisionByZero => (FailureCause::Division, 0),
                FaultKind::Read(address) => (FailureCause::Read, address),
                FaultKind::Write(address) => (FailureCause::Write, address),
                FaultKind::NotAVariable(address) => (FailureCause::Variable, address),
                FaultKind::Register(value) => (FailureCause::Register, value),
            };
            (cause, fault.at, detail)
        }
    };
    Some(Failure { cause, at, detail })
}

/// Tells the host, once for each event between two halts, so that an event that fails at every
/// hit does not fill the line.
fn report<P: Ports>(
    installed: &Installed,
    registers: &impl Registers,
    shared: &Shared<P>,
    frame: &Frame,
    failure: Failure,
) {
    let Some(event) = frame.event else { return };
    let halts = shared.halts.load(Relaxed).wrapping_add(1);
    let record = installed.registry().get(event);
    if record.is_some_and(|record| record.reports_first_of(halts)) {
        let what = Content::Failure(failure);
        let source = Source::Event(event);
        shared
            .messages
            .record(frame.core, source, registers.tsc(), frame.urgent, &what);
    }
}
