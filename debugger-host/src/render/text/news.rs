//! What happens by itself, and what programs say.

use super::code::code;
use super::event::{kind, stands, trigger};
use super::{address, name, occasion, printable};
use crate::answer::event::Trigger;
use crate::answer::{Cause, Content, Count, Halt, Message, News, StepEndName, TaskName};
use crate::timeout::LineState;

/// News, without the end of its last line; a message as it is.
#[must_use]
pub fn news(news: &News) -> String {
    match news {
        News::Halted { halt: of } => halt(of),
        News::Fault {
            core,
            vector,
            rip,
            detail,
        } => format!(
            "warning: the hypervisor met fault {vector:x} on core {core:x} at {rip:016x} \
             (detail {detail:x}); that core stands still for good"
        ),
        News::Message { message: of } => message(of),
        News::MessagesSpared { count } => format!("({count} messages are not shown)"),
        News::DriverGone { said_goodbye: true } => {
            "the driver was unloaded; this program waits for \
             it, and says when it is there again"
                .to_owned()
        }
        News::DriverGone {
            said_goodbye: false,
        } => "the debuggee has started anew: the driver is another one, and the session is over"
            .to_owned(),
        News::DriverBack { status, halt: of } => {
            let mut lines = vec![format!(
                "the driver is there again; {}",
                super::status::connected(status)
            )];
            lines.extend(of.as_deref().map(halt));
            lines.join("\n")
        }
        News::OtherHost { seconds: None } => {
            "another host program has taken the debuggee over; this session is over, and \
             what was set stays; `.reconnect take-over` takes the debuggee back"
                .to_owned()
        }
        News::OtherHost {
            seconds: Some(seconds),
        } => format!(
            "another host program has the debuggee, for {seconds} s by now; `.reconnect` asks whether it is free"
        ),
        News::EventsLost { events } => {
            let (s, them) = if *events == 1 {
                ("", "it")
            } else {
                ("s", "them")
            };
            format!(
                "{events} event{s} of the session before had been set; `.session load` sets {them} again"
            )
        }
        News::DriverFailed { problem } => format!(
            "the driver is there again, and no session came about: {}; `.reconnect` tries once more",
            problem.message
        ),
        News::UnknownNotice { notice } => format!(
            "warning: the debuggee sent a notice of kind {notice:02x} that this program does not \
             know"
        ),
        News::MalformedNotice { notice } => format!(
            "warning: the debuggee sent a notice of kind {notice:02x} that is malformed and cannot \
             be read"
        ),
        News::Waiting {
            request,
            seconds,
            foreign_bytes,
            lost,
        } => {
            let line = match (lost, foreign_bytes) {
                (Some(why), _) => LineState::Lost { why: why.clone() },
                (None, Some(Count(bytes))) => LineState::Foreign { bytes: *bytes },
                (None, None) => LineState::Open,
            };
            waiting(request.as_deref(), *seconds, &line)
        }
        News::WaitingForLine { line, why, .. } => {
            format!("waiting for {line}: {why}; Ctrl+C to give up")
        }
        News::LineLost { why } => format!("the line is lost ({why}) and is being opened again"),
        News::LineBack { why: None } => "the line is open again".to_owned(),
        News::LineBack { why: Some(why) } => format!("the line was lost ({why}) and is open again"),
        News::OtherBaud { baud, found } => format!(
            "the debuggee's end of the line is at {found} baud, not {baud}, and is talked to at its own; \
             say --baud {found}, or load the driver with baud={baud}"
        ),
        News::Garbage { baud, tried: 0 } => format!(
            "what comes is no message at {baud} baud; with --baud-fixed no other speed is tried: say \
             the one that the driver was loaded with"
        ),
        News::Garbage { baud, tried } => format!(
            "what comes is no message at {baud} baud, nor at {tried} other speeds; is a debugger's driver \
             at the other end, with 8 data bits, no parity, one stop bit? its baud= goes behind --baud"
        ),
        News::LowerBaud { baud, now } => {
            format!("the line does not carry {baud} baud any more, and goes on at {now}")
        }
        News::DatagramsDropped { text, .. } => text.clone(),
        News::RecordingEnded { why } => {
            format!("warning: the recording ends here, the session goes on: {why}")
        }
        News::OutputFailed { problem } => format!("warning: {}", problem.message),
    }
}

