//! Instructions in forms that are rare: with prefixes, at their longest, across a page's end, in segments with a base.

use super::events::{
    ENTRY_INFO, HARDWARE, INTERRUPT_FLAG, VALID, counting, cpu, install, read, set, watch,
};
use super::machine::{Machine, RAM};
use super::on_a_large_stack;
use crate::port::{Cpu, LiveRegister, gpr};
use crate::vmx::control::efer;
use crate::vmx::{control_field, guest, interruptibility, reason, ro};
use wire_protocol::address::EventId;
use wire_protocol::event::{SyscallBy, Trigger};

const BREAKPOINT: u64 = VALID | 6 << 8 | 3;
const LONG_CODE: u64 = 1 << 13;
const USER_STACK: u64 = 0xf3;
const SINGLE_STEP: u64 = 1 << 8;
const LENGTH_MAX: u64 = 15;

/// The core exits for an INT3 of `len_bytes` at `rip`.
fn breakpoint(machine: &mut Machine, rip: u64, len_bytes: u64) {
    let exit = [
        (guest::RIP, rip),
        (ro::VMEXIT_INTERRUPTION_INFO, BREAKPOINT),
        (ro::VMEXIT_INSTRUCTION_LEN, len_bytes),
    ];
    set(machine, &exit);
    machine.exit(0, reason::EXCEPTION_OR_NMI);
}

/// The guest gets its breakpoint where it stands.
fn assert_given_back(machine: &Machine, rip: u64, len_bytes: u64) {
    assert_eq!(read(machine, ENTRY_INFO), BREAKPOINT, "{rip:x}");
    let length = read(machine, control_field::VMENTRY_INSTRUCTION_LEN);
    assert_eq!((read(machine, guest::RIP), length), (rip, len_bytes));
    assert!(!machine.traps(0));
}

#[test]
fn a_breakpoint_of_the_guests_is_given_back_with_any_prefix() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let hook = machine.hook(RAM + 0x800);
        let vector = Some(3);
        let watched = watch(&mut machine, Trigger::Exception { vector });
        let end = RAM + 0x1000;
        let longest = [0x66; LENGTH_MAX as usize - 1];
        let forms: [&[u8]; 5] = [&[], &[0x2e], &[0x66, 0xf3], &[0x48], &longest];
        for (hits, prefixes) in (1..).zip(forms) {
            let code = [prefixes, &[0xcc]].concat();
            let rip = end - 1;
            machine.place_code(rip, &code);
            let behind_mov_ss = (guest::INTERRUPTIBILITY_STATE, interruptibility::MOV_SS);
            set(&mut machine, &[behind_mov_ss]);
            breakpoint(&mut machine, rip, code.len() as u64);
            assert_given_back(&machine, rip, code.len() as u64);
            assert_eq!(machine.hits(watched), hits);
        }
        assert_eq!(machine.hits(hook), 0);
        machine.assert_all_watched();
    });
}

#[test]
fn a_hook_behind_prefixes_is_no_opcode_and_no_hit() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        // ENDBR64, with a hook at its second byte: the processor takes it for REP INT3.
        machine.place_code(RAM, &[0xf3, 0x0f, 0x1e, 0xfa]);
        let hook = machine.hook(RAM + 1);
        breakpoint(&mut machine, RAM, 2);
        assert_eq!(read(&machine, ENTRY_INFO), 0);
        assert!(machine.traps(0));
        machine.run(0, &[], RAM + 4);
        assert_eq!(machine.hits(hook), 0);
        machine.assert_all_watched();
    });
}

#[test]
fn a_breakpoint_whose_byte_has_gone_is_tried_again_and_not_for_ever() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        machine.place_code(RAM, &[0x90]);
        for _ in 0..2 {
            breakpoint(&mut machine, RAM, 1);
            assert_eq!(read(&machine, ENTRY_INFO), 0);
        }
        breakpoint(&mut machine, RAM, 1);
        assert_given_back(&machine, RAM, 1);
    });
}

#[test]
fn code_in_a_segment_with_a_base_is_found_where_it_is() {
    on_a_large_stack(|| {
        const OFFSET: u64 = 0xffff_f000;
        let mut machine = Machine::new();
        let hook = machine.hook(RAM + 0x40);
        // The sum has 32 bits.
        let base = RAM.wrapping_sub(OFFSET) & 0xffff_ffff;
        let segment = [
            (guest::CS_ACCESS_RIGHTS, 0xc0fb),
            (guest::CS_BASE, base),
            (guest::SS_ACCESS_RIGHTS, USER_STACK),
        ];
        set(&mut machine, &segment);
        machine.place_code(RAM, &[0x2e, 0xcc]);
        breakpoint(&mut machine, OFFSET, 2);
        assert_given_back(&machine, OFFSET, 2);
        // As the guest's own offset the address of the hook is none.
        breakpoint(&mut machine, OFFSET + 0x40, 1);
        assert_eq!(machine.hits(hook), 1);
        assert!(machine.traps(0));
    });
}

