//! Recordings, as `standstill show` and `standstill replay` tell of them. Called by `main`.

use super::{Bytes, Count, Hex};
use crate::recording::describe::{self, Bases};
use crate::recording::value::{Parts, Value};
use crate::recording::{Ending, Entry, Packet, Recording, Side};
use crate::types::kebab;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number; counts from 0.
    pub number: u32,
    /// When, in UTC.
    pub time: String,
    /// Who it is from.
    pub from: Side,
    /// What it is; of a message, the name of the message's kind.
    pub kind: String,
    /// The number of the request that it is or answers.
    pub id: Option<u8>,
    /// What it says.
    pub content: Value,
    /// The message's bytes.
    pub message: Option<Bytes>,
}

/// What is told before a recording is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The program that recorded.
    pub program: String,
    /// When it began, in UTC.
    pub time: String,
    /// How many packets there are.
    pub packets: usize,
    /// How it ends.
    pub ending: Ending,
    /// The file of symbols that was given then and is not now.
    pub symbols: Option<String>,
}

/// Whole: nothing is shortened, and parts without a value are null.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Flag(flag) => flag.serialize(serializer),
            Self::Count(count) => Count(*count).serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Hex(number) | Self::Address(number) => Hex(*number).serialize(serializer),
            Self::Text(text) | Self::Word(text) => text.serialize(serializer),
            Self::Bytes(bytes) => Bytes(bytes.clone()).serialize(serializer),
            Self::List(values) => values.serialize(serializer),
            Self::Parts(parts) => map(None, parts, serializer),
            Self::Kind(name, parts) => map(Some(name), parts, serializer),
            Self::Read(_, value) => value.serialize(serializer),
        }
    }
}

/// An object. No field of a message is called by the word that names its kind.
fn map<S: Serializer>(kind: Option<&str>, parts: &Parts, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some(kind) = kind {
        map.serialize_entry("type", &kebab(kind))?;
    }
    for (name, value) in parts {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// All packets, in order.
pub fn rows(recording: &Recording) -> impl Iterator<Item = Row> {
    let mut bases = Bases::default();
    recording.packets.iter().map(move |packet| {
        let row = row(packet, bases);
        bases.pass(&packet.entry);
        row
    })
}

fn row(packet: &Packet, bases: Bases) -> Row {
    let words = describe::packet(packet, bases);
    let message = match &packet.entry {
        Entry::Request(bytes) | Entry::Message(bytes) => Some(Bytes(bytes.clone())),
        _ => None,
    };
    Row {
        number: packet.number,
        time: crate::clock::instant(packet.at.since_1970()),
        from: packet.entry.side(),
        kind: words.kind,
        id: words.id,
        content: words.content,
        message,
    }
}

/// What there is to tell of a recording that is to be played.
#[must_use]
pub fn replayed(recording: &Recording, has_no_symbols: bool) -> Replayed {
    let start = &recording.start;
    let began = recording.packets.first().map(|packet| packet.at);
    Replayed {
        program: start.program.clone(),
        time: crate::clock::instant(began.unwrap_or_default().since_1970()),
        packets: recording.packets.len(),
        ending: recording.ending.clone(),
        symbols: start.symbols.clone().filter(|_| has_no_symbols),
    }
}
