//! The event model: what is watched, for whom, under which condition, and what is done on a hit.
//!
//! Written by the host's command parser, checked and installed by the driver's registry.

mod check;
mod standing;
mod trigger;

use crate::address::{CoreId, EventId};
use crate::crc::Crc32;
pub use crate::pool::{FreeCounts, PoolClass, PoolLine};
use bitflags::bitflags;
pub use standing::Standing;
pub use trigger::{Access, ControlRegister, Modes, Space, SyscallBy, TraceKind, Trigger};

/// For whom: all must match, `None` matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The operating system's number of the running process.
    pub pid: Option<u32>,
    /// The operating system's number of the running thread.
    pub tid: Option<u32>,
    /// The core on which it happens.
    pub core: Option<CoreId>,
}

bitflags! {
    /// What is done on a hit, in this order of their values from high to low.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Actions: u8 {
        /// Halt every core and tell the host.
        const BREAK = 1;
        /// Run machine code.
        const CODE = 2;
        /// Run a script.
        const SCRIPT = 4;
    }
}

/// When an event acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Before what is watched takes effect.
    #[default]
    Pre,
    /// After it has.
    Post,
    /// Both times.
    All,
}

impl Stage {
    /// Whether an event of this stage acts before.
    #[must_use]
    pub const fn has_pre(self) -> bool {
        matches!(self, Self::Pre | Self::All)
    }

    /// Whether an event of this stage acts after.
    #[must_use]
    pub const fn has_post(self) -> bool {
        matches!(self, Self::Post | Self::All)
    }
}

/// How an event acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When.
    pub stage: Stage,
    /// What is watched does not take effect.
    pub short_circuit: bool,
    /// Its messages are sent at once, not when a batch is full.
    pub immediate: bool,
    /// Scratch memory of the event, 0 for none.
    pub buffer_bytes: u32,
    /// For a hook: so many bytes before it an instruction starts, and from there one behind the other up to the hook.
    /// 0: the hook is at the start of a function. `None`: nobody knows. At most [`crate::limits::LEAD_BYTES`].
    pub lead_bytes: Option<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Options {
    /// What a command without options means.
    pub const DEFAULT: Self = Self {
        stage: Stage::Pre,
        short_circuit: false,
        immediate: true,
        buffer_bytes: 0,
        lead_bytes: Some(0),
    };
}

/// How long a breakpoint is there, if nobody clears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// For good.
    #[default]
    UntilCleared,
    /// It is cleared when it has halted.
    UntilItHalts,
    /// It is cleared when the debuggee halts, whatever for.
    UntilNextHalt,
}

/// What makes an event a breakpoint, which has a list of its own. It halts whatever else it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// The pass that is the first to act: passes before it are counted and do nothing. At least 1.
    pub first_pass: u32,
    /// How long it is there.
    pub lifetime: Lifetime,
}

impl Default for Breakpoint {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Breakpoint {
    /// One that acts on each pass.
    pub const DEFAULT: Self = Self {
        first_pass: 1,
        lifetime: Lifetime::UntilCleared,
    };
}

/// All of an event but its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is watched.
    pub trigger: Trigger,
    /// For whom.
    pub filter: Filter,
    /// What is done on a hit.
    pub actions: Actions,
    /// How.
    pub options: Options,
    /// Of a breakpoint, what no other event has.
    pub breakpoint: Option<Breakpoint>,
}

impl Settings {
    /// An event that breaks for everyone.
    #[must_use]
    pub const fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            filter: Filter {
                pid: None,
                tid: None,
                core: None,
            },
            actions: Actions::BREAK,
            options: Options::DEFAULT,
            breakpoint: None,
        }
    }

    /// How long it is there, if nobody clears it.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        match self.breakpoint {
            Some(breakpoint) => breakpoint.lifetime,
            None => Lifetime::UntilCleared,
        }
    }

    /// Whether it stops one thread at one place, for a step or `g ADDRESS`: it has a pool of its own and is in no list.
    #[must_use]
    pub const fn is_interception(&self) -> bool {
        matches!(self.lifetime(), Lifetime::UntilNextHalt)
    }

    /// The command that adds such an event, without its exclamation mark.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match (&self.breakpoint, &self.trigger) {
            (Some(_), Trigger::Monitor { .. }) => "ba",
            (Some(_), _) => "bp",
            (None, trigger) => trigger.name(),
        }
    }
}

