//! The line to the debuggee: `.debug remote`, `.debug close`, `.reconnect`. What the command line's `connect` does, from the
//! prompt.

use super::kept::Kept;
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::Answer;
use crate::session::SessionError;
use crate::transport::{Endpoint, NetKey, listen_address};
use wire_protocol::event::EventEntry;

type Parsed = Result<Box<dyn Action>, ParseError>;

struct Remote {
    endpoint: Endpoint,
    pauses: bool,
    takes_over: bool,
}

struct Close;

pub(super) fn debug(mut arguments: Arguments<'_>) -> Parsed {
    let action: Box<dyn Action> = match arguments.required_word("`remote` or `close`")? {
        word if word.eq_ignore_ascii_case("close") => Box::new(Close),
        word if word.eq_ignore_ascii_case("remote") => Box::new(Remote {
            pauses: arguments.keyword("pause"),
            takes_over: arguments.keyword("take-over"),
            endpoint: endpoint(&mut arguments)?,
        }),
        word => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "remote or close; the debuggee is prepared by loading its driver there",
            });
        }
    };
    arguments.end()?;
    Ok(action)
}

fn endpoint(arguments: &mut Arguments<'_>) -> Result<Endpoint, ParseError> {
    let kind = arguments.required_word("the kind of line")?;
    Ok(match kind.to_ascii_lowercase().as_str() {
        "serial" => {
            let word = arguments.required_word("BAUD")?;
            // As on the command line, and as everybody says it.
            let baud = word.parse().map_err(|_| ParseError::BadWord {
                word: word.to_owned(),
                expected: "a speed in decimal, as 115200",
            })?;
            let baud_fixed = arguments.keyword("fixed");
            let device = arguments.path("DEVICE")?.to_owned();
            Endpoint::Serial {
                device,
                baud,
                baud_fixed,
            }
        }
        "namedpipe" => Endpoint::Pipe {
            name: arguments.path("NAME")?.to_owned(),
        },
        "pipeserver" => Endpoint::PipeServer {
            name: arguments.path("NAME")?.to_owned(),
        },
        "tcp" => Endpoint::Tcp {
            address: arguments.required_word("HOST:PORT")?.to_owned(),
        },
        "socket" => Endpoint::Socket {
            path: arguments.path("PATH")?.into(),
        },
        "net" => {
            let word = arguments.required_word("UDP-PORT")?;
            let address = listen_address(word).map_err(|_| ParseError::BadWord {
                word: word.to_owned(),
                expected: "PORT or ADDRESS:PORT, as 50000 or 192.0.2.1:50000",
            })?;
            let accepts_older_clock = arguments.keyword("accept-older-clock");
            let key = arguments.path("KEY or @FILE")?;
            let mut key = NetKey::given(key).map_err(|error| ParseError::BadKey {
                why: error.to_string(),
            })?;
            key.accepts_older_clock = accepts_older_clock;
            Endpoint::Net { address, key }
        }
        _ => {
            return Err(ParseError::BadWord {
                word: kind.to_owned(),
                expected: "serial, namedpipe, pipeserver, tcp, socket or net",
            });
        }
    })
}

impl Action for Remote {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.open(self.endpoint.clone())?;
        if self.takes_over {
            debugger.session.take_over();
        }
        let connected = debugger.connect();
        if connected.is_err() {
            // Else there would be a line that was asked for and a session that was not begun.
            debugger.session.close();
        }
        let answer = connected?;
        if self.pauses && debugger.session.halt().is_none() {
            debugger.session.break_in()?;
        }
        Ok(answer)
    }
}

impl Action for Close {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let session = &mut debugger.session;
        let line = session.endpoint().ok_or(SessionError::NotConnected)?;
        let line = line.to_string();
        let events = session.events().ok();
        let runs = session.halt().is_none() || session.go().is_ok();
        session.close();
        debugger.kept = Kept::default();
        let enabled = |events: Vec<EventEntry>| events.iter().filter(|e| e.enabled).count();
        Ok(Answer::Closed {
            line,
            runs,
            events: events.map_or(0, enabled).try_into().unwrap_or(u32::MAX),
        })
    }
}

struct Reconnect {
    takes_over: bool,
}

pub(super) fn reconnect(mut arguments: Arguments<'_>) -> Parsed {
    let takes_over = arguments.keyword("take-over");
    arguments.end()?;
    Ok(Box::new(Reconnect { takes_over }))
}

impl Action for Reconnect {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if self.takes_over {
            debugger.session.take_over();
        }
        debugger.connect()
    }
}
