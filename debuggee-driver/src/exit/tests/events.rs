//! What makes a core exit for an event: who is served, and what the guest gets.

use super::machine::{DRIVER, Machine, RAM, TOKEN};
use crate::event::Facts;
use crate::exit::{self, Flow, hypercall};
use crate::fake::cpu::FakeCpu;
use crate::fake::world::BITMAPS;
use crate::port::{Cpu, LiveRegister, PhysicalMemory, gpr};
use crate::vmx::control::efer;
use crate::vmx::{control_field, guest, interruptibility, msr, reason, ro};
use wire_protocol::address::{CoreId, EventId, GuestPhysical};
use wire_protocol::event::{
    Actions, ControlRegister, EventChange, Settings, Stage, SyscallBy, TraceKind, Trigger,
};

pub(super) const VALID: u64 = 1 << 31;
pub(super) const HARDWARE: u64 = VALID | 3 << 8;
pub(super) const INTERRUPT_FLAG: u64 = 1 << 9;
const MTF: u64 = 1 << 27;
pub(super) const PRIMARY: u32 = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
pub(super) const ENTRY_INFO: u32 = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;

pub(super) fn counting(trigger: Trigger) -> Settings {
    Settings {
        actions: Actions::empty(),
        ..Settings::new(trigger)
    }
}

pub(super) fn install(machine: &mut Machine, settings: Settings) -> EventId {
    machine.install(settings, Facts::default())
}

pub(super) fn watch(machine: &mut Machine, trigger: Trigger) -> EventId {
    install(machine, counting(trigger))
}

pub(super) fn cpu(machine: &mut Machine) -> &mut FakeCpu {
    &mut machine.cores[0].cpu
}

pub(super) fn read(machine: &Machine, field: u32) -> u64 {
    machine.cores[0].cpu.vmread(field)
}

pub(super) fn set(machine: &mut Machine, fields: &[(u32, u64)]) {
    for (field, value) in fields {
        cpu(machine).vmwrite(*field, *value);
    }
}

