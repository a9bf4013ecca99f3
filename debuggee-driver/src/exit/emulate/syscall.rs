//! SYSCALL and SYSRET while they are watched: EFER.SCE is off, so they raise an invalid-opcode
//! exception, and are carried out here.
//!
//! They are recognised by the bytes at RIP, with whatever prefixes. Where those cannot be read, mode and range decide:
//! at level 3 it is a SYSCALL, on the page where the kernel enters a SYSRET.
//!
//! `!syscall entry` needs none of this: it is a hook where SYSCALL leads.

use crate::event::trigger::{BY_BYTES, BY_RANGE};
use crate::event::{Installed, TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::emulate::advance::advance_by;
use crate::exit::single::step;
use crate::exit::watchers::{serve_before, watched};
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, LiveRegister, PhysicalMemory, Ports, gpr};
use crate::shared::Shared;
use crate::vmx::control::efer;
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::privilege::cpl;
use crate::vmx::privilege::is_in_64_bit_mode;
use crate::vmx::segment::Segment;
use crate::vmx::syscall::{Before, Instruction};
use crate::vmx::{guest, interruptibility};
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};

const R11: usize = 11;

/// What stands at RIP.
struct Recognised {
    instruction: Instruction,
    len_bytes: u64,
    /// How that is known: `BY_BYTES`, `BY_RANGE`.
    detail: u64,
}

/// SYSCALL, and SYSRET to 64-bit code, as kernels and programs have them, in the order of bytes in memory.
const PLAIN: [(Instruction, u64, u64); 2] = [
    (Instruction::Syscall, SYSCALL_BYTES, 0x050f),
    (Instruction::Sysret64, SYSRET_BYTES, 0x07_0f48),
];
const SYSCALL_BYTES: u64 = 2;
const SYSRET_BYTES: u64 = 3;

fn recognise<P: Ports>(core: &Core<'_, P>) -> Option<Recognised> {
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
    let Some(at) = core.shared.translate(cpu, rip) else {
        let [syscall, sysret] = PLAIN;
        let (instruction, len_bytes, _) = if is_user { syscall } else { sysret };
        return in_range.then_some(Recognised {
            instruction,
            len_bytes,
            detail: BY_RANGE,
        });
    };
    let (instruction, len_bytes) = match plain(core.shared, at) {
        Some(found) => found,
        None => of_any_form(core, rip)?,
    };
    Some(Recognised {
        instruction,
        len_bytes,
        detail: BY_BYTES | if in_range { BY_RANGE } else { 0 },
    })
}

/// One of [`PLAIN`].
fn plain<P: Ports>(shared: &Shared<P>, at: GuestPhysical) -> Option<(Instruction, u64)> {
    const READ_BYTES: usize = 4;
    if at.offset() > PAGE_BYTES as usize - READ_BYTES {
        return None;
    }
    let mut bytes = [0; READ_BYTES];
    shared.memory.read(at.0, &mut bytes);
    let bytes = u64::from(u32::from_le_bytes(bytes));
    let is_start =
        |(_, len, value): &&(Instruction, u64, u64)| bytes & !(!0 << (8 * len)) == *value;
    let (instruction, len_bytes, _) = PLAIN.iter().find(is_start)?;
    Some((*instruction, *len_bytes))
}

/// The same with any prefixes, and across the end of a page.
#[cold]
#[inline(never)]
fn of_any_form<P: Ports>(core: &Core<'_, P>, rip: u64) -> Option<(Instruction, u64)> {
    let it = step::instruction_at(core, rip)?;
    let instruction = if it.is_syscall() {
        Instruction::Syscall
    } else if it.is_sysret() && it.wide {
        Instruction::Sysret64
    } else if it.is_sysret() {
        Instruction::Sysret32
    } else {
        return None;
    };
    Some((instruction, u64::from(it.len)))
}

/// An invalid-opcode exception. `None`: it is the guest's own.
pub(in crate::exit) fn on_undefined_opcode<P: Ports>(core: &mut Core<'_, P>) -> Option<Outcome> {
    let sce = core.shared.published.efer(core.id, &core.cpu) & efer::SCE != 0;
    if !core.shared.published.hides_sce(core.id) || !sce || !is_in_64_bit_mode(&core.cpu) {
        return None;
    }
    let Recognised {
        instruction,
        len_bytes,
        detail,
    } = recognise(core)?;
    let is_syscall = instruction == Instruction::Syscall;
    if !is_syscall && cpl(&core.cpu) != 0 {
        // That SYSRET is on is looked at first, then who runs it.
        return Some(Outcome::Inject(GENERAL_PROTECTION));
    }
    let trigger = if is_syscall {
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
    let outcome = watched(core, trigger, |core| {
        let next_rip = core.cpu.vmread(guest::RIP).wrapping_add(len_bytes);
        carry_out(core, instruction, next_rip)
    });
    // The exit reports no length; only what is skipped needs one.
    Some(match outcome {
        Outcome::Advance => {
            advance_by(core, len_bytes);
            Outcome::Moved
        }
        other => other,
    })
}

/// Whether the kernel begins at `rip` after SYSCALL, and somebody waits for that.
pub(in crate::exit) fn is_entry<P: Ports>(core: &Core<'_, P>, rip: u64) -> bool {
    let is_awaited = core.seat.read(Installed::has_syscall_entries);
    is_awaited && core.cpu.live(LiveRegister::Lstar) == rip
}

/// Serves who waits for the kernel to be entered. `None`: its first instruction runs.
pub(in crate::exit) fn on_entry<P: Ports>(core: &mut Core<'_, P>) -> Option<Outcome> {
    let trigger = TriggerInstance::new(TriggerKind::SyscallEntry, core.cpu.registers()[gpr::RAX]);
    // Hooks of this instruction were served before: they must not be served again.
    match serve_before(core, &trigger, Nature::TrapLike) {
        Verdict::Complete => None,
        Verdict::Retry => Some(Outcome::Stay),
        // Back to the program, as if the system call had been served.
        Verdict::Skip => Some(carry_out(core, Instruction::Sysret64, 0)),
    }
}

/// Carries it out; SYSCALL remembers `next_rip`.
fn carry_out<P: Ports>(core: &mut Core<'_, P>, instruction: Instruction, next_rip: u64) -> Outcome {
    let cpu = &mut core.cpu;
    let registers = cpu.registers();
    let before = Before {
        next_rip,
        rflags: cpu.vmread(guest::RFLAGS),
        rcx: registers[gpr::RCX],
        r11: registers[R11],
        star: cpu.live(LiveRegister::Star),
        lstar: cpu.live(LiveRegister::Lstar),
        fmask: cpu.live(LiveRegister::Fmask),
        cr4: cpu.vmread(guest::CR4),
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
