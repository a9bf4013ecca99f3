//! What stands in a packet, byte for byte. Called by [`super::writer`] and [`super::reader`].

use super::input::Input;
use super::{Counts, Entry, FORM, Moment, NotOpen, NotOpenCause, Packet, Start};
use crate::transport::Endpoint;
use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map, map_opt, opt, rest, verify};
use nom::error::{Error, ErrorKind};
use nom::multi::count;
use nom::number::complete::{le_u16, le_u32, le_u64, u8};
use nom::{IResult, Parser};
use wire_protocol::crc::Crc32;
use wire_protocol::link::{RateState, SendError, Statistics};
use wire_protocol::secure::{Cause, Dropped};

type Parsed<'a, T> = IResult<&'a [u8], T>;

/// Kinds of packets with their numbers. A test holds the document and the dissector to them.
pub(super) const KINDS: [(u8, &str); 18] = [
    (0, "Start"),
    (1, "Request"),
    (2, "Message"),
    (3, "Connect"),
    (4, "Connected"),
    (5, "BreakIn"),
    (6, "Greeting"),
    (7, "Unsent"),
    (8, "Lost"),
    (9, "Reopened"),
    (10, "Command"),
    (11, "CommandEnd"),
    (12, "Counts"),
    (13, "End"),
    (14, "Open"),
    (15, "NotOpen"),
    (16, "Input"),
    (17, "OtherHost"),
];

/// Names once what the link counts, in the order in which it stands in packets.
macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        const COUNTS: usize = [$(stringify!($name)),*].len();

        const fn numbers(of: &Statistics) -> [u64; COUNTS] {
            let Statistics { $($name),* } = *of;
            [$($name),*]
        }

        const fn statistics(numbers: [u64; COUNTS]) -> Statistics {
            let [$($name),*] = numbers;
            Statistics { $($name),* }
        }

        /// What the link counts, by name.
        pub(super) fn named_counts(of: &Statistics) -> impl Iterator<Item = (&'static str, u64)> {
            [$(stringify!($name)),*].into_iter().zip(numbers(of))
        }
    };
}

counts!(
    sent_bytes,
    received_bytes,
    sent_frames,
    repeated_frames,
    received_frames,
    broken_frames,
    duplicate_frames,
    gap_frames,
    busy_frames,
    discarded_messages,
    break_ins,
    sessions,
);

/// For each of which the dropped datagrams are counted.
const CAUSES: usize = Cause::ALL.len();

/// Why the content of a packet is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Bytes of it are not those that were written.
    Altered,
    /// Another program wrote it, in words that are not known here.
    Unknown,
    /// It begins a recording of another form or protocol.
    Foreign {
        form: u16,
        protocol: u16,
        program: String,
    },
}

const fn kind(entry: &Entry) -> u8 {
    match entry {
        Entry::Start(_) => 0,
        Entry::Request(_) => 1,
        Entry::Message(_) => 2,
        Entry::Connect { .. } => 3,
        Entry::Connected => 4,
        Entry::BreakIn => 5,
        Entry::Greeting => 6,
        Entry::Unsent { .. } => 7,
        Entry::Lost { .. } => 8,
        Entry::Reopened { .. } => 9,
        Entry::Command(_) => 10,
        Entry::CommandEnd => 11,
        Entry::Counts(_) => 12,
        Entry::End => 13,
        Entry::Open(_) => 14,
        Entry::NotOpen(_) => 15,
        Entry::Input(_) => 16,
        Entry::OtherHost { .. } => 17,
    }
}

/// Name of an entry's kind.
pub(super) fn name(entry: &Entry) -> &'static str {
    KINDS[usize::from(kind(entry))].1
}

