//! Carrying out one instruction that touches watched pages.
//!
//! Entered when an instruction was found to touch a watched page, and the events that watch it were served: the
//! hooked instruction itself, or one that reads, writes or fetches what is watched. It runs in the core's own
//! view, in which only the pages found so far are open; a page found later is opened in the
//! same step. No other core ever runs with a page open.

use crate::ept::entry::Permissions;
use crate::ept::step_view::{Opening, Sources};
use crate::event::TriggerInstance;
use crate::exit::core::{Core, Outcome};
use crate::exit::single::mode;
use crate::exit::single::passthrough::PassThrough;
use crate::exit::watchers;
use crate::guest::instruction::{self, Instruction};
use crate::port::{Cpu, Ports};
use crate::published;
use crate::shared::{Seat, Shared};
use crate::vmx::interruption::VALID;
use crate::vmx::{control_field, guest, interruptibility, primary, rflags};
use wire_protocol::address::GuestPhysical;

/// Whether a core is stepping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It runs in the hooked view.
    None,
    /// It runs one instruction in its own view.
    Active {
        /// Where the instruction stands.
        rip: u64,
        /// The instruction touches the debugger's memory: what it writes there is thrown away.
        discards: bool,
        /// The instruction touches more watched pages than the view can open: it runs in the
        /// clean view, and what else it touches goes unseen.
        blind: bool,
    },
}

/// Accesses of one instruction whose events of the stage after are served.
const TOUCHED_MAX: usize = 8;

/// What the instruction touches, for the time after it, or the event whose delivery comes first. Never moved
/// as a whole, which would cost more than a step.
#[derive(Debug)]
pub struct Touched {
    accesses: [Option<(TriggerInstance, Accessor)>; TOUCHED_MAX],
    /// The first so many are the instruction's.
    count: usize,
}

/// Who touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accessor {
    /// The instruction.
    Instruction,
    /// The delivery of an event.
    Delivery,
}

impl Touched {
    /// Nothing that anyone waits for.
    pub const NOTHING: Self = Self {
        accesses: [None; TOUCHED_MAX],
        count: 0,
    };

    fn add(&mut self, trigger: TriggerInstance, by: Accessor) {
        if let Some(slot) = self.accesses.get_mut(self.count) {
            *slot = Some((trigger, by));
            self.count += 1;
        }
    }
}

/// Pages that an instruction can stand on.
const CODE_PAGES: usize = 2;

/// How the page of a hooked instruction is opened.
const HOOKED: Opening = Opening {
    granted: Permissions::EXECUTE,
    original: true,
};

/// Lets the hooked instruction at `at` run.
pub fn begin_at_hook<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, at: GuestPhysical) {
    open(core, shared, at, HOOKED);
}

/// Opens a page that the next instruction touches, and lets the instruction run.
#[inline]
pub fn open<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    at: GuestPhysical,
    how: Opening,
) {
    let mut memory = shared.memory.clone();
    let opened = core
        .view
        .reopen(&mut memory, shared.commits(), at.page(), how)
        || with_sources(&core.seat, shared, |sources, memory| {
            core.view.open(memory, sources, at.page(), how)
        });
    arm(core, shared, false, !opened);
}

/// Lets the next instruction touch the debugger's memory at `at`: it reads nothing, and what it writes is thrown
/// away.
pub fn open_hidden<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, at: GuestPhysical) {
    let nothing = Opening {
        granted: Permissions::empty(),
        original: false,
    };
    let opened = with_sources(&core.seat, shared, |sources, memory| {
        core.view.open(memory, sources, at.page(), nothing)
    });
    arm(core, shared, true, !opened);
}

fn with_sources<P: Ports, R>(
    seat: &Seat<'_>,
    shared: &Shared<P>,
    use_them: impl FnOnce(&Sources<'_>, &mut P::Memory) -> R,
) -> R {
    let mut memory = shared.memory.clone();
    seat.read(|installed| {
        let sources = Sources {
            views: installed.views(),
            watches: installed.watches(),
            generation: shared.commits(),
        };
        use_them(&sources, &mut memory)
    })
}

/// Lets the next instruction run under the monitor trap flag, with interrupts held off for its
/// duration.
///
/// Interrupts are held off by the state that STI leaves for one instruction, not by clearing
/// RFLAGS.IF: an instruction that stores or changes the flags (PUSHF, STI, CLI, POPF) works as it
/// should. With RFLAGS.TF set that state is not allowed at an entry ("Checks on Guest
/// Non-Register State", 27.3.1.5): interrupts are then taken, and given back behind the instruction.
fn arm<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, discards: bool, blind: bool) {
    if let Step::Active {
        discards: discards_so_far,
        blind: blind_so_far,
        ..
    } = &mut core.step
    {
        // The same instruction touches another page in the same step.
        *discards_so_far |= discards;
        *blind_so_far |= blind;
    } else {
        let rip = core.cpu.vmread(guest::RIP);
        core.step = Step::Active {
            rip,
            discards,
            blind,
        };
        core.step_is_new = true;
        set_trap(&mut core.cpu, true);
        hold_interrupts_off(core, shared);
    }
    let eptp = match core.step {
        Step::Active { blind: true, .. } => shared.fixed.eptp_clean,
        _ => core.view.eptp(),
    };
    core.cpu.vmwrite(control_field::EPTP_FULL, eptp);
}