/// What is being waited for.
fn waiting(request: Option<&str>, seconds: Count, line: &LineState) -> String {
    let what = request.map_or_else(
        || "waiting for the debuggee to halt".to_owned(),
        |request| format!("no answer from the debuggee to `{request}`"),
    );
    format!("{what} for {seconds} s; {line}; Ctrl+C to give up")
}

/// What a user sees first of a halt: why, then the instruction that is next.
pub(super) fn halt(halt: &Halt) -> String {
    let mut lines = reasons(halt);
    lines.push(match &halt.instruction {
        Some(instruction) => code(std::slice::from_ref(instruction)),
        None => address(&halt.at),
    });
    lines.join("\n")
}

/// `; process 1a4 (bash)` or `; process 1a4, thread 1a5 (bash)`.
fn whose(halt: &Halt) -> String {
    let Some(TaskName { pid, tid, name }) = &halt.task else {
        return String::new();
    };
    let name = printable(name);
    match pid == tid {
        true => format!("; process {pid:x} ({name})"),
        false => format!("; process {pid:x}, thread {tid:x} ({name})"),
    }
}

/// So many registers are named; of more, how many they are.
const CHANGED_NAMED: usize = 8;

/// What is not as it was when the machine was let go.
fn changed(halt: &Halt) -> Option<String> {
    let changed = halt.changed.as_deref()?;
    Some(match changed.len() {
        0 => "; no register has changed".to_owned(),
        1..=CHANGED_NAMED => format!("; changed: {}", changed.join(" ")),
        count => format!("; {count} registers have changed"),
    })
}

/// Why the debuggee halted, and what of it did not.
pub(super) fn reasons(halt: &Halt) -> Vec<String> {
    let mut lines = Vec::from_iter(cause(halt));
    if !halt.missing_cores.is_empty() {
        let missing: Vec<String> = halt
            .missing_cores
            .iter()
            .map(|c| format!("{c:x}"))
            .collect();
        lines.push(format!(
            "warning: core {} did not check in and may still run",
            missing.join(", ")
        ));
    }
    lines
}

/// Why the debuggee halted, unless that goes without saying.
fn cause(halt: &Halt) -> Option<String> {
    let whose = whose(halt);
    let changed = changed(halt).unwrap_or_default();
    Some(match &halt.cause {
        Cause::Stepped { end } => match end {
            StepEndName::Count => return None,
            StepEndName::Asleep => format!(
                "core {:x} sleeps, and nothing wakes it while it is alone: `i` waits once more, `g` lets all cores run",
                halt.core
            ),
            StepEndName::Stuck => format!(
                "core {:x} is still in the instruction it stands at after a second: `i` waits once more",
                halt.core
            ),
            StepEndName::Untold => {
                "the line did not take the trace, which ends here; `i COUNT` goes on".to_owned()
            }
            StepEndName::Limit => {
                "these are the most that were asked for, and did not lead there; the same command goes on".to_owned()
            }
            StepEndName::Arrived => format!("came to the address on core {:x}", halt.core),
            StepEndName::Lost => {
                "the thread cannot be followed: where it will come back no hook can be; `i` executes what comes next"
                    .to_owned()
            }
        },
        Cause::BreakIn {} => format!("break-in on core {:x}{whose}{changed}", halt.core),
        Cause::Event {
            id,
            is_breakpoint,
            trigger: of,
        } => {
            let what = of.as_ref().map_or_else(String::new, |of| match of {
                Trigger::Instruction { event, at } => at.symbol.as_ref().map_or_else(
                    || format!(": {event} {:016x}", at.address),
                    |symbol| format!(": {event} {}", name(symbol)),
                ),
                other => format!(": {}", trigger(other)),
            });
            let kind = kind(*is_breakpoint);
            format!(
                "{kind} {id:x} hit on core {:x}{what}{whose}{changed}",
                halt.core
            )
        }
        Cause::Occasion {
            name,
            place,
            number,
            text,
        } => {
            let came = occasion::came(*name, halt.core, place.as_ref(), *number, text.as_deref());
            format!("{came}{whose}")
        }
        Cause::CoreDied { reason, detail } => format!(
            "core {:x} died of {}; its registers are those it had last, memory can be read, and `g` \
             lets the other cores run{whose}",
            halt.core,
            death(*reason, detail.0)
        ),
    })
}

