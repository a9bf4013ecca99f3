//! Interrupts, NMIs and exceptions on their way to the guest.

use super::events::{
    ENTRY_INFO, HARDWARE, INTERRUPT_FLAG, PRIMARY, VALID, counting, cpu, install, read, set, watch,
};
use super::machine::Machine;
use crate::exit::interrupt;
use crate::fake::cpu::TIMER_VECTOR;
use crate::port::{Cpu, LiveRegister};
use crate::vmx::{control_field, guest, reason, ro};
use wire_protocol::event::Trigger;

const HAS_CODE: u64 = 1 << 11;
const INTERRUPT_WINDOW: u64 = 1 << 2;

#[test]
fn an_interrupt_waits_until_the_guest_can_take_it() {
    let mut machine = Machine::new();
    let event = watch(&mut machine, Trigger::Interrupt { vector: 0xec });
    assert_eq!(read(&machine, control_field::PINBASED_EXEC_CONTROLS) & 1, 1);
    set(&mut machine, &[(guest::RFLAGS, 2)]);
    for vector in [0x30, 0xec] {
        set(
            &mut machine,
            &[(ro::VMEXIT_INTERRUPTION_INFO, VALID | vector)],
        );
        machine.exit(0, reason::EXTERNAL_INTERRUPT);
        assert_eq!(read(&machine, ENTRY_INFO), 0);
        assert_ne!(read(&machine, PRIMARY) & INTERRUPT_WINDOW, 0);
    }
    set(&mut machine, &[(guest::RFLAGS, 2 | INTERRUPT_FLAG)]);
    for vector in [0xec, 0x30] {
        machine.exit(0, reason::INTERRUPT_WINDOW);
        assert_eq!(read(&machine, ENTRY_INFO), VALID | vector);
    }
    assert_eq!(read(&machine, PRIMARY) & INTERRUPT_WINDOW, 0);
    assert_eq!(machine.hits(event), 1);
}

#[test]
fn what_still_waits_at_the_end_goes_back_to_the_controller() {
    let mut machine = Machine::new();
    watch(&mut machine, Trigger::Interrupt { vector: 0xec });
    set(&mut machine, &[(guest::RFLAGS, 2)]);
    for vector in [0x30, 0xec] {
        let info = [(ro::VMEXIT_INTERRUPTION_INFO, VALID | vector)];
        set(&mut machine, &info);
        machine.exit(0, reason::EXTERNAL_INTERRUPT);
    }
    interrupt::give_up(&mut machine.cores[0]);
    let cpu = cpu(&mut machine);
    assert_eq!((cpu.ended, cpu.raised.as_slice()), (2, &[0xec, 0x30][..]));
}

#[test]
fn a_page_fault_comes_with_its_code_and_its_address() {
    let mut machine = Machine::new();
    let vector = Some(14);
    let event = watch(&mut machine, Trigger::Exception { vector });
    assert_eq!(read(&machine, control_field::EXCEPTION_BITMAP), 1 << 14);
    let fault = [
        (ro::VMEXIT_INTERRUPTION_INFO, HARDWARE | HAS_CODE | 14),
        (ro::VMEXIT_INTERRUPTION_ERR_CODE, 6),
        (ro::EXIT_QUALIFICATION, 0x1234),
    ];
    set(&mut machine, &fault);
    machine.exit(0, reason::EXCEPTION_OR_NMI);
    assert_eq!(read(&machine, ENTRY_INFO), HARDWARE | HAS_CODE | 14);
    let code = control_field::VMENTRY_EXCEPTION_ERR_CODE;
    assert_eq!(read(&machine, code), 6);
    assert_eq!(machine.cores[0].cpu.live(LiveRegister::Cr2), 0x1234);
    assert_eq!(machine.hits(event), 1);
    // During the delivery of another page fault it is a double fault, which can be skipped with both.
    let first = [(ro::IDT_VECTORING_INFO, HARDWARE | HAS_CODE | 14)];
    let vector = Some(8);
    let mut double = counting(Trigger::Exception { vector });
    for (skips, injected) in [(false, HARDWARE | HAS_CODE | 8), (true, 0)] {
        double.options.short_circuit = skips;
        let double = install(&mut machine, double);
        set(&mut machine, &first);
        machine.exit(0, reason::EXCEPTION_OR_NMI);
        assert_eq!(read(&machine, ENTRY_INFO), injected);
        assert_eq!(machine.hits(double), 1);
    }
}

