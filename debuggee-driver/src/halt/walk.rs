//! Steps of a thread: what is done behind each of its instructions, and where it comes back to after it was away.
//!
//! While a thread is away no core executes single instructions; an interception, which is a hook for that thread alone, says
//! when it is back. Called by `exit` and `hit`, in VMX-root, by the core that runs the thread.

use super::steps::{Told, tell_part};
use super::{Stopped, park, silent, stop};
use crate::command::event::resolver;
use crate::cores::registers::RegisterFile;
use crate::event::Running;
use crate::guest::instruction::{self, Instruction, LENGTH_MAX};
use crate::guest::memory;
use crate::halt::silent::NotEdited;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::{Seat, Shared};
use crate::steps::HostSteps;
use crate::steps::walk::{Awaited, FRAME_WORDS, Place, Thread, Turn};
use crate::vmx::guest;
use wire_protocol::address::{EventId, GuestVirtual};
use wire_protocol::event::{Breakpoint, EventSpec, Lifetime, Programs, Settings, Trigger};
use wire_protocol::packet::{StepDetail, StepEnd, StopCause};

/// What it means that a thread came to an interception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing: it is deeper in a recursion, or that pass goes by.
    PassesBy,
    /// It goes on from here, instruction by instruction, with the interception gone.
    GoesOn,
    /// The machine is to halt for it, unless it does for something else.
    Halts(StopCause),
    /// Another core was faster with a halt of its own; nothing was done.
    Later,
}

/// Tries to use what only one core uses at a time.
const TRIES: u32 = 1 << 20;

/// Uses the steps, once no other core does. `None`: one does for ever.
pub fn with_steps<P: Ports, R>(
    shared: &Shared<P>,
    mut use_them: impl FnMut(&mut HostSteps) -> R,
) -> Option<R> {
    for _ in 0..TRIES {
        if let Some(used) = shared.steps.try_with(&mut use_them) {
            return Some(used);
        }
        core::hint::spin_loop();
    }
    None
}

fn place<P: Ports>(cpu: &P::Cpu) -> Place {
    Place {
        rip: cpu.vmread(guest::RIP),
        rsp: cpu.vmread(guest::RSP),
    }
}

/// The thread that a core runs; `None` if there is no telling.
fn running<P: Ports>(seat: &Seat<'_>, shared: &Shared<P>) -> Option<Thread> {
    let core = seat.core();
    let tid = (shared.running(core))(Running::Thread)?;
    Some(Thread::of(core, tid))
}

/// The instruction at `rip` and its bytes, as the guest maps it.
fn code_at<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    rip: u64,
    bytes: &mut [u8; LENGTH_MAX],
) -> (Option<Instruction>, usize) {
    let (cr3, cr4) = (cpu.vmread(guest::CR3), cpu.vmread(guest::CR4));
    let at = GuestVirtual(rip);
    let read = seat.read(|installed| {
        memory::read_virtual(
            &shared.memory,
            installed,
            cr3,
            cr4,
            at,
            bytes.as_mut_slice(),
        )
    });
    let len = read.unwrap_or(0);
    let decoded = instruction::decode(bytes.get(..len).unwrap_or_default());
    let len = decoded.map_or(len, |it| usize::from(it.len));
    (decoded, len)
}

fn instruction_at<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    rip: u64,
) -> Option<Instruction> {
    code_at(seat, cpu, shared, rip, &mut [0; LENGTH_MAX]).0
}

/// What is on top of the stack; zeroes where nothing is mapped.
fn top_of_stack<P: Ports>(cpu: &P::Cpu, shared: &Shared<P>, rsp: u64) -> [u64; FRAME_WORDS] {
    let mut words = [0; FRAME_WORDS];
    for (number, word) in (0_u64..).zip(&mut words) {
        let at = rsp.wrapping_add(8 * number);
        if let Some(at) = shared.translate(cpu, at).filter(|at| at.0 % 8 == 0) {
            let mut bytes = [0; 8];
            shared.memory.read(at.0, &mut bytes);
            *word = u64::from_le_bytes(bytes);
        }
    }
    words
}

