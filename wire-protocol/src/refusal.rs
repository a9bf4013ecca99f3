//! Why a request was refused, with the numbers that explain it. Made by the driver, carried in
//! replies, and turned into one sentence by the host ([`Refusal::code`] is what users look up).

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::event::PoolClass;
use crate::register::Register;

/// A program of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramPart {
    /// What decides.
    Condition,
    /// The script, or script and machine code together.
    Action,
}

impl ProgramPart {
    /// In the order of their wire numbers.
    pub const ALL: [Self; 2] = [Self::Condition, Self::Action];
}

/// An option of an event's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOption {
    /// `pid`
    Pid,
    /// `core`
    Core,
    /// `imm`
    Immediate,
    /// `sc`
    ShortCircuit,
    /// `stage`
    Stage,
    /// `buffer`
    Buffer,
    /// `script`
    Script,
    /// `code`, `asm code`
    Code,
    /// `condition`, `asm condition`
    Condition,
}

impl EventOption {
    /// In the order of their wire numbers.
    pub const ALL: [Self; 9] = [
        Self::Pid,
        Self::Core,
        Self::Immediate,
        Self::ShortCircuit,
        Self::Stage,
        Self::Buffer,
        Self::Script,
        Self::Code,
        Self::Condition,
    ];

    /// The word users type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Core => "core",
            Self::Immediate => "imm",
            Self::ShortCircuit => "sc",
            Self::Stage => "stage",
            Self::Buffer => "buffer",
            Self::Script => "script",
            Self::Code => "code",
            Self::Condition => "condition",
        }
    }
}

/// Something that not every processor with VT-x can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessorFeature {
    /// Execute permission in EPT for user and kernel mode apart.
    ModeBasedExecute,
    /// A VM exit after every instruction.
    MonitorTrap,
    /// A VM exit as soon as the guest can take an interrupt.
    InterruptWindow,
    /// The vector is told with the exit for an external interrupt.
    AcknowledgeInterrupt,
    /// VM exits for chosen MSRs and ports.
    Bitmaps,
}

impl ProcessorFeature {
    /// In the order of their wire numbers.
    pub const ALL: [Self; 5] = [
        Self::ModeBasedExecute,
        Self::MonitorTrap,
        Self::InterruptWindow,
        Self::AcknowledgeInterrupt,
        Self::Bitmaps,
    ];
}

/// Why no detour can be built at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetourObstacle {
    /// The processor cannot change EPT views without an exit.
    Processor,
    /// The address is not the kernel's.
    NotKernel,
    /// Code of the kernel's entry, where neither tables nor stack are the kernel's, or the
    /// debugger's own.
    EntryCode,
    /// The instruction is shorter than a jump, which the next one may be jumped to.
    TooShort,
    /// The instruction cannot be moved.
    Instruction,
    /// The instruction goes on on the next page.
    PageEnd,
    /// A jump from there does not reach the driver.
    OutOfReach,
    /// Every place for a detour was given away since the driver was loaded.
    NoPlace,
}

