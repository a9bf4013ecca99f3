//! Recordings.

use crate::answer::recording::{Replayed, Row};
use crate::recording::{Ending, Side};
use crate::session::Played;
use std::path::Path;

/// That a session is being recorded.
#[must_use]
pub fn recording(path: &Path) -> String {
    let who = match cfg!(unix) {
        true => "which only its owner can read",
        false => "which those can read who can read its folder",
    };
    format!(
        "recording to {}, {who}: it holds what is read of the debuggee's memory and registers",
        path.display()
    )
}

/// What is being played, and what of it is missing.
#[must_use]
pub fn replayed(path: &Path, told: &Replayed) -> String {
    let Replayed {
        program,
        time,
        packets,
        ..
    } = told;
    let mut line = format!(
        "replaying {}: {packets} packets, recorded by {program} from {time} on",
        path.display()
    );
    if let Some(ending) = ending(&told.ending) {
        line.push_str(&format!("\nwarning: {ending}"));
    }
    if let Some(symbols) = &told.symbols {
        line.push_str(&format!(
            "\nwarning: it was recorded with `--symbols {symbols}`, without which other memory is read"
        ));
    }
    line
}

/// That a debuggee did what the recording has.
#[must_use]
pub fn played(line: &str, played: Played) -> String {
    let Played { requests, compared } = played;
    format!(
        "{line} answers as it was recorded: {requests} requests sent, {compared} messages compared"
    )
}

/// What is wrong with the end of a recording.
#[must_use]
pub fn ending(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Closed => None,
        Ending::Open => Some(
            "the recording has no end: the program was ended from outside, its disk was full, or \
             it still records"
                .to_owned(),
        ),
        Ending::Damaged(damage) => Some(format!("the recording ends early: {damage}")),
    }
}

/// A packet.
#[must_use]
pub fn row(row: &Row) -> String {
    // The date is in the first line only.
    let time = match row.number {
        0 => row.time.as_str(),
        _ => row.time.get(11..26).unwrap_or(&row.time),
    };
    let from = match row.from {
        Side::Host => ">",
        Side::Debuggee => "<",
        Side::Program => " ",
    };
    let id = row.id.map_or_else(String::new, |id| format!(" #{id:02x}"));
    let line = format!(
        "{:5} {time} {from} {}{id} {}",
        row.number, row.kind, row.content
    );
    // A command of several lines is one line here.
    line.trim_end().replace('\n', "\\n")
}
