//! Traced cores, and steps that scripts ask for.

use super::events::{INTERRUPT_FLAG, counting, install, instruction, read, set, watch};
use super::machine::{Machine, RAM};
use crate::exit::single::state::PassThrough;
use crate::published::AskedStep;
use crate::vmx::{guest, interruptibility, reason};
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::event::{TraceKind, Trigger};
use wire_protocol::script::Tracing;

#[test]
fn a_traced_core_exits_after_every_instruction() {
    let mut machine = Machine::new();
    let kind = TraceKind::Instrument;
    let mut settings = counting(Trigger::Trace { kind });
    settings.filter.core = Some(CoreId(0));
    let event = install(&mut machine, settings);
    machine.exit(0, reason::PREEMPTION_TIMER);
    machine.exit(1, reason::PREEMPTION_TIMER);
    assert!(machine.traps(0) && !machine.traps(1));
    for step in 1..=3 {
        set(&mut machine, &[(guest::RIP, RAM + step)]);
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        assert_eq!(machine.hits(event), step);
        assert!(machine.traps(0));
    }
    // No interrupt comes so soon, unless the core waits for one.
    for (activity, blocking) in [(0, interruptibility::STI), (1, 0)] {
        let state = [
            (guest::RFLAGS, 2 | INTERRUPT_FLAG),
            (guest::ACTIVITY_STATE, activity),
            (guest::INTERRUPTIBILITY_STATE, 0),
        ];
        set(&mut machine, &state);
        machine.exit(0, reason::PREEMPTION_TIMER);
        assert_eq!(read(&machine, guest::INTERRUPTIBILITY_STATE), blocking);
    }
    // An instruction that is emulated counts as well.
    instruction(&mut machine, reason::CPUID);
    assert_eq!(machine.hits(event), 4);
    assert_eq!(machine.cores[0].single.pass_through, PassThrough::None);
}

#[test]
fn a_step_that_a_script_asked_for_runs_its_event_again_once() {
    let mut machine = Machine::new();
    let event = watch(&mut machine, Trigger::Cpuid { leaf: Some(7) });
    let ask = |machine: &Machine, tracing| {
        let from = (read(machine, guest::RIP), read(machine, guest::RSP));
        let asked = AskedStep {
            event,
            tracing,
            from,
        };
        machine.shared.published.step(CoreId(0), &asked);
    };
    set(
        &mut machine,
        &[(guest::RIP, RAM), (guest::RSP, RAM + 0x1000)],
    );
    ask(&machine, Tracing::StepIn);
    machine.exit(0, reason::PREEMPTION_TIMER);
    machine.exit(1, reason::PREEMPTION_TIMER);
    assert!(machine.traps(0) && !machine.traps(1));
    // One iteration of an instruction that repeats itself, then its end.
    machine.exit(0, reason::MONITOR_TRAP_FLAG);
    assert_eq!(machine.hits(event), 0);
    set(&mut machine, &[(guest::RIP, RAM + 2)]);
    machine.exit(0, reason::MONITOR_TRAP_FLAG);
    assert_eq!(machine.hits(event), 1);
    assert!(!machine.traps(0));
    // What is emulated ends a step as well.
    set(&mut machine, &[(guest::RIP, RAM)]);
    ask(&machine, Tracing::StepIn);
    instruction(&mut machine, reason::CPUID);
    assert_eq!(machine.hits(event), 2);
    // A cleared event steps no more.
    ask(&machine, Tracing::StepIn);
    machine.shared.published.end_step(CoreId(0));
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(!machine.traps(0));
    let gone = AskedStep {
        event: EventId(77),
        tracing: Tracing::StepIn,
        from: (RAM, 0),
    };
    machine.shared.published.step(CoreId(0), &gone);
    instruction(&mut machine, reason::CPUID);
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(!machine.traps(0));
    assert_eq!(machine.hits(event), 2);
}
