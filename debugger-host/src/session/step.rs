//! Instructions of one core while all others stay held, and steps of a thread.

use super::{Halt, Session, SessionError};
use std::time::{Duration, Instant};
use wire_protocol::packet::{
    Features, RegisterValues, Reply, Request, StepOrder, StepRecord, StopTask,
};
use wire_protocol::register::{Register, RegisterSet};

/// A break-in that is to end steps is repeated.
const BREAK_IN_EVERY: Duration = Duration::from_millis(200);
/// And after so long nobody waits for their answer any longer.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Registers with their values.
pub(super) type Changes = Vec<(Register, u64)>;

/// Where the core stood after one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next one.
    pub rip: u64,
    /// Its bytes; empty if they were not asked for.
    pub code: Vec<u8>,
    /// What the instruction changed, if that was asked for.
    pub registers: Option<Changes>,
}

/// What came of a request for steps.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// Instructions that were executed.
    pub count: u32,
    /// After each of them, in order; the last one may be missing, which the halt tells.
    pub steps: Vec<Step>,
    /// What all of them changed, RIP aside.
    pub registers: Changes,
    /// The halt that they ended in.
    pub halt: Halt,
}

/// What was told of steps so far.
#[derive(Debug, Default)]
pub(super) struct Trace(Vec<Step>);

impl<'a> Extend<StepRecord<'a>> for Trace {
    fn extend<T: IntoIterator<Item = StepRecord<'a>>>(&mut self, records: T) {
        self.0.extend(records.into_iter().map(|record| Step {
            rip: record.rip.0,
            code: record.code.to_vec(),
            registers: record.registers.map(|(set, values)| changes(set, &values)),
        }));
    }
}

fn changes(set: RegisterSet, values: &RegisterValues<'_>) -> Changes {
    set.iter().zip(values.iter()).collect()
}

/// How steps are ended that their user does not want to wait for.
#[derive(Debug, Default)]
pub(super) struct Ending {
    began: Option<Instant>,
    sent: Option<Instant>,
}

impl Ending {
    /// Whether they may still end. It begins with the first time.
    pub(super) fn is_waited_for(&mut self) -> bool {
        self.began.get_or_insert_with(Instant::now).elapsed() < END_WITHIN
    }

    /// Whether it is time for a break-in.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.sent.is_none_or(|at| at.elapsed() >= BREAK_IN_EVERY);
        if is_due {
            self.sent = Some(Instant::now());
        }
        is_due
    }
}

impl Session {
    /// Lets one core execute instructions, or the thread that it runs take steps. Ctrl+C, or a wait that takes too long, ends them early.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn step(&mut self, order: StepOrder) -> Result<Stepped, SessionError> {
        self.must_be_halted()?;
        let can_walk = self.identity.features.contains(Features::THREAD_STEPS);
        if order.walk.is_some() && !can_walk {
            return Err(SessionError::NoThreadSteps);
        }
        self.steps = Trace::default();
        let request = Request::Step(order);
        self.awaits_steps = true;
        let exchanged = self.exchange("i", &request);
        self.awaits_steps = false;
        let message = exchanged?;
        let mut hits = Vec::new();
        let answer = self.read_answer("i", &message, |reply| match reply {
            Reply::Stepped(stepped) => {
                hits.extend(stepped.stop.hits.iter());
                let last: Vec<StepRecord<'_>> = stepped.steps.iter().collect();
                let mut steps = Trace::default();
                steps.extend(last);
                Some((
                    Halt::from(&stepped.stop),
                    stepped.count,
                    changes(stepped.set, &stepped.values),
                    steps,
                ))
            }
            _ => None,
        });
        let (mut halt, count, registers, last) = answer?;
        // It is not told again.
        let known = self.halted.as_ref().filter(|halt| halt.core == order.core);
        let changed = registers.iter().map(|(register, _)| *register);
        let changed =
            changed.filter(|it| RegisterSet::GENERAL.contains(*it) && *it != Register::Rip);
        let changed = Some(changed.fold(RegisterSet::default(), RegisterSet::with));
        let same = known.and_then(|halt| halt.task);
        halt.task = halt.task.or(same.map(|task| StopTask { changed, ..task }));
        self.halted_at(&halt, hits.into_iter());
        let mut steps = std::mem::take(&mut self.steps).0;
        steps.extend(last.0);
        Ok(Stepped {
            count,
            steps,
            registers,
            halt,
        })
    }
}