/// The thread executed an instruction, or what came in its place, and everybody else was told.
pub fn executed<P: Ports>(seat: &mut Seat<'_>, cpu: &mut P::Cpu, shared: &Shared<P>) {
    let now = place::<P>(cpu);
    let looked = with_steps(shared, |steps| steps.walker().map(|walker| walker.before()));
    let Some(Some(before)) = looked else { return };
    let instruction = instruction_at(seat, cpu, shared, before.rip);
    let thread = running(seat, shared);
    let stack = top_of_stack(cpu, shared, now.rsp);
    let turn = with_steps(shared, |steps| {
        let walker = steps.walker()?;
        Some(walker.turn(now, thread, instruction.as_ref(), &stack))
    });
    match turn {
        Some(Some(Turn::Step)) => {
            if let Some(cause) = take_step(seat, cpu, shared, instruction.as_ref()) {
                stop_now(seat, cpu, shared, cause);
            }
        }
        Some(Some(Turn::Away(awaited))) => send_away(seat, cpu, shared, awaited),
        Some(None) | None => {}
    }
}

/// What ends the steps with one that led to where the thread stands now.
fn end_of_step<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    executed: Option<&Instruction>,
) -> Option<StepEnd> {
    let now = place::<P>(cpu);
    let next = instruction_at(seat, cpu, shared, now.rip);
    with_steps(shared, |steps| {
        let is_at_limit = steps.is_at_limit(1);
        let walker = steps.walker()?;
        let is_counted = walker.walk.until == wire_protocol::packet::Until::Count;
        match walker.ends(now, executed, next.as_ref()) {
            true => Some(StepEnd::Count),
            false if is_at_limit && is_counted => Some(StepEnd::Count),
            false if is_at_limit => Some(StepEnd::Limit),
            false => None,
        }
    })?
}

/// Counts a step that led to where the thread stands now, and notes it. Returns why there are to be no more.
fn take_step<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    executed: Option<&Instruction>,
) -> Option<StopCause> {
    let end = end_of_step(seat, cpu, shared, executed);
    count_step(seat, cpu, shared, end)
}

fn count_step<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    end: Option<StepEnd>,
) -> Option<StopCause> {
    let (at, now) = (place::<P>(cpu), cpu.tsc());
    let detail = with_steps(shared, |steps| {
        steps.count(now);
        if let Some(walker) = steps.walker() {
            walker.goes_on(at);
            walker.ended = end;
        }
        steps.recorded()
    });
    let untold = detail.flatten().and_then(|detail| {
        let mut bytes = [0; LENGTH_MAX];
        let len = match detail {
            StepDetail::Addresses => 0,
            StepDetail::Code | StepDetail::Registers => {
                code_at(seat, cpu, shared, at.rip, &mut bytes).1
            }
        };
        record(
            seat,
            cpu,
            shared,
            (at.rip, bytes.get(..len).unwrap_or_default()),
            detail,
        )
    });
    end.map(|end| StopCause::Stepped { end }).or(untold)
}

/// Notes where the core stands, with the code there. Returns why there are to be no more steps, if what was noted so far
/// cannot be told.
pub fn record<P: Ports>(
    seat: &Seat<'_>,
    cpu: &P::Cpu,
    shared: &Shared<P>,
    (rip, code): (u64, &[u8]),
    detail: StepDetail,
) -> Option<StopCause> {
    let registers = (detail == StepDetail::Registers).then(|| {
        let mut file = RegisterFile::NONE;
        file.capture(cpu);
        file.show_efer(shared.published.efer(seat.core(), cpu));
        file
    });
    let add = || with_steps(shared, |steps| steps.record(rip, code, registers.as_ref()));
    match add() {
        Some(Ok(())) | None => return None,
        Some(Err(_)) => {}
    }
    let end = StepEnd::Untold;
    match tell_part(cpu, shared) {
        Told::Yes => match add() {
            Some(Ok(())) | None => None,
            Some(Err(_)) => Some(StopCause::Stepped { end }),
        },
        Told::BreakIn => Some(StopCause::BreakIn),
        Told::No => Some(StopCause::Stepped { end }),
    }
}

/// Halts for the steps, unless another core's halt ends them first.
fn stop_now<P: Ports>(seat: &mut Seat<'_>, cpu: &mut P::Cpu, shared: &Shared<P>, cause: StopCause) {
    // Every turn is another core's halt, which the user ends.
    while is_walking(shared) {
        match stop(seat, cpu, shared, cause, None) {
            Stopped::Served { .. } => return,
            Stopped::OtherCoreHalts => park(seat, cpu, shared),
        }
    }
}

