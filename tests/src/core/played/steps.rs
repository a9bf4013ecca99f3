//! What happens to a core in the course of a recording, in the core's own order. Called by [`super`].

use super::RawFacts;
use debugger_host::recording::describe::Bases;
use debugger_host::recording::input::{Input, LINE_BYTES, PAGE_BYTES};
use debugger_host::recording::{Entry, Recording};
use std::collections::{HashMap, VecDeque};
use wire_protocol::address::GuestVirtual;

/// Something that happens to the core.
pub(super) struct Step {
    /// Number of its packet.
    pub(super) packet: u32,
    /// Messages that it has sent before.
    pub(super) sent: usize,
    pub(super) what: What,
}

pub(super) enum What {
    Connect(u32),
    Request(Vec<u8>),
    BreakIn,
    /// The machine does it by itself.
    Own(Input),
}

impl What {
    /// Whether the machine does it by itself.
    pub(super) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The piece of memory that it is about, if it is about one.
    pub(super) fn piece(&self) -> Option<PieceOf<'_>> {
        let (at, len_bytes, bytes) = match self {
            Self::Own(Input::Page { at, bytes }) => (*at, PAGE_BYTES, bytes),
            Self::Own(Input::Line { at, bytes }) => (*at, LINE_BYTES, bytes),
            _ => return None,
        };
        Some(PieceOf {
            at,
            len_bytes,
            bytes,
        })
    }
}

/// Memory that the guest has changed, or that the core looked at first.
pub(super) struct PieceOf<'s> {
    pub(super) at: u64,
    pub(super) len_bytes: usize,
    pub(super) bytes: &'s [u8],
}

/// A message that it sends.
pub(super) struct Expected {
    pub(super) packet: u32,
    pub(super) command: Option<String>,
    pub(super) message: Vec<u8>,
    pub(super) base: GuestVirtual,
}

/// The core's own order of what happened to it.
pub(super) fn steps(recording: &Recording) -> (VecDeque<Step>, VecDeque<Expected>) {
    let (mut of_host, mut inputs) = (Vec::new(), VecDeque::new());
    let mut expected = VecDeque::new();
    // With how much of the host's the core had taken, and its place among all messages.
    let mut unheard = Vec::new();
    let mut bases = Bases::default();
    let mut command = None;
    // Number of the last session's first packet among those of the host, and the base before it.
    let mut before = None;
    for packet in &recording.packets {
        let what = match &packet.entry {
            Entry::Connect { nonce } => Some(What::Connect(*nonce)),
            Entry::Request(message) => Some(What::Request(message.clone())),
            Entry::BreakIn => Some(What::BreakIn),
            _ => None,
        };
        let step = |what| Step {
            packet: packet.number,
            sent: expected.len(),
            what,
        };
        if matches!(what, Some(What::Connect(_))) {
            before = Some((of_host.len(), bases.received));
        }
        match (&packet.entry, what) {
            (_, Some(what)) => of_host.push(step(what)),
            (Entry::Input(input), _) => {
                let taken = packet.taken as usize;
                match input.clone() {
                    Input::Facts(_) => {}
                    Input::Unheard { message } => {
                        unheard.push((taken, expected.len()));
                        expected.push_back(Expected {
                            packet: packet.number,
                            command: command.clone(),
                            message,
                            // It may be of the session before.
                            base: match before {
                                Some((connect, base)) if taken <= connect => base,
                                _ => bases.received,
                            },
                        });
                    }
                    input => inputs.push_back((taken, step(What::Own(input)))),
                }
            }
            (Entry::Message(message), _) => expected.push_back(Expected {
                packet: packet.number,
                command: command.clone(),
                message: message.clone(),
                base: bases.received,
            }),
            (Entry::Command(line), _) => command = Some(line.clone()),
            (Entry::CommandEnd, _) => command = None,
            _ => {}
        }
        bases.pass(&packet.entry);
    }
    let mut steps = VecDeque::new();
    for (heard, mut step) in of_host.into_iter().enumerate() {
        for (taken, place) in &unheard {
            if *taken <= heard {
                step.sent = step.sent.max(place + 1);
            }
        }
        while let Some((_, input)) = inputs.pop_front_if(|(taken, _)| *taken <= heard) {
            steps.push_back(input);
        }
        steps.push_back(step);
    }
    steps.extend(inputs.into_iter().map(|(_, input)| input));
    (steps, expected)
}

/// What each piece of memory held when the core looked at it first, however far the steps have come; they go from these.
pub(super) fn first_pieces(steps: &mut VecDeque<Step>) -> HashMap<u64, (usize, Vec<u8>)> {
    let mut pieces = HashMap::new();
    steps.retain(|step| match step.what.piece() {
        Some(PieceOf {
            at,
            len_bytes,
            bytes,
        }) if !pieces.contains_key(&at) => {
            pieces.insert(at, (len_bytes, bytes.to_vec()));
            false
        }
        _ => true,
    });
    pieces
}

/// What the platform told, if the core was that of a real machine.
pub(super) fn facts(recording: &Recording) -> Option<RawFacts> {
    let packets = recording.packets.iter();
    let facts = packets.filter_map(|packet| match &packet.entry {
        Entry::Input(Input::Facts(facts)) => RawFacts::from_bytes(facts),
        _ => None,
    });
    facts.take(1).next()
}
