//! Interruption information: what a VM exit reports of an event, and what a VM entry delivers.
//!
//! Used by `exit/`. Formats: "Information for VM Exits Due to Vectored Events" 25.9.2,
//! "VM-Entry Controls for Event Injection" 25.8.3.

use bitflags::bitflags;

/// How an event comes about, bits 10:8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Kind {
    ExternalInterrupt,
    Nmi,
    HardwareException,
    SoftwareInterrupt,
    PrivilegedSoftwareException,
    SoftwareException,
    Other,
}

bitflags! {
    struct Bits: u32 {
        const ERROR_CODE = 1 << 11;
        const VALID = 1 << 31;
    }
}

/// An event, with the error code if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 0 to 255.
    pub vector: u8,
    /// See [`Kind`].
    pub kind: Kind,
    /// Pushed on the guest's stack.
    pub error_code: Option<u32>,
}

/// Invalid opcode.
pub const UNDEFINED_OPCODE: Event = Event {
    vector: 6,
    kind: Kind::HardwareException,
    error_code: None,
};

/// General protection with error code 0.
pub const GENERAL_PROTECTION: Event = Event {
    vector: 13,
    kind: Kind::HardwareException,
    error_code: Some(0),
};

/// Machine check.
pub const MACHINE_CHECK: Event = Event {
    vector: 18,
    kind: Kind::HardwareException,
    error_code: None,
};

/// Non-maskable interrupt.
pub const NMI: Event = Event {
    vector: 2,
    kind: Kind::Nmi,
    error_code: None,
};

impl Event {
    /// Reads an exit's interruption-information or IDT-vectoring field; `None` if not valid.
    #[must_use]
    pub const fn decode(info: u32, error_code: u32) -> Option<Self> {
        if info & Bits::VALID.bits() == 0 {
            return None;
        }
        let kind = match info >> 8 & 7 {
            0 => Kind::ExternalInterrupt,
            2 => Kind::Nmi,
            3 => Kind::HardwareException,
            4 => Kind::SoftwareInterrupt,
            5 => Kind::PrivilegedSoftwareException,
            6 => Kind::SoftwareException,
            _ => Kind::Other,
        };
        let has_code = info & Bits::ERROR_CODE.bits() != 0;
        Some(Self {
            vector: info as u8,
            kind,
            error_code: if has_code { Some(error_code) } else { None },
        })
    }

    /// The VM-entry interruption-information field that delivers this event.
    #[must_use]
    pub const fn encode(&self) -> u32 {
        let kind = match self.kind {
            Kind::ExternalInterrupt => 0,
            Kind::Nmi => 2,
            Kind::HardwareException => 3,
            Kind::SoftwareInterrupt => 4,
            Kind::PrivilegedSoftwareException => 5,
            Kind::SoftwareException => 6,
            Kind::Other => 7,
        };
        let code = if self.error_code.is_some() {
            Bits::ERROR_CODE.bits()
        } else {
            0
        };
        self.vector as u32 | kind << 8 | code | Bits::VALID.bits()
    }

    /// Whether the entry must know the length of the instruction that caused it.
    #[must_use]
    pub const fn needs_instruction_length(&self) -> bool {
        matches!(
            self.kind,
            Kind::SoftwareInterrupt | Kind::PrivilegedSoftwareException | Kind::SoftwareException
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_exit_reports_can_be_delivered_again() {
        for info in [0x8000_0202, 0x8000_0b0e, 0x8000_0603, 0x8000_0030] {
            let event = Event::decode(info, 2).unwrap();
            assert_eq!(event.encode(), info);
        }
        assert_eq!(Event::decode(0x0000_0b0e, 0), None);
    }

    #[test]
    fn software_events_carry_their_instruction_length() {
        assert!(
            Event::decode(0x8000_0603, 0)
                .unwrap()
                .needs_instruction_length()
        );
        assert!(!NMI.needs_instruction_length());
    }
}