#[test]
fn what_is_carried_out_at_the_end_of_32_bits_goes_on_where_the_processor_would() {
    let mut machine = Machine::new();
    let last = 0xffff_fffe;
    // 32-bit code wraps; 64-bit code does not.
    for (rights, next) in [(0xc0fb, 0), (LONG_CODE, 1_u64 << 32)] {
        let exit = [
            (guest::CS_ACCESS_RIGHTS, rights),
            (guest::RIP, last),
            (ro::VMEXIT_INSTRUCTION_LEN, 2),
        ];
        set(&mut machine, &exit);
        machine.exit(0, reason::CPUID);
        assert_eq!(read(&machine, guest::RIP), next);
    }
}

#[test]
fn instructions_are_as_long_as_the_exit_says() {
    let mut machine = Machine::new();
    let exits = [
        (reason::CPUID, 0),
        (reason::INVD, 0),
        // CLTS, LMSW of 1, MOV CR0 from RAX.
        (reason::CR_ACCESS, 0x20),
        (reason::CR_ACCESS, 0x1_0030),
        (reason::XSETBV, 0),
        (reason::WRMSR, 0),
        (reason::RDMSR, 0),
    ];
    for (number, qualification) in exits {
        for len_bytes in [2, 3, 7, LENGTH_MAX] {
            let registers = cpu(&mut machine).registers_mut();
            registers[gpr::RCX] = match number {
                reason::WRMSR | reason::RDMSR => u64::from(crate::vmx::TSC_DEADLINE),
                _ => 0,
            };
            let exit = [
                (guest::RIP, RAM + 0xffc),
                (guest::CR0, 0x8000_0031),
                (guest::CR4, 0x20),
                (ro::EXIT_QUALIFICATION, qualification),
                (ro::VMEXIT_INSTRUCTION_LEN, len_bytes),
            ];
            set(&mut machine, &exit);
            machine.exit(0, number);
            let is_faulted = read(&machine, ENTRY_INFO) == HARDWARE | 1 << 11 | 13;
            if number == reason::XSETBV && is_faulted {
                // The fake processor has no state components.
                continue;
            }
            assert_eq!(
                read(&machine, guest::RIP),
                RAM + 0xffc + len_bytes,
                "{number}"
            );
        }
    }
}

/// A machine on which system calls are watched, and the exit that one of a program at `rip` makes.
fn with_calls() -> (Machine, [EventId; 2]) {
    let mut machine = Machine::new();
    let long = efer::LMA | efer::LME | efer::SCE;
    set(&mut machine, &[(guest::IA32_EFER_FULL, long)]);
    let by = SyscallBy::Bytes;
    let calls = watch(&mut machine, Trigger::Syscall { number: None, by });
    let returns = watch(&mut machine, Trigger::Sysret { by });
    let cpu = cpu(&mut machine);
    cpu.set_live(LiveRegister::Star, 0x0023_0010_0000_0000);
    cpu.set_live(LiveRegister::Lstar, 0xffff_ffff_8200_0000);
    (machine, [calls, returns])
}

fn invalid(machine: &mut Machine, rip: u64, stack_rights: u64) {
    let exit = [
        (guest::RIP, rip),
        (guest::CS_ACCESS_RIGHTS, LONG_CODE),
        (guest::SS_ACCESS_RIGHTS, stack_rights),
        (ro::VMEXIT_INTERRUPTION_INFO, HARDWARE | 6),
        // Left over from another exit.
        (ro::VMEXIT_INSTRUCTION_LEN, 9),
    ];
    set(machine, &exit);
    machine.exit(0, reason::EXCEPTION_OR_NMI);
}

