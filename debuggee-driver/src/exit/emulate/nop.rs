//! Hooked instructions that need no step: those that do nothing, and SWAPGS.
//!
//! Compilers put one of the first kind at the start of a function, for tracing and for control-flow
//! enforcement, and that is where most hooks are; kernels begin with the other. Called by
//! `exception`, in VMX-root.

use crate::exit::core::Core;
use crate::exit::emulate::advance::advance_by;
use crate::port::{Cpu, LiveRegister, PhysicalMemory, Ports};
use crate::vmx::privilege::{is_64_bit_code, is_kernel};
use crate::vmx::{guest, rflags};
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};

/// Control-flow enforcement: the processor remembers that ENDBR64 came.
const CR4_CET: u64 = 1 << 23;

/// Instructions that change nothing but RIP, as the eight bytes from their start: length, and value
/// of as many bytes. The recommended ones ("NOP") and ENDBR64; the most frequent first.
const FORMS: [(u32, u64); 9] = [
    (5, 0x0000_0044_1f0f),
    (4, 0xfa1e_0ff3),
    (1, 0x90),
    (2, 0x9066),
    (3, 0x00_1f0f),
    (4, 0x0040_1f0f),
    (6, 0x0000_441f_0f66),
    (7, 0x0000_0000_0080_1f0f),
    (8, 0x0000_0000_0084_1f0f),
];

/// As the first of eight bytes; an exception anywhere but in 64-bit mode at level 0.
const SWAPGS: u64 = 0xf8_010f;
const SWAPGS_BYTES: u64 = 3;
const SWAPGS_MASK: u64 = 0xff_ffff;

/// Length of the instruction that `bytes` begin with, if it is one of [`FORMS`].
fn length(bytes: u64) -> Option<u64> {
    let is_start = |(len, value): &&(u32, u64)| bytes << (64 - 8 * len) == value << (64 - 8 * len);
    let (len, _) = FORMS.iter().find(is_start)?;
    Some(u64::from(*len))
}

/// Carries out the hooked instruction at `at`, where RIP is `rip`, and goes behind it, if that is simple. Not if the guest
/// could tell the difference: what else is due at its end, the processor does.
pub(in crate::exit) fn carry_out<P: Ports>(
    core: &mut Core<'_, P>,
    at: GuestPhysical,
    rip: u64,
) -> bool {
    let is_on_one_page = at.offset() as u64 <= PAGE_BYTES - 8;
    // With addresses of 16 bits a NOP of the same bytes may be shorter.
    let is_known = is_on_one_page && is_64_bit_code(&core.cpu, rip);
    if core.single.is_busy() || !is_known {
        return false;
    }
    let mut bytes = [0; 8];
    core.shared.memory.read(at.0, &mut bytes);
    let bytes = u64::from_le_bytes(bytes);
    let cpu = &mut core.cpu;
    let nop_bytes = length(bytes);
    let swaps = nop_bytes.is_none() && bytes & SWAPGS_MASK == SWAPGS && is_kernel(cpu);
    let Some(len_bytes) = nop_bytes.or(swaps.then_some(SWAPGS_BYTES)) else {
        return false;
    };
    if cpu.vmread(guest::RFLAGS) & (rflags::TF | rflags::RF) != 0
        || cpu.vmread(guest::CR4) & CR4_CET != 0
    {
        return false;
    }
    if swaps {
        let base = cpu.vmread(guest::GS_BASE);
        cpu.vmwrite(guest::GS_BASE, cpu.live(LiveRegister::KernelGsBase));
        cpu.set_live(LiveRegister::KernelGsBase, base);
    }
    advance_by(core, len_bytes);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::instruction;

    fn of(start: &[u8]) -> Option<u64> {
        let mut bytes = [0xcc; 8];
        bytes[..start.len()].copy_from_slice(start);
        length(u64::from_le_bytes(bytes))
    }

    #[test]
    fn instructions_that_do_nothing_are_as_long_as_the_decoder_says() {
        for (len, value) in FORMS {
            let bytes = value.to_le_bytes();
            assert_eq!(value >> (8 * len - 1) >> 1, 0, "{value:x}");
            let decoded = instruction::decode(&bytes).unwrap();
            assert_eq!(u32::from(decoded.len), len, "{value:x}");
            assert_eq!(of(&bytes[..len as usize]), Some(u64::from(len)));
        }
    }

    #[test]
    fn all_other_instructions_are_stepped() {
        for bytes in [
            // PAUSE, XCHG R8, PUSH RBP, ENDBR32, NOP with other operands, and none at all.
            &[0xf3, 0x90][..],
            &[0x49, 0x90],
            &[0x55],
            &[0xf3, 0x0f, 0x1e, 0xfb],
            &[0x0f, 0x1f, 0x44, 0x00, 0x01],
            &[0x0f, 0x1f, 0x45, 0x00, 0x00],
            &[0x66, 0x0f],
            &[],
        ] {
            assert_eq!(of(bytes), None, "{bytes:x?}");
        }
    }
}