#[test]
fn an_nmi_of_the_guests_is_an_exception() {
    let mut machine = Machine::new();
    let vector = Some(2);
    let event = watch(&mut machine, Trigger::Exception { vector });
    machine.nmi(0);
    assert_eq!(read(&machine, ENTRY_INFO), VALID | 2 << 8 | 2);
    assert_eq!(machine.hits(event), 1);
}

#[test]
fn a_core_waits_for_a_start_up_ipi_from_init_on() {
    let mut machine = Machine::new();
    machine.exit(0, reason::INIT);
    assert!(machine.cores[0].waits_for_sipi);
    // Whatever makes it exit meanwhile, it goes on waiting.
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(machine.cores[0].waits_for_sipi);
    set(&mut machine, &[(ro::EXIT_QUALIFICATION, 0x9a)]);
    machine.exit(0, reason::SIPI);
    assert!(!machine.cores[0].waits_for_sipi);
    assert_eq!(read(&machine, guest::CS_BASE), 0x9_a000);
}

#[test]
fn a_core_that_does_little_but_leave_gets_on_between_two_interrupts() {
    let mut machine = Machine::new();
    let takes = |machine: &Machine| read(machine, control_field::PINBASED_EXEC_CONTROLS) & 1;
    let leave = |machine: &mut Machine, often: u32| {
        for _ in 0..often {
            cpu(machine).tsc += 1000;
            machine.exit(0, reason::CPUID);
        }
    };
    let comes = |machine: &mut Machine, vector| {
        set(machine, &[(ro::VMEXIT_INTERRUPTION_INFO, VALID | vector)]);
        machine.exit(0, reason::EXTERNAL_INTERRUPT);
    };
    machine.exit(0, reason::PREEMPTION_TIMER);
    leave(&mut machine, 100);
    assert_eq!(takes(&machine), 0);
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert_eq!(takes(&machine), 1);
    let timer = u64::from(TIMER_VECTOR);
    // The first comes at once, and the end of its handler is asked for.
    comes(&mut machine, timer);
    assert_eq!(read(&machine, ENTRY_INFO), VALID | timer);
    assert_ne!(read(&machine, PRIMARY) & INTERRUPT_WINDOW, 0);
    set(&mut machine, &[(guest::RFLAGS, 2)]);
    leave(&mut machine, 10);
    comes(&mut machine, timer);
    set(&mut machine, &[(guest::RFLAGS, 2 | INTERRUPT_FLAG)]);
    machine.exit(0, reason::INTERRUPT_WINDOW);
    // That took twelve exits, and the core has four times as many for itself.
    leave(&mut machine, 20);
    assert_eq!(read(&machine, ENTRY_INFO), 0);
    // What other cores send is not kept: they may wait for it.
    comes(&mut machine, timer + 1);
    assert_eq!(read(&machine, ENTRY_INFO), VALID | (timer + 1));
    leave(&mut machine, 26);
    assert_eq!(read(&machine, ENTRY_INFO), 0);
    assert_eq!(read(&machine, PRIMARY) & INTERRUPT_WINDOW, 0);
    leave(&mut machine, 1);
    assert_eq!(read(&machine, ENTRY_INFO), VALID | timer);
    // It waits for something: it has nothing to do but what comes.
    machine.exit(0, reason::INTERRUPT_WINDOW);
    comes(&mut machine, timer);
    assert_eq!(read(&machine, ENTRY_INFO), 0);
    set(&mut machine, &[(guest::ACTIVITY_STATE, 1)]);
    machine.exit(0, reason::CPUID);
    assert_eq!(read(&machine, ENTRY_INFO), VALID | timer);
    // It leaves no more, and the timer brings it back.
    set(&mut machine, &[(guest::ACTIVITY_STATE, 0)]);
    leave(&mut machine, 10);
    machine.exit(0, reason::INTERRUPT_WINDOW);
    comes(&mut machine, timer);
    assert_eq!(read(&machine, ENTRY_INFO), 0);
    for _ in 0..2 {
        cpu(&mut machine).tsc += read(&machine, guest::VMX_PREEMPTION_TIMER_VALUE);
        machine.exit(0, reason::PREEMPTION_TIMER);
    }
    assert_eq!(read(&machine, ENTRY_INFO), VALID | timer);
    assert_eq!(takes(&machine), 0);
}
