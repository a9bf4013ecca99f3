//! What a running program may touch. Implemented by the driver for VMX-root and for in-guest
//! detours, by the host for trying scripts, and by tests.

use crate::branch::Branch;
use crate::bytecode::routine::Pseudo;
use crate::packet::Arguments;
use crate::register::Register;
use core::sync::atomic::AtomicU64;

/// The world of a program: one core at one moment.
///
/// The interpreter never passes more than [`super::PIECE_BYTES`] at a time, never a tagged address
/// ([`crate::bytecode::tag`]), which it serves itself, and never a range that goes round past the
/// highest address.
pub trait Machine {
    /// A register's value.
    fn register(&mut self, register: Register) -> u64;
    /// Changes a register; false if it refuses the value.
    fn set_register(&mut self, register: Register, value: u64) -> bool;
    /// A pseudo-register's value; `Date` and `Time` are not asked for.
    fn pseudo(&mut self, pseudo: Pseudo) -> u64;
    /// Reads virtual memory of the current address space. False if any of it is not there or is
    /// not to be read; `out` may then hold anything.
    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool;
    /// Writes virtual memory: all of it, or none and false.
    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool;
    /// Reads physical memory, as [`Self::read_virtual`].
    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool;
    /// Writes physical memory, as [`Self::write_virtual`].
    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool;
    /// Translates in the current address space.
    fn virtual_to_physical(&mut self, address: u64) -> Option<u64>;
    /// An address of the system's own mapping of this physical one.
    fn physical_to_virtual(&mut self, address: u64) -> Option<u64>;
    /// The globals, shared by all cores.
    fn globals(&self) -> &[AtomicU64];
    /// Takes a record of what is printed at code offset `site`; [`crate::print`] makes it text.
    fn record(&mut self, site: u32, arguments: Arguments<'_>);
    /// A branch that this core recorded, 0 being the newest; none if there is no more.
    fn branch(&mut self, number: usize) -> Option<Branch>;
    /// Does what a script asks of the debugger; false if that cannot be.
    fn ask(&mut self, ask: Ask) -> bool;
    /// The time-stamp counter.
    fn tsc(&mut self) -> u64;
    /// Called over and over while a lock is not free.
    fn relax(&mut self);
    /// Waits; at most [`super::SLEEP_US`] at a time.
    fn sleep_us(&mut self, microseconds: u32);
}

/// What a script can ask of the debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Stop all cores when this run has ended.
    Pause,
    /// Drop queued messages.
    Flush,
    /// `event_enable`
    Enable(u64),
    /// `event_disable`
    Disable(u64),
    /// `event_clear`
    Clear(u64),
    /// `event_sc`: what triggered this hit is not to take place, or is.
    ShortCircuit(bool),
    /// `event_inject`: an interrupt or exception when the guest goes on.
    Inject {
        /// The type as the processor numbers them: 0 external interrupt, 2 NMI, 3 exception, 4 to
        /// 6 software.
        kind: u64,
        /// Its vector.
        vector: u64,
        /// Its error code.
        error_code: Option<u64>,
    },
    /// `lbr_…`: of the branches that this core records.
    Branches(BranchCall),
    /// `event_trace_…`: step, then run what the event runs once more.
    Trace(Tracing),
}

/// What a script wants of the branches that its core records. All need them to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchCall {
    /// `lbr_save`: keep them for the user.
    Save,
    /// `lbr_check`
    Check,
    /// `lbr_restore`: go on.
    Restore,
    /// `lbr_restore_by_filter`: go on, with this filter.
    RestoreBy(u64),
}

/// How far a script lets its core step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// One instruction; a call is one.
    Step,
    /// One instruction.
    StepIn,
    /// Until the routine returned.
    StepOut,
    /// One instruction, of a handler too that comes in between; a call is one.
    InstrumentationStep,
    /// One instruction, of a handler too that comes in between.
    InstrumentationStepIn,
}

impl Tracing {
    /// In order.
    pub const ALL: [Self; 5] = [
        Self::Step,
        Self::StepIn,
        Self::StepOut,
        Self::InstrumentationStep,
        Self::InstrumentationStepIn,
    ];
}