/// The core exits for an instruction of two bytes at [`RAM`].
pub(super) fn instruction(machine: &mut Machine, number: u16) {
    set(
        machine,
        &[(guest::RIP, RAM), (ro::VMEXIT_INSTRUCTION_LEN, 2)],
    );
    machine.exit(0, number);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn stages_and_short_circuit_decide_when_and_whether() {
    let mut machine = Machine::new();
    let trigger = Trigger::Cpuid { leaf: Some(7) };
    let mut post = counting(trigger);
    post.options.stage = Stage::Post;
    let mut all = counting(trigger);
    all.options.stage = Stage::All;
    let (post, all) = (install(&mut machine, post), install(&mut machine, all));
    let other = watch(&mut machine, Trigger::Cpuid { leaf: Some(8) });
    cpu(&mut machine).registers_mut()[gpr::RAX] = 7;
    instruction(&mut machine, reason::CPUID);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert_eq!(machine.cores[0].cpu.registers()[gpr::RAX], 0);
    let hits = [post, all, other].map(|event| machine.hits(event));
    assert_eq!(hits, [1, 2, 0]);
    let mut skips = counting(trigger);
    skips.options.short_circuit = true;
    install(&mut machine, skips);
    cpu(&mut machine).registers_mut()[gpr::RAX] = 7;
    instruction(&mut machine, reason::CPUID);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert_eq!(machine.cores[0].cpu.registers()[gpr::RAX], 7);
    // What was kept from happening has no time after it.
    assert_eq!((machine.hits(post), machine.hits(all)), (1, 3));
}

#[test]
fn core_filter_and_disabling_are_obeyed() {
    let mut machine = Machine::new();
    let mut settings = counting(Trigger::Tsc);
    settings.filter.core = Some(CoreId(1));
    let elsewhere = install(&mut machine, settings);
    instruction(&mut machine, reason::RDTSC);
    assert_eq!(machine.hits(elsewhere), 0);
}

#[test]
fn a_watched_instruction_is_the_guests_to_carry_out() {
    let mut machine = Machine::new();
    let number = 0xc000_0102;
    let mut settings = counting(Trigger::MsrRead { msr: Some(number) });
    settings.options.stage = Stage::All;
    let event = install(&mut machine, settings);
    let bit = msr::bitmap_bit(number, false).unwrap();
    let word = |machine: &Machine, page| machine.shared.memory.read_u64(page + bit / 64 * 8);
    assert_eq!(word(&machine, BITMAPS.msr), 1 << (bit % 64));
    assert_eq!(word(&machine, BITMAPS.own_msr), 0);
    cpu(&mut machine).registers_mut()[gpr::RCX] = u64::from(number);
    let bitmap = control_field::MSR_BITMAPS_ADDR_FULL;
    // The next instruction, and the handler of its fault: only the first has a time after it.
    for (next, hits) in [(RAM + 2, 2), (RAM + 0x800, 3)] {
        instruction(&mut machine, reason::RDMSR);
        assert_eq!(read(&machine, guest::RIP), RAM);
        assert_eq!(read(&machine, bitmap), BITMAPS.own_msr);
        assert!(machine.traps(0));
        let held = read(&machine, guest::INTERRUPTIBILITY_STATE);
        assert_eq!(held & interruptibility::STI, interruptibility::STI);
        set(
            &mut machine,
            &[(guest::RIP, next), (guest::INTERRUPTIBILITY_STATE, 0)],
        );
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        assert_eq!(read(&machine, bitmap), BITMAPS.msr);
        assert!(!machine.traps(0));
        assert_eq!(machine.hits(event), hits);
    }
}

#[test]
fn string_io_is_watched_once_and_iterates_by_itself() {
    let mut machine = Machine::new();
    let event = watch(&mut machine, Trigger::IoOut { port: Some(0x71) });
    const IO_BITMAPS: u64 = 1 << 25;
    assert_eq!(read(&machine, PRIMARY) & IO_BITMAPS, IO_BITMAPS);
    // REP OUTSW to port 0x70, which reaches 0x71.
    let interrupts_on = (guest::RFLAGS, 1 << 9);
    set(
        &mut machine,
        &[(ro::EXIT_QUALIFICATION, 0x0070_0031), interrupts_on],
    );
    instruction(&mut machine, reason::IO);
    assert_eq!(read(&machine, PRIMARY) & (IO_BITMAPS | MTF), MTF);
    // No interrupt comes between the iterations: the rest would be another hit.
    set(&mut machine, &[(guest::INTERRUPTIBILITY_STATE, 0)]);
    machine.exit(0, reason::MONITOR_TRAP_FLAG);
    assert_eq!(read(&machine, PRIMARY) & (IO_BITMAPS | MTF), MTF);
    assert_eq!(read(&machine, guest::INTERRUPTIBILITY_STATE), 1);
    set(&mut machine, &[(guest::INTERRUPTIBILITY_STATE, 0)]);
    set(&mut machine, &[(guest::RIP, RAM + 2)]);
    machine.exit(0, reason::MONITOR_TRAP_FLAG);
    assert_eq!(read(&machine, PRIMARY) & (IO_BITMAPS | MTF), IO_BITMAPS);
    assert_eq!(machine.hits(event), 1);
}

const LINE_ONLY: u64 = 0xff << 56;

/// Ports 3c0 to 3ff, of which the last eight are the line's.
fn intercepted(machine: &Machine) -> u64 {
    machine.shared.memory.read_u64(BITMAPS.io + 0x3c0 / 8)
}

/// The core exits for an access to a port.
fn port_access(machine: &mut Machine, qualification: u64) {
    set(machine, &[(ro::EXIT_QUALIFICATION, qualification)]);
    instruction(machine, reason::IO);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn ports_of_the_line_meet_no_device_whatever_is_watched() {
    let mut machine = Machine::new();
    assert_eq!(intercepted(&machine), LINE_ONLY);
    let every = watch(&mut machine, Trigger::IoIn { port: None });
    assert_eq!(intercepted(&machine), u64::MAX);
    const IN: u64 = 8;
    for (port, size, before, after) in [
        (0x3f8, 0, 0x1234_5678_9abc_de00, 0x1234_5678_9abc_deff),
        (0x3fd, 1, 0x1234_5678_9abc_0000, 0x1234_5678_9abc_ffff),
        (0x3fc, 3, 0x1234_5678_9abc_0000, 0xffff_ffff),
    ] {
        cpu(&mut machine).registers_mut()[gpr::RAX] = before;
        port_access(&mut machine, port << 16 | IN | size);
        assert_eq!(cpu(&mut machine).registers()[gpr::RAX], after);
        assert_eq!(read(&machine, guest::RIP), RAM + 2);
    }
    // OUT changes nothing.
    port_access(&mut machine, 0x3fb << 16);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert!(!machine.traps(0));
    assert_eq!(machine.hits(every), 0);
    // One that reaches a port before them is watched there, and meets no device either.
    port_access(&mut machine, 0x3f6 << 16 | IN | 3);
    assert_eq!(machine.hits(every), 1);
    assert_eq!(cpu(&mut machine).registers()[gpr::RAX], 0xffff_ffff);
    assert!(!machine.traps(0));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn strings_of_the_lines_ports_move_on_and_find_ones() {
    const REP_IN: u64 = 0x38;
    const REP_OUT: u64 = 0x30;
    let mut machine = Machine::new();
    let at = RAM + 0x3000;
    let set_up = |machine: &mut Machine, count, flags| {
        let registers = cpu(machine).registers_mut();
        registers[gpr::RCX] = count;
        registers[gpr::RDI] = at;
        registers[gpr::RSI] = at;
        set(
            machine,
            &[(ro::GUEST_LINEAR_ADDR, at), (guest::RFLAGS, flags)],
        );
    };
    let index = |machine: &mut Machine, which| cpu(machine).registers()[which];
    set_up(&mut machine, 2, 2);
    port_access(&mut machine, 0x3f8 << 16 | REP_IN);
    assert_eq!(read(&machine, guest::RIP), RAM, "one iteration is left");
    assert_eq!(index(&mut machine, gpr::RDI), at + 1);
    port_access(&mut machine, 0x3f8 << 16 | REP_IN);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert_eq!(index(&mut machine, gpr::RCX), 0);
    assert_eq!(machine.shared.memory.read_u64(at), 0xff);
    // Backwards, two bytes at a time, out.
    set_up(&mut machine, 1, 0x402);
    port_access(&mut machine, 0x3f8 << 16 | REP_OUT | 1);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert_eq!(index(&mut machine, gpr::RSI), at - 2);
    // Nothing to do.
    set_up(&mut machine, 0, 2);
    port_access(&mut machine, 0x3f8 << 16 | REP_IN | 1);
    assert_eq!(read(&machine, guest::RIP), RAM + 2);
    assert_eq!(index(&mut machine, gpr::RDI), at);
    assert_eq!(machine.shared.memory.read_u64(at), 0xff);
    // Memory of the debugger's is not written, nor is what is not there.
    for elsewhere in [DRIVER - 0x1000, 1 << 40] {
        set_up(&mut machine, 1, 2);
        set(&mut machine, &[(ro::GUEST_LINEAR_ADDR, elsewhere)]);
        port_access(&mut machine, 0x3f8 << 16 | REP_IN | 3);
        assert_eq!(read(&machine, guest::RIP), RAM + 2);
    }
}

#[test]
fn a_vmcall_of_the_guests_is_an_invalid_instruction() {
    let mut machine = Machine::new();
    let event = watch(&mut machine, Trigger::Vmcall);
    let vector = Some(6);
    let invalid = watch(&mut machine, Trigger::Exception { vector });
    instruction(&mut machine, reason::VMCALL);
    assert_eq!(read(&machine, ENTRY_INFO), HARDWARE | 6);
    const RESUME: u64 = 1 << 16;
    assert_eq!(read(&machine, guest::RFLAGS) & RESUME, RESUME);
    assert_eq!((machine.hits(event), machine.hits(invalid)), (1, 1));
}

#[test]
fn control_registers_are_watched_by_the_bits_that_change() {
    let mut machine = Machine::new();
    const TS: u64 = 8;
    const PAGED: u64 = 0x8005_0033;
    set(
        &mut machine,
        &[
            (guest::CR0, PAGED),
            (guest::CR4, 0x20),
            (guest::IA32_EFER_FULL, efer::LMA | efer::LME),
        ],
    );
    let register = ControlRegister::Cr0;
    let event = watch(&mut machine, Trigger::CrWrite { register, mask: TS });
    assert_eq!(
        read(&machine, control_field::CR0_GUEST_HOST_MASK),
        TS | 1 << 5
    );
    assert_eq!(read(&machine, control_field::CR0_READ_SHADOW) & TS, 0);
    // MOV CR0, RBX sets TS; CLTS clears it.
    cpu(&mut machine).registers_mut()[gpr::RBX] = PAGED | TS;
    set(&mut machine, &[(ro::EXIT_QUALIFICATION, 0x300)]);
    instruction(&mut machine, reason::CR_ACCESS);
    assert_eq!(read(&machine, guest::CR0), PAGED | TS);
    set(&mut machine, &[(ro::EXIT_QUALIFICATION, 0x20)]);
    instruction(&mut machine, reason::CR_ACCESS);
    assert_eq!(read(&machine, guest::CR0), PAGED);
    assert_eq!(machine.hits(event), 2);
}

#[test]
fn system_calls_are_carried_out_and_efer_looks_as_ever() {
    let mut machine = Machine::new();
    let long = efer::LMA | efer::LME | efer::SCE;
    set(&mut machine, &[(guest::IA32_EFER_FULL, long)]);
    let by = SyscallBy::Bytes;
    let number = Some(0x7c);
    let event = watch(&mut machine, Trigger::Syscall { number, by });
    assert_eq!(read(&machine, guest::IA32_EFER_FULL), long & !efer::SCE);
    // The guest reads its own.
    cpu(&mut machine).registers_mut()[gpr::RCX] = u64::from(msr::EFER);
    instruction(&mut machine, reason::RDMSR);
    assert_eq!(machine.cores[0].cpu.registers()[gpr::RAX], long);
    let cpu = cpu(&mut machine);
    cpu.set_live(LiveRegister::Star, 0x0023_0010_0000_0000);
    cpu.set_live(LiveRegister::Lstar, 0xffff_ffff_8200_0000);
    cpu.registers_mut()[gpr::RAX] = 0x7c;
    machine.place_code(RAM, &[0x0f, 0x05, 0x90, 0x0f, 0x0b]);
    let invalid = [
        (guest::RIP, RAM),
        (guest::SS_ACCESS_RIGHTS, 0xf3),
        (ro::VMEXIT_INTERRUPTION_INFO, HARDWARE | 6),
    ];
    set(&mut machine, &invalid);
    machine.exit(0, reason::EXCEPTION_OR_NMI);
    assert_eq!(read(&machine, guest::RIP), 0xffff_ffff_8200_0000);
    assert_eq!(read(&machine, guest::CS_SELECTOR), 0x10);
    assert_eq!(machine.cores[0].cpu.registers()[gpr::RCX], RAM + 2);
    assert_eq!(machine.hits(event), 1);
    // UD2 stays what it is.
    set(&mut machine, &invalid);
    set(
        &mut machine,
        &[(guest::RIP, RAM + 3), (guest::CS_ACCESS_RIGHTS, 1 << 13)],
    );
    machine.exit(0, reason::EXCEPTION_OR_NMI);
    assert_eq!(read(&machine, guest::RIP), RAM + 3);
    assert_eq!(read(&machine, ENTRY_INFO), HARDWARE | 6);
}

#[test]
fn the_kernels_entry_is_hooked_and_calls_turn_back_there() {
    const GS: [u64; 2] = [0x1000, 0xffff_8880_0000_0000];
    const PROGRAM: u64 = 0x40_1000;
    let mut machine = Machine::new();
    machine.place_code(RAM, &[0x0f, 0x01, 0xf8]);
    let hook = Some(GuestPhysical(RAM));
    let facts = Facts {
        hook,
        ..Facts::default()
    };
    let number = Some(0x7c);
    let counts = counting(Trigger::SyscallEntry { number });
    let mut skips = counting(Trigger::SyscallEntry { number: Some(0x7d) });
    skips.options.short_circuit = true;
    let counts = machine.install(counts, facts);
    let skips = machine.install(skips, facts);
    // Nobody's number, one that is counted, one that is skipped; the last is entered elsewhere.
    for (number, lstar, rip) in [
        (0x7b, RAM, RAM + 3),
        (0x7c, RAM, RAM + 3),
        (0x7d, RAM, PROGRAM),
        (0x7c, RAM + 8, RAM + 3),
    ] {
        let cpu = cpu(&mut machine);
        cpu.set_live(LiveRegister::Star, 0x0023_0010_0000_0000);
        cpu.set_live(LiveRegister::Lstar, lstar);
        cpu.set_live(LiveRegister::KernelGsBase, GS[1]);
        cpu.registers_mut()[gpr::RAX] = number;
        cpu.registers_mut()[gpr::RCX] = PROGRAM;
        cpu.registers_mut()[11] = INTERRUPT_FLAG | 2;
        let entered = [
            (guest::RIP, RAM),
            (guest::RFLAGS, 2),
            (guest::SS_ACCESS_RIGHTS, 0x93),
            (guest::CS_ACCESS_RIGHTS, 1 << 13 | 0x9b),
            (guest::GS_BASE, GS[0]),
            (ro::VMEXIT_INTERRUPTION_INFO, VALID | 6 << 8 | 3),
        ];
        set(&mut machine, &entered);
        machine.exit(0, reason::EXCEPTION_OR_NMI);
        assert_eq!(read(&machine, guest::RIP), rip, "{number:x}");
        let is_back = rip == PROGRAM;
        let level = read(&machine, guest::SS_ACCESS_RIGHTS) >> 5 & 3;
        assert_eq!(level, if is_back { 3 } else { 0 });
        assert_eq!(read(&machine, guest::GS_BASE), GS[usize::from(!is_back)]);
        let flags = if is_back { INTERRUPT_FLAG | 2 } else { 2 };
        assert_eq!(read(&machine, guest::RFLAGS), flags);
    }
    assert_eq!((machine.hits(counts), machine.hits(skips)), (1, 1));
}

#[test]
fn a_core_that_leaves_its_guest_all_the_time_polls_the_line_all_the_same() {
    let mut machine = Machine::new();
    machine.shared.poll.set_on(true);
    machine.exit(0, reason::PREEMPTION_TIMER);
    let interval = read(&machine, guest::VMX_PREEMPTION_TIMER_VALUE);
    assert_eq!(interval, machine.shared.poll.interval_ticks());
    for exits in 1..=4 {
        machine.cores[0].cpu.tsc += interval / 4;
        instruction(&mut machine, reason::CPUID);
        let left = read(&machine, guest::VMX_PREEMPTION_TIMER_VALUE);
        assert_eq!(left, interval - exits * (interval / 4));
    }
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert_eq!(read(&machine, guest::VMX_PREEMPTION_TIMER_VALUE), interval);
}

#[test]
fn an_event_that_a_script_disables_costs_nothing_from_then_on() {
    let mut machine = Machine::new();
    let kind = TraceKind::Instrument;
    let event = install(&mut machine, counting(Trigger::Trace { kind }));
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(machine.traps(0));
    for (enabled, traps) in [(false, false), (true, true)] {
        let how = if enabled {
            EventChange::Enable
        } else {
            EventChange::Disable
        };
        assert!(machine.change(event, how));
        machine.exit(0, reason::PREEMPTION_TIMER);
        assert_eq!(machine.traps(0), traps);
    }
    // What was said last holds.
    machine.change(event, EventChange::Enable);
    machine.change(event, EventChange::Disable);
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(!machine.traps(0));
    assert!(!machine.change(EventId(9), EventChange::Disable));
}

#[test]
fn what_a_script_wants_while_a_core_is_missing_is_done_when_it_is_back() {
    let mut machine = Machine::with(|parts| parts.facts.tsc_khz = 0);
    let kind = TraceKind::Instrument;
    let event = install(&mut machine, counting(Trigger::Trace { kind }));
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(machine.change(event, EventChange::Disable));
    let timer = u64::from(reason::PREEMPTION_TIMER);
    cpu(&mut machine).vmwrite(ro::EXIT_REASON, timer);
    // The other core runs.
    let flow = exit::handle(&mut machine.cores[0]);
    assert_eq!(flow, Flow::Enter);
    assert!(machine.traps(0));
    machine.exit(0, reason::PREEMPTION_TIMER);
    assert!(!machine.traps(0));
}

#[test]
fn a_core_that_is_left_while_system_calls_are_watched_can_make_them() {
    let mut machine = Machine::new();
    let long = efer::LMA | efer::LME | efer::SCE;
    set(&mut machine, &[(guest::IA32_EFER_FULL, long)]);
    let by = SyscallBy::Bytes;
    watch(&mut machine, Trigger::Syscall { number: None, by });
    let call = [
        (guest::RIP, DRIVER),
        (ro::EXIT_REASON, u64::from(reason::VMCALL)),
    ];
    set(&mut machine, &call);
    let registers = cpu(&mut machine).registers_mut();
    registers[gpr::RAX] = hypercall::MAGIC;
    registers[gpr::RCX] = hypercall::LEAVE;
    registers[gpr::RSI] = TOKEN;
    // The other core waits for this one.
    machine.shared.departure.join(CoreId(1));
    assert_eq!(machine.handle(0), Flow::Leave);
    assert_eq!(read(&machine, guest::IA32_EFER_FULL), long);
}
