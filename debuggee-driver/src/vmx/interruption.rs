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

/// The field names an event: in the information of an exit and of an entry alike.
pub const VALID: u64 = Bits::VALID.bits() as u64;

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

/// Double fault.
pub const DOUBLE_FAULT: Event = Event {
    vector: 8,
    kind: Kind::HardwareException,
    error_code: Some(0),
};

/// What an exception during the delivery of an event becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combined {
    /// The exception is delivered.
    Second,
    /// A double fault is.
    DoubleFault,
    /// The core shuts down.
    TripleFault,
}

/// Whether an exception counts as contributory ("Interrupt 8—Double Fault Exception", table 6-4).
const fn is_contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}

/// An exception that came up while `first` was being delivered (tables 6-4 and 6-5).
#[must_use]
pub const fn combine(first: Option<Event>, second: Event) -> Combined {
    const DOUBLE: u8 = 8;
    const PAGE_FAULT: u8 = 14;
    let Some(first) = first else {
        return Combined::Second;
    };
    if !matches!(first.kind, Kind::HardwareException) {
        return Combined::Second;
    }
    let grave = is_contributory(second.vector) || second.vector == PAGE_FAULT;
    match first.vector {
        DOUBLE if grave => Combined::TripleFault,
        PAGE_FAULT if grave => Combined::DoubleFault,
        vector if is_contributory(vector) && is_contributory(second.vector) => {
            Combined::DoubleFault
        }
        _ => Combined::Second,
    }
}

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
    fn exceptions_during_delivery_combine() {
        let fault = |vector| Event {
            vector,
            ..GENERAL_PROTECTION
        };
        for (first, second, combined) in [
            (13, 13, Combined::DoubleFault),
            (13, 14, Combined::Second),
            (14, 14, Combined::DoubleFault),
            (14, 13, Combined::DoubleFault),
            (8, 14, Combined::TripleFault),
            (6, 14, Combined::Second),
            (14, 6, Combined::Second),
        ] {
            assert_eq!(combine(Some(fault(first)), fault(second)), combined);
        }
        assert_eq!(combine(Some(NMI), fault(14)), Combined::Second);
        assert_eq!(combine(None, fault(14)), Combined::Second);
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
