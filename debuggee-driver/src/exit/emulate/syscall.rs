//! SYSCALL and SYSRET while they are watched: EFER.SCE is off, so they raise an invalid-opcode
//! exception, and are carried out here.
//!
//! They are recognised by the bytes at RIP. Where those cannot be read, mode and range decide:
//! at level 3 it is a SYSCALL, on the page where the kernel enters a SYSRET.
//!
//! `!syscall entry` needs none of this: it is a hook where SYSCALL leads.

use crate::event::trigger::{BY_BYTES, BY_RANGE};
use crate::event::{Installed, TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::watchers::{serve_before, watched};
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, LiveRegister, Ports, gpr};
use crate::shared::Shared;
use crate::vmx::control::efer;
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::privilege::cpl;
use crate::vmx::privilege::is_in_64_bit_mode;
use crate::vmx::segment::Segment;
use crate::vmx::syscall::{Before, Instruction, SYSCALL_BYTES};
use crate::vmx::{guest, interruptibility};
use wire_protocol::address::PAGE_BYTES;

const R11: usize = 11;

/// What stands at RIP, and how that is known: `BY_BYTES`, `BY_RANGE`.
fn recognise<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>) -> Option<(Instruction, u64)> {
    let cpu = &core.cpu;
    let rip = cpu.vmread(guest::RIP);
    let is_user = cpl(cpu) == 3;
    let entry = cpu.live(LiveRegister::Lstar) & !(PAGE_BYTES - 1);
    let in_range = if is_user {
        rip >> 47 == 0
    } else {
        // The code that leaves the kernel follows the code that enters it.
        rip.wrapping_sub(entry) < 2 * PAGE_BYTES
    };
    let by_range = if in_range { BY_RANGE } else { 0 };
    let byte = |index| {
        let at = shared.translate(cpu, rip.wrapping_add(index))?;
        Some(shared.read_byte(at))
    };
    let Some(first) = byte(0) else {
        let instruction = if is_user {
            Instruction::Syscall
        } else {
            Instruction::Sysret64
        };
        return in_range.then_some((instruction, BY_RANGE));
    };
    let bytes = [first, byte(1).unwrap_or(0), byte(2).unwrap_or(0)];
    let instruction = Instruction::of(bytes)?;
    // At level 3 SYSRET is forbidden.
    let is_allowed = !is_user || instruction == Instruction::Syscall;
    is_allowed.then_some((instruction, BY_BYTES | by_range))
}

/// An invalid-opcode exception. `None`: it is the guest's own.
pub(in crate::exit) fn on_undefined_opcode<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
) -> Option<Outcome> {
    let sce = shared.published.efer(core.id, &core.cpu) & efer::SCE != 0;
    if !shared.published.hides_sce(core.id) || !sce || !is_in_64_bit_mode(&core.cpu) {
        return None;
    }
    let (instruction, detail) = recognise(core, shared)?;
    let trigger = if instruction == Instruction::Syscall {
        let number = core.cpu.registers()[gpr::RAX];
        TriggerInstance {
            detail,
            ..TriggerInstance::new(TriggerKind::Syscall, number)
        }
    } else {
        TriggerInstance {
            detail,
            context: core.cpu.vmread(guest::RIP),
            ..TriggerInstance::new(TriggerKind::Sysret, 0)
        }
    };
    let outcome = watched(core, shared, trigger, |core| carry_out(core, instruction));
    // The exit reports no length; only what is skipped needs one.
    Some(match outcome {
        Outcome::Advance => {
            skip(&mut core.cpu, instruction);
            Outcome::Moved
        }
        other => other,
    })
}

/// Whether the kernel begins at `rip` after SYSCALL, and somebody waits for that.
pub(in crate::exit) fn is_entry<C: Cpu>(core: &Core<C>, rip: u64) -> bool {
    let is_awaited = core.seat.read(Installed::has_syscall_entries);
    is_awaited && core.cpu.live(LiveRegister::Lstar) == rip
}

/// Serves who waits for the kernel to be entered. `None`: its first instruction runs.
pub(in crate::exit) fn on_entry<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
) -> Option<Outcome> {
    let trigger = TriggerInstance::new(TriggerKind::SyscallEntry, core.cpu.registers()[gpr::RAX]);
    // Hooks of this instruction were served before: they must not be served again.
    match serve_before(core, shared, &trigger, Nature::TrapLike) {
        Verdict::Complete => None,
        Verdict::Retry => Some(Outcome::Stay),
        // Back to the program, as if the system call had been served.
        Verdict::Skip => Some(carry_out(core, Instruction::Sysret64)),
    }
}

/// Goes behind an instruction that is not carried out.
fn skip(cpu: &mut impl Cpu, instruction: Instruction) {
    let length = match instruction {
        Instruction::Syscall | Instruction::Sysret32 => SYSCALL_BYTES,
        Instruction::Sysret64 => SYSCALL_BYTES + 1,
    };
    let rip = cpu.vmread(guest::RIP);
    cpu.vmwrite(guest::RIP, rip.wrapping_add(length));
}

fn carry_out<C: Cpu>(core: &mut Core<C>, instruction: Instruction) -> Outcome {
    let cpu = &mut core.cpu;
    let registers = cpu.registers();
    let before = Before {
        next_rip: cpu.vmread(guest::RIP).wrapping_add(SYSCALL_BYTES),
        rflags: cpu.vmread(guest::RFLAGS),
        rcx: registers[gpr::RCX],
        r11: registers[R11],
        star: cpu.live(LiveRegister::Star),
        lstar: cpu.live(LiveRegister::Lstar),
        fmask: cpu.live(LiveRegister::Fmask),
    };
    let Some(after) = before.run(instruction) else {
        return Outcome::Inject(GENERAL_PROTECTION);
    };
    if let Some((rcx, r11)) = after.saved {
        let registers = cpu.registers_mut();
        registers[gpr::RCX] = rcx;
        registers[R11] = r11;
    }
    cpu.vmwrite(guest::RIP, after.rip);
    cpu.vmwrite(guest::RFLAGS, after.rflags);
    load(
        cpu,
        [
            guest::CS_SELECTOR,
            guest::CS_BASE,
            guest::CS_LIMIT,
            guest::CS_ACCESS_RIGHTS,
        ],
        &after.cs,
    );
    load(
        cpu,
        [
            guest::SS_SELECTOR,
            guest::SS_BASE,
            guest::SS_LIMIT,
            guest::SS_ACCESS_RIGHTS,
        ],
        &after.ss,
    );
    if cpu.vmread(guest::INTERRUPTIBILITY_STATE) & interruptibility::SHADOW != 0 {
        core.due |= Due::RETIRED;
    }
    Outcome::Moved
}

fn load(cpu: &mut impl Cpu, fields: [u32; 4], segment: &Segment) {
    let values = [
        u64::from(segment.selector),
        segment.base,
        u64::from(segment.limit),
        u64::from(segment.access_rights),
    ];
    for (field, value) in fields.into_iter().zip(values) {
        cpu.vmwrite(field, value);
    }
}
