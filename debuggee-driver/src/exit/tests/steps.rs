//! Steps that the host asks for: what counts as one, and what each rule of the processor makes of them.

extern crate std;

use super::events::{
    ENTRY_INFO, HARDWARE, INTERRUPT_FLAG, counting, install, instruction, read, set, watch,
};
use super::machine::{DRIVER, Does, Machine, RAM, WRITES};
use super::{DATA, MOVE, STORE, machine, on_a_large_stack};
use crate::cores::registers::RegisterFile;
use crate::vmx::{guest, interruptibility, reason, ro};
use proptest::prelude::*;
use wire_protocol::address::{CoreId, EventId, GuestVirtual};
use wire_protocol::event::{Stage, Trigger};
use wire_protocol::packet::{StepDetail, StepOrder};

/// Core 0 is to execute more instructions than any of these tests has.
fn begin(machine: &mut Machine) {
    let order = StepOrder {
        core: CoreId(0),
        count: 1000,
        detail: StepDetail::Code,
        walk: None,
    };
    let shared = machine.shared;
    shared
        .steps
        .try_with(|steps| steps.begin(1, order, &RegisterFile::NONE, GuestVirtual(0), None));
    shared.published.begin_host_steps(CoreId(0));
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(machine.traps(0));
}

fn done(machine: &Machine) -> u32 {
    let answer = machine.shared.steps.try_with(|steps| steps.to_answer());
    answer.flatten().unwrap().1
}

fn places(machine: &Machine) -> std::vec::Vec<u64> {
    let shared = machine.shared;
    let told = shared.steps.try_with(|steps| {
        let steps = steps.steps();
        steps.iter().map(|step| step.rip.0).collect()
    });
    told.unwrap()
}

/// The processor comes back behind an instruction at this place.
fn trap(machine: &mut Machine, rip: u64) {
    set(
        machine,
        &[(guest::RIP, rip), (guest::INTERRUPTIBILITY_STATE, 0)],
    );
    machine.exit(0, reason::MONITOR_TRAP_FLAG);
}

#[test]
fn only_the_core_that_steps_is_counted() {
    let mut machine = Machine::new();
    begin(&mut machine);
    machine.exit(1, reason::PREEMPTION_TIMER);
    assert!(!machine.traps(1));
    trap(&mut machine, RAM + 1);
    instruction(&mut machine, reason::CPUID);
    assert_eq!(done(&machine), 2);
    assert_eq!(places(&machine), [RAM + 1, RAM + 2]);
    machine.shared.published.end_host_steps();
    instruction(&mut machine, reason::CPUID);
    assert_eq!(done(&machine), 2);
    assert!(!machine.traps(0));
}

#[test]
fn what_is_delivered_in_the_place_of_an_instruction_is_one_step() {
    let mut machine = Machine::new();
    watch(&mut machine, Trigger::Exception { vector: Some(13) });
    begin(&mut machine);
    set(
        &mut machine,
        &[
            (guest::RIP, RAM),
            (ro::VMEXIT_INTERRUPTION_INFO, HARDWARE | 13),
        ],
    );
    machine.exit(0, reason::EXCEPTION_OR_NMI);
    assert_eq!(read(&machine, ENTRY_INFO) & 0xff, 13);
    assert_eq!(done(&machine), 0, "it is delivered at the entry");
    set(&mut machine, &[(ENTRY_INFO, 0)]);
    trap(&mut machine, RAM + 0x800);
    assert_eq!(done(&machine), 1);
    // An NMI that came meanwhile.
    machine.nmi(0);
    assert_eq!(read(&machine, ENTRY_INFO) & 0xff, 2);
    set(&mut machine, &[(ENTRY_INFO, 0)]);
    trap(&mut machine, RAM + 0x900);
    assert_eq!(done(&machine), 2);
    assert_eq!(places(&machine), [RAM + 0x800, RAM + 0x900]);
}

#[test]
fn a_hook_and_a_watched_access_fire_once_in_one_step() {
    on_a_large_stack(|| {
        let mut machine = machine(STORE);
        let hook = machine.hook(RAM);
        machine.options.stage = Stage::All;
        let written = machine.monitor(DATA, 8, WRITES);
        begin(&mut machine);
        machine.run(0, &[Does(DATA, 8, WRITES)], RAM + 3);
        assert_eq!([hook, written].map(|event| machine.hits(event)), [1, 2]);
        assert_eq!(places(&machine), [RAM + 3]);
        machine.assert_all_watched();
    });
}

