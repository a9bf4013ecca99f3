//! A hit of a detour, served in guest mode.
//!
//! Called by the stub that all detours share, on the core that came through one, in the trampoline view and on
//! the debugger's own stack and tables. Programs run here as in VMX-root; what needs VMX-root
//! is told to the stub, which calls it.

use crate::cores::registers::RFLAGS_WRITABLE;
use crate::event::is_of;
use crate::event::plan::core_matches;
use crate::port::{Gprs, GuestCpu, Ports};
use crate::run::registers::Registers;
use crate::run::{self, Runner};
use crate::shared::Shared;
use wire_protocol::address::{EventId, GuestVirtual};
use wire_protocol::event::{Actions, ConditionKind, Trigger};
use wire_protocol::register::Register;

/// Call of a core inside: the register whose number is in RDX, answered in RAX.
pub const READ_REGISTER: u64 = 7;

/// Call of a core inside: gives the register whose number is in RDX the value in RSI. RAX is 1 if it took
/// it.
pub const WRITE_REGISTER: u64 = 8;

/// Words of a [`Frame`].
pub const FRAME_WORDS: usize = size_of::<Frame>() / size_of::<u64>();

/// The guest at a detour, as the stub laid it down and takes it up again.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Frame {
    /// General registers; RSP's slot means nothing.
    pub registers: Gprs,
    /// Where it goes on.
    pub rip: u64,
    /// See IRETQ.
    pub cs: u64,
    /// See IRETQ.
    pub rflags: u64,
    /// See IRETQ.
    pub rsp: u64,
    /// See IRETQ.
    pub ss: u64,
}

/// What VMX-root is to do. The low byte of what the stub passes on; the rest is the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubRequest {
    /// Look at what was deferred.
    Nothing,
    /// Halt for the event, whose programs were run.
    Halt(EventId),
    /// Serve the event: it has machine code.
    Serve(EventId),
}

const HALT: u64 = 1;
const SERVE: u64 = 2;
const LOOK: u64 = 3;
const EVENT_SHIFT: u32 = 8;

impl StubRequest {
    /// As the stub passes it on; never 0.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Nothing => LOOK,
            Self::Halt(event) => HALT | (event.0 as u64) << EVENT_SHIFT,
            Self::Serve(event) => SERVE | (event.0 as u64) << EVENT_SHIFT,
        }
    }

    /// What was passed on.
    #[must_use]
    pub const fn decode(word: u64) -> Self {
        let event = EventId((word >> EVENT_SHIFT) as u32);
        match word & 0xff {
            HALT => Self::Halt(event),
            SERVE => Self::Serve(event),
            _ => Self::Nothing,
        }
    }
}

/// Serves the event that has the detour of place `number`. `None`: the guest goes on as the frame
/// says, and no exit is needed.
pub fn hit<P: Ports>(
    mut runner: Runner<'_>,
    frame: &mut Frame,
    number: u64,
    cr3: u64,
    guest: &impl GuestCpu,
    shared: &Shared<P>,
) -> Option<StubRequest> {
    let (core, installed) = (runner.core, runner.installed);
    let served = installed.detours().served(usize::try_from(number).ok()?)?;
    frame.rip = served.goes_on;
    let event = served.event?;
    let place = installed.registry().place(event)?;
    let record = installed.registry().seen_at(place, event)?;
    if !record.acts() {
        return None;
    }
    let (settings, sizes) = (record.settings, record.sizes);
    let Trigger::EptHook2 { address } = settings.trigger else {
        return None;
    };
    if !core_matches(&settings, core) || !is_of(&settings.filter, shared.running(core)) {
        return None;
    }
    frame.rip = served.at.0;
    if sizes.code_bytes != 0 || sizes.condition == ConditionKind::Code {
        return Some(StubRequest::Serve(event));
    }
    let mut registers = Detoured {
        frame,
        cr3,
        hidden_ticks: shared.clock.hidden_ticks(),
        guest,
    };
    let ran = run::scripts(
        &mut runner,
        &mut registers,
        shared,
        (event, place),
        address.0,
    );
    if ran.pauses || ran.holds && settings.actions.contains(Actions::BREAK) {
        return Some(StubRequest::Halt(event));
    }
    if frame.rip == served.at.0 {
        frame.rip = served.goes_on;
    }
    (shared.changes.is_wanted() || shared.published.traces(core)).then_some(StubRequest::Nothing)
}

/// Registers of a core that is inside a detour.
struct Detoured<'f, G> {
    frame: &'f mut Frame,
    cr3: u64,
    /// What the guest's counter lacks.
    hidden_ticks: u64,
    guest: &'f G,
}

impl<G: GuestCpu> Detoured<'_, G> {
    /// Where a register is in the frame, if it is there.
    fn slot(&mut self, register: Register) -> Option<&mut u64> {
        let number = usize::from(register as u8);
        match register {
            Register::Rsp => Some(&mut self.frame.rsp),
            Register::Rip => Some(&mut self.frame.rip),
            Register::Rflags => Some(&mut self.frame.rflags),
            _ => self.frame.registers.get_mut(number),
        }
    }
}

impl<G: GuestCpu> Registers for Detoured<'_, G> {
    fn get(&mut self, register: Register) -> u64 {
        if let Some(slot) = self.slot(register) {
            return *slot;
        }
        match register {
            Register::Cr3 => self.cr3,
            Register::Cr4 => self.guest.cr4(),
            other => self.guest.call(READ_REGISTER, other as u64, 0),
        }
    }

    fn set(&mut self, register: Register, value: u64) -> bool {
        let before = self.get(register);
        let takes = match register {
            Register::Rip => GuestVirtual(value).is_canonical(),
            Register::Rflags => (value ^ before) & !RFLAGS_WRITABLE == 0,
            // The frame's tables are loaded again when the core leaves.
            Register::Cr3 => value == before,
            _ => true,
        };
        if !takes || register == Register::Cr3 {
            return takes;
        }
        match self.slot(register) {
            Some(slot) => *slot = value,
            None => return self.guest.call(WRITE_REGISTER, register as u64, value) != 0,
        }
        true
    }

    fn tsc(&self) -> u64 {
        self.guest.tsc().wrapping_add(self.hidden_ticks)
    }

    /// It would arrive in here.
    fn inject(&mut self, _: u64, _: u64, _: Option<u64>) -> bool {
        false
    }
}
