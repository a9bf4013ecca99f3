//! Instructions that touch what is watched, on cores made of plain values: no hit is lost, and none is counted twice.

extern crate std;

mod arrivals;
mod branches;
mod calls;
mod clock;
mod detours;
mod ends;
mod events;
mod forms;
mod machine;
mod modes;
mod occasions;
mod shortcuts;
mod steps;
mod traces;

use crate::pool::TableSource;
use crate::port::{Cpu, PhysicalMemory};
use crate::vmx::{control_field, guest, interruptibility, reason, ro};
use machine::{Does, EXECUTE, Machine, RAM, READ, WRITES};
use wire_protocol::address::{Extent, GuestPhysical};
use wire_protocol::event::Stage;

/// The stack of a test thread is too small for a machine that is moved into its place.
fn on_a_large_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(test).unwrap().join().unwrap();
}

/// MOV [RBX], RAX
const STORE: &[u8] = &[0x48, 0x89, 0x03];
/// ADD [RBX], RAX
const ADD: &[u8] = &[0x48, 0x01, 0x03];
/// REP MOVSB
const MOVE: &[u8] = &[0xf3, 0xa4];
/// MOVSQ
const MOVE_ONE: &[u8] = &[0x48, 0xa5];

const DATA: u64 = RAM + 0x10_0000;
const OTHER: u64 = RAM + 0x80_0000;

fn machine(code: &[u8]) -> Machine {
    let mut machine = Machine::new();
    machine.place_code(RAM, code);
    machine
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn neighbours_of_a_watched_range_are_not_hits() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let event = machine.monitor(DATA + 8, 8, WRITES);
        for (offset, hits) in [(0_u64, 0), (16, 0), (0x800, 0), (1, 1), (8, 2), (15, 3)] {
            machine.set_rip(0, RAM);
            machine.run(0, &[Does(DATA + offset, 8, WRITES)], RAM + 3);
            assert_eq!(machine.hits(event), hits, "offset {offset}");
            machine.assert_all_watched();
        }
        machine.set_rip(0, RAM);
        machine.run(0, &[Does(DATA + 8, 8, READ)], RAM + 3);
        assert_eq!(machine.hits(event), 3);
    });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn the_lines_registers_in_memory_are_read_and_written_by_nobody_else() {
    on_a_large_stack(|| {
        let mut pages = [0; 2];
        let mut machine = Machine::with(|parts| {
            let views = *parts.installed.views();
            let arena = parts.installed.pools_mut().arena_mut();
            pages = [arena.take().unwrap(), parts.fixed.sink_page];
            let mut memory = parts.memory.clone();
            views
                .make_absent(&mut memory, arena, GuestPhysical(DATA), pages)
                .unwrap();
            let page = Extent::new(GuestPhysical(DATA), 0x1000).unwrap();
            parts
                .installed
                .hide([page, Extent::EMPTY, Extent::EMPTY, Extent::EMPTY]);
        });
        machine.place_code(RAM, STORE);
        let [ones_page, sink_page] = pages;
        let place = |machine: &Machine| machine.leaf(0, DATA).address();
        assert_eq!(place(&machine), ones_page);
        // A store leaves the guest and is let into the sink; then all is as before.
        assert!(!machine.try_run(0, &[Does(DATA + 8, 1, WRITES)], RAM + 3));
        assert_eq!(place(&machine), sink_page);
        assert!(machine.try_run(0, &[Does(DATA + 8, 1, WRITES)], RAM + 3));
        assert_eq!(place(&machine), ones_page);
        machine.assert_all_watched();
        // What is beside it is the guest's.
        machine.set_rip(0, RAM);
        let (beside, exits) = (Does(DATA + 0x1000, 8, WRITES), machine.exits);
        machine.run(0, &[beside], RAM + 3);
        assert_eq!(machine.exits, exits);
    });
}

