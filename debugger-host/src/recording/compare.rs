//! Whether what a debuggee says now is what a recording has. Called by [`crate::session`] when a recording plays the
//! host, and by whoever plays one to the driver's core.

use super::describe;
use super::told::Told;
use super::value::Value;
use std::fmt;
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{Failure, Message, MessageRecord, Notice, Reply, StopCause};

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
    pub values: [Option<Value>; 2],
    /// The recorded message, in words.
    pub expected: String,
    /// The other one.
    pub seen: String,
}

/// What must be the same, each with its name.
type Fields = Vec<(&'static str, Value)>;

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
    fn fields(self, care: Care) -> Fields {
        match (Message::decode(self.message, self.base), care) {
            (Ok(message), Care::All) => {
                let mut fields = all(&message);
                // What is packed may be the same and come otherwise.
                if !matches!(message, Message::Notice(Notice::Messages(_))) {
                    fields.push(("bytes", Value::Bytes(self.message.to_vec())));
                }
                fields
            }
            (Ok(message), Care::Stable) => stable(&message),
            // Bytes that nobody understands are what they are.
            (Err(_), _) => vec![("bytes", Value::Bytes(self.message.to_vec()))],
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
                shorten(&then.to_string()),
                shorten(&now.to_string())
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
    let value = |of: &[(_, Value)]| of.get(at).map(|(_, value)| value.clone());
    Some(Difference {
        field,
        values: [value(&then), value(&now)],
        expected: expected.in_words(),
        seen: seen.in_words(),
    })
}

fn name(value: &impl Told) -> Value {
    Value::Word(value.told().kind().to_owned())
}

fn word(value: impl fmt::Display) -> Value {
    Value::Word(value.to_string())
}

fn count(number: usize) -> Value {
    Value::Count(number as u64)
}

fn listed<T>(items: impl Iterator<Item = T>, value: impl Fn(T) -> Value) -> Value {
    Value::List(items.map(value).collect())
}

/// Everything, but when records were made.
fn all(message: &Message<'_>) -> Fields {
    match message {
        Message::Notice(Notice::Messages(messages)) => vec![
            ("kind", word("Messages")),
            ("core", messages.core.told()),
            (
                "records",
                listed(messages.iter(), |record| {
                    MessageRecord { tsc: 0, ..record }.told()
                }),
            ),
        ],
        Message::Notice(notice) => vec![("kind", name(notice)), ("content", notice.told())],
        Message::Reply { id, reply } => vec![
            ("kind", name(reply)),
            ("number", id.told()),
            ("content", reply.told()),
        ],
    }
}

/// What another run of the machine says, too.
fn stable(message: &Message<'_>) -> Fields {
    match message {
        Message::Notice(notice) => {
            let mut fields = vec![("kind", name(notice))];
            fields.extend(match notice {
                Notice::Stopped(stop) => Some(("cause", cause(&stop.cause))),
                Notice::Fault { vector, .. } => Some(("vector", vector.told())),
                Notice::Messages(_) | Notice::Steps(_) | Notice::Goodbye => None,
            });
            fields
        }
        Message::Reply { id, reply } => {
            let mut fields = vec![("kind", kind(reply)), ("number", id.told())];
            fields.extend(stable_reply(reply));
            fields
        }
    }
}

/// The kind of a reply; whether memory is what the host expects depends on what it holds.
fn kind(reply: &Reply<'_>) -> Value {
    match reply {
        Reply::MemoryAsExpected => word("Memory"),
        _ => name(reply),
    }
}

/// Where something came to pass, and what the kernel says of it, depends on the boot.
fn cause(cause: &StopCause) -> Value {
    match cause {
        StopCause::Occasion(came) => came.occasion.told(),
        other => other.told(),
    }
}

fn stable_reply(reply: &Reply<'_>) -> Fields {
    match reply {
        Reply::Hello(hello) => vec![
            ("features", hello.features.told()),
            ("cores", hello.cores.told()),
            ("system", name(&hello.system)),
            ("halt", hello.stop.is_some().told()),
        ],
        Reply::ForeignHello { version, .. } => vec![("version", version.told())],
        Reply::Refused(refusal) => vec![("refusal", name(refusal))],
        Reply::Cores(states) => vec![("count of cores", count(states.len()))],
        Reply::Registers { set, .. } => vec![("set", set.told())],
        Reply::EventsAdded { results, .. } => vec![(
            "results",
            listed(results.iter(), |result| match result {
                Ok(event) => event.told(),
                Err(refusal) => name(&refusal),
            }),
        )],
        Reply::EventsChanged { count, .. } => vec![("count of events", count.told())],
        Reply::Events(entries) => vec![(
            "events",
            listed(entries.iter(), |entry| {
                let kind = entry.settings.trigger.name();
                let state = if entry.enabled { "enabled" } else { "disabled" };
                word(format_args!("{} {kind} {state}", entry.id))
            }),
        )],
        Reply::EventPrograms(programs) => vec![("programs", programs.sizes().told())],
        Reply::Pools { lines, .. } => {
            vec![("classes", listed(lines.iter(), |line| line.class.told()))]
        }
        Reply::GlobalsDefined(offsets) => vec![("offsets", offsets.told())],
        Reply::ScriptRan { failure, .. } => vec![(
            "failure",
            failure.map_or(Value::Nothing, |Failure { cause, at, .. }| {
                listed([cause.told(), at.told()].into_iter(), |value| value)
            }),
        )],
        Reply::Stepped(stepped) => vec![("cause", cause(&stepped.stop.cause))],
        Reply::Branches { is_on, .. } => vec![("whether it records", is_on.told())],
        Reply::Tasks(found) => vec![("end", found.end.told())],
        Reply::Done
        | Reply::Memory { .. }
        | Reply::MemoryAsExpected
        | Reply::Physical { .. }
        | Reply::Carved { .. }
        | Reply::MessageCounts(_)
        | Reply::Digest(_) => Vec::new(),
        Reply::Occasions(rules) => vec![("rules", rules.told())],
    }
}
