//! Running, halting, and choosing a core.

use super::event::stop_at;
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::occasion::EndName;
use crate::answer::{Address, Answer, status};
use crate::expression::Expression;
use crate::session::{EXPLAIN_AFTER, SessionError};
use std::time::{Duration, Instant};
use wire_protocol::address::CoreId;
use wire_protocol::packet::{CoreState, Occasion, StopCause};

/// Between two looks at messages.
const SLICE: Duration = Duration::from_millis(50);

/// The longest wait that `.wait` takes: a day.
const WAIT_LIMIT_S: u64 = 24 * 60 * 60;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// To an address, or on.
struct Go(Option<Expression>);

pub(super) fn go(mut arguments: Arguments<'_>) -> Parsed {
    let to = match arguments.is_empty() {
        true => None,
        false => Some(arguments.expression("the address")?),
    };
    arguments.end()?;
    Ok(Box::new(Go(to)))
}

impl Action for Go {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if let Some(address) = &self.0 {
            stop_at(debugger, address)?;
        }
        let end = end_of(debugger)?;
        debugger.back_up();
        debugger.session.go()?;
        debugger.has_just_gone = true;
        Ok(end.map_or(Answer::Done {}, |end| Answer::Ends { end }))
    }
}

/// What there is to say of a debuggee that goes on from this halt.
fn end_of(debugger: &mut Debugger) -> Result<Option<EndName>, CommandError> {
    let cause = debugger.session.halt().map(|halt| halt.cause);
    Ok(match cause {
        Some(StopCause::Occasion(came)) => match came.occasion {
            Occasion::Panic => Some(EndName::Panicked),
            Occasion::Restart => Some(EndName::Restarts),
            Occasion::PowerOff => Some(EndName::SwitchesOff),
            _ => None,
        },
        Some(StopCause::CoreDied { .. }) => {
            let can_run = |state: &CoreState| matches!(state, CoreState::Halted { .. });
            let any = debugger.session.cores()?.iter().any(can_run);
            (!any).then_some(EndName::NoCore)
        }
        _ => None,
    })
}

struct Pause;

pub(super) fn pause(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Pause))
}

impl Action for Pause {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if debugger.session.certain_halt()?.is_some() {
            return Ok(Answer::HaltedAlready {});
        }
        debugger.session.break_in()?;
        debugger.show_news();
        Ok(Answer::Done {})
    }
}

struct LastEvent;

pub(super) fn last_event(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(LastEvent))
}

impl Action for LastEvent {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let halt = debugger
            .session
            .halt()
            .cloned()
            .ok_or(SessionError::Running)?;
        let halt = Box::new(debugger.halt(&halt));
        Ok(Answer::LastEvent { halt })
    }
}

struct Wait(Option<Expression>);

pub(super) fn wait(mut arguments: Arguments<'_>) -> Parsed {
    let seconds = if arguments.is_empty() {
        None
    } else {
        Some(arguments.number("SECONDS")?)
    };
    arguments.end()?;
    Ok(Box::new(Wait(seconds)))
}

impl Action for Wait {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let limit = match &self.0 {
            Some(seconds) => {
                let seconds = debugger.value(seconds)?;
                if seconds > WAIT_LIMIT_S {
                    return Err(CommandError::TooBig {
                        what: "SECONDS",
                        value: seconds,
                        limit: WAIT_LIMIT_S,
                    });
                }
                Some(Duration::from_secs(seconds))
            }
            None => debugger.session.timeout().limit(),
        };
        let started = Instant::now();
        let mut explained = false;
        loop {
            // Messages are shown as they come, not at the end of the wait.
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let slice = left.unwrap_or(SLICE).min(SLICE);
            let waited = debugger.session.wait_for_halt(Some(slice));
            debugger.show_news();
            match waited {
                Err(SessionError::NotStopped { .. }) => {
                    debugger.session.must_be_able_to_halt(limit)?;
                    if !explained && started.elapsed() >= EXPLAIN_AFTER {
                        explained = true;
                        debugger.session.explain_wait(started.elapsed());
                    }
                    if limit.is_some_and(|limit| started.elapsed() >= limit) {
                        let seconds = started.elapsed().as_secs();
                        return Err(SessionError::NotStopped { seconds }.into());
                    }
                }
                waited => {
                    waited?;
                    return Ok(Answer::Done {});
                }
            }
        }
    }
}

struct Core(Option<Expression>);

pub(super) fn core(mut arguments: Arguments<'_>) -> Parsed {
    let number = if arguments.is_empty() {
        None
    } else {
        Some(arguments.number("the core")?)
    };
    arguments.end()?;
    Ok(Box::new(Core(number)))
}

impl Action for Core {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if let Some(number) = &self.0 {
            let number = debugger.value(number)?;
            let cores = debugger.session.identity().cores;
            let core = u16::try_from(number).map(CoreId);
            let core = core.map_err(|_| CommandError::OutOfRange {
                what: "the core",
                value: number,
                least: 0,
                most: u64::from(cores.saturating_sub(1)),
            })?;
            debugger.session.set_core(core)?;
            debugger.look_at_core();
            return Ok(Answer::OperatingCore { core: core.0 });
        }
        let operating = debugger.session.core();
        let states = debugger.session.cores()?;
        let is_halted = debugger.session.halt().is_some();
        let core = |(number, state): (u16, CoreState)| status::Core {
            core: number,
            is_operating: is_halted && number == operating.0,
            state: match state {
                CoreState::Halted { rip } => status::CoreState::Halted {
                    at: Address::new(rip.0, &debugger.symbols),
                },
                CoreState::WaitForSipi => status::CoreState::WaitsForStartup {},
                CoreState::Missing => status::CoreState::Missing {},
                CoreState::Offline => status::CoreState::Offline {},
                CoreState::Died { rip } => status::CoreState::Died {
                    at: Address::new(rip.0, &debugger.symbols),
                },
                CoreState::Lost => status::CoreState::Lost {},
            },
        };
        Ok(Answer::Cores {
            cores: (0..).zip(states).map(core).collect(),
        })
    }
}