#[test]
fn a_read_that_is_followed_by_a_write_is_both() {
    on_a_large_stack(|| {
        let mut machine = machine(ADD);
        let (read, written) = (
            machine.monitor(DATA, 8, READ),
            machine.monitor(DATA, 8, WRITES),
        );
        let both = machine.monitor(DATA, 8, READ | WRITES);
        // Told as one access, as a write only, and as a read and then a write.
        let told = [
            std::vec![Does(DATA, 8, READ | WRITES)],
            std::vec![Does(DATA, 8, WRITES)],
            std::vec![Does(DATA, 8, READ), Does(DATA, 8, WRITES)],
        ];
        for (round, accesses) in (1..).zip(told) {
            machine.set_rip(0, RAM);
            machine.run(0, &accesses, RAM + 3);
            for event in [read, written, both] {
                assert_eq!(machine.hits(event), round, "{event:?}");
            }
        }
        machine.assert_all_watched();
    });
}

#[test]
fn one_instruction_that_touches_two_watched_pages_is_seen_at_both() {
    on_a_large_stack(|| {
        let mut machine = machine(MOVE_ONE);
        let (read, written) = (
            machine.monitor(DATA, 8, READ),
            machine.monitor(OTHER, 8, WRITES),
        );
        let (hook, code) = (machine.hook(RAM), machine.monitor(RAM, 2, EXECUTE));
        let accesses = [Does(DATA, 8, READ), Does(OTHER, 8, WRITES)];
        machine.run(0, &accesses, RAM + 2);
        for event in [read, written, hook, code] {
            assert_eq!(machine.hits(event), 1, "{event:?}");
        }
        machine.assert_all_watched();
    });
}

#[test]
fn one_instruction_may_read_two_hooked_pages() {
    on_a_large_stack(|| {
        let mut machine = machine(MOVE_ONE);
        let hooks = [RAM, DATA + 4, OTHER + 4].map(|at| machine.hook(at));
        machine.run(0, &[Does(DATA, 8, READ), Does(OTHER, 8, WRITES)], RAM + 2);
        assert_eq!(hooks.map(|hook| machine.hits(hook)), [1, 0, 0]);
        // What was written shows in the shadow, beside the breakpoint.
        machine.place_code(OTHER, &[7; 4]);
        machine.set_rip(0, RAM + 0x40);
        machine.place_code(RAM + 0x40, STORE);
        machine.run(0, &[Does(OTHER, 8, WRITES)], RAM + 0x43);
        let view = machine.cores[0]
            .seat
            .read(|installed| installed.views().hooked);
        let shadow = view.leaf_4k(&machine.shared.memory, OTHER).address();
        let mut bytes = [0; 6];
        machine.shared.memory.read(shadow, &mut bytes);
        assert_eq!(bytes, [7, 7, 7, 7, 0xcc, 0]);
        machine.assert_all_watched();
    });
}

#[test]
fn an_access_across_two_watched_pages_is_one_hit() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let edge = DATA + 0xffc;
        machine.cores[0].cpu.registers_mut()[3] = edge;
        let whole = machine.monitor(DATA, 0x2000, WRITES);
        let behind = machine.monitor(DATA + 0x1003, 1, WRITES);
        let further = machine.monitor(DATA + 0x1004, 1, WRITES);
        machine.run(0, &[Does(edge, 8, WRITES)], RAM + 3);
        assert_eq!(
            [whole, behind, further].map(|event| machine.hits(event)),
            [1, 1, 0]
        );
        machine.assert_all_watched();
    });
}

#[test]
fn an_instruction_that_crosses_into_a_hooked_page_is_no_hit_there() {
    on_a_large_stack(|| {
        let mut machine = machine(&[]);
        let edge = RAM + 0xffe;
        machine.place_code(edge, STORE);
        let (before, behind) = (machine.hook(edge), machine.hook(RAM + 0x1001));
        let code = machine.monitor(RAM + 0x1000, 1, EXECUTE);
        machine.set_rip(0, edge);
        machine.run(0, &[], edge + 3);
        assert_eq!(
            [before, behind, code].map(|event| machine.hits(event)),
            [1, 0, 1]
        );
        // The next instruction stands right behind it, on the hooked address.
        machine.place_code(RAM + 0x1001, &[0x90]);
        machine.run(0, &[], RAM + 0x1002);
        assert_eq!(
            [before, behind, code].map(|event| machine.hits(event)),
            [1, 1, 1]
        );
        machine.assert_all_watched();
    });
}

