//! What packets and messages say, in a line each. Called by `standstill show`, and where a replay
//! says what it was asked and what the recording has instead.

use super::{Entry, NotOpen, Packet, form};
use std::fmt::Debug;
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{Message, MessageError, Reply, Request, RequestError};

/// A longer list of numbers is told by its beginning and its length.
const LIST_NUMBERS: usize = 16;
/// How much of a longer one is told.
const LIST_BEGINNING: usize = 8;

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The name of its kind; of a message, that of the message.
    pub kind: String,
    /// The number of the request that it is or answers.
    pub id: Option<u8>,
    /// What else it holds.
    pub content: String,
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

/// A long list of plain numbers, shortened.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, list) = rest.split_at(open + 1);
        out.push_str(before);
        rest = list;
        let end = list.find([']', '[', '{', '(', '"']).unwrap_or(list.len());
        let count = list[..end].split(", ").count();
        if list[end..].starts_with(']') && count > LIST_NUMBERS {
            let beginning: Vec<&str> = list[..end].split(", ").take(LIST_BEGINNING).collect();
            out.push_str(&format!("{}, ... {count} in all", beginning.join(", ")));
            rest = &list[end..];
        }
    }
    out.push_str(rest);
    out
}

/// The name of a value's variant, and what it holds.
pub(super) fn name_and_rest(value: &impl Debug) -> (String, String) {
    let text = format!("{value:x?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (name.to_owned(), shorten(rest.trim_start()))
}

fn words(id: Option<u8>, value: &impl Debug) -> Words {
    let (kind, content) = name_and_rest(value);
    Words { kind, id, content }
}

fn unreadable(kind: u8, id: Option<u8>, why: &str) -> Words {
    Words {
        kind: format!("{kind:02x}"),
        id,
        content: format!("({why})"),
    }
}

/// A message of the host.
#[must_use]
pub fn request(message: &[u8], base: GuestVirtual) -> Words {
    match Request::decode(message, base) {
        Ok((id, request)) => words(Some(id), &request),
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
        Ok(Message::Reply { id, reply }) => words(Some(id), &reply),
        Ok(Message::Notice(notice)) => words(None, &notice),
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
    let note = |content: String| Words {
        kind: form::name(&packet.entry).to_owned(),
        id: None,
        content,
    };
    match &packet.entry {
        Entry::Request(bytes) => request(bytes, bases.sent),
        Entry::Message(bytes) => message(bytes, bases.received),
        Entry::Start(start) => note(format!(
            "{}, protocol version {}",
            start.program, start.protocol
        )),
        Entry::Connect { nonce } => note(format!("{nonce:08x}")),
        Entry::Unsent { id, why } => Words {
            id: Some(*id),
            ..note(format!("{why:x?}"))
        },
        Entry::Open(endpoint) => note(endpoint.to_string()),
        Entry::Lost { why } | Entry::NotOpen(NotOpen { why, .. }) => note(why.clone()),
        Entry::OtherHost { seconds } => note(match seconds {
            Some(seconds) => format!("for {seconds} s"),
            None => "from now on".to_owned(),
        }),
        Entry::Reopened { untold } => note(untold.clone().unwrap_or_default()),
        Entry::Command(line) => note(line.clone()),
        Entry::Input(input) => note(input.to_string()),
        Entry::Counts(counts) => note(format!("{:?}", counts.statistics)),
        Entry::Connected | Entry::BreakIn | Entry::Greeting | Entry::CommandEnd | Entry::End => {
            note(String::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_numbers_are_told_by_their_beginning() {
        let bytes: Vec<u8> = (0..40).collect();
        assert_eq!(
            shorten(&format!("{{ bytes: {bytes:x?}, more: [1, 2] }}")),
            "{ bytes: [0, 1, 2, 3, 4, 5, 6, 7, ... 40 in all], more: [1, 2] }"
        );
        assert_eq!(shorten("[[1, 2], Some([3])]"), "[[1, 2], Some([3])]");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let words = request(&[0x9f, 3], GuestVirtual(0));
        assert_eq!(
            (words.kind.as_str(), words.id, words.content.as_str()),
            ("9f", Some(3), "(a request that is not known)")
        );
    }
}