#[test]
fn a_system_call_with_prefixes_is_one_and_returns_behind_itself() {
    on_a_large_stack(|| {
        let (mut machine, [calls, _]) = with_calls();
        let longest = [0x2e; LENGTH_MAX as usize - 2];
        let forms: [&[u8]; 12] = [
            &[],
            &[0x66],
            &[0xf2],
            &[0xf3],
            &[0x2e],
            &[0x64],
            &[0x67],
            &[0x48],
            &[0x40],
            &[0x66, 0xf3, 0x65, 0x4f],
            // REX counts only right before the opcode, and is forgotten elsewhere.
            &[0x48, 0x66],
            &longest,
        ];
        for (hits, prefixes) in (1..).zip(forms) {
            let code = [prefixes, &[0x0f, 0x05]].concat();
            // The last byte is on the next page.
            let rip = RAM + 0x1000 - (code.len() as u64 - 1);
            machine.place_code(rip, &code);
            invalid(&mut machine, rip, USER_STACK);
            assert_eq!(machine.hits(calls), hits, "{code:x?}");
            assert_eq!(read(&machine, guest::RIP), 0xffff_ffff_8200_0000);
            let back = machine.cores[0].cpu.registers()[gpr::RCX];
            assert_eq!(back, rip + code.len() as u64, "{code:x?}");
        }
        // LOCK makes it invalid.
        machine.place_code(RAM, &[0xf0, 0x0f, 0x05]);
        invalid(&mut machine, RAM, USER_STACK);
        assert_eq!(read(&machine, ENTRY_INFO), HARDWARE | 6);
        assert_eq!(machine.hits(calls), forms.len() as u64);
    });
}

#[test]
fn a_skipped_system_call_is_skipped_as_a_whole() {
    on_a_large_stack(|| {
        let (mut machine, _) = with_calls();
        let by = SyscallBy::Bytes;
        let mut skips = counting(Trigger::Syscall { number: None, by });
        skips.options.short_circuit = true;
        install(&mut machine, skips);
        machine.place_code(RAM, &[0x66, 0x48, 0x0f, 0x05]);
        set(&mut machine, &[(guest::RFLAGS, 2 | SINGLE_STEP)]);
        invalid(&mut machine, RAM, USER_STACK);
        assert_eq!(read(&machine, guest::RIP), RAM + 4);
        // A program that steps by itself steps over it.
        let single_step = 1 << 14;
        assert_eq!(read(&machine, guest::PENDING_DBG_EXCEPTIONS), single_step);
    });
}

#[test]
fn a_return_in_user_mode_is_a_protection_fault() {
    on_a_large_stack(|| {
        let (mut machine, [_, returns]) = with_calls();
        let vector = Some(13);
        let faults = watch(&mut machine, Trigger::Exception { vector });
        let forms: [&[u8]; 3] = [
            &[0x48, 0x0f, 0x07],
            &[0x0f, 0x07],
            &[0x66, 0xf3, 0x48, 0x0f, 0x07],
        ];
        let protection = HARDWARE | 1 << 11 | 13;
        for (hits, code) in (1..).zip(forms) {
            machine.place_code(RAM, code);
            invalid(&mut machine, RAM, USER_STACK);
            assert_eq!(read(&machine, ENTRY_INFO), protection, "{code:x?}");
            assert_eq!(read(&machine, guest::RIP), RAM);
            assert_eq!((machine.hits(faults), machine.hits(returns)), (hits, 0));
        }
        // The kernel's leads to the program, or faults before it does.
        let kernel_stack = 0x93;
        cpu(&mut machine).registers_mut()[gpr::RCX] = 0x40_1000;
        invalid(&mut machine, RAM, kernel_stack);
        assert_eq!(read(&machine, guest::RIP), 0x40_1000);
        cpu(&mut machine).registers_mut()[gpr::RCX] = 1 << 47;
        invalid(&mut machine, RAM, kernel_stack);
        assert_eq!(read(&machine, ENTRY_INFO), protection);
        assert_eq!((machine.hits(faults), machine.hits(returns)), (4, 2));
    });
}

#[test]
fn a_debug_exception_behind_sti_can_be_given_back_while_the_guest_steps() {
    let mut machine = Machine::new();
    let vector = Some(1);
    let event = watch(&mut machine, Trigger::Exception { vector });
    let single_step = 1 << 14;
    for (flags, blocking, pending) in [
        (SINGLE_STEP, interruptibility::STI, single_step),
        (SINGLE_STEP, interruptibility::MOV_SS, single_step),
        (SINGLE_STEP, 0, 0),
        (0, interruptibility::STI, 0),
    ] {
        let exit = [
            (guest::RIP, RAM),
            (guest::RFLAGS, 2 | INTERRUPT_FLAG | flags),
            (guest::INTERRUPTIBILITY_STATE, blocking),
            (guest::PENDING_DBG_EXCEPTIONS, 0),
            (ro::EXIT_QUALIFICATION, single_step),
            (ro::VMEXIT_INTERRUPTION_INFO, HARDWARE | 1),
        ];
        set(&mut machine, &exit);
        machine.exit(0, reason::EXCEPTION_OR_NMI);
        assert_eq!(read(&machine, ENTRY_INFO), HARDWARE | 1);
        assert_eq!(read(&machine, guest::PENDING_DBG_EXCEPTIONS), pending);
    }
    assert_eq!(machine.hits(event), 4);
}
