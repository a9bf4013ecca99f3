//! What the debuggee says by itself, reported as it comes. Called between commands, while a
//! command waits, and while the debuggee runs.

use super::Debugger;
use crate::answer::{
    Address, Answer, Cause, Content, Count, Failure, Halt, Hex, Message, News, Problem, Report,
    event::Trigger,
};
use crate::disasm::disassemble;
use crate::session::{self, MessageContent, ProgramMessage, Session, TaskId};
use crate::types::register::spelling;
use std::time::{Duration, Instant};
use wire_protocol::event::Lifetime;
use wire_protocol::packet::{Source, StopCause};

/// As long as the debuggee runs, messages may come without end: so long are they shown before
/// keyboard and line are looked at again.
const TURN: Duration = Duration::from_millis(200);

/// Names of the registers that changed before a halt.
pub(super) fn changed(halt: &session::Halt) -> Option<Vec<String>> {
    let set = halt.task.as_ref()?.changed?;
    Some(set.iter().map(spelling).collect())
}

impl Debugger {
    /// Reports what there is: everything if the debuggee is halted, else for a while. Ctrl+C
    /// spares the user the rest of the messages; sinks get them all the same.
    pub fn show_news(&mut self) {
        self.take_news(&mut None, Session::take_news);
    }

    /// The same between commands, where a halt that came behind a `g`, sooner or later, is the next command's to tell.
    pub(super) fn show_news_after_command(&mut self) {
        if self.has_just_gone {
            self.take_news(&mut None, Session::take_news_before_halt);
        } else {
            self.show_news();
        }
    }

    /// The same, after a script ran once: what it printed is kept for the answer.
    pub(super) fn take_printed(&mut self) {
        let mut printed = Some(Vec::new());
        self.take_news(&mut printed, Session::take_news);
        self.messages.extend(printed.into_iter().flatten());
    }

    fn take_news(
        &mut self,
        printed: &mut Option<Vec<Message>>,
        take: impl Fn(&mut Session) -> Option<session::News>,
    ) {
        let started = Instant::now();
        let mut spared = 0;
        while let Some(news) = take(&mut self.session) {
            let news = match news {
                session::News::Stopped(halt) => News::Halted {
                    halt: Box::new(self.halt(&halt)),
                },
                session::News::Fault {
                    core,
                    vector,
                    rip,
                    detail,
                } => News::Fault {
                    core: core.0,
                    vector,
                    rip: Hex(rip),
                    detail: Hex(detail),
                },
                session::News::Messages(messages) => {
                    spared += self.show_messages(&messages, printed);
                    if self.session.halt().is_none() && started.elapsed() > TURN {
                        break;
                    }
                    continue;
                }
                session::News::Unread { .. } => continue,
                session::News::DriverGone { said_goodbye } => News::DriverGone { said_goodbye },
                session::News::DriverBack => self.meet_again(),
                session::News::OtherHost { seconds } => News::OtherHost { seconds },
                session::News::LineLost { why } => News::LineLost { why },
                session::News::LineBack { untold } => News::LineBack { why: untold },
                session::News::Rate(news) => News::from(news),
                session::News::Dropped(news) => News::from(news),
                session::News::UnknownNotice { kind } => News::UnknownNotice { notice: kind },
                session::News::MalformedNotice { kind } => News::MalformedNotice { notice: kind },
                session::News::RecordingEnded { why } => News::RecordingEnded { why },
            };
            self.report(Report::News(&[news]));
        }
        if let Some(events) = self.kept.take_loss() {
            self.report(Report::News(&[News::EventsLost { events }]));
        }
        if spared > 0 {
            let count = Count(spared as u64);
            self.report(Report::News(&[News::MessagesSpared { count }]));
        }
        for failure in self.sinks.take_failures() {
            let problem = Problem::from(&failure.into());
            self.report(Report::News(&[News::OutputFailed { problem }]));
        }
    }

    /// A driver that was waited for is there: a new session begins.
    fn meet_again(&mut self) -> News {
        match self.connect() {
            Ok(Answer::Connected { status, halt, .. }) => News::DriverBack { status, halt },
            Ok(_) => News::DriverGone { said_goodbye: true },
            Err(error) => News::DriverFailed {
                problem: Problem::from(&error),
            },
        }
    }

    /// An address, by its name also in a module that has come since modules were listed.
    fn place(&mut self, address: u64) -> Address {
        let named = Address::new(address, &self.symbols);
        let is_kernels = address >= 1 << 63;
        if named.symbol.is_some() || !is_kernels || self.refresh_modules().is_err() {
            return named;
        }
        Address::new(address, &self.symbols)
    }