#[test]
fn each_iteration_over_a_watched_range_counts_once_and_the_hook_only_once() {
    on_a_large_stack(|| {
        let mut machine = machine(MOVE);
        let hook = machine.hook(RAM);
        let (read, written) = (
            machine.monitor(DATA + 2, 3, READ),
            machine.monitor(OTHER, 2, WRITES),
        );
        for byte in 0..8 {
            let accesses = [Does(DATA + byte, 1, READ), Does(OTHER + byte, 1, WRITES)];
            let next = if byte == 7 { RAM + 2 } else { RAM };
            machine.run(0, &accesses, next);
            // No interrupt comes between two iterations of a hooked instruction.
            assert_eq!(machine.traps(0), byte != 7);
        }
        assert_eq!(
            [hook, read, written].map(|event| machine.hits(event)),
            [1, 3, 2]
        );
        machine.assert_all_watched();
    });
}

#[test]
fn a_jump_to_itself_hits_each_time() {
    on_a_large_stack(|| {
        let mut machine = machine(&[0xeb, 0xfe]);
        let hook = machine.hook(RAM);
        for _ in 0..3 {
            machine.run(0, &[], RAM);
        }
        assert_eq!(machine.hits(hook), 3);
    });
}

#[test]
fn two_cores_in_the_same_hook_count_two() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let (hook, written) = (machine.hook(RAM), machine.monitor(DATA, 8, WRITES));
        let accesses = [Does(DATA, 8, WRITES)];
        let mut done = [false; 2];
        while done != [true; 2] {
            for (core, done) in done.iter_mut().enumerate() {
                *done = *done || machine.try_run(core, &accesses, RAM + 3);
            }
        }
        assert_eq!([hook, written].map(|event| machine.hits(event)), [2, 2]);
        machine.assert_all_watched();
    });
}

#[test]
fn an_interrupt_waits_for_the_end_of_a_hooked_instruction() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let hook = machine.hook(RAM);
        assert!(!machine.try_run(0, &[], RAM + 3));
        let blocking = machine.cores[0].cpu.vmread(guest::INTERRUPTIBILITY_STATE);
        assert_ne!(blocking & interruptibility::STI, 0);
        machine.run(0, &[], RAM + 3);
        assert_eq!(machine.hits(hook), 1);
        assert_eq!(
            machine.cores[0].cpu.vmread(guest::INTERRUPTIBILITY_STATE),
            0
        );
    });
}

#[test]
fn an_nmi_at_a_hook_is_delivered_behind_it() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let hook = machine.hook(RAM);
        assert!(!machine.try_run(0, &[], RAM + 3));
        machine.nmi(0);
        let info = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;
        assert_eq!(machine.cores[0].cpu.vmread(info), 0);
        machine.run(0, &[], RAM + 3);
        assert_eq!(machine.hits(hook), 1);
        assert_eq!(machine.cores[0].cpu.vmread(info) & 0xff, 2);
        machine.assert_all_watched();
    });
}

#[test]
fn a_hook_is_hit_once_while_the_guest_single_steps() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let hook = machine.hook(RAM);
        let trap_flag = 1 << 8;
        machine.cores[0]
            .cpu
            .vmwrite(guest::RFLAGS, 1 << 9 | trap_flag);
        assert!(!machine.try_run(0, &[], RAM + 3));
        // Nothing but taking them holds interrupts off then; what was taken waits for the single step.
        let taken = |machine: &Machine| {
            machine.cores[0]
                .cpu
                .vmread(control_field::PINBASED_EXEC_CONTROLS)
                & 1
        };
        assert_eq!(taken(&machine), 1);
        let info = ro::VMEXIT_INTERRUPTION_INFO;
        machine.cores[0].cpu.vmwrite(info, 0x8000_00ec);
        machine.exit(0, reason::EXTERNAL_INTERRUPT);
        machine.run(0, &[], RAM + 3);
        assert_eq!(machine.hits(hook), 1);
        assert_eq!(taken(&machine), 0);
        let entry = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;
        assert_eq!(machine.cores[0].cpu.vmread(entry) & 0xff, 0xec);
        let rflags = machine.cores[0].cpu.vmread(guest::RFLAGS);
        assert_eq!(rflags & trap_flag, trap_flag);
        machine.assert_all_watched();
    });
}