/// What decides on a hit whether anything is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Always.
    #[default]
    Always,
    /// A script whose value is not 0.
    Script(&'a [u8]),
    /// Machine code that leaves RAX not 0.
    Code(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Its program; empty if it always holds.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Always => &[],
            Self::Script(bytes) | Self::Code(bytes) => bytes,
        }
    }

    /// Without the program.
    #[must_use]
    pub const fn kind(&self) -> ConditionKind {
        match self {
            Self::Always => ConditionKind::Always,
            Self::Script(_) => ConditionKind::Script,
            Self::Code(_) => ConditionKind::Code,
        }
    }
}

/// A [`Condition`] without its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionKind {
    /// Always.
    #[default]
    Always,
    /// A script.
    Script,
    /// Machine code.
    Code,
}

/// What an event runs; an empty slice is no program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Programs<'a> {
    /// What decides.
    pub condition: Condition<'a>,
    /// Bytecode, with [`Actions::SCRIPT`].
    pub script: &'a [u8],
    /// Machine code, with [`Actions::CODE`].
    pub code: &'a [u8],
}

impl Programs<'_> {
    /// No programs.
    pub const NONE: Self = Self {
        condition: Condition::Always,
        script: &[],
        code: &[],
    };

    /// How big they are, and a checksum of them all.
    #[must_use]
    pub fn sizes(&self) -> ProgramSizes {
        let bytes = [self.condition.bytes(), self.script, self.code];
        let mut crc = Crc32::new();
        bytes.into_iter().for_each(|part| crc.update(part));
        // A message is shorter than 4 GiB.
        let [condition_bytes, script_bytes, code_bytes] =
            bytes.map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX));
        ProgramSizes {
            condition: self.condition.kind(),
            condition_bytes,
            script_bytes,
            code_bytes,
            crc: crc.finish(),
        }
    }
}

/// The programs of an event, without their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramSizes {
    /// What the condition is.
    pub condition: ConditionKind,
    /// Length of the condition; 0 if and only if there is none.
    pub condition_bytes: u32,
    /// Length of the script; 0 if and only if there is none.
    pub script_bytes: u32,
    /// Length of the machine code; 0 if and only if there is none.
    pub code_bytes: u32,
    /// CRC-32 of condition, script and code; 0 if there are none.
    pub crc: u32,
}

/// One event, whole: it is checked and installed as a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpec<'a> {
    /// All but the programs.
    pub settings: Settings,
    /// The programs.
    pub programs: Programs<'a>,
}

impl EventSpec<'_> {
    /// An event that breaks for everyone.
    #[must_use]
    pub const fn new(trigger: Trigger) -> Self {
        Self {
            settings: Settings::new(trigger),
            programs: Programs::NONE,
        }
    }
}

/// An installed event, as `events` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// Its number.
    pub id: EventId,
    /// What was asked for.
    pub settings: Settings,
    /// What it runs.
    pub sizes: ProgramSizes,
    /// Disabled events stay installed and do nothing.
    pub enabled: bool,
    /// How it stands to the code that it hooks.
    pub standing: Standing,
    /// Times it matched since it was added.
    pub hits: u64,
}

/// Which events a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// This one, whatever it is.
    One(EventId),
    /// All that are no breakpoints.
    Events,
    /// All breakpoints.
    Breakpoints,
}

impl Selection {
    /// Whether it is about an event.
    #[must_use]
    pub fn contains(self, id: EventId, settings: &Settings) -> bool {
        match self {
            Self::One(one) => one == id,
            Self::Events => settings.breakpoint.is_none(),
            Self::Breakpoints => settings.breakpoint.is_some(),
        }
    }
}

/// What `events e|d|c` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventChange {
    /// It acts on hits again.
    Enable,
    /// It does nothing and keeps its objects.
    Disable,
    /// It is gone, with its effect on every core, and its objects are back in their pools.
    Clear,
}
