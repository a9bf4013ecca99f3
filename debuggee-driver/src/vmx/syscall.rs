//! What SYSCALL and SYSRET do in 64-bit mode, for guests whose EFER.SCE is hidden. Pure.
//!
//! Called by `exit::emulate::syscall`. Pseudo code: "SYSCALL" and "SYSRET", SDM volume 2B.

use super::rflags;
use super::segment::Segment;

/// Which instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// SYSCALL.
    Syscall,
    /// SYSRET to 64-bit code (with REX.W).
    Sysret64,
    /// SYSRET to 32-bit code.
    Sysret32,
}

/// CR4.LA57: addresses of 57 bits.
const CR4_LA57: u64 = 1 << 12;

/// Registers that decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Where the instruction behind SYSCALL stands.
    pub next_rip: u64,
    /// Flags.
    pub rflags: u64,
    /// RCX.
    pub rcx: u64,
    /// R11.
    pub r11: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_FMASK.
    pub fmask: u64,
    /// CR4, which says how many bits an address has.
    pub cr4: u64,
}

/// What changes; RCX and R11 only by SYSCALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// New RIP.
    pub rip: u64,
    /// New flags.
    pub rflags: u64,
    /// New RCX and R11.
    pub saved: Option<(u64, u64)>,
    /// New CS.
    pub cs: Segment,
    /// New SS.
    pub ss: Segment,
}

/// Flags that SYSRET loads.
const SYSRET_FLAGS: u64 = 0x003c_7fd7;

const LIMIT: u32 = 0xffff_ffff;
/// Present, granular, of 4 GiB; type, level and mode are added.
const PRESENT: u32 = 1 << 7 | 1 << 15 | 1 << 4;
const LONG: u32 = 1 << 13;
const DEFAULT_32: u32 = 1 << 14;
const CODE: u32 = 0xb;
const DATA: u32 = 0x3;
const LEVEL_3: u32 = 3 << 5;

const fn segment(selector: u16, access_rights: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: LIMIT,
        access_rights,
    }
}

/// Whether the bits above those that are translated all equal the highest of these.
const fn is_canonical(address: u64, cr4: u64) -> bool {
    let unused = if cr4 & CR4_LA57 != 0 {
        64 - 57
    } else {
        64 - 48
    };
    ((address << unused) as i64 >> unused) as u64 == address
}

impl Before {
    /// Carries the instruction out; `None` if it raises a general-protection fault.
    #[must_use]
    pub const fn run(&self, instruction: Instruction) -> Option<After> {
        let kernel = (self.star >> 32) as u16 & !3;
        let user = (self.star >> 48) as u16;
        Some(match instruction {
            Instruction::Syscall => {
                let rflags = self.rflags & !rflags::RF;
                After {
                    rip: self.lstar,
                    rflags: rflags & !self.fmask | rflags::FIXED,
                    saved: Some((self.next_rip, rflags)),
                    cs: segment(kernel, PRESENT | CODE | LONG),
                    ss: segment(kernel.wrapping_add(8), PRESENT | DATA | DEFAULT_32),
                }
            }
            Instruction::Sysret64 | Instruction::Sysret32 => {
                let is_64bit = matches!(instruction, Instruction::Sysret64);
                if is_64bit && !is_canonical(self.rcx, self.cr4) {
                    return None;
                }
                let (rip, selector, mode) = if is_64bit {
                    (self.rcx, user.wrapping_add(16), LONG)
                } else {
                    (self.rcx & 0xffff_ffff, user, DEFAULT_32)
                };
                After {
                    rip,
                    rflags: self.r11 & SYSRET_FLAGS | rflags::FIXED,
                    saved: None,
                    cs: segment(selector | 3, PRESENT | CODE | LEVEL_3 | mode),
                    ss: segment(
                        user.wrapping_add(8) | 3,
                        PRESENT | DATA | LEVEL_3 | DEFAULT_32,
                    ),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux sets it up.
    const LINUX: Before = Before {
        next_rip: 0x7f00_1234,
        rflags: 0x1_0246,
        rcx: 0x7f00_5678,
        r11: 0x346,
        star: 0x0023_0010_0000_0000,
        lstar: 0xffff_ffff_8200_0000,
        fmask: 0x0025_7fd5,
        cr4: 0,
    };

    #[test]
    fn syscall_goes_to_the_kernel_and_remembers() {
        let after = LINUX.run(Instruction::Syscall).unwrap();
        assert_eq!(after.rip, LINUX.lstar);
        assert_eq!(after.saved, Some((0x7f00_1234, 0x246)));
        assert_eq!(after.rflags, 2);
        assert_eq!((after.cs.selector, after.cs.access_rights), (0x10, 0xa09b));
        assert_eq!((after.ss.selector, after.ss.access_rights), (0x18, 0xc093));
    }

    #[test]
    fn sysret_goes_back_to_the_user() {
        let after = LINUX.run(Instruction::Sysret64).unwrap();
        assert_eq!((after.rip, after.rflags), (0x7f00_5678, 0x346));
        assert_eq!((after.cs.selector, after.cs.access_rights), (0x33, 0xa0fb));
        assert_eq!((after.ss.selector, after.ss.access_rights), (0x2b, 0xc0f3));
        let after = LINUX.run(Instruction::Sysret32).unwrap();
        assert_eq!((after.cs.selector, after.cs.access_rights), (0x23, 0xc0fb));
    }

    #[test]
    fn sysret_to_an_address_that_is_none_faults() {
        let rcx = 0x8000_0000_0000;
        assert_eq!(Before { rcx, ..LINUX }.run(Instruction::Sysret64), None);
        let far = Before {
            rcx,
            cr4: CR4_LA57,
            ..LINUX
        };
        assert_eq!(far.run(Instruction::Sysret64).unwrap().rip, rcx);
        // To the kernel's half, where the program faults.
        let rcx = 0xffff_8000_0000_0000;
        let high = Before { rcx, ..LINUX };
        assert_eq!(high.run(Instruction::Sysret64).unwrap().rip, rcx);
    }
}
