//! Why a request was refused, with the numbers that explain it. Made by the driver, carried in
//! replies, and turned into one sentence by the host ([`Refusal::code`] is what users look up).
//!
//! A refusal that is added does not compile before it has a number for users here, a row in the
//! tables of [`crate::packet`], and a sentence in the host.

mod event;

pub use event::{DetourObstacle, EventOption, EventRefusal, ProcessorFeature, ProgramPart};

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::closed::closed_set;
use crate::pool::PoolClass;
use crate::register::Register;

closed_set! {
    /// Why no branches can be recorded.
    pub enum BranchObstacle {
        /// The processor announces no last-branch records.
        Processor,
        /// It announces them, and where this model has them is not known here.
        Model,
        /// It could not keep the debugger's own branches out of them.
        Exits,
        /// The guest records branches itself.
        Guest,
        /// The processor cannot leave out just these branches.
        Filter,
    }
}

/// A refused request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of an event or a program.
    Event(EventRefusal),
    /// No process of that number, or its address space cannot be walked.
    ProcessNotFound {
        /// What was asked for.
        pid: u32,
    },
    /// A pool has too few free objects and the arena may not give more by itself.
    PoolExhausted {
        /// Which pool.
        class: PoolClass,
        /// Objects of the class.
        reserved: u32,
        /// How many of them are in use.
        in_use: u32,
        /// How many free ones were asked for.
        needed: u32,
        /// Objects that the class can have at all.
        most: u32,
        /// Bytes of one object.
        object_bytes: u32,
        /// Bytes left in the arena, which only `prealloc` may take.
        arena_left_bytes: u64,
        /// Objects that `prealloc` can carve from it now, counted up to what is needed.
        possible: u32,
        /// One is there by itself at the driver's next look, while the guest runs: milliseconds
        /// between two of them; 0: never.
        refill_ms: u32,
    },
    /// An argument of the event is out of its range.
    ValueOutOfRange {
        /// What was asked for.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A global variable exists with another size.
    GlobalLength {
        /// The size it has.
        has_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
    },
    /// There is no room for another global variable.
    GlobalsFull {
        /// Bytes left.
        free_bytes: u32,
        /// Names left.
        free_names: u32,
        /// Bytes asked for.
        asked_bytes: u32,
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
    /// The core that is to be looked at is not held.
    CoreAway {
        /// Which.
        core: CoreId,
    },
    /// The core executes nothing any more.
    CoreDied {
        /// Which.
        core: CoreId,
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
    /// No branches can be recorded.
    NoBranches {
        /// What stands in the way.
        obstacle: BranchObstacle,
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
    /// The answer cannot be written as a message. Unlike with every other refusal, what was asked
    /// for may have been done.
    AnswerLost,
    /// What works on whole pages was asked for other bytes.
    NotWholePages {
        /// First byte.
        address: GuestPhysical,
        /// How many bytes.
        len_bytes: u64,
    },
    /// The arena cannot give what `prealloc` asked for, or the class cannot have as many; nothing was carved.
    ArenaTooSmall {
        /// Which class.
        class: PoolClass,
        /// Objects asked for.
        asked: u32,
        /// Objects it could give now.
        possible: u32,
        /// Objects that the class can still have, however large the arena is.
        room: u32,
    },
}

impl From<EventRefusal> for Refusal {
    fn from(refusal: EventRefusal) -> Self {
        Self::Event(refusal)
    }
}

impl Refusal {
    /// The number users know from debuggers of this kind.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Event(refusal) => refusal.code(),
            Self::NotPresent { .. } => 0xc000_0005,
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
            Self::CoreNotHeld { .. } => 0xc000_0050,
            Self::CoreAway { .. } | Self::NoSuchCore { .. } => 0xc000_0051,
            Self::CoreDied { .. } => 0xc000_0118,
            Self::NoSuchEvent { .. } => 0xc000_0100,
            Self::ReadOnlyRegister { .. } => 0xc000_0101,
            Self::BadRegisterValue { .. } => 0xc000_0102,
            Self::TooLong { .. } => 0xc000_0103,
            Self::NoBranches { .. } => 0xc000_0112,
            Self::NotHalted => 0xc000_0104,
            Self::ProtocolVersion { .. } => 0xc000_0105,
            Self::UnknownRequest { .. } => 0xc000_0106,
            Self::Malformed => 0xc000_0107,
            Self::ArenaTooSmall { .. } => 0xc000_0108,
            Self::AnswerLost => 0xc000_0110,
            Self::NotWholePages { .. } => 0xc000_0111,
            Self::ValueOutOfRange { .. } => 0xc000_010b,
            Self::GlobalLength { .. } => 0xc000_0120,
            Self::GlobalsFull { .. } => 0xc000_0121,
        }
    }
}
