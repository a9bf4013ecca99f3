//! Rules of the control registers: what a guest may write, and what really goes in.
//!
//! Called by `exit::control_register` and `exit::xsetbv`, and when the debugger writes a register.

/// CR0 bits.
#[allow(missing_docs, reason = "the names are the processor's")]
pub mod cr0 {
    pub const PE: u64 = 1;
    pub const TS: u64 = 1 << 3;
    pub const NE: u64 = 1 << 5;
    pub const WP: u64 = 1 << 16;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
    /// All bits that may be set without a fault.
    pub const DEFINED: u64 = 0xe005_003f;
}

/// CR4 bits.
#[allow(missing_docs, reason = "the names are the processor's")]
pub mod cr4 {
    pub const PAE: u64 = 1 << 5;
    pub const PGE: u64 = 1 << 7;
    pub const LA57: u64 = 1 << 12;
    pub const VMXE: u64 = 1 << 13;
    pub const PCIDE: u64 = 1 << 17;
}

/// EFER bits.
#[allow(missing_docs, reason = "the names are the processor's")]
pub mod efer {
    pub const SCE: u64 = 1;
    pub const LME: u64 = 1 << 8;
    pub const LMA: u64 = 1 << 10;
    pub const NXE: u64 = 1 << 11;
}

/// The write raises a general-protection fault in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a write to CR0 changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cr0Write {
    /// Guest CR0 field.
    pub real: u64,
    /// CR0 read shadow.
    pub shadow: u64,
    /// EFER, with LMA following paging.
    pub efer: u64,
    /// "IA-32e mode guest" entry control.
    pub long_mode: bool,
}

/// A guest's MOV to CR0. Only CR0.NE is ours: VMX operation needs it set while a core that starts
/// up has it clear ("Restrictions on VMX Operation", 24.8; "Control Registers", 2.5).
///
/// # Errors
/// The combinations that fault.
pub const fn write_cr0(
    value: u64,
    efer_now: u64,
    cr4: u64,
    in_64bit_code: bool,
) -> Result<Cr0Write, Refused> {
    if value >> 32 != 0
        || value & cr0::PG != 0 && value & cr0::PE == 0
        || value & cr0::NW != 0 && value & cr0::CD == 0
    {
        return Err(Refused);
    }
    let paging = value & cr0::PG != 0;
    if !paging && (in_64bit_code || cr4 & cr4::PCIDE != 0) {
        return Err(Refused);
    }
    if paging && efer_now & efer::LME != 0 && cr4 & cr4::PAE == 0 {
        return Err(Refused);
    }
    let value = value & cr0::DEFINED;
    let long_mode = paging && efer_now & efer::LME != 0;
    Ok(Cr0Write {
        real: value | cr0::NE,
        shadow: value,
        efer: if long_mode {
            efer_now | efer::LMA
        } else {
            efer_now & !efer::LMA
        },
        long_mode,
    })
}

/// Whether a guest's MOV to CR4 is taken: only defined bits, and in long mode none that paging
/// stands on ("Control Registers", 2.5; "Process-Context Identifiers", 4.10.1).
#[must_use]
pub const fn cr4_is_valid(value: u64, now: u64, allowed: u64, long_mode: bool, cr3: u64) -> bool {
    let turns_pcid_on = value & !now & cr4::PCIDE != 0;
    value & !allowed == 0
        && (!long_mode || value & cr4::PAE != 0 && (value ^ now) & cr4::LA57 == 0)
        && (!turns_pcid_on || long_mode && cr3 & 0xfff == 0)
}

/// Whether XSETBV takes `value` for XCR0, given the bits CPUID leaf 0DH announces
/// ("XSAVE-Supported Features and State-Component Bitmaps", 13.1; XSETBV).
#[must_use]
pub const fn xcr0_is_valid(value: u64, supported: u64) -> bool {
    const X87: u64 = 1;
    const SSE: u64 = 1 << 1;
    const AVX: u64 = 1 << 2;
    const MPX: u64 = 3 << 3;
    const AVX512: u64 = 7 << 5;
    const AMX: u64 = 3 << 17;
    value & !supported == 0
        && value & X87 != 0
        && (value & AVX == 0 || value & SSE != 0)
        && (value & MPX == 0 || value & MPX == MPX)
        && (value & AVX512 == 0 || value & AVX512 == AVX512 && value & AVX != 0)
        && (value & AMX == 0 || value & AMX == AMX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ne_stays_set_and_the_guest_reads_what_it_wrote() {
        let write = write_cr0(0x11, 0, 0, false).unwrap();
        assert_eq!((write.real, write.shadow), (0x31, 0x11));
        assert!(!write.long_mode);
    }

    #[test]
    fn paging_with_lme_enters_long_mode() {
        let write = write_cr0(0x8000_0031, efer::LME, cr4::PAE, false).unwrap();
        assert!(write.long_mode);
        assert_eq!(write.efer, efer::LME | efer::LMA);
    }

    #[test]
    fn leaving_paging_leaves_long_mode() {
        let write = write_cr0(0x31, efer::LME | efer::LMA, cr4::PAE, false).unwrap();
        assert_eq!(write.efer, efer::LME);
    }

    #[test]
    fn combinations_that_fault_are_refused() {
        for (value, efer_now, cr4, in_64bit) in [
            (cr0::PG, 0, 0, false),
            (cr0::NW | cr0::PE, 0, 0, false),
            (1 << 40, 0, 0, false),
            (cr0::PE, efer::LME, cr4::PAE, true),
            (cr0::PG | cr0::PE, efer::LME, 0, false),
            (cr0::PE, 0, cr4::PCIDE, false),
        ] {
            assert_eq!(
                write_cr0(value, efer_now, cr4, in_64bit),
                Err(Refused),
                "{value:#x}"
            );
        }
    }

    #[test]
    fn cr4_takes_defined_bits_that_keep_long_mode_alive() {
        let allowed = 0x3727ff;
        let now = cr4::PAE | cr4::PGE;
        assert!(cr4_is_valid(cr4::PAE, now, allowed, true, 0x1005));
        assert!(!cr4_is_valid(1 << 30, now, allowed, true, 0));
        assert!(!cr4_is_valid(cr4::PGE, now, allowed, true, 0));
        assert!(cr4_is_valid(cr4::PGE, now, allowed, false, 0));
        assert!(!cr4_is_valid(now | cr4::PCIDE, now, allowed, true, 0x1005));
        assert!(cr4_is_valid(now | cr4::PCIDE, now, allowed, true, 0x1000));
        assert!(!cr4_is_valid(
            now | cr4::VMXE,
            now,
            allowed & !cr4::VMXE,
            true,
            0
        ));
    }

    #[test]
    fn xcr0_follows_the_rules_of_its_components() {
        let supported = 0x602e7;
        for (value, valid) in [
            (7, true),
            (3, true),
            (1, true),
            (6, false),
            (5, false),
            (0xe7, true),
            (0x67, false),
            (1 << 8 | 1, false),
            (0x20001, false),
            (0x60001, true),
        ] {
            assert_eq!(xcr0_is_valid(value, supported), valid, "{value:#x}");
        }
    }
}