#[test]
fn each_iteration_of_a_repeated_instruction_is_a_step_hooked_or_not() {
    on_a_large_stack(|| {
        for is_hooked in [false, true] {
            let mut machine = machine(MOVE);
            let hook = is_hooked.then(|| machine.hook(RAM));
            begin(&mut machine);
            for next in [RAM, RAM, RAM + 2] {
                machine.run(0, &[], next);
            }
            assert_eq!(places(&machine), [RAM, RAM, RAM + 2], "{is_hooked}");
            assert!(hook.is_none_or(|hook| machine.hits(hook) == 1));
        }
    });
}

#[test]
fn an_instruction_that_the_guest_carries_out_by_itself_is_one_step() {
    let mut machine = Machine::new();
    let mut settings = counting(Trigger::Tsc);
    settings.options.stage = Stage::All;
    let event = install(&mut machine, settings);
    begin(&mut machine);
    instruction(&mut machine, reason::RDTSC);
    assert_eq!((done(&machine), machine.hits(event)), (0, 1));
    trap(&mut machine, RAM + 2);
    assert_eq!((done(&machine), machine.hits(event)), (1, 2));
}

#[test]
fn the_drivers_own_instructions_in_a_detour_are_no_steps() {
    let mut machine = Machine::new();
    begin(&mut machine);
    trap(&mut machine, DRIVER);
    assert_eq!(done(&machine), 0);
    trap(&mut machine, RAM);
    assert_eq!(done(&machine), 1);
}

#[test]
fn interrupts_wait_unless_the_core_sleeps_and_shadows_are_the_guests() {
    let mut machine = Machine::new();
    begin(&mut machine);
    for (activity, before, behind) in [
        (0, 0, interruptibility::STI),
        // HLT: only an interrupt ends it.
        (1, 0, 0),
        // MOV SS and STI hold interrupts off by themselves.
        (0, interruptibility::MOV_SS, interruptibility::MOV_SS),
        (0, interruptibility::STI, interruptibility::STI),
    ] {
        let state = [
            (guest::RFLAGS, 2 | INTERRUPT_FLAG),
            (guest::ACTIVITY_STATE, activity),
            (guest::INTERRUPTIBILITY_STATE, before),
        ];
        set(&mut machine, &state);
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        let blocking = read(&machine, guest::INTERRUPTIBILITY_STATE);
        assert_eq!(blocking, behind, "activity {activity}, before {before}");
        // No trap flag is set for it.
        assert_eq!(read(&machine, guest::RFLAGS), 2 | INTERRUPT_FLAG);
    }
}

/// One thing that a guest does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Plain,
    Emulated,
    Passed,
    Stored,
    Handler,
}

fn acts() -> impl Strategy<Value = std::vec::Vec<Act>> {
    let act = prop_oneof![
        Just(Act::Plain),
        Just(Act::Emulated),
        Just(Act::Passed),
        Just(Act::Stored),
        Just(Act::Handler),
    ];
    prop::collection::vec(act, 1..40)
}

/// Steps are as many as what the guest did, and events are hit as often as without them.
fn are_counted(acts: &[Act]) {
    let mut machine = machine(STORE);
    let event: EventId = watch(&mut machine, Trigger::Tsc);
    let written = machine.monitor(DATA, 8, WRITES);
    begin(&mut machine);
    let (mut passed, mut stored) = (0, 0);
    for (number, act) in (1..).zip(acts) {
        match act {
            Act::Plain => trap(&mut machine, RAM + 0x300 + u64::from(number)),
            Act::Emulated => instruction(&mut machine, reason::CPUID),
            Act::Passed => {
                instruction(&mut machine, reason::RDTSC);
                trap(&mut machine, RAM + 2);
                passed += 1;
            }
            Act::Stored => {
                machine.set_rip(0, RAM);
                machine.run(0, &[Does(DATA, 8, WRITES)], RAM + 3);
                stored += 1;
            }
            Act::Handler => machine.deliver(0, RAM + 0x20_0000, RAM + 0x900),
        }
        assert_eq!(done(&machine), number, "{act:?} of {acts:?}");
    }
    assert_eq!(places(&machine).len(), acts.len());
    assert_eq!(
        [event, written].map(|event| machine.hits(event)),
        [passed, stored]
    );
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn whatever_a_guest_does_each_thing_is_one_step() {
    on_a_large_stack(|| {
        let config = ProptestConfig {
            cases: 32,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        proptest!(config, |(acts in acts())| are_counted(&acts));
    });
}
