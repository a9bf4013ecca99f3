//! Whether what a debuggee says now is what a recording has. Called by [`crate::session`] when a recording plays the
//! host, and by whoever plays one to the driver's core.

use super::describe::{self, name_and_rest};
use std::fmt::{self, Debug};
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{Message, Notice, Reply};

/// What of a message must be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// All but the time: the debuggee takes in what it took in then.
    All,
    /// Kinds, refusals, and what does not depend on the boot: the debuggee is another run of a machine. Its addresses,
    /// the contents of its memory and registers, its counters and what its programs print may differ.
    Stable,
}

/// A message as two runs have it that should be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What of it differs.
    pub field: &'static str,
    /// What that was then, and what it is now; `None` where it is not there.
    pub values: [Option<String>; 2],
    /// The recorded message, in words.
    pub expected: String,
    /// The other one.
    pub seen: String,
}

/// A message with the kernel base that it is read with.
#[derive(Clone, Copy, Debug)]
pub struct Said<'m> {
    /// Its bytes.
    pub message: &'m [u8],
    /// The base.
    pub base: GuestVirtual,
}

impl Said<'_> {
    /// In words.
    #[must_use]
    pub fn in_words(self) -> String {
        let words = describe::message(self.message, self.base);
        let id = words
            .id
            .map_or_else(String::new, |id| format!(" #{id:02x}"));
        format!("{}{id} {}", words.kind, words.content)
            .trim_end()
            .to_owned()
    }

    /// What must be the same, each with its name.
    fn fields(self, care: Care) -> Vec<(&'static str, String)> {
        match (Message::decode(self.message, self.base), care) {
            (Ok(message), Care::All) => all(&message),
            (Ok(message), Care::Stable) => stable(&message),
            // Bytes that nobody understands are what they are.
            (Err(_), _) => vec![("bytes", format!("{:02x?}", self.message))],
        }
    }
}

/// Longer values and messages are told by their beginning.
const TOLD_CHARACTERS: usize = 300;

/// A text, shortened.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(TOLD_CHARACTERS) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            values: [then, now],
            expected,
            seen,
        } = self;
        // A message that is whole its own value says it once.
        if let (Some(then), Some(now), true) = (then, now, *field != "content" && *field != "kind")
        {
            write!(
                f,
                " in its {field} ({} then, {} now)",
                shorten(then),
                shorten(now)
            )?;
        }
        write!(
            f,
            ": expected {}, seen {}",
            shorten(expected),
            shorten(seen)
        )
    }
}

/// How the message that was seen differs from the expected one, if it does.
#[must_use]
pub fn difference(expected: Said<'_>, seen: Said<'_>, care: Care) -> Option<Difference> {
    let (then, now) = (expected.fields(care), seen.fields(care));
    let at = (0..then.len().max(now.len())).find(|at| then.get(*at) != now.get(*at))?;
    let (field, _) = then.get(at).or(now.get(at))?;
    let value = |of: &[(_, String)]| of.get(at).map(|(_, value)| value.clone());
    Some(Difference {
        field,
        values: [value(&then), value(&now)],
        expected: expected.in_words(),
        seen: seen.in_words(),
    })
}

fn name(value: &impl Debug) -> String {
    name_and_rest(value).0
}

fn listed<T>(items: impl Iterator<Item = T>, text: impl Fn(T) -> String) -> String {
    items.map(text).collect::<Vec<_>>().join(", ")
}

/// Everything, but when records were made.
fn all(message: &Message<'_>) -> Vec<(&'static str, String)> {
    match message {
        Message::Notice(Notice::Messages(messages)) => vec![
            ("kind", "Messages".to_owned()),
            ("core", format!("{:?}", messages.core)),
            (
                "records",
                listed(messages.iter(), |record| {
                    let (source, lost) = (record.source, record.lost);
                    format!("{source:?} {lost} {:x?}", record.content)
                }),
            ),
        ],
        Message::Notice(notice) => {
            vec![("kind", name(notice)), ("content", format!("{notice:x?}"))]
        }
        Message::Reply { id, reply } => vec![
            ("kind", name(reply)),
            ("number", id.to_string()),
            ("content", format!("{reply:x?}")),
        ],
    }
}

/// What another run of the machine says, too.
fn stable(message: &Message<'_>) -> Vec<(&'static str, String)> {
    match message {
        Message::Notice(notice) => {
            let mut fields = vec![("kind", name(notice))];
            fields.extend(match notice {
                Notice::Stopped(stop) => Some(("cause", format!("{:?}", stop.cause))),
                Notice::Fault { vector, .. } => Some(("vector", vector.to_string())),
                Notice::Messages(_) | Notice::Goodbye => None,
            });
            fields
        }
        Message::Reply { id, reply } => {
            let mut fields = vec![("kind", kind(reply).to_owned()), ("number", id.to_string())];
            fields.extend(stable_reply(reply));
            fields
        }
    }
}

/// The kind of a reply; whether memory is what the host expects depends on what it holds.
fn kind(reply: &Reply<'_>) -> String {
    match reply {
        Reply::MemoryAsExpected => "Memory".to_owned(),
        _ => name(reply),
    }
}

fn stable_reply(reply: &Reply<'_>) -> Vec<(&'static str, String)> {
    match reply {
        Reply::Hello(hello) => vec![
            ("features", format!("{:?}", hello.features)),
            ("cores", hello.cores.to_string()),
            ("system", name(&hello.system)),
            ("halt", hello.stop.is_some().to_string()),
        ],
        Reply::ForeignHello { version, .. } => vec![("version", version.to_string())],
        Reply::Refused(refusal) => vec![("refusal", name(refusal))],
        Reply::Cores(states) => vec![("count of cores", states.len().to_string())],
        Reply::Registers { set, .. } => vec![("set", format!("{set:?}"))],
        Reply::EventsAdded { results, .. } => vec![(
            "results",
            listed(results.iter(), |result| match result {
                Ok(event) => format!("{event:?}"),
                Err(refusal) => name(&refusal),
            }),
        )],
        Reply::EventsChanged { count, .. } => vec![("count of events", count.to_string())],
        Reply::Events(entries) => vec![(
            "events",
            listed(entries.iter(), |entry| {
                let (kind, enabled) = (name(&entry.settings.trigger), entry.enabled);
                format!("{:?} {kind} {enabled}", entry.id)
            }),
        )],
        Reply::EventPrograms(programs) => vec![("programs", format!("{:?}", programs.sizes()))],
        Reply::Pools { lines, .. } => vec![(
            "classes",
            listed(lines.iter(), |line| format!("{:?}", line.class)),
        )],
        Reply::GlobalsDefined(offsets) => vec![(
            "offsets",
            listed(offsets.iter(), |offset| format!("{offset:?}")),
        )],
        Reply::ScriptRan { failure, .. } => vec![(
            "failure",
            format!("{:?}", failure.map(|failure| (failure.cause, failure.at))),
        )],
        Reply::Branches { is_on, .. } => vec![("whether it records", is_on.to_string())],
        Reply::Done
        | Reply::Memory { .. }
        | Reply::MemoryAsExpected
        | Reply::Physical { .. }
        | Reply::Carved { .. }
        | Reply::MessageCounts(_)
        | Reply::Digest(_) => Vec::new(),
    }
}
