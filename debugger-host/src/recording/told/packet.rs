//! What stands in packets that are no messages.

use super::super::input::{Change, Input};
use super::super::value::{Parts, Value};
use super::super::{Counts, NotOpen, NotOpenCause, Start, form};
use super::{Told, addressed, counted, told};
use crate::transport::Endpoint;
use wire_protocol::link::{RateState, SendError};
use wire_protocol::secure::Cause;

/// As users name it, and by its parts.
impl Told for Endpoint {
    fn told(&self) -> Value {
        let text = |name: &str, text: String| (name.to_owned(), Value::Text(text));
        let (kind, parts) = match self {
            Self::Serial {
                device,
                baud,
                baud_fixed,
            } => {
                let parts = vec![
                    text("device", device.clone()),
                    ("baud".to_owned(), counted(baud)),
                    ("baud_fixed".to_owned(), baud_fixed.told()),
                ];
                ("Serial", parts)
            }
            Self::Socket { path } => ("Socket", vec![text("path", path.display().to_string())]),
            Self::Tcp { address } => ("Tcp", vec![text("address", address.clone())]),
            Self::Pipe { name } => ("Pipe", vec![text("name", name.clone())]),
            Self::PipeServer { name } => ("PipeServer", vec![text("name", name.clone())]),
            Self::Net { address, key } => {
                let parts = vec![
                    text("address", address.to_string()),
                    text("key", key.id.clone()),
                ];
                ("Net", parts)
            }
        };
        Value::Read(self.to_string(), Box::new(Value::Kind(kind, parts)))
    }
}

told!(struct Start { program, protocol: counted, endpoint, symbols });

told!(struct NotOpen { why, cause });
told!(enum NotOpenCause {
    Never,
    User,
} by {
    Self::TimeOut(seconds) => Value::Kind("TimeOut", vec![("seconds".to_owned(), counted(seconds))]),
});

told!(
    enum SendError {
        NotConnected,
        QueueFull {
            wanted_bytes: counted,
            free_bytes: counted,
        },
        TooLong {
            limit_bytes: counted,
            wanted_bytes: counted,
        },
    }
);

told!(
    struct RateState {
        baud_hz: counted,
        failed_hz: counted,
    }
);

/// What datagrams were dropped for, in the order of [`Cause::ALL`].
pub(super) const DROPPED: [&str; Cause::ALL.len()] = [
    "foreign",
    "truncated",
    "reflected",
    "wrong_key",
    "forged",
    "replayed",
    "older_clock",
    "unknown_session",
];

impl Told for Counts {
    fn told(&self) -> Value {
        let Self {
            statistics,
            lost,
            rate,
            dropped,
        } = self;
        let counts = form::named_counts(statistics)
            .map(|(name, number)| (name.to_owned(), counted(&number)));
        let mut parts: Parts = counts.collect();
        parts.push(("lost".to_owned(), lost.told()));
        // A line without a rate has none.
        let rate = (*rate != RateState::default()).then_some(*rate);
        parts.push(("rate".to_owned(), rate.told()));
        if dropped.total() > 0 {
            parts.push(("dropped".to_owned(), dropped.told()));
        }
        Value::Parts(parts)
    }
}

/// Kinds of places by their numbers; see `docs/recording.md`.
const PLACES: [&str; 4] = ["field", "register", "live", "msr"];

impl Told for Change {
    fn told(&self) -> Value {
        let Self {
            kind,
            number,
            value,
        } = self;
        let name = PLACES.get(usize::from(*kind)).copied();
        let of = name.map_or_else(|| kind.told(), |name| Value::Word(name.to_owned()));
        let text = format!("{of} {number:x}={value:x}");
        let parts = vec![
            ("of".to_owned(), of),
            ("number".to_owned(), number.told()),
            ("value".to_owned(), value.told()),
        ];
        Value::Read(text, Box::new(Value::Parts(parts)))
    }
}

impl Told for Vec<Change> {
    fn told(&self) -> Value {
        Value::List(self.iter().map(Told::told).collect())
    }
}

told!(enum Input {
    Exit { core, changes },
    Page { at, bytes },
    Fault { core, vector, rip: addressed, detail },
    Unheard { message },
    Line { at, bytes },
    Facts(bytes),
});
