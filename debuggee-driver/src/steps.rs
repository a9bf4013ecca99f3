//! Instructions that the host has one core, or one thread, execute: what was asked for, and what was done of it so far. All
//! other cores stay held, but where a thread is followed that is not frozen.
//!
//! One for all cores, since one core at a time is stepped. As data; begun and told by the core that serves a halt,
//! counted by the one that steps, in VMX-root.

pub mod walk;

use crate::cores::registers::RegisterFile;
use walk::{Awaited, Walker};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::codec::EncodeError;
use wire_protocol::packet::{
    RegisterValues, StepBuffer, StepDetail, StepOrder, StepRecord, Steps, StopTask, Until,
};
use wire_protocol::register::{Register, RegisterSet};

/// Bytes that the values of all registers take, and their lengths.
pub const VALUES_BYTES: usize = Register::COUNT * 9;

/// The code of so many is told with the last ones.
const LAST_WITH_CODE: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct HostSteps {
    order: Option<StepOrder>,
    /// The request that is to be answered, unless nobody waits for it any more.
    reply_to: Option<u8>,
    done: u32,
    /// When the last one was done, by the time-stamp counter.
    since: u64,
    /// Whose registers the next ones are.
    core: Option<CoreId>,
    /// The core's registers before the first one, or when the machine was let go last.
    before: RegisterFile,
    /// After the last one that was told with registers.
    told: RegisterFile,
    buffer: StepBuffer,
    /// They are a thread's.
    walker: Option<Walker>,
    /// What the host knows to have been there when it asked.
    pub known_task: Option<StopTask>,
}

impl HostSteps {
    /// Nothing was asked for.
    pub const NONE: Self = Self {
        order: None,
        reply_to: None,
        done: 0,
        since: 0,
        core: None,
        before: RegisterFile::NONE,
        told: RegisterFile::NONE,
        buffer: StepBuffer::EMPTY,
        walker: None,
        known_task: None,
    };

    /// Request `id` asks for steps of a core that has these registers, or of the thread that it runs. What is told is for
    /// messages with this base.
    pub fn begin(
        &mut self,
        id: u8,
        order: StepOrder,
        registers: &RegisterFile,
        base: GuestVirtual,
        walker: Option<Walker>,
    ) {
        self.order = Some(order);
        self.reply_to = Some(id);
        self.done = 0;
        self.walker = walker;
        (self.core, self.before) = (Some(order.core), *registers);
        self.told = *registers;
        self.buffer.clear(base);
    }

    /// The machine is let go when `core` has these registers. Before steps that is known already.
    pub fn remember(&mut self, core: CoreId, registers: &RegisterFile) {
        if self.order.is_none() {
            (self.core, self.before) = (Some(core), *registers);
        }
    }

    /// Registers of `core` that are not what they were when the machine was let go, of those that users look at. `None` if
    /// that is not known, or is told with the answer to a request.
    pub fn changed_since(&self, core: CoreId, now: &RegisterFile) -> Option<RegisterSet> {
        let is_same = self.core == Some(core) && self.reply_to.is_none();
        is_same.then(|| RegisterSet(self.changed(now).0 & RegisterSet::GENERAL.0))
    }

    /// The core goes on now: what the line still had to tell before does not count.
    pub const fn start(&mut self, now: u64) {
        self.since = now;
    }

    /// One instruction more was executed.
    pub fn count(&mut self, now: u64) {
        self.done = self.done.saturating_add(1);
        self.since = now;
    }

    /// Where the thread stands, whose steps they are. `None`: they are a core's, or over.
    pub const fn walker(&mut self) -> Option<&mut Walker> {
        match self.order {
            Some(_) => self.walker.as_mut(),
            None => None,
        }
    }

    /// Whether they are, or were, a thread's.
    pub const fn walks(&self) -> bool {
        self.walker.is_some()
    }

    /// The thread is away from now on.
    pub const fn send_away(&mut self, awaited: Awaited, now: u64) {
        if let Some(walker) = &mut self.walker {
            walker.awaited = Some(awaited);
            self.since = now;
        }
    }

    /// Whether the thread is away, and all cores but the one that runs are held.
    pub fn is_away_alone(&self) -> bool {
        self.order.is_some()
            && self
                .walker
                .is_some_and(|walker| walker.walk.is_frozen && walker.awaited.is_some())
    }

    /// Whether as many are done as there may be at most.
    pub fn is_at_limit(&self, more: u32) -> bool {
        self.order
            .is_some_and(|order| self.done.saturating_add(more) >= order.count)
    }

    /// Whether that was the last one.
    pub fn is_done(&self) -> bool {
        self.order.is_some_and(|order| self.done >= order.count)
    }

    /// Whether there was a first one.
    pub const fn has_begun(&self) -> bool {
        self.done != 0
    }

    /// Ticks since the last one.
    pub const fn waited_ticks(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }

    /// What the record of the instruction that was just counted tells, if it has one: the last one is told by the stop, but for
    /// what it changed. A user sees the code of the last few, so that comes without having been asked for.
    pub fn recorded(&self) -> Option<StepDetail> {
        let order = self.order.filter(|_| self.reply_to.is_some())?;
        let tells_last_only = |walker: &Walker| walker.walk.until != Until::Count;
        if self.walker.as_ref().is_some_and(tells_last_only) {
            return None;
        }
        match order.count.saturating_sub(self.done) {
            0 => Some(order.detail).filter(|detail| *detail == StepDetail::Registers),
            left if left < LAST_WITH_CODE => Some(order.detail.max(StepDetail::Code)),
            _ => Some(order.detail),
        }
    }