#[test]
fn what_an_event_pushes_is_seen() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let event = machine.monitor(DATA, 0x1000, WRITES);
        machine.deliver(0, DATA + 0x200, RAM + 0x100);
        assert_eq!(machine.hits(event), 1);
        machine.assert_all_watched();
    });
}

#[test]
fn what_is_added_during_a_step_is_watched_in_it() {
    on_a_large_stack(|| {
        let mut machine = machine(MOVE_ONE);
        let read = machine.monitor(DATA, 8, READ);
        let accesses = [Does(DATA, 8, READ), Does(OTHER, 8, WRITES)];
        assert!(!machine.try_run(0, &accesses, RAM + 2));
        let written = machine.monitor(OTHER, 8, WRITES);
        let again = machine.monitor(DATA + 4, 1, READ);
        machine.nmi(0);
        machine.run(0, &accesses, RAM + 2);
        assert_eq!(
            [read, written, again].map(|event| machine.hits(event)),
            [1, 1, 0]
        );
        machine.assert_all_watched();
    });
}

#[test]
fn a_core_that_is_moved_during_a_step_starts_afresh() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let (first, second) = (machine.hook(RAM), machine.hook(RAM + 0x40));
        assert!(!machine.try_run(0, &[], RAM + 3));
        machine.set_rip(0, RAM + 0x40);
        machine.nmi(0);
        machine.assert_all_watched();
        machine.run(0, &[], RAM + 0x43);
        assert_eq!([first, second].map(|event| machine.hits(event)), [1, 1]);
    });
}

#[test]
fn the_stage_after_comes_when_the_instruction_is_through() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        machine.options.stage = Stage::Post;
        let after = machine.monitor(DATA, 8, WRITES);
        machine.options.stage = Stage::All;
        let both = machine.monitor(DATA, 8, WRITES);
        let accesses = [Does(DATA, 8, WRITES)];
        assert!(!machine.try_run(0, &accesses, RAM + 3));
        assert_eq!([after, both].map(|event| machine.hits(event)), [0, 1]);
        machine.run(0, &accesses, RAM + 3);
        assert_eq!([after, both].map(|event| machine.hits(event)), [1, 2]);
        // One that faults has no time after it, and is tried again.
        machine.set_rip(0, RAM);
        machine.run(0, &accesses, RAM + 0x900);
        assert_eq!([after, both].map(|event| machine.hits(event)), [1, 3]);
        // Each iteration has one.
        machine.place_code(RAM, MOVE);
        machine.set_rip(0, RAM);
        machine.run(0, &accesses, RAM);
        machine.run(0, &accesses, RAM + 2);
        assert_eq!([after, both].map(|event| machine.hits(event)), [3, 7]);
        machine.deliver(0, DATA, RAM + 0x900);
        assert_eq!([after, both].map(|event| machine.hits(event)), [4, 9]);
        machine.assert_all_watched();
    });
}

#[test]
fn a_skipped_access_does_not_happen() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        machine.options.short_circuit = true;
        let event = machine.monitor(DATA, 8, WRITES);
        assert!(!machine.try_run(0, &[Does(DATA, 8, WRITES)], RAM + 0x900));
        let rip = |machine: &Machine| machine.cores[0].cpu.vmread(guest::RIP);
        assert_eq!(rip(&machine), RAM + 3);
        machine.assert_all_watched();
        let code = machine.monitor(RAM + 0x40, 0x10, EXECUTE);
        // What may not run is skipped instruction by instruction.
        machine.place_code(RAM + 0x40, &[0x90, 0x90]);
        machine.set_rip(0, RAM + 0x40);
        assert!(!machine.try_run(0, &[], RAM + 0x900));
        assert_eq!(rip(&machine), RAM + 0x41);
        assert_eq!([event, code].map(|event| machine.hits(event)), [1, 1]);
        machine.assert_all_watched();
        // What the processor itself does cannot be skipped.
        machine.deliver(0, DATA, RAM + 0x900);
        assert_eq!(machine.hits(event), 2);
        assert_eq!(rip(&machine), RAM + 0x900);
    });
}
