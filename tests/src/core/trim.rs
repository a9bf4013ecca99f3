//! Cuts a recording to what a difference needs: all behind it goes, then every command without which the same difference
//! shows in the same message. Used by `standstill-core trim`.

use debugger_host::recording::input::Input;
use debugger_host::recording::{Entry, Packet, Recording};
use debugger_host::session::Divergence;
use std::collections::BTreeSet;

/// Numbers of packets that belong together.
type Unit = BTreeSet<u32>;

/// What a session counts as taken: see [`Packet::taken`].
const fn is_arrival(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Message(_)
            | Entry::Connected
            | Entry::Greeting
            | Entry::Unsent { .. }
            | Entry::Lost { .. }
            | Entry::Reopened { .. }
    )
}

/// What the core counts.
const fn is_of_host(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Request(_) | Entry::Connect { .. } | Entry::BreakIn
    )
}

/// The commands, each with all that was said meanwhile. What the core may look at without them stays.
fn units(packets: &[Packet]) -> Vec<Unit> {
    let mut units = Vec::new();
    let (mut unit, mut depth) = (Unit::new(), 0_u32);
    for packet in packets {
        depth += u32::from(matches!(packet.entry, Entry::Command(_)));
        let is_page = matches!(packet.entry, Entry::Input(Input::Page { .. }));
        if depth > 0 && !is_page {
            unit.insert(packet.number);
        }
        if matches!(packet.entry, Entry::CommandEnd) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                units.push(std::mem::take(&mut unit));
            }
        }
    }
    // The last one is that of the difference.
    units
}

/// The recording without some packets. The others keep their numbers, and count what is left.
fn without(recording: &Recording, gone: &Unit) -> Recording {
    let mut packets = Vec::new();
    // For each that was counted: how many of those up to it are left.
    let (mut arrivals, mut of_host) = (vec![0], vec![0]);
    for packet in &recording.packets {
        let is_left = !gone.contains(&packet.number);
        let counted = match packet.entry {
            Entry::Input(_) => &of_host,
            _ => &arrivals,
        };
        let taken = counted.get(packet.taken as usize);
        let taken = taken.or(counted.last()).copied().unwrap_or_default();
        for (counts, count) in [
            (is_arrival(&packet.entry), &mut arrivals),
            (is_of_host(&packet.entry), &mut of_host),
        ] {
            if counts {
                count.push(count.last().copied().unwrap_or_default() + u32::from(is_left));
            }
        }
        if is_left {
            packets.push(Packet {
                taken,
                ..packet.clone()
            });
        }
    }
    Recording {
        packets,
        ..recording.clone()
    }
}

/// The same with numbers as files have them, and with an end.
fn numbered(recording: Recording) -> Recording {
    let last = recording.packets.last().cloned();
    let end = last.map(|last| Packet {
        taken: 0,
        entry: Entry::End,
        ..last
    });
    let packets = recording.packets.into_iter().chain(end).zip(0..);
    let packets = packets.map(|(packet, number)| Packet { number, ..packet });
    Recording {
        packets: packets.collect(),
        ..recording
    }
}

/// What is left, and the difference that it shows, in the numbers that the whole recording has; `None` if that plays as it
/// was recorded. `play` gives the first difference.
pub fn trim(
    recording: &Recording,
    play: impl Fn(&Recording) -> Option<Box<Divergence>>,
) -> Option<(Recording, Box<Divergence>)> {
    let wanted = play(recording)?;
    let is_same = |candidate: &Recording| {
        play(candidate).is_some_and(|it| it.packet == wanted.packet && it.how == wanted.how)
    };
    let behind = recording.packets.iter().map(|packet| packet.number);
    let behind: Unit = behind.filter(|number| *number > wanted.packet).collect();
    let mut best = without(recording, &behind);
    if !is_same(&best) {
        best = recording.clone();
    }
    let mut units = units(&best.packets);
    let mut size = units.len();
    while size > 0 {
        let mut at = 0;
        while at < units.len() {
            let end = units.len().min(at + size);
            let gone = units[at..end].iter().flatten().copied().collect();
            let candidate = without(&best, &gone);
            if is_same(&candidate) {
                best = candidate;
                units.drain(at..end);
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    Some((numbered(best), wanted))
}