/// Holds interrupts off for the next instruction, without a trace in RFLAGS.
pub(in crate::exit) fn hold_interrupts_off<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let cpu = &mut core.cpu;
    let rflags = cpu.vmread(guest::RFLAGS);
    if rflags & rflags::IF == 0 {
        return;
    }
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let delivering = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD) & VALID != 0;
    let shadow = interruptibility::SHADOW;
    if blocking & shadow != 0 || delivering {
        return;
    }
    if rflags & rflags::TF == 0 {
        cpu.vmwrite(
            guest::INTERRUPTIBILITY_STATE,
            blocking | interruptibility::STI,
        );
    } else if shared.fixed.can_take_interrupts {
        core.takes_interrupts = true;
        published::take_interrupts(cpu, true);
    }
}

/// Lets interrupts in again that could only be held off by taking them.
pub(in crate::exit) fn let_interrupts_in<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if core::mem::take(&mut core.takes_interrupts) {
        shared.published.load_interrupts(&mut core.cpu);
    }
}

/// Turns the monitor trap flag on or off.
pub(in crate::exit) fn set_trap(cpu: &mut impl Cpu, on: bool) {
    let field = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
    let now = cpu.vmread(field);
    let wanted = if on {
        now | primary::MONITOR_TRAP_FLAG
    } else {
        now & !primary::MONITOR_TRAP_FLAG
    };
    if wanted != now {
        cpu.vmwrite(field, wanted);
    }
}

/// The monitor trap flag fired: one instruction ran, or one iteration of a repeated one.
pub fn on_trap<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let Step::Active { rip, .. } = core.step else {
        set_trap(&mut core.cpu, false);
        return Outcome::Stay;
    };
    let now = core.cpu.vmread(guest::RIP);
    if now == rip && instruction_at(core, shared, rip).is_some_and(|it| it.is_repeated_string()) {
        end_iteration(core, shared);
    } else if core.touched.count != 0 && has_faulted(core, shared, rip, now) {
        // An instruction that faulted has no time after it.
        serve_after(core, shared, |by| by == Accessor::Delivery);
    } else {
        complete(core, shared);
    }
    Outcome::Stay
}

/// The instruction at `rip`, as the guest maps it.
pub(in crate::exit) fn instruction_at<P: Ports>(
    core: &Core<P::Cpu>,
    shared: &Shared<P>,
    rip: u64,
) -> Option<Instruction> {
    let mut bytes = [0; instruction::LENGTH_MAX];
    instruction::decode(crate::exit::violation::access::code_at(
        &core.cpu, shared, rip, &mut bytes,
    ))
}

/// Whether the instruction at `rip` cannot have led to `now`, so that this is the handler of an exception.
fn has_faulted<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>, rip: u64, now: u64) -> bool {
    instruction_at(core, shared, rip).is_some_and(|it| {
        let next = rip.wrapping_add(u64::from(it.len));
        now != next && now != rip && !it.is_branch()
    })
}

/// The instruction was carried out: ends the step and serves the events of the stage after.
pub fn complete<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    serve_after(core, shared, |_| true);
}

fn serve_after<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    is_over: impl Fn(Accessor) -> bool,
) {
    let count = core.touched.count;
    end(core, shared);
    for place in 0..count {
        let access = core.touched.accesses.get(place).copied().flatten();
        let Some((trigger, _)) = access.filter(|(_, by)| is_over(*by)) else {
            continue;
        };
        watchers::serve_after(core, shared, &trigger);
    }
}

/// Remembers an access of what comes next, if events of the stage after wait for it.
pub fn note<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    trigger: TriggerInstance,
    by: Accessor,
) {
    if watchers::is_after_awaited(core, shared, &trigger) {
        core.touched.add(trigger, by);
    }
}

/// What a repeated instruction reads and writes is looked at in each iteration; that it runs was
/// looked at before the first.
fn end_iteration<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let mut code = [None; CODE_PAGES];
    let fetched = |how: &Opening| how.granted.contains(Permissions::EXECUTE);
    let opened = core.view.opened().filter(|(_, how)| fetched(how));
    for (slot, (page, how)) in code.iter_mut().zip(opened) {
        let granted = Permissions::EXECUTE;
        *slot = Some((page, Opening { granted, ..how }));
    }
    complete(core, shared);
    for (page, how) in code.into_iter().flatten() {
        open(core, shared, page, how);
    }
}

/// Ends the step, if there is one, and goes back to the hooked view.
pub fn end<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    core.touched.count = 0;
    let Step::Active {
        discards, blind, ..
    } = core.step
    else {
        return;
    };
    core.seat.read(|installed| {
        core.view.close(&mut shared.memory.clone(), |page, how| {
            if how.granted.contains(Permissions::WRITE) {
                shared.refresh_shadow(installed, page);
            }
        });
        if blind {
            shared.refresh_all_shadows(installed);
        }
    });
    if discards {
        shared.clear_sink();
    }
    core.cpu.invalidate_view(core.view.eptp());
    set_trap(&mut core.cpu, core.pass_through != PassThrough::None);
    let home = mode::resting_view(core, shared);
    core.cpu.vmwrite(control_field::EPTP_FULL, home);
    core.step = Step::None;
    let_interrupts_in(core, shared);
}

/// Before the guest is entered: a halt in the middle of a step may have moved RIP, and a commit may have changed
/// what is watched.
pub fn apply<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let Step::Active { rip, .. } = core.step else {
        return;
    };
    if core.cpu.vmread(guest::RIP) != rip {
        end(core, shared);
        return;
    }
    if !with_sources(&core.seat, shared, |sources, memory| {
        core.view.follow(memory, sources)
    }) {
        arm(core, shared, false, true);
    }
    // An exit before the instruction ran ends the state that holds interrupts off: one that came first would
    // end the step, and the instruction would be hit again.
    hold_interrupts_off(core, shared);
}
