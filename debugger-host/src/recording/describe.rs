//! What packets and messages say, in a line each. Called by `standstill show`, and where a replay
//! says what it was asked and what the recording has instead.

use super::input::Input;
use super::told::Told;
use super::value::{Parts, Value};
use super::{Entry, Packet, form};
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{Message, MessageError, Reply, Request, RequestError};

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The name of its kind; of a message, that of the message.
    pub kind: String,
    /// The number of the request that it is or answers.
    pub id: Option<u8>,
    /// What else it holds.
    pub content: Value,
}

/// The kernel bases that messages are read with, on the way through a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Of what the host sends.
    pub sent: GuestVirtual,
    /// Of what the debuggee sends.
    pub received: GuestVirtual,
}

impl Bases {
    /// Goes past a packet.
    pub fn pass(&mut self, entry: &Entry) {
        match entry {
            Entry::Connect { .. } => self.sent = GuestVirtual(0),
            Entry::Connected => self.received = GuestVirtual(0),
            Entry::Message(message) => {
                if let Some(base) = kernel_base(message) {
                    self.sent = base;
                    self.received = base;
                }
            }
            _ => {}
        }
    }
}

/// The base that a reply to `Hello` tells.
fn kernel_base(message: &[u8]) -> Option<GuestVirtual> {
    match Message::decode(message, GuestVirtual(0)) {
        Ok(Message::Reply {
            reply: Reply::Hello(hello),
            ..
        }) => Some(hello.kernel_base),
        _ => None,
    }
}

/// Who the debuggee says that it is, if the message is the one in which it does.
pub(super) fn debuggee(message: &[u8]) -> Option<String> {
    match Message::decode(message, GuestVirtual(0)) {
        Ok(Message::Reply {
            reply: Reply::Hello(hello),
            ..
        }) => Some(format!(
            "debuggee: protocol version {}; {}",
            wire_protocol::packet::PROTOCOL_VERSION,
            hello.banner.trim_end()
        )),
        Ok(Message::Reply {
            reply: Reply::ForeignHello { version, .. },
            ..
        }) => Some(format!("debuggee: protocol version {version}")),
        _ => None,
    }
}

fn words(id: Option<u8>, value: Value) -> Words {
    Words {
        kind: value.kind().to_owned(),
        id,
        content: Value::Parts(value.into_parts()),
    }
}

fn unreadable(kind: u8, id: Option<u8>, why: &str) -> Words {
    Words {
        kind: format!("{kind:02x}"),
        id,
        content: Value::Word(format!("({why})")),
    }
}

/// A message of the host.
#[must_use]
pub fn request(message: &[u8], base: GuestVirtual) -> Words {
    match Request::decode(message, base) {
        Ok((id, request)) => words(Some(id), request.told()),
        Err(RequestError::Truncated) => unreadable(0, None, "too short for a request"),
        Err(RequestError::Unknown { kind, id }) => {
            unreadable(kind, Some(id), "a request that is not known")
        }
        Err(RequestError::Malformed { kind, id }) => {
            unreadable(kind, Some(id), "a request that is malformed")
        }
    }
}

/// A message of the debuggee.
#[must_use]
pub fn message(message: &[u8], base: GuestVirtual) -> Words {
    match Message::decode(message, base) {
        Ok(Message::Reply { id, reply }) => words(Some(id), reply.told()),
        Ok(Message::Notice(notice)) => words(None, notice.told()),
        Err(MessageError::Truncated) => unreadable(0, None, "too short for a message"),
        Err(MessageError::UnknownReply { kind, id }) => {
            unreadable(kind, Some(id), "a reply that is not known")
        }
        Err(MessageError::MalformedReply { kind, id }) => {
            unreadable(kind, Some(id), "a reply that is malformed")
        }
        Err(MessageError::UnknownNotice { kind }) => {
            unreadable(kind, None, "a notice that is not known")
        }
        Err(MessageError::MalformedNotice { kind }) => {
            unreadable(kind, None, "a notice that is malformed")
        }
    }
}

/// A packet.
#[must_use]
pub fn packet(packet: &Packet, bases: Bases) -> Words {
    let note = |content| Words {
        kind: form::name(&packet.entry).to_owned(),
        id: None,
        content,
    };
    let named = |name: &str, value| Value::Parts(vec![(name.to_owned(), value)]);
    let read = |text: String, parts| note(Value::Read(text, Box::new(parts)));
    match &packet.entry {
        Entry::Request(bytes) => request(bytes, bases.sent),
        Entry::Message(bytes) => message(bytes, bases.received),
        Entry::Start(start) => note(start.told()),
        Entry::Connect { nonce } => read(format!("{nonce:08x}"), named("session", nonce.told())),
        Entry::Unsent { id, why } => Words {
            id: Some(*id),
            ..note(why.told())
        },
        Entry::Open(endpoint) => read(endpoint.to_string(), named("line", endpoint.told())),
        Entry::Lost { why } => read(why.clone(), named("why", why.told())),
        Entry::NotOpen(not_open) => note(not_open.told()),
        Entry::OtherHost { seconds } => note(named("seconds", seconds.told())),
        Entry::Reopened { untold } => note(named("untold", untold.told())),
        Entry::Command(line) => read(line.clone(), named("line", line.told())),
        Entry::Input(input @ Input::Unheard { message: bytes }) => {
            let unheard = message(bytes, bases.received);
            read(
                format!("unheard {} {}", unheard.kind, unheard.content),
                input.told(),
            )
        }
        Entry::Input(input) => note(input.told()),
        Entry::Counts(counts) => note(counts.told()),
        Entry::Connected | Entry::BreakIn | Entry::Greeting | Entry::CommandEnd | Entry::End => {
            note(Value::Parts(Parts::new()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_so() {
        let words = request(&[0x9f, 3], GuestVirtual(0));
        assert_eq!(
            (words.kind.as_str(), words.id, words.content.to_string()),
            ("9f", Some(3), "(a request that is not known)".to_owned())
        );
    }
}
