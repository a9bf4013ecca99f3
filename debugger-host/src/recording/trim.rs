//! Cuts a recording to what a difference needs: all behind it goes, then every command without which the same difference
//! shows in the same message. Called by `standstill trim`, with a debuggee or a program that plays each try.

use super::input::Input;
use super::{Entry, Packet, Recording};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first difference that a recording shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<H> {
    /// Number of the packet.
    pub packet: u32,
    /// How: the same of the same difference.
    pub how: H,
}

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
        let is_memory = matches!(
            packet.entry,
            Entry::Input(Input::Page { .. } | Input::Line { .. })
        );
        if depth > 0 && !is_memory {
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
    let last = recording.packets.last();
    let last = last.filter(|last| last.entry != Entry::End).cloned();
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

/// The recording up to the packet of a difference.
#[must_use]
pub fn ended<H>(recording: &Recording, found: &Found<H>) -> Recording {
    numbered(without(recording, &behind(recording, found.packet)))
}

fn behind(recording: &Recording, packet: u32) -> Unit {
    let numbers = recording.packets.iter().map(|packet| packet.number);
    numbers.filter(|number| *number > packet).collect()
}

/// What is left, and the difference that it shows, in the numbers that the whole recording has; `None` if that plays as it
/// was recorded. `play` gives the first difference of each try, whose packets keep their numbers.
///
/// # Errors
/// Those of `play`.
pub fn trim<H: PartialEq, E>(
    recording: &Recording,
    mut play: impl FnMut(&Recording) -> Result<Option<Found<H>>, E>,
) -> Result<Option<(Recording, Found<H>)>, E> {
    let Some(wanted) = play(recording)? else {
        return Ok(None);
    };
    let mut is_same = |candidate: &Recording| Ok(play(candidate)?.as_ref() == Some(&wanted));
    let mut best = without(recording, &behind(recording, wanted.packet));
    if !is_same(&best)? {
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
            if is_same(&candidate)? {
                best = candidate;
                units.drain(at..end);
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    Ok(Some((numbered(best), wanted)))
}

/// What a program that plays recordings says on a line of standard output when the debuggee differs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// Number of the packet.
    pub packet: u32,
    /// How, without that number.
    pub difference: String,
}

impl Report {
    /// As that line.
    #[must_use]
    pub fn to_line(&self) -> String {
        let Self { packet, difference } = self;
        serde_json::json!({ "packet": packet, "difference": difference }).to_string()
    }
}

/// Why a program says nothing of a recording.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be run, or the recording not be written for it.
    #[error("{program}: {why}")]
    NotRun {
        /// Its name.
        program: String,
        /// Why.
        why: std::io::Error,
    },
    /// It failed, and told no difference.
    #[error("{program} told no difference, and failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// What it said instead.
        said: String,
    },
}

/// Plays a recording by `PROGRAM play FILE`, with `file` for the recording.
///
/// # Errors
/// When the program cannot be run, or fails without a [`Report`].
pub fn play_by(
    program: &Path,
    recording: &Recording,
    file: &Path,
) -> Result<Option<Found<String>>, ProgramError> {
    let name = || program.display().to_string();
    let not_run = |why| ProgramError::NotRun {
        program: name(),
        why,
    };
    let whole = numbered(recording.clone());
    // The one of the last try.
    let _ = std::fs::remove_file(file);
    whole.save(file).map_err(not_run)?;
    let mut command = Command::new(program);
    command.arg("play").arg(file).stdin(Stdio::null());
    let output = command.output().map_err(not_run)?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.lines().last().map(serde_json::from_str::<Report>);
    let Some(Ok(report)) = report else {
        return Err(ProgramError::Failed {
            program: name(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    };
    // In the file packets count on; here they have the numbers of the whole recording.
    let packet = recording.packets.get(report.packet as usize);
    let packet = packet.or(recording.packets.last());
    Ok(Some(Found {
        packet: packet.map_or(report.packet, |packet| packet.number),
        how: report.difference,
    }))
}
