//! At what the debuggee halts by itself, as values. Made by [`crate::command`].

use schemars::JsonSchema;
use serde::Serialize;
use wire_protocol::packet::Occasion;

/// Whether the debuggee halts at something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OccasionLine {
    /// At what.
    pub name: OccasionName,
    /// It does.
    pub halts: bool,
    /// For this name alone; null for all.
    pub only: Option<String>,
}

/// What the debuggee can halt at by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OccasionName {
    /// The kernel has panicked.
    Panic,
    /// The kernel met a fault or a failed check of its own.
    Oops,
    /// The kernel warns of something that must not be.
    Warn,
    /// An exception while the one before was being delivered.
    DoubleFault,
    /// A core cannot go on.
    TripleFault,
    /// The kernel starts the machine anew.
    Reboot,
    /// The kernel switches the machine off, or halts it.
    PowerOff,
    /// A task waits for too long.
    HungTask,
    /// A core has not scheduled for too long.
    SoftLockup,
    /// A core has taken no interrupt for too long.
    HardLockup,
    /// A module is there, and nothing of it has run.
    ModuleLoad,
    /// A module is about to go.
    ModuleUnload,
    /// A process or thread was made, and has not run.
    Create,
    /// A process or thread ends.
    Exit,
    /// A signal kills a process.
    Signal,
    /// A program begins.
    Process,
    /// An INT3 that nobody wants.
    Int3,
    /// A general-protection fault of the kernel that it does not expect.
    Gp,
}

impl OccasionName {
    /// What users type; the second name is that of established debuggers.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Panic => &["panic"],
            Self::Oops => &["oops"],
            Self::Warn => &["warn"],
            Self::DoubleFault => &["double-fault"],
            Self::TripleFault => &["triple-fault"],
            Self::Reboot => &["reboot"],
            Self::PowerOff => &["power-off"],
            Self::HungTask => &["hung-task"],
            Self::SoftLockup => &["soft-lockup"],
            Self::HardLockup => &["hard-lockup"],
            Self::ModuleLoad => &["module-load", "ld"],
            Self::ModuleUnload => &["module-unload", "ud"],
            Self::Create => &["create", "cpr"],
            Self::Exit => &["exit", "epr"],
            Self::Signal => &["signal"],
            Self::Process => &["process"],
            Self::Int3 => &["int3", "bpe"],
            Self::Gp => &["gp"],
        }
    }
}

impl OccasionName {
    /// Whether it is named so.
    #[must_use]
    pub fn is_called(self, word: &str) -> bool {
        let mut names = self.names().iter();
        names.any(|name| name.eq_ignore_ascii_case(word))
    }
}

impl From<Occasion> for OccasionName {
    fn from(occasion: Occasion) -> Self {
        match occasion {
            Occasion::Panic => Self::Panic,
            Occasion::Oops => Self::Oops,
            Occasion::Warning => Self::Warn,
            Occasion::DoubleFault => Self::DoubleFault,
            Occasion::TripleFault => Self::TripleFault,
            Occasion::Restart => Self::Reboot,
            Occasion::PowerOff => Self::PowerOff,
            Occasion::HungTask => Self::HungTask,
            Occasion::ModuleLoad => Self::ModuleLoad,
            Occasion::ModuleUnload => Self::ModuleUnload,
            Occasion::TaskCreate => Self::Create,
            Occasion::TaskExit => Self::Exit,
            Occasion::SignalDeath => Self::Signal,
            Occasion::Program => Self::Process,
            Occasion::Int3 => Self::Int3,
            Occasion::GeneralProtection => Self::Gp,
        }
    }
}

/// How the debuggee goes on whose kernel has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndName {
    /// Its kernel has panicked.
    Panicked,
    /// It starts anew.
    Restarts,
    /// It is switched off.
    SwitchesOff,
    /// No core is left that can run.
    NoCore,
}
