//! What the debuggee says by itself, shown as it comes. Called between commands, while a command
//! waits, and while the debuggee runs.

use super::Debugger;
use crate::render;
use crate::session::{Halt, News, Said};
use std::time::{Duration, Instant};
use wire_protocol::packet::{Source, StopCause};

/// As long as the debuggee runs, messages may come without end: so long are they shown before
/// keyboard and line are looked at again.
const TURN: Duration = Duration::from_millis(200);

impl Debugger {
    /// Shows what there is: everything if the debuggee is halted, else for a while. Ctrl+C spares
    /// the user the rest of the messages; sinks get them all the same.
    pub fn show_news(&mut self) {
        let started = Instant::now();
        let mut spared = 0;
        while let Some(news) = self.session.take_news() {
            let text = match news {
                News::Stopped(halt) => self.halt_text(&halt),
                News::Fault {
                    core,
                    vector,
                    rip,
                    detail,
                } => format!(
                    "warning: the hypervisor met fault {vector:x} on core {core} at {rip:016x} \
                     (detail {detail:x}); that core stands still for good"
                ),
                News::Said(messages) => {
                    spared += self.show_messages(&messages);
                    if self.session.halt().is_none() && started.elapsed() > TURN {
                        break;
                    }
                    continue;
                }
                News::Unread(_) => continue,
                News::UnknownNotice { kind } => format!(
                    "warning: the debuggee sent a notice of kind {kind:02x} that this program does \
                     not know"
                ),
                News::MalformedNotice { kind } => format!(
                    "warning: the debuggee sent a notice of kind {kind:02x} that is malformed and \
                     cannot be read"
                ),
            };
            self.out.line(text);
        }
        if spared > 0 {
            self.out.line(format!("({spared} messages are not shown)"));
        }
        for failure in self.sinks.take_failures() {
            self.out.line(format!("warning: {failure}"));
        }
    }

    fn halt_text(&mut self, halt: &Halt) -> String {
        let event = match halt.cause {
            StopCause::Event { event } => {
                if self.session.known_event(event).is_none() {
                    // Shown without its name if the list cannot be read.
                    let _ = self.session.events();
                }
                self.session.known_event(event)
            }
            StopCause::BreakIn => None,
        };
        render::halt_lines(halt, event.as_ref(), &self.symbols)
    }

    /// Shows messages of programs, or gives them to the sinks of their events. How many were
    /// neither shown nor given away, because Ctrl+C was pressed.
    fn show_messages(&mut self, messages: &[Said]) -> usize {
        let mut text = String::new();
        let mut shown = 0;
        for message in messages {
            let words = render::said(message, &self.symbols);
            let output = match message.source {
                Source::Event(id) => self.session.output_of(id),
                Source::Request => &[],
            };
            // What no sink takes is not lost.
            if !self.sinks.give(output, &words) {
                text.push_str(&words);
                shown += 1;
            }
        }
        if self.session.patience().is_interrupted() {
            return shown;
        }
        self.out.raw(text);
        0
    }
}
