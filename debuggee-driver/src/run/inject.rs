//! Interrupts and exceptions that a script gives to the guest.
//!
//! What the processor would not deliver is refused here: a VM entry that it refuses would be the
//! core's end ("Checks on VM-Entry Control Fields", 27.2.1.3, and "Checks on Guest Non-Register
//! State", 27.3.1.5).

use crate::port::Cpu;
use crate::vmx::interruption::{self, VALID};
use crate::vmx::{control_field, guest, interruptibility, rflags, ro};

const HAS_ERROR_CODE: u64 = 1 << 11;
const KIND_SHIFT: u32 = 8;

const EXTERNAL: u64 = 0;
const NMI: u64 = 2;
const EXCEPTION: u64 = 3;
const SOFTWARE_FIRST: u64 = 4;
const SOFTWARE_LAST: u64 = 6;
const NMI_VECTOR: u64 = interruption::NMI.vector as u64;
const LONGEST_INSTRUCTION: u64 = 15;

/// Exceptions that push an error code ("Error Code", 6.13).
const fn pushes_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17)
}

/// What the entry needs beside kind and vector: an error code.
const fn error_code_for(kind: u64, vector: u64, given: Option<u64>) -> Option<u64> {
    if kind != EXCEPTION || !pushes_error_code(vector) {
        return None;
    }
    match given {
        // Fifteen bits ("VM-Entry Controls for Event Injection", 25.8.3).
        Some(code) => Some(code & 0x7fff),
        None => Some(0),
    }
}

/// Whether the guest can be given this: by its kind, with its flags and what blocks interrupts.
const fn is_possible(kind: u64, vector: u64, rflags: u64, blocking: u64) -> bool {
    let shadow = interruptibility::SHADOW;
    match kind {
        EXTERNAL => vector < 256 && rflags & rflags::IF != 0 && blocking & shadow == 0,
        NMI => vector == NMI_VECTOR && blocking & (shadow | interruptibility::NMI) == 0,
        EXCEPTION => vector < 32 && vector != NMI_VECTOR,
        SOFTWARE_FIRST..=SOFTWARE_LAST => vector < 256,
        _ => false,
    }
}

/// Delivers it at the next entry; false if that cannot be.
pub(super) fn inject(cpu: &mut impl Cpu, kind: u64, vector: u64, error_code: Option<u64>) -> bool {
    let pending = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD);
    let rflags = cpu.vmread(guest::RFLAGS);
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    if pending & VALID != 0 || !is_possible(kind, vector, rflags, blocking) {
        return false;
    }
    let mut info = VALID | kind << KIND_SHIFT | vector;
    if (SOFTWARE_FIRST..=SOFTWARE_LAST).contains(&kind) {
        let length = cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN);
        if !(1..=LONGEST_INSTRUCTION).contains(&length) {
            return false;
        }
        cpu.vmwrite(control_field::VMENTRY_INSTRUCTION_LEN, length);
    }
    if let Some(code) = error_code_for(kind, vector, error_code) {
        info |= HAS_ERROR_CODE;
        cpu.vmwrite(control_field::VMENTRY_EXCEPTION_ERR_CODE, code);
    }
    cpu.vmwrite(control_field::VMENTRY_INTERRUPTION_INFO_FIELD, info);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_faults_have_an_error_code_and_breakpoints_none() {
        assert_eq!(error_code_for(EXCEPTION, 14, None), Some(0));
        assert_eq!(error_code_for(EXCEPTION, 14, Some(0x1_0002)), Some(2));
        assert_eq!(error_code_for(EXCEPTION, 3, Some(2)), None);
        assert_eq!(error_code_for(EXTERNAL, 14, Some(2)), None);
    }

    #[test]
    fn what_the_processor_would_refuse_is_refused() {
        let shadow = interruptibility::STI;
        for (kind, vector, rflags, blocking, possible) in [
            (EXTERNAL, 0xec, rflags::IF, 0, true),
            (EXTERNAL, 0xec, 0, 0, false),
            (EXTERNAL, 0xec, rflags::IF, shadow, false),
            (EXTERNAL, 256, rflags::IF, 0, false),
            (NMI, 2, 0, 0, true),
            (NMI, 3, 0, 0, false),
            (NMI, 2, 0, interruptibility::NMI, false),
            (EXCEPTION, 14, 0, shadow, true),
            (EXCEPTION, 2, 0, 0, false),
            (EXCEPTION, 32, 0, 0, false),
            (4, 0x80, 0, 0, true),
            (1, 0x80, 0, 0, false),
            (7, 0, rflags::IF, 0, false),
        ] {
            let found = is_possible(kind, vector, rflags, blocking);
            assert_eq!(found, possible, "{kind} {vector:x} {rflags:x} {blocking:x}");
        }
    }
}
