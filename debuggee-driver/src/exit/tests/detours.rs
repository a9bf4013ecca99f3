//! Exits of cores that are inside a detour, that come out of one, or that change views on their own.

use super::machine::{DRIVER, Machine, RAM};
use super::on_a_large_stack;
use crate::event::detour::{Code, Site, ViewList};
use crate::event::plan::Facts as EventFacts;
use crate::exit::{Flow, hypercall};
use crate::hit::detour::{FRAME_WORDS, READ_REGISTER, StubRequest, WRITE_REGISTER};
use crate::port::{Cpu, PhysicalMemory, gpr};
use crate::shared::TrampolineView;
use crate::vmx::{control_field, guest, reason, ro};
use wire_protocol::address::{Extent, GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::event::{Actions, Settings, TraceKind, Trigger};
use wire_protocol::register::Register;

const EPTP: u64 = 0x7000_001e;
const LISTS: [u64; 2] = [0x7100_0000, 0x7100_1000];
/// A byte per core.
const DEFERRED: u64 = RAM + 0x20_0000;
/// Where the stub laid the guest's registers down.
const FRAME: u64 = RAM + 0x30_0000;
/// Where detours lead, and a function that has one.
const PLACES: u64 = RAM + 0x50_0000;
const FUNCTION: u64 = RAM + 0x60_0000;
const UNDEFINED_OPCODE: u64 = 1 << 31 | 3 << 8 | 6;

fn trampoline() -> TrampolineView {
    let part = |offset, len_bytes| Extent::new(GuestVirtual(DRIVER + offset), len_bytes);
    TrampolineView {
        eptp: EPTP,
        lists: LISTS,
        deferred: DEFERRED,
        stub: [part(0x100, 0x80), part(0x800, 0x100)].map(Option::unwrap),
    }
}

fn machine() -> Machine {
    Machine::with(|parts| parts.fixed.trampoline = Some(trampoline()))
}

/// A machine that has a detour.
fn machine_with_detour() -> Machine {
    let mut machine = machine();
    let page = |page: u64| PLACES + page * PAGE_BYTES;
    let site = Site {
        linear: GuestVirtual(PLACES),
        stub: GuestVirtual(PLACES + 0x1_0000),
        pages: core::array::from_fn(|index| page(index as u64)),
        lists: LISTS.map(|at| ViewList { at, views: [0; 2] }),
    };
    machine.edit(|installed| installed.place_detours(site));
    let at = GuestVirtual(FUNCTION);
    let mut bytes = [0; 15];
    // MOV EAX, imm32; RET
    bytes[..6].copy_from_slice(&[0xb8, 1, 2, 3, 4, 0xc3]);
    let facts = EventFacts {
        hook: Some(GuestPhysical(FUNCTION)),
        code: Some(Code { at, bytes, len: 6 }),
        range: None,
        owner: None,
    };
    let mut settings = Settings::new(Trigger::EptHook2 { address: at });
    settings.actions = Actions::empty();
    machine.install(settings, facts);
    machine
}

/// A machine whose core 0 is inside, in the driver's code.
fn inside() -> Machine {
    let mut machine = machine_with_detour();
    machine.set_rip(0, DRIVER + 0x10);
    let cpu = &mut machine.cores[0].cpu;
    cpu.vmwrite(control_field::EPTP_FULL, EPTP);
    cpu.vmwrite(ro::VMEXIT_INSTRUCTION_LEN, 3);
    machine
}

fn field(machine: &Machine, field: u32) -> u64 {
    machine.cores[0].cpu.vmread(field)
}

fn is_inside(machine: &Machine) -> bool {
    field(machine, control_field::EPTP_FULL) == EPTP
}

fn injected(machine: &Machine) -> u64 {
    field(machine, control_field::VMENTRY_INTERRUPTION_INFO_FIELD)
}

fn is_deferred(machine: &Machine) -> bool {
    let mut byte = [0];
    machine.shared.memory.read(DEFERRED, &mut byte);
    byte[0] != 0
}

fn set(machine: &mut Machine, registers: &[(usize, u64)]) {
    for (register, value) in registers {
        machine.cores[0].cpu.registers_mut()[*register] = *value;
    }
}

#[test]
fn a_vmfunc_of_the_guest_faults_as_without_a_hypervisor() {
    on_a_large_stack(|| {
        let mut machine = machine();
        machine.place_code(RAM, &[0x90, 0x0f, 0x01, 0xd4]);
        // There is no detour: the list is empty, and the instruction exits.
        machine.set_rip(0, RAM + 1);
        set(&mut machine, &[(gpr::RCX, 1)]);
        machine.exit(0, reason::VMFUNC);
        assert_eq!(injected(&machine), UNDEFINED_OPCODE);
        assert!(!is_inside(&machine));
        // There is one: the core is in the trampoline view, where it can execute nothing.
        let mut machine = machine_with_detour();
        machine.place_code(RAM, &[0x90, 0x0f, 0x01, 0xd4]);
        machine.cores[0].cpu.vmwrite(control_field::EPTP_FULL, EPTP);
        machine.set_rip(0, RAM + 4);
        machine.exit(0, reason::EPT_VIOLATION);
        assert_eq!(injected(&machine), UNDEFINED_OPCODE);
        assert_eq!(field(&machine, guest::RIP), RAM + 1);
        machine.assert_all_watched();
        // At an interrupt that came right after it, it did nothing.
        machine.cores[0].cpu.vmwrite(control_field::EPTP_FULL, EPTP);
        machine.set_rip(0, RAM + 0x100);
        machine.exit(0, reason::EPT_VIOLATION);
        assert_eq!(injected(&machine), 0);
        assert_eq!(field(&machine, guest::RIP), RAM + 0x100);
        machine.assert_all_watched();
        assert!(!is_deferred(&machine));
    });
}

#[test]
fn user_mode_is_not_the_stub() {
    on_a_large_stack(|| {
        let mut machine = inside();
        machine.cores[0]
            .cpu
            .vmwrite(guest::SS_ACCESS_RIGHTS, 3 << 5);
        machine.exit(0, reason::EPT_VIOLATION);
        machine.assert_all_watched();
    });
}

#[test]
fn no_core_changes_views_where_no_detour_ever_was() {
    on_a_large_stack(|| {
        let mut machine = machine();
        machine.set_rip(0, DRIVER + 0x10);
        set(&mut machine, &[(gpr::RCX, 1)]);
        machine.exit(0, reason::VMFUNC);
        assert_eq!(injected(&machine), UNDEFINED_OPCODE);
        machine.assert_all_watched();
    });
}

#[test]
fn what_comes_inside_is_put_off_until_the_core_is_out() {
    on_a_large_stack(|| {
        let mut machine = inside();
        machine.nmi(0);
        machine.exit(0, reason::PREEMPTION_TIMER);
        assert!(is_inside(&machine) && is_deferred(&machine));
        assert_eq!(injected(&machine), 0);
        assert_eq!(field(&machine, guest::RIP), DRIVER + 0x10);
        // The list was emptied meanwhile: the stub's way out is taken for it.
        machine.exit(0, reason::VMFUNC);
        assert_eq!(field(&machine, guest::RIP), DRIVER + 0x13);
        assert!(!is_inside(&machine) && is_deferred(&machine));
        // It calls, and gets the guest's registers from the frame, and the guest its NMI.
        let words: [u64; FRAME_WORDS] = core::array::from_fn(|word| 0x1000 + word as u64);
        for (at, word) in (FRAME..).step_by(8).zip(words) {
            machine.shared.memory.clone().write_u64(at, word);
        }
        machine.cores[0].cpu.vmwrite(guest::RSP, FRAME);
        let wish = StubRequest::Nothing.encode();
        let call = [
            (gpr::RAX, hypercall::MAGIC),
            (gpr::RCX, hypercall::FINISH_DETOUR),
            (gpr::RDX, wish),
        ];
        set(&mut machine, &call);
        machine.exit(0, reason::VMCALL);
        assert!(!is_deferred(&machine));
        assert_eq!(machine.cores[0].cpu.registers()[..], words[..16]);
        assert_eq!(field(&machine, guest::RIP), words[16]);
        assert_eq!(field(&machine, guest::RFLAGS), words[18]);
        assert_eq!(field(&machine, guest::RSP), words[19]);
        assert_eq!(injected(&machine) & 0x7ff, 2 << 8 | 2);
    });
}

#[test]
fn what_comes_on_the_way_out_is_put_off_until_the_guest_is_back() {
    on_a_large_stack(|| {
        for stub in [0x100, 0x17f, 0x800] {
            let mut machine = machine_with_detour();
            machine.set_rip(0, DRIVER + stub);
            machine.nmi(0);
            assert_eq!(injected(&machine), 0);
            assert!(machine.traps(0) && !is_deferred(&machine));
            machine.exit(0, reason::MONITOR_TRAP_FLAG);
            assert!(machine.traps(0));
            assert_eq!(injected(&machine), 0);
            machine.set_rip(0, RAM);
            machine.exit(0, reason::MONITOR_TRAP_FLAG);
            assert!(!machine.traps(0));
            assert_eq!(injected(&machine) & 0x7ff, 2 << 8 | 2);
        }
        // Elsewhere in the driver's code it is as everywhere.
        let mut machine = machine_with_detour();
        machine.set_rip(0, DRIVER + 0x180);
        machine.nmi(0);
        assert_eq!(injected(&machine) & 0x7ff, 2 << 8 | 2);
        assert!(!machine.traps(0));
    });
}

#[test]
fn what_comes_on_the_way_in_is_put_off_until_the_core_is_out() {
    on_a_large_stack(|| {
        let mut machine = machine_with_detour();
        machine.set_rip(0, DRIVER + 0x100);
        machine.nmi(0);
        let cpu = &mut machine.cores[0].cpu;
        cpu.vmwrite(control_field::EPTP_FULL, EPTP);
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        assert!(!machine.traps(0) && is_deferred(&machine));
        assert_eq!(injected(&machine), 0);
    });
}

#[test]
fn a_traced_core_runs_on_inside_and_is_traced_again_behind_it() {
    on_a_large_stack(|| {
        let mut machine = machine_with_detour();
        let kind = TraceKind::Instrument;
        let mut settings = Settings::new(Trigger::Trace { kind });
        settings.actions = Actions::empty();
        let event = machine.install(settings, EventFacts::default());
        machine.exit(0, reason::PREEMPTION_TIMER);
        for step in 1..=3 {
            machine.set_rip(0, RAM + step);
            machine.exit(0, reason::MONITOR_TRAP_FLAG);
            assert!(machine.traps(0) && machine.hits(event) == step);
        }
        assert!(machine.traps(0) && !is_inside(&machine));
        // VMFUNC brought it in, without an exit but for the trap behind it.
        machine.set_rip(0, DRIVER + 0x10);
        let cpu = &mut machine.cores[0].cpu;
        cpu.vmwrite(control_field::EPTP_FULL, EPTP);
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        assert!(!machine.traps(0) && is_inside(&machine) && is_deferred(&machine));
        // It calls as it comes out.
        machine.cores[0].cpu.vmwrite(guest::RSP, FRAME);
        let call = [
            (gpr::RAX, hypercall::MAGIC),
            (gpr::RCX, hypercall::FINISH_DETOUR),
            (gpr::RDX, StubRequest::Nothing.encode()),
        ];
        set(&mut machine, &call);
        machine.exit(0, reason::VMCALL);
        assert!(machine.traps(0) && !is_inside(&machine));
        let hits = machine.hits(event);
        machine.set_rip(0, RAM + 0x10);
        machine.exit(0, reason::MONITOR_TRAP_FLAG);
        assert!(machine.traps(0) && machine.hits(event) == hits + 1);
    });
}

#[test]
fn a_script_inside_reads_and_writes_what_only_vmx_root_can() {
    on_a_large_stack(|| {
        let mut machine = inside();
        machine.cores[0].cpu.vmwrite(guest::CR0, 0x8005_0013);
        let read = [
            (gpr::RAX, hypercall::MAGIC),
            (gpr::RCX, READ_REGISTER),
            (gpr::RDX, Register::Cr0 as u64),
        ];
        set(&mut machine, &read);
        machine.exit(0, reason::VMCALL);
        assert_eq!(machine.cores[0].cpu.registers()[gpr::RAX], 0x8005_0013);
        assert_eq!(field(&machine, guest::RIP), DRIVER + 0x13);
        let write = [
            (gpr::RAX, hypercall::MAGIC),
            (gpr::RCX, WRITE_REGISTER),
            (gpr::RDX, Register::Dr7 as u64),
            (gpr::RSI, 0x401),
        ];
        set(&mut machine, &write);
        machine.exit(0, reason::VMCALL);
        assert_eq!(machine.cores[0].cpu.registers()[gpr::RAX], 1);
        assert_eq!(field(&machine, guest::DR7), 0x401);
        assert!(is_inside(&machine));
    });
}

#[test]
fn a_fault_of_the_debugger_inside_is_told() {
    on_a_large_stack(|| {
        let mut machine = inside();
        let cpu = &mut machine.cores[0].cpu;
        cpu.vmwrite(ro::EXIT_REASON, u64::from(reason::EPT_VIOLATION));
        let flow = machine.handle(0);
        assert!(matches!(flow, Flow::Dead(_)), "{flow:?}");
    });
}