/// Of the time, and of all that stands behind the checksum: no byte of a message, nor when it
/// came, nor its place in the file can change unseen.
fn checksum(at: Moment, content: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(&at.0.to_le_bytes());
    crc.update(content);
    crc.finish()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Nothing that is put so comes near the limit but a path that somebody made to; it is cut.
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend((end as u16).to_le_bytes());
    out.extend(&text.as_bytes()[..end]);
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_send_error(out: &mut Vec<u8>, why: SendError) {
    let (kind, first, second) = match why {
        SendError::NotConnected => (0, 0, 0),
        SendError::QueueFull {
            wanted_bytes,
            free_bytes,
        } => (1, wanted_bytes, free_bytes),
        SendError::TooLong {
            limit_bytes,
            wanted_bytes,
        } => (2, limit_bytes, wanted_bytes),
    };
    out.push(kind);
    out.extend((first as u64).to_le_bytes());
    out.extend((second as u64).to_le_bytes());
}

/// The packet's bytes.
pub(super) fn write(packet: &Packet) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend(packet.number.to_le_bytes());
    out.extend(packet.taken.to_le_bytes());
    out.push(kind(&packet.entry));
    match &packet.entry {
        Entry::Start(start) => {
            out.extend(FORM.to_le_bytes());
            out.extend(start.protocol.to_le_bytes());
            put_text(&mut out, &start.program);
            let endpoint = start.endpoint.as_ref().map(Endpoint::to_json);
            put_optional(&mut out, endpoint.as_deref());
            put_optional(&mut out, start.symbols.as_deref());
        }
        Entry::Request(bytes) | Entry::Message(bytes) => out.extend(bytes),
        Entry::Connect { nonce } => out.extend(nonce.to_le_bytes()),
        Entry::Unsent { id, why } => {
            out.push(*id);
            put_send_error(&mut out, *why);
        }
        Entry::Lost { why } => put_text(&mut out, why),
        Entry::OtherHost { seconds } => {
            out.push(u8::from(seconds.is_some()));
            out.extend(seconds.unwrap_or_default().to_le_bytes());
        }
        Entry::Open(endpoint) => put_text(&mut out, &endpoint.to_json()),
        Entry::NotOpen(not_open) => {
            let (kind, seconds) = match not_open.cause {
                NotOpenCause::Never => (0, 0),
                NotOpenCause::TimeOut(seconds) => (1, seconds),
                NotOpenCause::User => (2, 0),
            };
            out.push(kind);
            out.extend(seconds.to_le_bytes());
            put_text(&mut out, &not_open.why);
        }
        Entry::Input(input) => input.write(&mut out),
        Entry::Reopened { untold } => put_optional(&mut out, untold.as_deref()),
        Entry::Command(line) => out.extend(line.as_bytes()),
        Entry::Counts(counts) => {
            for number in numbers(&counts.statistics) {
                out.extend(number.to_le_bytes());
            }
            put_optional(&mut out, counts.lost.as_deref());
            let RateState { baud_hz, failed_hz } = counts.rate;
            if counts.rate != RateState::default() {
                out.extend([baud_hz, failed_hz].map(u32::to_le_bytes).concat());
            }
            if counts.dropped.total() != 0 {
                out.extend(counts.dropped.counts().map(u64::to_le_bytes).concat());
            }
        }
        Entry::Connected | Entry::BreakIn | Entry::Greeting | Entry::CommandEnd | Entry::End => {}
    }
    let crc = checksum(packet.at, &out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

fn reject<T>(input: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Error(Error::new(input, ErrorKind::Verify)))
}

fn text_of(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn text(input: &[u8]) -> Parsed<'_, String> {
    let (after, len) = le_u16(input)?;
    let (after, bytes) = take(usize::from(len))(after)?;
    match text_of(bytes) {
        Some(text) => Ok((after, text)),
        None => reject(input),
    }
}

fn optional(input: &[u8]) -> Parsed<'_, Option<String>> {
    match u8(input)? {
        (after, 0) => Ok((after, None)),
        (after, 1) => map(text, Some).parse(after),
        _ => reject(input),
    }
}

fn send_error(input: &[u8]) -> Parsed<'_, SendError> {
    let (after, (kind, first, second)) = (u8, le_u64, le_u64).parse(input)?;
    let (Ok(first), Ok(second)) = (usize::try_from(first), usize::try_from(second)) else {
        return reject(input);
    };
    let error = match kind {
        0 => SendError::NotConnected,
        1 => SendError::QueueFull {
            wanted_bytes: first,
            free_bytes: second,
        },
        2 => SendError::TooLong {
            limit_bytes: first,
            wanted_bytes: second,
        },
        _ => return reject(input),
    };
    Ok((after, error))
}

fn counts(input: &[u8]) -> Parsed<'_, Counts> {
    let (after, numbers) = count(le_u64, COUNTS).parse(input)?;
    let (after, lost) = optional(after)?;
    let Ok(numbers) = numbers.try_into() else {
        return reject(input);
    };
    let statistics = statistics(numbers);
    let said = |dropped: &[u64; CAUSES]| dropped.iter().any(|count| *count != 0);
    let each = map_opt(count(le_u64, CAUSES), |counts: Vec<u64>| {
        counts.try_into().ok()
    });
    let (after, dropped) = opt(all_consuming(verify(each, said))).parse(after)?;
    // Lines without a rate have no more, nor has what was recorded before there were any.
    let rate = map((le_u32, le_u32), |(baud_hz, failed_hz)| RateState {
        baud_hz,
        failed_hz,
    });
    let is_said = |rate: &RateState| *rate != RateState::default();
    let (after, rate) = opt(verify(rate, is_said)).parse(after)?;
    let counts = Counts {
        statistics,
        lost,
        rate: rate.unwrap_or_default(),
        dropped: dropped.map_or_else(Dropped::default, Dropped::from_counts),
    };
    Ok((after, counts))
}

