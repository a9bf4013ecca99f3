//! Recordings, as `standstill show` and `standstill replay` tell of them. Called by `main`.

use crate::recording::describe::{self, Bases};
use crate::recording::{Ending, Entry, Packet, Recording, Side};
use serde::Serialize;

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
    pub content: String,
    /// The message, hexadecimal.
    pub message: Option<String>,
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
        Entry::Request(bytes) | Entry::Message(bytes) => {
            Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        }
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
