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
use crate::exit::due::Due;
use crate::exit::single::state::{Accessor, Step};
use crate::exit::watchers;
use crate::guest::instruction::{self, Instruction};
use crate::port::{Cpu, Ports};
use crate::shared::{Seat, Shared, Writer};
use crate::vmx::guest;
use wire_protocol::address::GuestPhysical;

/// Pages that an instruction can stand on.
const CODE_PAGES: usize = 2;

/// How the page of a hooked instruction is opened.
const HOOKED: Opening = Opening {
    granted: Permissions::EXECUTE,
    original: true,
};

/// Lets the hooked instruction at `at` run.
pub fn begin_at_hook<P: Ports>(core: &mut Core<'_, P>, at: GuestPhysical) {
    open(core, at, HOOKED);
}

/// Opens a page that the next instruction touches, and lets the instruction run.
#[inline]
pub fn open<P: Ports>(core: &mut Core<'_, P>, at: GuestPhysical, how: Opening) {
    let mut memory = core.shared.memory.clone();
    let opened = core
        .single
        .view
        .reopen(&mut memory, core.shared.commits(), at.page(), how)
        || with_sources(&core.seat, core.shared, |sources, memory| {
            core.single.view.open(memory, sources, at.page(), how)
        });
    arm(core, false, !opened);
}

/// Lets the next instruction touch the debugger's memory at `at`: it reads nothing, and what it writes is thrown
/// away.
pub fn open_hidden<P: Ports>(core: &mut Core<'_, P>, at: GuestPhysical) {
    let nothing = Opening {
        granted: Permissions::empty(),
        original: false,
    };
    let opened = with_sources(&core.seat, core.shared, |sources, memory| {
        core.single.view.open(memory, sources, at.page(), nothing)
    });
    arm(core, true, !opened);
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

/// Lets the next instruction run by itself, in the core's own view and with interrupts held off for its duration.
fn arm<P: Ports>(core: &mut Core<'_, P>, discards: bool, blind: bool) {
    if let Step::Active {
        discards: discards_so_far,
        blind: blind_so_far,
        ..
    } = &mut core.single.step
    {
        // The same instruction touches another page in the same step.
        *discards_so_far |= discards;
        *blind_so_far |= blind;
    } else {
        let rip = core.cpu.vmread(guest::RIP);
        core.single.step = Step::Active {
            rip,
            discards,
            blind,
        };
        core.due |= Due::NEW_STEP;
    }
    core.due |= Due::CONTROLS;
}

/// The monitor trap flag fired: one instruction ran, or one iteration of a repeated one.
pub fn on_trap<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let Step::Active { rip, .. } = core.single.step else {
        return Outcome::Stay;
    };
    let now = core.cpu.vmread(guest::RIP);
    if now == rip && instruction_at(core, rip).is_some_and(|it| it.is_repeated_string()) {
        end_iteration(core);
    } else if core.single.touched.count() != 0 && has_faulted(core, rip, now) {
        // An instruction that faulted has no time after it.
        serve_after(core, |by| by == Accessor::Delivery);
    } else {
        complete(core);
    }
    Outcome::Stay
}

/// The instruction at `rip`, as the guest maps it.
pub(in crate::exit) fn instruction_at<P: Ports>(
    core: &Core<'_, P>,
    rip: u64,
) -> Option<Instruction> {
    let mut bytes = [0; instruction::LENGTH_MAX];
    instruction::decode(crate::exit::violation::access::code_at(
        &core.cpu,
        core.shared,
        rip,
        &mut bytes,
    ))
}

/// Whether the instruction at `rip` cannot have led to `now`, so that this is the handler of an exception.
fn has_faulted<P: Ports>(core: &Core<'_, P>, rip: u64, now: u64) -> bool {
    instruction_at(core, rip).is_some_and(|it| {
        let next = rip.wrapping_add(u64::from(it.len));
        now != next && now != rip && !it.is_branch()
    })
}

/// The instruction was carried out: ends the step and serves the events of the stage after.
pub fn complete<P: Ports>(core: &mut Core<'_, P>) {
    serve_after(core, |_| true);
}

fn serve_after<P: Ports>(core: &mut Core<'_, P>, is_over: impl Fn(Accessor) -> bool) {
    let count = core.single.touched.count();
    end(core);
    for index in 0..count {
        let access = core.single.touched.get(index);
        let Some((trigger, _)) = access.filter(|(_, by)| is_over(*by)) else {
            continue;
        };
        watchers::serve_after(core, &trigger);
    }
}

/// Remembers an access of what comes next, if events of the stage after wait for it.
pub fn note<P: Ports>(core: &mut Core<'_, P>, trigger: TriggerInstance, by: Accessor) {
    if watchers::is_after_awaited(core, &trigger) {
        core.single.touched.add(trigger, by);
    }
}

/// What a repeated instruction reads and writes is looked at in each iteration; that it runs was
/// looked at before the first.
fn end_iteration<P: Ports>(core: &mut Core<'_, P>) {
    let mut code = [None; CODE_PAGES];
    let fetched = |how: &Opening| how.granted.contains(Permissions::EXECUTE);
    let opened = core.single.view.opened().filter(|(_, how)| fetched(how));
    for (slot, (page, how)) in code.iter_mut().zip(opened) {
        let granted = Permissions::EXECUTE;
        *slot = Some((page, Opening { granted, ..how }));
    }
    complete(core);
    for (page, how) in code.into_iter().flatten() {
        open(core, page, how);
    }
}

/// Ends the step, if there is one, and goes back to the resting view.
pub fn end<P: Ports>(core: &mut Core<'_, P>) {
    core.single.touched.clear();
    let Step::Active {
        discards, blind, ..
    } = core.single.step
    else {
        return;
    };
    let by = || Writer {
        core: core.id,
        tsc: core.cpu.tsc(),
    };
    core.seat.read(|installed| {
        core.single
            .view
            .close(&mut core.shared.memory.clone(), |page, how| {
                if how.granted.contains(Permissions::WRITE) {
                    core.shared.refresh_shadow(installed, page, by());
                }
            });
        if blind {
            core.shared.refresh_all_shadows(installed, by());
        }
    });
    if discards {
        core.shared.clear_sink();
    }
    core.cpu.invalidate_view(core.single.view.eptp());
    core.single.step = Step::None;
    core.due |= Due::CONTROLS;
}

/// Before the guest is entered: a halt in the middle of a step may have moved RIP, and a commit may have changed
/// what is watched.
pub fn apply<P: Ports>(core: &mut Core<'_, P>) {
    let Step::Active { rip, .. } = core.single.step else {
        return;
    };
    if core.cpu.vmread(guest::RIP) != rip {
        end(core);
        return;
    }
    if !with_sources(&core.seat, core.shared, |sources, memory| {
        core.single.view.follow(memory, sources)
    }) {
        arm(core, false, true);
    }
}
