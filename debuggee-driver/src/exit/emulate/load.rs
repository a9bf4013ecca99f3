//! Loads that need no step: the plain form of MOV from memory to a general register, by far the most frequent
//! instruction that reads a page of which other bytes are watched.
//!
//! The processor has found the address, and that the guest may read it; what is left is to read. Whatever else could be due
//! at the same instruction sends it back to the processor: an access that is not aligned, a data
//! breakpoint, a single step. Called by `miss`, in VMX-root.

use crate::exit::core::Core;
use crate::exit::violation::access::Violation;
use crate::guest::instruction::Instruction;
use crate::guest::instruction::decode::{Encoding, Map, Segment};
use crate::port::{Cpu, PhysicalMemory, Ports, gpr};
use crate::shared::Shared;
use crate::vmx::{guest, rflags};
use wire_protocol::event::Access;

/// Breakpoints that are on.
const DR7_ENABLED: u64 = 0xff;

/// MOV to a register of 32 or 64 bits, from memory at a base register and a distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exit) struct Load {
    len: u8,
    register: u8,
    base: u8,
    bytes: u8,
    displacement: i32,
}

impl Load {
    /// What an instruction loads, if that is all it does.
    pub(in crate::exit) fn of(it: &Instruction) -> Option<Self> {
        const MOV: u8 = 0x8b;
        let is_plain = it.encoding == Encoding::Legacy
            && it.map == Map::One
            && it.opcode == MOV
            && it.segment == Segment::Flat
            && !(it.has_66 || it.repeats || it.short_address);
        let modrm = it.modrm?;
        let (mode, low) = (modrm >> 6, modrm & 7);
        let has_base = it.sib.is_none() && !(mode == 0 && low == 5);
        if !is_plain || !has_base || mode == 3 {
            return None;
        }
        Some(Self {
            len: it.len,
            register: modrm >> 3 & 7 | u8::from(it.extend_register) << 3,
            base: low | u8::from(it.extend_base) << 3,
            bytes: if it.wide { 8 } else { 4 },
            displacement: i32::try_from(it.displacement).ok()?,
        })
    }

    /// Carries it out. Returns its length; `None`: the processor has to, and nothing was done.
    #[inline]
    pub(in crate::exit) fn carry_out<P: Ports>(
        &self,
        core: &mut Core<P::Cpu>,
        shared: &Shared<P>,
        violation: &Violation,
    ) -> Option<u64> {
        let cpu = &mut core.cpu;
        let base = *cpu.registers().get(usize::from(self.base))?;
        let address = base.wrapping_add(self.displacement as u64);
        let is_whole = violation.linear == Some(address)
            && address & u64::from(self.bytes - 1) == 0
            && violation.access == Access::READ;
        let rflags = cpu.vmread(guest::RFLAGS);
        // In the stack pointer's place stands nothing.
        let is_free = usize::from(self.register) != gpr::RSP
            && usize::from(self.base) != gpr::RSP
            && rflags & rflags::TF == 0
            && cpu.vmread(guest::DR7) & DR7_ENABLED == 0;
        if !is_whole || !is_free {
            return None;
        }
        let word = shared.memory.read_u64(violation.at.0 & !7);
        let value = if self.bytes == 8 {
            word
        } else {
            word >> (8 * (address & 4)) & u64::from(u32::MAX)
        };
        *cpu.registers_mut().get_mut(usize::from(self.register))? = value;
        // The exit was like a fault and has set it; the instruction's end clears it.
        if rflags & rflags::RF != 0 {
            cpu.vmwrite(guest::RFLAGS, rflags & !rflags::RF);
        }
        Some(u64::from(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::instruction;

    fn of(code: &[u8]) -> Option<Load> {
        let mut bytes = [0; instruction::LENGTH_MAX];
        bytes[..code.len()].copy_from_slice(code);
        Load::of(&instruction::decode(&bytes).unwrap())
    }

    fn load(len: u8, register: u8, base: u8, bytes: u8, displacement: i32) -> Option<Load> {
        Some(Load {
            len,
            register,
            base,
            bytes,
            displacement,
        })
    }

    #[test]
    fn plain_loads_are_known_with_their_registers() {
        // mov rax, [rdi]; mov r9d, [r13 - 8]; mov ecx, [rdx + 12345678]
        assert_eq!(of(&[0x48, 0x8b, 0x07]), load(3, 0, 7, 8, 0));
        assert_eq!(of(&[0x45, 0x8b, 0x4d, 0xf8]), load(4, 9, 13, 4, -8));
        let far = [0x8b, 0x8a, 0x78, 0x56, 0x34, 0x12];
        assert_eq!(of(&far), load(6, 1, 2, 4, 0x1234_5678));
    }

    #[test]
    fn all_others_are_the_processors() {
        for code in [
            // 16 bits, of FS, short address, repeated, with SIB, from RIP, between registers, a store, bytes.
            &[0x66, 0x8b, 0x07][..],
            &[0x64, 0x48, 0x8b, 0x07],
            &[0x67, 0x48, 0x8b, 0x07],
            &[0xf3, 0x48, 0x8b, 0x07],
            &[0x48, 0x8b, 0x04, 0x24],
            &[0x48, 0x8b, 0x05, 0, 0, 0, 0],
            &[0x48, 0x8b, 0xc7],
            &[0x48, 0x89, 0x07],
            &[0x8a, 0x07],
            &[0x0f, 0x8b, 0, 0, 0, 0],
        ] {
            assert_eq!(of(code), None, "{code:x?}");
        }
    }
}