/// What a recording of any form begins with, up to the name of the program.
fn origin(input: &[u8]) -> Parsed<'_, (u16, u16, String)> {
    (le_u16, le_u16, text).parse(input)
}

fn endpoint(input: &[u8]) -> Parsed<'_, Endpoint> {
    let (after, json) = text(input)?;
    match serde_json::from_str(&json) {
        Ok(endpoint) => Ok((after, endpoint)),
        Err(_) => reject(input),
    }
}

fn optional_endpoint(input: &[u8]) -> Parsed<'_, Option<Endpoint>> {
    match u8(input)? {
        (after, 0) => Ok((after, None)),
        (after, 1) => map(endpoint, Some).parse(after),
        _ => reject(input),
    }
}

/// For how many seconds, if no session came about; else nothing, as 0.
fn other_host(input: &[u8]) -> Parsed<'_, Option<u32>> {
    match (u8, le_u32).parse(input)? {
        (after, (0, 0)) => Ok((after, None)),
        (after, (1, seconds)) => Ok((after, Some(seconds))),
        _ => reject(input),
    }
}

fn not_open(input: &[u8]) -> Parsed<'_, NotOpen> {
    let (after, (kind, seconds, why)) = (u8, le_u64, text).parse(input)?;
    let cause = match (kind, seconds) {
        (0, 0) => NotOpenCause::Never,
        (1, _) => NotOpenCause::TimeOut(seconds),
        (2, 0) => NotOpenCause::User,
        _ => return reject(input),
    };
    Ok((after, NotOpen { cause, why }))
}

fn start(input: &[u8]) -> Parsed<'_, Start> {
    let (after, (_, protocol, program)) = origin(input)?;
    let (after, (endpoint, symbols)) = (optional_endpoint, optional).parse(after)?;
    Ok((
        after,
        Start {
            protocol,
            program,
            endpoint,
            symbols,
        },
    ))
}

fn entry(kind: u8, input: &[u8]) -> Parsed<'_, Entry> {
    let nothing = |entry| Ok((input, entry));
    match kind {
        0 => map(start, Entry::Start).parse(input),
        1 => map(rest, |bytes: &[u8]| Entry::Request(bytes.to_vec())).parse(input),
        2 => map(rest, |bytes: &[u8]| Entry::Message(bytes.to_vec())).parse(input),
        3 => map(le_u32, |nonce| Entry::Connect { nonce }).parse(input),
        4 => nothing(Entry::Connected),
        5 => nothing(Entry::BreakIn),
        6 => nothing(Entry::Greeting),
        7 => map((u8, send_error), |(id, why)| Entry::Unsent { id, why }).parse(input),
        8 => map(text, |why| Entry::Lost { why }).parse(input),
        9 => map(optional, |untold| Entry::Reopened { untold }).parse(input),
        10 => match text_of(input) {
            Some(line) => Ok((&[], Entry::Command(line))),
            None => reject(input),
        },
        11 => nothing(Entry::CommandEnd),
        12 => map(counts, |counts| Entry::Counts(Box::new(counts))).parse(input),
        13 => nothing(Entry::End),
        14 => map(endpoint, Entry::Open).parse(input),
        15 => map(not_open, Entry::NotOpen).parse(input),
        16 => map(Input::read, Entry::Input).parse(input),
        17 => map(other_host, |seconds| Entry::OtherHost { seconds }).parse(input),
        _ => reject(input),
    }
}

/// Reads a packet's bytes.
pub(super) fn read(at: Moment, bytes: &[u8]) -> Result<Packet, Wrong> {
    let altered = |_: nom::Err<Error<&[u8]>>| Wrong::Altered;
    let (content, crc) = le_u32(bytes).map_err(altered)?;
    if checksum(at, content) != crc {
        return Err(Wrong::Altered);
    }
    // What is not understood now was written so.
    let unknown = |_: nom::Err<Error<&[u8]>>| Wrong::Unknown;
    let (body, (number, taken, kind)) = (le_u32, le_u32, u8).parse(content).map_err(unknown)?;
    if kind == 0 {
        let (_, (form, protocol, program)) = origin(body).map_err(unknown)?;
        if form != FORM || protocol != wire_protocol::packet::PROTOCOL_VERSION {
            return Err(Wrong::Foreign {
                form,
                protocol,
                program,
            });
        }
    }
    match entry(kind, body) {
        Ok(([], entry)) => Ok(Packet {
            number,
            at,
            taken,
            entry,
        }),
        Ok(_) | Err(_) => Err(Wrong::Unknown),
    }
}