impl DetourObstacle {
    /// In the order of their wire numbers.
    pub const ALL: [Self; 8] = [
        Self::Processor,
        Self::NotKernel,
        Self::EntryCode,
        Self::TooShort,
        Self::Instruction,
        Self::PageEnd,
        Self::OutOfReach,
        Self::NoPlace,
    ];
}

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
    /// The condition is larger than a big event can hold.
    ConditionTooBig {
        /// What a big event holds.
        limit_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
    },
    /// The actions, with the memory they need, are larger than a big event can hold.
    ActionTooBig {
        /// What a big event holds.
        limit_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
    },
    /// A program needs a big event, and none is left.
    NoBigEvent {
        /// The program that does not fit a regular event.
        part: ProgramPart,
        /// What a regular event holds of it.
        regular_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
        /// Big events, all in use.
        reserved: u32,
        /// Bytes of one.
        object_bytes: u32,
        /// Bytes left in the arena, which only `prealloc` may take.
        arena_left_bytes: u64,
    },
    /// A safe buffer is larger than one message of the link.
    BufferOverMessage {
        /// The longest message.
        limit_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
    },
    /// A safe buffer is larger than a big one.
    BufferTooBig {
        /// The bytes of a big one.
        limit_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
    },
    /// A script is not one that the driver would run.
    BadProgram {
        /// Which.
        part: ProgramPart,
        /// Offset in the program.
        at: u32,
        /// The verifier's number of what is wrong there.
        reason: u8,
    },
    /// This option has no meaning with this event, or lacks what it needs.
    OptionDoesNotFit {
        /// Which.
        option: EventOption,
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
    /// The port carries the line between the two machines.
    OwnPort {
        /// Which.
        port: u16,
    },
    /// The debugger itself lives on this MSR.
    OwnMsr {
        /// Which.
        msr: u32,
    },
    /// The processor cannot do what the event needs.
    NoFeature {
        /// What it lacks.
        feature: ProcessorFeature,
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
    /// The driver does not know how to watch this.
    UnknownTrigger,
    /// An event could not be cleared, because a core is not held; it is still listed.
    ClearIncomplete {
        /// The core that is missing.
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
    /// A device answers at this address, so there is no code to be hooked.
    NotRam {
        /// The physical address asked for.
        address: GuestPhysical,
    },
    /// No detour can be built there.
    NoDetour {
        /// What stands in its way.
        obstacle: DetourObstacle,
    },
    /// Breakpoints and detours cannot share a page, nor two detours an instruction.
    PageTaken {
        /// The event that is in the way.
        event: EventId,
    },
    /// Too many hooks on one page.
    TooManyHooksOnPage {
        /// The limit.
        limit: u32,
    },
    /// The core that is to be looked at is not held.
    CoreAway {
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
            Self::PageTaken { .. } => 0xc000_0026,
            Self::DebuggerMemory { .. } | Self::NotRam { .. } => 0xc000_0052,
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
            Self::ConditionTooBig { .. } => 0xc000_0041,
            Self::NoBigEvent { part, .. } => match part {
                ProgramPart::Condition => 0xc000_0043,
                ProgramPart::Action => 0xc000_0046,
            },
            Self::ActionTooBig { .. } => 0xc000_0047,
            Self::BufferOverMessage { .. } => 0xc000_0048,
            Self::BufferTooBig { .. } => 0xc000_004b,
            Self::ClearIncomplete { .. } => 0xc000_004f,
            Self::CoreNotHeld { .. } => 0xc000_0050,
            Self::CoreAway { .. } | Self::NoSuchCore { .. } => 0xc000_0051,
            Self::NoSuchEvent { .. } => 0xc000_0100,
            Self::ReadOnlyRegister { .. } => 0xc000_0101,
            Self::BadRegisterValue { .. } => 0xc000_0102,
            Self::TooLong { .. } => 0xc000_0103,
            Self::NotHalted => 0xc000_0104,
            Self::ProtocolVersion { .. } => 0xc000_0105,
            Self::UnknownRequest { .. } => 0xc000_0106,
            Self::Malformed => 0xc000_0107,
            Self::ArenaTooSmall { .. } => 0xc000_0108,
            Self::BadProgram { .. } => 0xc000_0109,
            Self::OptionDoesNotFit { .. } => 0xc000_010a,
            Self::ValueOutOfRange { .. } => 0xc000_010b,
            Self::OwnPort { .. } => 0xc000_010c,
            Self::OwnMsr { .. } => 0xc000_010d,
            Self::NoFeature { .. } => 0xc000_010e,
            Self::UnknownTrigger => 0xc000_010f,
            Self::NoDetour { .. } => 0xc000_0027,
            Self::GlobalLength { .. } => 0xc000_0120,
            Self::GlobalsFull { .. } => 0xc000_0121,
        }
    }
}
