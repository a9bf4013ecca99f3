//! What is recorded of a session, or what it is replayed from. It outlives lines: a session can be closed and opened
//! again.

use super::incoming::Gap;
use super::recorded::Recorded;
use super::{News, Session, SessionError};
use crate::recording::{Entry, NotOpen, NotOpenCause, Recorder, Recording};
use std::rc::Rc;
use std::time::Duration;

/// See the module.
#[derive(Default)]
pub(super) enum Tape {
    /// Nothing.
    #[default]
    Absent,
    /// It is recorded.
    Recorder(Recorder),
    /// It is replayed.
    Recorded(Rc<Recorded>),
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Self::Recorder(recorder) = self {
            recorder.finish();
        }
    }
}

impl Tape {
    /// Who records.
    pub(super) fn recorder(&self) -> Option<Recorder> {
        match self {
            Self::Recorder(recorder) => Some(recorder.clone()),
            Self::Absent | Self::Recorded(_) => None,
        }
    }

    /// What is replayed.
    pub(super) fn recorded(&self) -> Option<Rc<Recorded>> {
        match self {
            Self::Recorded(recorded) => Some(Rc::clone(recorded)),
            Self::Absent | Self::Recorder(_) => None,
        }
    }
}

/// As recordings have it, if it is why a line was not opened.
pub(super) fn not_open(error: &SessionError) -> Option<NotOpen> {
    let (cause, why) = match error {
        SessionError::NoLine { why, .. } => (NotOpenCause::Never, why),
        SessionError::NotOpened { seconds, why, .. } => (NotOpenCause::TimeOut(*seconds), why),
        SessionError::LineGivenUp { why, .. } => (NotOpenCause::User, why),
        _ => return None,
    };
    let why = why.clone();
    Some(NotOpen { cause, why })
}

/// As it was told then.
pub(super) fn told(not_open: NotOpen, line: String) -> SessionError {
    let NotOpen { cause, why } = not_open;
    match cause {
        NotOpenCause::Never => SessionError::NoLine { line, why },
        NotOpenCause::TimeOut(seconds) => SessionError::NotOpened { line, seconds, why },
        NotOpenCause::User => SessionError::LineGivenUp { line, why },
    }
}

/// Whether it was the limit that ended a wait.
fn is_over(limit: Option<Duration>, waited: Duration) -> bool {
    limit.is_some_and(|limit| waited >= limit)
}

impl Session {
    /// All that follows is recorded.
    pub fn record(&mut self, recorder: Recorder) {
        self.tape = Tape::Recorder(recorder);
    }

    /// A recording plays the debuggee; if one was named when it began, it is there at once.
    ///
    /// # Errors
    /// When nobody was reached then.
    pub fn replay(&mut self, recording: &Recording) -> Result<(), SessionError> {
        self.tape = Tape::Recorded(Rc::new(Recorded::new(recording)));
        match recording.start.endpoint.clone() {
            Some(endpoint) => self.open(endpoint),
            None => Ok(()),
        }
    }

    /// A recording plays the debuggee: time does not pass for it.
    #[must_use]
    pub const fn is_replay(&self) -> bool {
        matches!(self.tape, Tape::Recorded(_))
    }

    /// This command begins, which a recording tells.
    pub fn note_command(&self, line: &str) {
        match &self.tape {
            Tape::Recorder(recorder) => recorder.act(Entry::Command(line.to_owned())),
            Tape::Recorded(recorded) => recorded.begin_command(line),
            Tape::Absent => {}
        }
    }

    /// It has ended.
    pub fn note_end_of_command(&self) {
        match &self.tape {
            Tape::Recorder(recorder) => recorder.act(Entry::CommandEnd),
            Tape::Recorded(recorded) => recorded.end_command(),
            Tape::Absent => {}
        }
    }

    /// A request has no answer in the recording.
    pub(super) fn no_answer_then(&self, what: &'static str, gap: Gap) -> SessionError {
        match gap {
            Gap::NotAsked { asked, next } => SessionError::NotAskedThen { asked, next },
            Gap::NotAnswered { waited } if is_over(self.timeout.limit(), waited) => {
                SessionError::NoAnswer {
                    what,
                    seconds: waited.as_secs(),
                    line: self.line_state(),
                }
            }
            Gap::NotAnswered { .. } => SessionError::GivenUp { what },
        }
    }

    /// The recording has no halt here.
    pub(super) fn no_halt_then(
        &self,
        what: &'static str,
        limit: Option<Duration>,
        gap: Gap,
    ) -> SessionError {
        match gap {
            Gap::NotAsked { asked, next } => SessionError::NotAskedThen { asked, next },
            Gap::NotAnswered { waited } if is_over(limit, waited) => SessionError::NotStopped {
                seconds: waited.as_secs(),
            },
            Gap::NotAnswered { .. } => SessionError::GivenUp { what },
        }
    }

    /// Ends a wait for a halt that cannot come, because the recording that is replayed has none here:
    /// as it ended then, if it was waited for.
    ///
    /// # Errors
    /// What it has instead.
    pub fn must_be_able_to_halt(&self, limit: Option<Duration>) -> Result<(), SessionError> {
        match self.connected_link()?.why_no_halt() {
            Some(gap) => Err(self.no_halt_then(".wait", limit, gap)),
            None => Ok(()),
        }
    }

    /// Makes news of a recording that cannot go on.
    pub(super) fn look_at_tape(&mut self) {
        if let Tape::Recorder(recorder) = &self.tape
            && let Some(why) = recorder.take_failure()
        {
            self.news.push_back(News::RecordingEnded { why });
        }
    }
}
