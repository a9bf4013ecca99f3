//! Why a request was refused, with the numbers that explain it. Made by the driver, carried in
//! replies, and turned into one sentence by the host ([`Refusal::code`] is what users look up).

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::event::PoolClass;
use crate::packet::Register;

/// A refused request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No process of that number, or its address space cannot be walked.
    ProcessNotFound {
        /// What was asked for.
        pid: u32,
    },
    /// A pool is empty and the arena may not give an object by itself.
    PoolExhausted {
        /// Which pool.
        class: PoolClass,
        /// Objects of the class, all in use.
        reserved: u32,
        /// Bytes of one object.
        object_bytes: u32,
        /// Bytes left in the arena, which only `prealloc` may take.
        arena_left_bytes: u64,
    },
    /// A clear could not be completed on a core; the event is still listed.
    ClearIncomplete {
        /// The core that did not acknowledge.
        core: CoreId,
        /// The event.
        event: EventId,
    },
    /// Not every core is held, so nothing was applied.
    CoreNotHeld {
        /// The core that is missing.
        core: CoreId,
    },
    /// The address is not present in the given address space.
    NotPresent {
        /// The first byte that is not.
        address: GuestVirtual,
    },
    /// No memory behind a physical address, or beyond what the processor can address.
    PhysicalOutOfRange {
        /// The address.
        address: GuestPhysical,
        /// One past the highest address that can be used.
        limit: GuestPhysical,
    },
    /// The debugger's own memory cannot be read, written or hooked.
    DebuggerMemory {
        /// The physical address asked for.
        address: GuestPhysical,
    },
    /// Too many hooks on one page.
    TooManyHooksOnPage {
        /// The limit.
        limit: u32,
    },
    /// There is a hook at this address already (two events may not share one address).
    AlreadyHooked {
        /// The event that has it.
        event: EventId,
    },
    /// No event of that number.
    NoSuchEvent {
        /// What was asked for.
        event: EventId,
    },
    /// No core of that number.
    NoSuchCore {
        /// What was asked for.
        core: CoreId,
        /// Cores there are.
        count: u16,
    },
    /// The register can be read only.
    ReadOnlyRegister {
        /// Which.
        register: Register,
    },
    /// The processor would not accept this value in the register.
    BadRegisterValue {
        /// Which.
        register: Register,
        /// What was asked for.
        value: u64,
    },
    /// A length above the protocol's bound.
    TooLong {
        /// The bound.
        limit_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
    /// The debuggee runs; this needs it halted.
    NotHalted,
    /// This side speaks another version of the protocol.
    ProtocolVersion {
        /// The version of the side that refuses.
        ours: u16,
    },
    /// The request's number is unknown to this driver.
    UnknownRequest {
        /// The number.
        kind: u8,
    },
    /// The request could not be parsed.
    Malformed,
    /// The arena cannot give what `prealloc` asked for; nothing was carved.
    ArenaTooSmall {
        /// Which class.
        class: PoolClass,
        /// Objects asked for.
        asked: u32,
        /// Objects it could give now.
        possible: u32,
    },
}

impl Refusal {
    /// The number users know from debuggers of this kind.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::NotPresent { .. } => 0xc000_0005,
            Self::TooManyHooksOnPage { .. } => 0xc000_0022,
            Self::AlreadyHooked { .. } => 0xc000_0026,
            Self::DebuggerMemory { .. } => 0xc000_0052,
            Self::PhysicalOutOfRange { .. } => 0xc000_0056,
            Self::PoolExhausted { class, .. } => match class {
                PoolClass::RegularEvent => 0xc000_0042,
                PoolClass::BigEvent => 0xc000_0043,
                PoolClass::RegularSafeBuffer => 0xc000_0049,
                PoolClass::BigSafeBuffer => 0xc000_004a,
                PoolClass::EptHook
                | PoolClass::EptHook2
                | PoolClass::Monitor
                | PoolClass::ThreadInterception => 0xc000_0023,
            },
            Self::ProcessNotFound { .. } => 0xc000_0040,
            Self::ClearIncomplete { .. } => 0xc000_004f,
            Self::CoreNotHeld { .. } => 0xc000_0050,
            Self::NoSuchCore { .. } => 0xc000_0051,
            Self::NoSuchEvent { .. } => 0xc000_0100,
            Self::ReadOnlyRegister { .. } => 0xc000_0101,
            Self::BadRegisterValue { .. } => 0xc000_0102,
            Self::TooLong { .. } => 0xc000_0103,
            Self::NotHalted => 0xc000_0104,
            Self::ProtocolVersion { .. } => 0xc000_0105,
            Self::UnknownRequest { .. } => 0xc000_0106,
            Self::Malformed => 0xc000_0107,
            Self::ArenaTooSmall { .. } => 0xc000_0108,
        }
    }
}
