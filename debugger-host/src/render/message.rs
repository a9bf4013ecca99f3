//! What programs of the debuggee say.

use crate::disasm::disassemble;
use crate::session::{Said, What};
use crate::symbol::resolve::Symbols;
use wire_protocol::packet::{Failure, FailureCause, Source};

/// Why a program did not do all of its work. `line` is where in the script, if that is known.
#[must_use]
pub fn failure(failure: &Failure, line: Option<&str>) -> String {
    let detail = failure.detail;
    let place = match (line, failure.cause) {
        (_, FailureCause::Instructions | FailureCause::Exception) => {
            format!("code, offset {:x}", failure.at)
        }
        (Some(line), _) => line.to_owned(),
        (None, _) => format!("script, offset {:x}", failure.at),
    };
    let what = match failure.cause {
        FailureCause::Operations => format!(
            "it did more than {detail} (0x{detail:x}) operations and was ended; \
             script_operations is the limit that the driver is loaded with"
        ),
        FailureCause::Depth => "its functions call each other too deeply; it was ended".to_owned(),
        FailureCause::Broken => "the program is damaged; it was ended".to_owned(),
        FailureCause::Instructions => {
            format!("it ran more than {detail} (0x{detail:x}) instructions; the event is disabled")
        }
        FailureCause::Exception => {
            format!("it raised exception {detail:x}; the event is disabled")
        }
        FailureCause::Division => "division by zero gave 0".to_owned(),
        FailureCause::Read => format!("nothing can be read at {detail:016x}; the value is 0"),
        FailureCause::Write => format!("nothing can be written at {detail:016x}"),
        FailureCause::Variable => format!(
            "{detail:016x} is not the address of a variable, or not aligned, and cannot be used \
             atomically"
        ),
        FailureCause::Register => format!("the register does not take the value {detail:x}"),
    };
    format!("{place}: {what}")
}

/// What one message is on the screen and in sinks. A script's own text is itself alone.
#[must_use]
pub fn said(said: &Said, symbols: &Symbols) -> String {
    let of = match said.source {
        Source::Event(id) => format!("event {id}"),
        Source::Request => "the script".to_owned(),
    };
    let lost = match said.lost {
        0 => String::new(),
        1 => format!(
            "warning: 1 message of core {} found no room here\n",
            said.core
        ),
        n => format!(
            "warning: {n} messages of core {} found no room here\n",
            said.core
        ),
    };
    let text = match &said.what {
        What::Text(text) => text.clone(),
        What::Trace { rip, code } => {
            let decoded = disassemble(code, *rip, symbols);
            let text = decoded.first().map_or("", |line| line.text.as_str());
            let place = symbols
                .place(*rip)
                .map_or_else(String::new, |place| format!(" {place}"));
            format!("core {}: {rip:016x}{place}  {text}\n", said.core)
        }
        What::Failure { failure: why, line } => {
            format!(
                "{of}, core {}: {}\n",
                said.core,
                failure(why, line.as_deref())
            )
        }
    };
    lost + &text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::address::{CoreId, EventId};

    fn message(what: What, lost: u64) -> Said {
        Said {
            source: Source::Event(EventId(3)),
            core: CoreId(1),
            lost,
            what,
        }
    }

    #[test]
    fn a_text_is_itself_alone() {
        let text = message(What::Text("a b".into()), 0);
        assert_eq!(said(&text, &Symbols::default()), "a b");
    }

    #[test]
    fn losses_stand_where_they_happened() {
        let text = message(What::Text("a\n".into()), 7);
        assert_eq!(
            said(&text, &Symbols::default()),
            "warning: 7 messages of core 1 found no room here\na\n"
        );
    }

    #[test]
    fn failures_name_event_core_and_line() {
        let why = Failure {
            cause: FailureCause::Operations,
            at: 5,
            detail: 1_000_000,
        };
        let what = What::Failure {
            failure: why,
            line: Some("script:2".into()),
        };
        let text = said(&message(what, 0), &Symbols::default());
        assert!(
            text.starts_with("event 3, core 1: script:2: it did more than 1000000 "),
            "{text}"
        );
    }
}
