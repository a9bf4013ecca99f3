//! Changes between user mode and the kernel, as a processor with mode-based execute control sees them.

use super::machine::{EXECUTE, Machine, RAM};
use super::on_a_large_stack;
use crate::ept::entry::Mode;
use crate::event::Facts;
use crate::port::Cpu;
use crate::vmx::{control_field, guest, reason};
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::event::{Actions, EventChange, Modes, Settings, Trigger};

fn watch(machine: &mut Machine, to: Modes, core: Option<u16>) -> EventId {
    let mut settings = Settings::new(Trigger::Mode { to });
    settings.actions = Actions::empty();
    settings.filter.core = core.map(CoreId);
    machine.install(settings, Facts::default())
}

/// Core 0 goes to a mode and runs an instruction there.
fn run_in(machine: &mut Machine, mode: Mode, at: u64) {
    let level = match mode {
        Mode::User => 3,
        Mode::Kernel => 0,
    };
    let cpu = &mut machine.cores[0].cpu;
    cpu.vmwrite(guest::SS_ACCESS_RIGHTS, level << 5);
    cpu.vmwrite(guest::RIP, at);
    machine.run(0, &[], at + 1);
}

fn view(machine: &Machine) -> u64 {
    machine.cores[0].cpu.vmread(control_field::EPTP_FULL)
}

#[test]
fn each_change_is_a_hit_and_nothing_else_is() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let user = watch(&mut machine, Modes::USER, None);
        let kernel = watch(&mut machine, Modes::KERNEL, Some(0));
        let both = watch(&mut machine, Modes::all(), None);
        let elsewhere = watch(&mut machine, Modes::all(), Some(1));
        machine.exit(0, reason::PREEMPTION_TIMER);
        let modes = [
            Mode::Kernel,
            Mode::User,
            Mode::User,
            Mode::Kernel,
            Mode::User,
        ];
        for (place, mode) in (0..).zip(modes) {
            run_in(&mut machine, mode, RAM + place);
        }
        let hits = [user, kernel, both, elsewhere].map(|event| machine.hits(event));
        assert_eq!(hits, [2, 1, 3, 0]);
    });
}

#[test]
fn a_core_that_nobody_watches_is_left_alone() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let elsewhere = watch(&mut machine, Modes::all(), Some(1));
        machine.exit(0, reason::PREEMPTION_TIMER);
        let exits = machine.exits;
        run_in(&mut machine, Mode::User, RAM);
        run_in(&mut machine, Mode::Kernel, RAM);
        assert_eq!((machine.exits, machine.hits(elsewhere)), (exits, 0));
        machine.assert_all_watched();
    });
}

#[test]
fn a_hook_at_the_first_instruction_of_a_mode_is_hit_after_the_change() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let user = watch(&mut machine, Modes::USER, None);
        let hook = machine.hook(RAM);
        let fetched = machine.monitor(RAM, 1, EXECUTE);
        machine.exit(0, reason::PREEMPTION_TIMER);
        run_in(&mut machine, Mode::User, RAM);
        let hits = [user, hook, fetched].map(|event| machine.hits(event));
        assert_eq!(hits, [1, 1, 1]);
        // And back from the step, in which both modes may.
        run_in(&mut machine, Mode::Kernel, RAM + 1);
        run_in(&mut machine, Mode::User, RAM + 2);
        assert_eq!(machine.hits(user), 2);
    });
}

#[test]
fn the_watch_ends_with_the_event() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let hooked = view(&machine);
        let user = watch(&mut machine, Modes::USER, None);
        machine.exit(0, reason::PREEMPTION_TIMER);
        assert_ne!(view(&machine), hooked);
        assert!(machine.change(user, EventChange::Clear));
        machine.exit(0, reason::PREEMPTION_TIMER);
        let exits = machine.exits;
        run_in(&mut machine, Mode::User, RAM);
        assert_eq!(machine.exits, exits);
        machine.assert_all_watched();
    });
}

#[test]
fn a_page_of_user_mode_that_the_kernel_runs_is_no_change() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let both = watch(&mut machine, Modes::all(), None);
        machine.exit(0, reason::PREEMPTION_TIMER);
        machine.set_rip(0, RAM);
        // The processor goes by the page, and exits although the core stays where it is.
        machine.refuse(0, RAM, EXECUTE);
        assert!(machine.traps(0));
        machine.run(0, &[], RAM + 1);
        assert_eq!(machine.hits(both), 0);
    });
}
