//! Events and pools in answers.

use super::{Address, Count, Hex};
use crate::symbol::resolve::Symbols;
use schemars::JsonSchema;
use serde::Serialize;
use wire_protocol::event::{
    self, Access, Actions, ConditionKind, ControlRegister, EventEntry, FreeCounts, Lifetime, Modes,
    PoolClass, PoolLine, ProgramSizes, Settings, Space, Stage, Standing, TraceKind,
};

/// What an event watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trigger {
    /// An instruction.
    Instruction {
        /// `epthook`, `epthook2` or `bp`
        event: String,
        /// Where it is.
        at: Address,
    },
    /// A range of memory.
    Memory {
        /// `monitor` or `ba`
        event: String,
        /// The address is a physical one.
        is_physical: bool,
        /// Reads are watched.
        read: bool,
        /// Writes are watched.
        write: bool,
        /// Execution is watched.
        execute: bool,
        /// First byte.
        at: Address,
        /// How many bytes.
        len_bytes: Hex,
    },
    /// All of a kind, or one of them.
    Number {
        /// The command, without its exclamation mark.
        event: String,
        /// System call, leaf, MSR, port, vector or register; null for all.
        number: Option<u32>,
    },
    /// Writes to a control register.
    ControlRegister {
        /// `crwrite`
        event: String,
        /// 0 or 4
        register: u8,
        /// Only changes of these bits.
        mask: Hex,
    },
    /// Changes of mode.
    Mode {
        /// `mode`
        event: String,
        /// The beginning of user mode.
        user: bool,
        /// The beginning of the kernel.
        kernel: bool,
    },
    /// Instructions one by one.
    Trace {
        /// `trace`
        event: String,
        /// Which.
        which: TraceName,
    },
    /// Nothing more to know.
    Plain {
        /// The command, without its exclamation mark.
        event: String,
    },
}

/// What a trace follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceName {
    /// All but handlers.
    StepIn,
    /// Behind returns.
    StepOut,
    /// Every instruction.
    InstrumentStep,
}

impl Trigger {
    /// What an event watches, with the names of its addresses.
    #[must_use]
    pub fn new(settings: &Settings, symbols: &Symbols) -> Self {
        let event = settings.name().to_owned();
        let number = |number: Option<u32>| Self::Number {
            event: event.clone(),
            number,
        };
        match settings.trigger {
            event::Trigger::EptHook { address } | event::Trigger::EptHook2 { address } => {
                Self::Instruction {
                    event,
                    at: Address::new(address.0, symbols),
                }
            }
            event::Trigger::Monitor {
                space,
                access,
                from,
                len_bytes,
            } => Self::Memory {
                event,
                is_physical: space == Space::Physical,
                read: access.contains(Access::READ),
                write: access.contains(Access::WRITE),
                execute: access.contains(Access::EXECUTE),
                at: match space {
                    Space::Virtual => Address::new(from, symbols),
                    Space::Physical => Address {
                        address: Hex(from),
                        symbol: None,
                    },
                },
                len_bytes: Hex(len_bytes),
            },
            event::Trigger::Syscall { number: of, .. }
            | event::Trigger::SyscallEntry { number: of }
            | event::Trigger::Cpuid { leaf: of }
            | event::Trigger::MsrRead { msr: of }
            | event::Trigger::MsrWrite { msr: of }
            | event::Trigger::Xsetbv { xcr: of } => number(of),
            event::Trigger::IoIn { port } | event::Trigger::IoOut { port } => {
                number(port.map(u32::from))
            }
            event::Trigger::Exception { vector } => number(vector.map(u32::from)),
            event::Trigger::Interrupt { vector } => number(Some(u32::from(vector))),
            event::Trigger::CrWrite { register, mask } => Self::ControlRegister {
                event,
                register: match register {
                    ControlRegister::Cr0 => 0,
                    ControlRegister::Cr4 => 4,
                },
                mask: Hex(mask),
            },
            event::Trigger::Mode { to } => Self::Mode {
                event,
                user: to.contains(Modes::USER),
                kernel: to.contains(Modes::KERNEL),
            },
            event::Trigger::Trace { kind } => Self::Trace {
                event,
                which: match kind {
                    TraceKind::StepIn => TraceName::StepIn,
                    TraceKind::StepOut => TraceName::StepOut,
                    TraceKind::Instrument => TraceName::InstrumentStep,
                },
            },
            event::Trigger::Sysret { .. }
            | event::Trigger::Tsc
            | event::Trigger::Pmc
            | event::Trigger::Vmcall
            | event::Trigger::Dr => Self::Plain { event },
        }
    }
}

