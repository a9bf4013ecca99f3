//! What the core took in, written into the recording of its host's session.

use debuggee_driver::fake::cpu::{FakeCpu, Place, State};
use debuggee_driver::fake::machine::Observer;
use debuggee_driver::vmx::{reason, ro};
use debugger_host::recording::input::{Change, Input};
use debugger_host::recording::{Entry, Packet, Recording};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::packet::{Message, Notice, Request};

/// One thing that a core took in or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Packets of the host that it had taken.
    heard: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Took(Input),
    Said(Vec<u8>),
}

/// What a core takes in and says, as it does. All copies are one.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<(u32, Vec<Noted>)>>);

impl Log {
    fn inner(&self) -> MutexGuard<'_, (u32, Vec<Noted>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self) {
        self.inner().0 += 1;
    }

    fn note(&self, what: What) {
        let (heard, notes) = &mut *self.inner();
        notes.push(Noted {
            heard: *heard,
            what,
        });
    }

    pub(super) fn said(&self, message: &[u8]) {
        self.note(What::Said(message.to_vec()));
    }

    pub(super) fn took(&self, input: Input) {
        self.note(What::Took(input));
    }

    pub(super) fn notes(&self) -> Vec<Noted> {
        self.inner().1.clone()
    }
}

/// Numbers of places in recordings.
pub(super) const fn change(place: Place, value: u64) -> Change {
    let (kind, number) = match place {
        Place::Field(number) => (0, number),
        Place::Register(number) => (1, number as u32),
        Place::Live(number) => (2, number as u32),
        Place::Msr(number) => (3, number),
    };
    Change {
        kind,
        number,
        value,
    }
}

/// The place of a change, if it is one.
pub(super) fn place(change: &Change) -> Option<Place> {
    let number = change.number;
    let small = u8::try_from(number).ok();
    match change.kind {
        0 => Some(Place::Field(number)),
        1 => small.map(Place::Register),
        2 => small.map(Place::Live),
        3 => Some(Place::Msr(number)),
        _ => None,
    }
}

/// Writes down what exits change.
pub(super) struct Exits {
    log: Log,
    /// Each core as it entered its guest last.
    entered: BTreeMap<CoreId, State>,
}

impl Exits {
    pub(super) fn new(log: Log, cores: &[(CoreId, &FakeCpu)]) -> Self {
        let entered = cores.iter().map(|(core, cpu)| (*core, cpu.state()));
        Self {
            log,
            entered: entered.collect(),
        }
    }
}

impl Observer for Exits {
    fn left(&mut self, core: CoreId, cpu: &FakeCpu) {
        let before = self.entered.entry(core).or_default();
        let now = cpu.state();
        // The reason is always told: between this exit and the one before there may be some that are not.
        let reason = Place::Field(ro::EXIT_REASON);
        let is_new = |(place, value): &(&Place, &u64)| {
            **place == reason || before.get(place).copied().unwrap_or_default() != **value
        };
        let changes = now.iter().filter(is_new);
        let changes: Vec<_> = changes
            .map(|(place, value)| change(*place, *value))
            .collect();
        // A timer that ran out and found the guest where it was says nothing: there are as many as the core had time for.
        let is_timer = now.get(&reason) == Some(&u64::from(reason::PREEMPTION_TIMER));
        if is_timer && changes.iter().all(|change| place(change) == Some(reason)) {
            return;
        }
        self.log.took(Input::Exit {
            core: core.0,
            changes,
        });
    }

    fn enters(&mut self, core: CoreId, cpu: &FakeCpu) {
        self.entered.insert(core, cpu.state());
    }
}

/// Packets, numbered anew as they come.
#[derive(Default)]
struct Packets(Vec<Packet>);

impl Packets {
    fn push(&mut self, packet: Packet) {
        let number = self.0.len() as u32;
        self.0.push(Packet { number, ..packet });
    }
}

/// A recording in which the host asks for each halt once, as often as it did.
#[must_use]
pub fn without_repeats(host: &Recording) -> Recording {
    let (mut is_to_halt, mut is_halted) = (false, false);
    let mut packets = host.packets.clone();
    packets.retain(|packet| {
        match &packet.entry {
            Entry::BreakIn => return !std::mem::replace(&mut is_to_halt, true) && !is_halted,
            Entry::Message(message) => {
                let decoded = Message::decode(message, GuestVirtual(0));
                if let Ok(Message::Notice(Notice::Stopped(_))) = decoded {
                    (is_to_halt, is_halted) = (false, true);
                }
            }
            Entry::Request(message) => {
                let decoded = Request::decode(message, GuestVirtual(0));
                if let Ok((_, Request::Go)) = decoded {
                    (is_to_halt, is_halted) = (false, false);
                }
            }
            _ => {}
        }
        true
    });
    Recording {
        packets,
        ..host.clone()
    }
}

/// The recording with what the core took in, each before the message that it had to do with.
#[must_use]
pub fn with_inputs(host: &Recording, notes: &[Noted]) -> Recording {
    let mut packets = Packets::default();
    let mut notes = notes.iter();
    for packet in &host.packets {
        let is_last = matches!(packet.entry, Entry::End);
        let heard_now = match &packet.entry {
            Entry::Message(message) => Some(message),
            _ => None,
        };
        while is_last || heard_now.is_some() {
            let Some(note) = notes.next() else { break };
            let input = match &note.what {
                What::Said(message) if Some(message) == heard_now => break,
                What::Said(message) => Input::Unheard {
                    message: message.clone(),
                },
                What::Took(input) => input.clone(),
            };
            packets.push(Packet {
                number: 0,
                at: packet.at,
                taken: note.heard,
                entry: Entry::Input(input),
            });
        }
        packets.push(packet.clone());
    }
    Recording {
        packets: packets.0,
        ..host.clone()
    }
}
