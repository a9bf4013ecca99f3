//! Refusals that only events and their programs meet.

use crate::address::{CoreId, EventId, GuestPhysical};
use crate::bytecode::program::Reason;
use crate::closed::closed_set;

closed_set! {
    /// A program of an event.
    pub enum ProgramPart {
        /// What decides.
        Condition,
        /// The script, or script and machine code together.
        Action,
    }
}

closed_set! {
    /// An option of an event's command.
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
        /// `bp`, `ba`
        Breakpoint,
    }
}

impl EventOption {
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
            Self::Breakpoint => "bp",
        }
    }
}

closed_set! {
    /// Something that not every processor with VT-x can do.
    pub enum ProcessorFeature {
        /// Execute permission in EPT for user and kernel mode apart.
        ModeBasedExecute,
        /// The vector is told with the exit for an external interrupt.
        AcknowledgeInterrupt,
    }
}

closed_set! {
    /// Why no detour can be built at an address.
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
}

/// Why an event was not installed, changed or cleared, or a program not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRefusal {
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
        /// Objects that `prealloc` can carve from it now, counted up to what is needed.
        possible: u32,
        /// One is there by itself at the driver's next look, while the guest runs: milliseconds
        /// between two of them; 0: never.
        refill_ms: u32,
    },
    /// A safe buffer is larger than one message of the link.
    BufferOverMessage {
        /// The longest message.
        limit_bytes: u32,
        /// What was asked for.
        asked_bytes: u32,
        /// The most that there can be: a big one's, if no message is shorter.
        most_bytes: u32,
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
        /// What is wrong there.
        reason: Reason,
    },
    /// This option has no meaning with this event, or lacks what it needs.
    OptionDoesNotFit {
        /// Which.
        option: EventOption,
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
    /// An event could not be cleared, because a core is not held; it is still listed.
    ClearIncomplete {
        /// The core that is missing.
        core: CoreId,
        /// The event.
        event: EventId,
    },
    /// Too many hooks on one page.
    TooManyHooksOnPage {
        /// The limit.
        limit: u32,
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
}

impl EventRefusal {
    /// See [`super::Refusal::code`].
    pub(super) const fn code(&self) -> u32 {
        match self {
            Self::TooManyHooksOnPage { .. } => 0xc000_0022,
            Self::PageTaken { .. } => 0xc000_0026,
            Self::NoDetour { .. } => 0xc000_0027,
            Self::ConditionTooBig { .. } => 0xc000_0041,
            Self::NoBigEvent { part, .. } => match part {
                ProgramPart::Condition => 0xc000_0043,
                ProgramPart::Action => 0xc000_0046,
            },
            Self::ActionTooBig { .. } => 0xc000_0047,
            Self::BufferOverMessage { .. } => 0xc000_0048,
            Self::BufferTooBig { .. } => 0xc000_004b,
            Self::ClearIncomplete { .. } => 0xc000_004f,
            Self::NotRam { .. } => 0xc000_0052,
            Self::BadProgram { .. } => 0xc000_0109,
            Self::OptionDoesNotFit { .. } => 0xc000_010a,
            Self::OwnPort { .. } => 0xc000_010c,
            Self::OwnMsr { .. } => 0xc000_010d,
            Self::NoFeature { .. } => 0xc000_010e,
        }
    }
}