/// When an event acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Before what is watched takes effect.
    Pre,
    /// After it.
    Post,
    /// Both times.
    All,
}

/// What a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// A script.
    Script,
    /// Machine code.
    Code,
}

/// The condition of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// What it is.
    pub language: Language,
    /// Length of its program.
    pub len_bytes: u32,
}

/// What only breakpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breakpoint {
    /// The first pass that acts.
    pub first_pass: u32,
    /// How long it is there.
    pub lifetime: LifetimeName,
}

/// How long a breakpoint is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LifetimeName {
    /// For good.
    UntilCleared,
    /// It is cleared when it has halted.
    UntilItHalts,
    /// It is cleared when the debuggee halts, whatever for.
    UntilNextHalt,
}

/// An event as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What is watched.
    pub trigger: Trigger,
    /// Only in this process; null for all.
    pub pid: Option<u32>,
    /// Only in this thread; null for all.
    pub tid: Option<u32>,
    /// Only on this core; null for all.
    pub core: Option<u16>,
    /// When it acts.
    pub stage: StageName,
    /// What is watched does not take effect.
    pub short_circuit: bool,
    /// Messages are sent at once.
    pub immediate: bool,
    /// Scratch memory; 0 for none.
    pub buffer_bytes: u32,
    /// What decides; null if nothing does.
    pub condition: Option<Condition>,
    /// Length of its script; 0 for none.
    pub script_bytes: u32,
    /// Length of its machine code; 0 for none.
    pub code_bytes: u32,
    /// It halts the debuggee.
    pub breaks: bool,
    /// What only breakpoints have; null for other events.
    pub breakpoint: Option<Breakpoint>,
    /// Where its messages go; to the screen when there are none.
    pub outputs: Vec<String>,
}

impl Event {
    /// An event with the names of its addresses.
    #[must_use]
    pub fn new(
        settings: &Settings,
        sizes: &ProgramSizes,
        outputs: &[String],
        symbols: &Symbols,
    ) -> Self {
        let language = match sizes.condition {
            ConditionKind::Always => None,
            ConditionKind::Script => Some(Language::Script),
            ConditionKind::Code => Some(Language::Code),
        };
        Self {
            trigger: Trigger::new(settings, symbols),
            pid: settings.filter.pid,
            tid: settings.filter.tid,
            core: settings.filter.core.map(|core| core.0),
            stage: match settings.options.stage {
                Stage::Pre => StageName::Pre,
                Stage::Post => StageName::Post,
                Stage::All => StageName::All,
            },
            short_circuit: settings.options.short_circuit,
            immediate: settings.options.immediate,
            buffer_bytes: settings.options.buffer_bytes,
            condition: language.map(|language| Condition {
                language,
                len_bytes: sizes.condition_bytes,
            }),
            script_bytes: sizes.script_bytes,
            code_bytes: sizes.code_bytes,
            breaks: settings.actions.contains(Actions::BREAK),
            breakpoint: settings.breakpoint.map(|of| Breakpoint {
                first_pass: of.first_pass,
                lifetime: match of.lifetime {
                    Lifetime::UntilCleared => LifetimeName::UntilCleared,
                    Lifetime::UntilItHalts => LifetimeName::UntilItHalts,
                    Lifetime::UntilNextHalt => LifetimeName::UntilNextHalt,
                },
            }),
            outputs: outputs.to_vec(),
        }
    }
}

/// How an event acts that is enabled, and if it cannot, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StandingName {
    /// As it was asked for.
    Active,
    /// A detour that is a hidden breakpoint for now: its instruction was changed.
    Breakpoint,
    /// Stale: an instruction that was written before the hook lies over it.
    Covered,
    /// Stale: other code stands there.
    Replaced,
    /// Stale: its address does not lead to that memory any more.
    Unmapped,
    /// Stale for good: its process has ended or runs another program.
    Ended,
    /// Stale for good: its page is elsewhere, and there is no room for what following it takes.
    Crowded,
}

impl From<Standing> for StandingName {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Active => Self::Active,
            Standing::Breakpoint => Self::Breakpoint,
            Standing::Covered => Self::Covered,
            Standing::Replaced => Self::Replaced,
            Standing::Unmapped => Self::Unmapped,
            Standing::Ended => Self::Ended,
            Standing::Crowded => Self::Crowded,
        }
    }
}