fn is_walking<P: Ports>(shared: &Shared<P>) -> bool {
    with_steps(shared, |steps| steps.walker().is_some()).unwrap_or(false)
}

/// The thread will come back at `awaited`; until then everything runs, or this core alone does.
fn send_away<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    awaited: Awaited,
) {
    let thread = with_steps(shared, |steps| steps.walker().map(|walker| walker.thread));
    let Some(Some(thread)) = thread else { return };
    let mut settings = Settings::new(Trigger::EptHook {
        address: GuestVirtual(awaited.address),
    });
    settings.options.lead_bytes = None;
    settings.breakpoint = Some(Breakpoint {
        first_pass: 1,
        lifetime: Lifetime::UntilNextHalt,
    });
    match thread {
        Thread::Numbered(tid) => settings.filter.tid = Some(tid),
        Thread::Idle(core) => {
            settings.filter.tid = Some(0);
            settings.filter.core = Some(core);
        }
    }
    let spec = EventSpec {
        settings,
        programs: Programs::NONE,
    };
    let tables = (cpu.vmread(guest::CR3), cpu.vmread(guest::CR4));
    // Every turn is another core's halt: one that nobody hears of, or one that ends the steps.
    while is_walking(shared) {
        let resolver = resolver(shared, cpu, tables, 0);
        let set = silent::edit(seat, cpu, shared, |installed, memory| {
            let mut facts = resolver.resolve(memory, &spec.settings)?;
            // It is there for a moment: it does not follow the page.
            facts.owner = None;
            installed.add(memory, &spec, &facts)
        });
        match set {
            Ok(Ok(_)) => {
                let now = cpu.tsc();
                with_steps(shared, |steps| steps.send_away(awaited, now));
                shared.published.end_host_steps();
                return;
            }
            Ok(Err(_)) | Err(NotEdited::CoreMissing) => {
                let end = StepEnd::Lost;
                stop_now(seat, cpu, shared, StopCause::Stepped { end });
                return;
            }
            Err(NotEdited::OtherCoreHalts) => park(seat, cpu, shared),
        }
    }
}

/// A thread that an interception is for stands at it.
pub fn arrived<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    interception: EventId,
) -> Arrival {
    let looked = with_steps(shared, |steps| {
        let walker = steps.walker()?;
        Some((walker.awaited, walker.ended))
    });
    let (awaited, ended) = match looked {
        None => return Arrival::Later,
        // Nobody steps: it is one of `g ADDRESS`.
        Some(None) => {
            let lets_by = |record: &crate::event::registry::Record| record.lets_by();
            let passes = seat.read(|installed| {
                let record = installed.registry().get(interception);
                record.is_none_or(lets_by)
            });
            let end = StepEnd::Arrived;
            return match passes {
                true => Arrival::PassesBy,
                false => Arrival::Halts(StopCause::Stepped { end }),
            };
        }
        Some(Some(looked)) => looked,
    };
    if let Some(end) = ended {
        return Arrival::Halts(StopCause::Stepped { end });
    }
    let now = place::<P>(cpu);
    let is_it = |awaited: &Awaited| awaited.address == now.rip && now.rsp >= awaited.least_rsp;
    let Some(awaited) = awaited.filter(is_it) else {
        return Arrival::PassesBy;
    };
    let end = match awaited.ends_step {
        true => end_of_step(seat, cpu, shared, None),
        false => None,
    };
    if end.is_none() {
        // Its halt is only asked for once: nothing has changed yet.
        let cleared = silent::edit(seat, cpu, shared, |installed, memory| {
            installed.clear_interceptions(memory);
        });
        match cleared {
            Ok(()) => {}
            Err(NotEdited::OtherCoreHalts) => return Arrival::Later,
            Err(NotEdited::CoreMissing) => {
                let end = StepEnd::Lost;
                return Arrival::Halts(StopCause::Stepped { end });
            }
        }
    }
    let cause = match awaited.ends_step {
        true => count_step(seat, cpu, shared, end),
        false => {
            with_steps(shared, |steps| {
                if let Some(walker) = steps.walker() {
                    walker.goes_on(now);
                }
            });
            None
        }
    };
    if let Some(cause) = cause {
        if end.is_none() {
            // What was noted cannot be told.
            stop_now(seat, cpu, shared, cause);
            return Arrival::GoesOn;
        }
        return Arrival::Halts(cause);
    }
    shared.published.begin_host_steps(seat.core());
    Arrival::GoesOn
}