    /// Adds the record of the instruction that was just counted. `registers` are those after it.
    ///
    /// # Errors
    /// There is no room; nothing was added.
    pub fn record(
        &mut self,
        rip: u64,
        code: &[u8],
        registers: Option<&RegisterFile>,
    ) -> Result<(), EncodeError> {
        let mut scratch = [0; VALUES_BYTES];
        let changed = match registers {
            Some(now) => {
                let set = now.differences(&self.told);
                let values = set.iter().map(|register| now.get(register));
                Some((set, RegisterValues::encode_into(values, &mut scratch)?))
            }
            None => None,
        };
        let rip = GuestVirtual(rip);
        self.buffer.push(&StepRecord {
            rip,
            code,
            registers: changed,
        })?;
        if let Some(now) = registers {
            self.told = *now;
        }
        Ok(())
    }

    /// What was recorded and not told yet.
    pub fn steps(&self) -> Steps<'_> {
        self.buffer.steps()
    }

    /// It was told. What comes is for messages with this base.
    pub const fn clear_told(&mut self, base: GuestVirtual) {
        self.buffer.clear(base);
    }

    /// The machine stands still again: no more instructions.
    pub const fn end(&mut self) {
        self.order = None;
    }

    /// Nobody waits for the answer any more: the host is a new one, or it has been sent.
    pub const fn forget_reply(&mut self) {
        self.reply_to = None;
    }

    /// The request that is to be answered, and how many instructions were executed.
    pub fn to_answer(&self) -> Option<(u8, u32)> {
        self.reply_to.map(|id| (id, self.done))
    }

    /// Registers that differ from those before the first instruction.
    pub fn changed(&self, now: &RegisterFile) -> RegisterSet {
        now.differences(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);

    fn asked(count: u32, detail: StepDetail) -> HostSteps {
        let order = StepOrder {
            core: CoreId(1),
            count,
            detail,
            walk: None,
        };
        let mut steps = HostSteps::NONE;
        steps.begin(7, order, &RegisterFile::NONE, BASE, None);
        steps
    }

    #[test]
    fn the_stop_tells_the_last_one() {
        let mut steps = asked(2, StepDetail::Addresses);
        steps.count(110);
        assert_eq!(steps.recorded(), Some(StepDetail::Code), "it is seen");
        assert!(!steps.is_done());
        steps.count(120);
        assert_eq!(steps.recorded(), None);
        assert!(steps.is_done());
        assert_eq!(steps.waited_ticks(150), 30);
        assert_eq!(steps.to_answer(), Some((7, 2)));
        steps.end();
        assert!(steps.recorded().is_none() && steps.to_answer().is_some());
        steps.forget_reply();
        assert_eq!(steps.to_answer(), None);
    }

    #[test]
    fn each_record_has_what_its_own_instruction_changed() {
        let mut steps = asked(3, StepDetail::Registers);
        let mut registers = RegisterFile::NONE;
        for (value, changes) in [(1, 1), (1, 0), (2, 1)] {
            registers.set(Register::Rax, value).unwrap();
            steps.count(0);
            assert_eq!(steps.recorded(), Some(StepDetail::Registers));
            steps
                .record(BASE.0 + value, &[0x90], Some(&registers))
                .unwrap();
            let last = steps.steps().iter().last().unwrap();
            let (set, values) = last.registers.unwrap();
            assert_eq!(set.len(), changes);
            assert!(values.iter().all(|told| told == value));
        }
        assert_eq!(
            steps.changed(&registers),
            RegisterSet::EMPTY.with(Register::Rax)
        );
        steps.clear_told(BASE);
        assert!(steps.steps().is_empty());
    }

    #[test]
    fn what_changed_is_known_of_the_core_that_stopped_last() {
        let (core, other) = (CoreId(1), CoreId(0));
        let mut steps = HostSteps::NONE;
        let mut now = RegisterFile::NONE;
        assert_eq!(steps.changed_since(core, &now), None, "the first stop");
        steps.remember(core, &now);
        now.set(Register::Rbx, 7).unwrap();
        now.set(Register::Dr0, 7).unwrap();
        let changed = RegisterSet::EMPTY.with(Register::Rbx);
        assert_eq!(steps.changed_since(core, &now), Some(changed));
        assert_eq!(steps.changed_since(other, &now), None);
        let order = StepOrder {
            core,
            count: 1,
            detail: StepDetail::Addresses,
            walk: None,
        };
        steps.begin(3, order, &now, BASE, None);
        assert_eq!(steps.changed_since(core, &now), None, "the answer has it");
        steps.remember(other, &RegisterFile::NONE);
        assert!(steps.changed(&now).is_empty(), "the order knew it");
    }

    #[test]
    fn nothing_is_recorded_for_nobody() {
        let mut steps = asked(3, StepDetail::Registers);
        steps.forget_reply();
        steps.count(0);
        assert_eq!(steps.recorded(), None);
    }

    #[test]
    fn of_many_only_the_last_ones_have_their_code() {
        let mut steps = asked(20, StepDetail::Addresses);
        let mut with_code = 0;
        for _ in 0..20 {
            steps.count(0);
            with_code += u32::from(steps.recorded() == Some(StepDetail::Code));
        }
        assert_eq!(with_code, LAST_WITH_CODE - 1, "the stop has the last one");
    }
}