/// An event that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its number.
    pub id: u32,
    /// It acts on hits, unless it is stale.
    pub is_enabled: bool,
    /// How it stands to the code that it hooks.
    pub standing: StandingName,
    /// Times it matched since it was added.
    pub hits: Count,
    /// What was asked for.
    pub event: Event,
}

impl Installed {
    /// An event of the list.
    #[must_use]
    pub fn new(entry: &EventEntry, outputs: &[String], symbols: &Symbols) -> Self {
        Self {
            id: entry.id.0,
            is_enabled: entry.enabled,
            standing: entry.standing.into(),
            hits: Count(entry.hits),
            event: Event::new(&entry.settings, &entry.sizes, outputs, symbols),
        }
    }
}

/// A class of pre-allocated objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Events with small programs.
    RegularEvent,
    /// Events with large programs.
    BigEvent,
    /// Small scratch memory.
    RegularSafeBuffer,
    /// Large scratch memory.
    BigSafeBuffer,
    /// Pages with hooks.
    Epthook,
    /// Pages with detours.
    Epthook2,
    /// Pages that are watched.
    Monitor,
    /// Threads that are intercepted.
    ThreadInterception,
}

impl Class {
    /// The class of the wire.
    #[must_use]
    pub const fn pool(self) -> PoolClass {
        match self {
            Self::RegularEvent => PoolClass::RegularEvent,
            Self::BigEvent => PoolClass::BigEvent,
            Self::RegularSafeBuffer => PoolClass::RegularSafeBuffer,
            Self::BigSafeBuffer => PoolClass::BigSafeBuffer,
            Self::Epthook => PoolClass::EptHook,
            Self::Epthook2 => PoolClass::EptHook2,
            Self::Monitor => PoolClass::Monitor,
            Self::ThreadInterception => PoolClass::ThreadInterception,
        }
    }
}

impl From<PoolClass> for Class {
    fn from(class: PoolClass) -> Self {
        match class {
            PoolClass::RegularEvent => Self::RegularEvent,
            PoolClass::BigEvent => Self::BigEvent,
            PoolClass::RegularSafeBuffer => Self::RegularSafeBuffer,
            PoolClass::BigSafeBuffer => Self::BigSafeBuffer,
            PoolClass::EptHook => Self::Epthook,
            PoolClass::EptHook2 => Self::Epthook2,
            PoolClass::Monitor => Self::Monitor,
            PoolClass::ThreadInterception => Self::ThreadInterception,
        }
    }
}

/// Free objects of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Free {
    /// The class.
    pub class: Class,
    /// How many.
    pub count: u32,
}

/// Free objects of the classes that an answer is about.
#[must_use]
pub fn free(counts: &FreeCounts) -> Vec<Free> {
    let entries = counts.iter().map(|(class, count)| Free {
        class: class.into(),
        count,
    });
    entries.collect()
}

/// Fewer free objects than this of a class that events use are worth a word.
const LOW: u32 = 4;

/// Classes that run low, of those that are reserved at load for events that ask for nothing
/// special.
#[must_use]
pub fn low(free: &[Free]) -> Vec<Free> {
    let is_for_every_event = |class| {
        matches!(
            class,
            Class::RegularEvent | Class::Epthook | Class::Epthook2 | Class::Monitor
        )
    };
    free.iter()
        .filter(|free| free.count < LOW && is_for_every_event(free.class))
        .copied()
        .collect()
}

/// The state of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The class.
    pub class: Class,
    /// Bytes of one object.
    pub object_bytes: u32,
    /// Objects carved from the arena.
    pub reserved: u32,
    /// Objects that belong to an event.
    pub in_use: u32,
    /// Objects that are free.
    pub free: u32,
}

impl From<&PoolLine> for Pool {
    fn from(line: &PoolLine) -> Self {
        Self {
            class: line.class.into(),
            object_bytes: line.object_bytes,
            reserved: line.reserved,
            in_use: line.in_use,
            free: line.reserved.saturating_sub(line.in_use),
        }
    }
}

/// All classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    /// One entry for each class.
    pub classes: Vec<Pool>,
    /// Bytes of the arena that were given out.
    pub arena_carved_bytes: Count,
    /// Bytes of the arena that are left.
    pub arena_left_bytes: Count,
}

impl From<&crate::session::Pools> for Pools {
    fn from(pools: &crate::session::Pools) -> Self {
        Self {
            classes: pools.lines.iter().map(Into::into).collect(),
            arena_carved_bytes: Count(pools.arena_carved_bytes),
            arena_left_bytes: Count(pools.arena_left_bytes),
        }
    }
}