/// What a core died of.
fn death(reason: u16, detail: u64) -> String {
    const TRIPLE_FAULT: u16 = 2;
    const ENTRY_ERRORS: u16 = 256;
    match reason {
        TRIPLE_FAULT => {
            "a triple fault (an exception while the one before could not be delivered)".to_owned()
        }
        ENTRY_ERRORS.. => format!(
            "VM-instruction error {:x}: the processor did not enter its guest",
            reason - ENTRY_ERRORS
        ),
        _ => format!(
            "VM exit {reason:x} (detail {detail:x}), after which the hypervisor cannot enter its guest"
        ),
    }
}

/// What one message is on the screen and in files. A script's own text is itself alone.
#[must_use]
pub fn message(message: &Message) -> String {
    let Message {
        event,
        core,
        lost,
        content,
    } = message;
    let of = match event {
        Some(id) => format!("event {id:x}"),
        None => "the script".to_owned(),
    };
    let lost = match lost.0 {
        0 => String::new(),
        1 => format!("warning: 1 message of core {core:x} found no room here\n"),
        n => format!("warning: {n} messages of core {core:x} found no room here\n"),
    };
    let text = match content {
        Content::Text { text } => text.clone(),
        Content::Trace { at, instruction } => {
            let text = instruction.as_ref().map_or("", |i| i.text.as_str());
            let place = at
                .symbol
                .as_ref()
                .map_or_else(String::new, |symbol| format!(" {}", name(symbol)));
            format!("core {core:x}: {:016x}{place}  {text}\n", at.address)
        }
        Content::Failure { failure } => format!("{of}, core {core:x}: {failure}\n"),
        Content::Standing { standing } => format!("{of}: {}\n", stands(*standing)),
    };
    lost + &text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::event::StandingName;
    use crate::answer::{Failure, FailureName, Hex};
    use crate::script::lines::Line;

    fn said(content: Content, lost: u64) -> Message {
        Message {
            event: Some(3),
            core: 1,
            lost: Count(lost),
            content,
        }
    }

    #[test]
    fn a_text_is_itself_alone() {
        let text = said(Content::Text { text: "a b".into() }, 0);
        assert_eq!(message(&text), "a b");
    }

    #[test]
    fn losses_stand_where_they_happened() {
        let text = said(Content::Text { text: "a\n".into() }, 7);
        assert_eq!(
            message(&text),
            "warning: 7 messages of core 1 found no room here\na\n"
        );
    }

    #[test]
    fn an_event_that_is_stale_says_why() {
        let text = |standing| message(&said(Content::Standing { standing }, 0));
        assert_eq!(
            text(StandingName::Replaced),
            "event 3: it is stale: other code stands there now\n"
        );
        assert_eq!(
            text(StandingName::Active),
            "event 3: it acts as it was asked for again\n"
        );
        assert_eq!(
            text(StandingName::Breakpoint),
            "event 3: it is a hidden breakpoint for now, as its instruction was changed\n"
        );
    }

    #[test]
    fn failures_name_event_core_and_line() {
        let failure = Failure {
            cause: FailureName::Operations,
            at: 5,
            line: Some(Line {
                file: "script".into(),
                line: 2,
                or_condition: false,
            }),
            detail: Hex(1_000_000),
        };
        let text = message(&said(Content::Failure { failure }, 0));
        assert!(
            text.starts_with("event 3, core 1: script:2: it did more than 1000000 "),
            "{text}"
        );
    }
}