    /// A halt, with the event that it is at.
    pub(super) fn halt(&mut self, halt: &session::Halt) -> Halt {
        let cause = match halt.cause {
            StopCause::Event { event } if let Some(name) = self.lockup_of(event) => {
                Cause::Occasion {
                    name,
                    place: None,
                    number: Hex(0),
                    text: None,
                }
            }
            StopCause::Event { event } => {
                if self.session.known_event(event).is_none() {
                    // Shown without its name if the list cannot be read.
                    let _ = self.session.events();
                }
                for entry in self.session.known_events() {
                    // Met and disabled: it has halted, by itself or together with the one that is named.
                    let is_spent = entry.settings.breakpoint.is_some_and(|of| {
                        let is_met = entry.hits >= u64::from(of.first_pass);
                        of.lifetime == Lifetime::UntilItHalts && is_met && !entry.enabled
                    });
                    if is_spent {
                        self.kept.spend(entry.id.0);
                    }
                }
                let entry = self.session.known_event(event);
                let breakpoint = entry.and_then(|entry| entry.settings.breakpoint);
                Cause::Event {
                    id: event.0,
                    is_breakpoint: breakpoint.is_some(),
                    trigger: entry.map(|entry| Trigger::new(&entry.settings, &self.symbols)),
                }
            }
            StopCause::BreakIn => Cause::BreakIn {},
            StopCause::Occasion(came) => Cause::Occasion {
                name: came.occasion.into(),
                place: (came.place.0 != 0).then(|| self.place(came.place.0)),
                number: Hex(came.number),
                text: (!came.text.is_empty())
                    .then(|| String::from_utf8_lossy(came.text.as_bytes()).into_owned()),
            },
            StopCause::Stepped { end } => Cause::Stepped { end: end.into() },
            StopCause::CoreDied { reason, detail } => Cause::CoreDied {
                reason,
                detail: Hex(detail),
            },
        };
        let missing_cores = (0..64).filter(|core| halt.missing_cores & (1 << core) != 0);
        Halt {
            number: halt.number,
            core: halt.core.0,
            cause,
            missing_cores: missing_cores.collect(),
            at: Address::new(halt.rip.0, &self.symbols),
            instruction: disassemble(&halt.code, halt.rip.0, &self.symbols)
                .into_iter()
                .next(),
            task: halt.task.as_ref().map(|task| (&TaskId::from(task)).into()),
            changed: changed(halt),
        }
    }

    /// Reports messages of programs, or gives them to the sinks of their events; those of a
    /// script that ran once go to `printed`, if that is wanted. How many were neither shown nor
    /// given away, because Ctrl+C was pressed.
    fn show_messages(
        &mut self,
        messages: &[ProgramMessage],
        printed: &mut Option<Vec<Message>>,
    ) -> usize {
        let mut news = Vec::new();
        let mut own = Vec::new();
        for said in messages {
            let message = self.message(said);
            let output = match said.source {
                Source::Event(id) => self.session.output_of(id),
                Source::Request => &[],
            };
            // What no sink takes is not lost. What is wrong with an event is for its user.
            let is_standing = matches!(said.what, MessageContent::Standing(_));
            if !is_standing
                && !output.is_empty()
                && self.sinks.give(output, &self.listener.words(&message))
            {
                continue;
            }
            match said.source {
                Source::Request if printed.is_some() => own.push(message),
                _ => news.push(News::Message { message }),
            }
        }
        if self.session.timeout().is_interrupted() {
            return news.len() + own.len();
        }
        if !news.is_empty() {
            self.report(Report::News(&news));
        }
        if let Some(printed) = printed {
            printed.extend(own);
        }
        0
    }

    fn message(&self, said: &ProgramMessage) -> Message {
        Message {
            event: match said.source {
                Source::Event(id) => Some(id.0),
                Source::Request => None,
            },
            core: said.core.0,
            lost: Count(said.lost),
            content: match &said.what {
                MessageContent::Text(text) => Content::Text { text: text.clone() },
                MessageContent::Trace { rip, code } => Content::Trace {
                    at: Address::new(*rip, &self.symbols),
                    instruction: disassemble(code, *rip, &self.symbols)
                        .into_iter()
                        .next()
                        .map(Box::new),
                },
                MessageContent::Failure { failure, line } => Content::Failure {
                    failure: Failure::new(failure, line.clone()),
                },
                MessageContent::Standing(standing) => Content::Standing {
                    standing: (*standing).into(),
                },
            },
        }
    }
}
