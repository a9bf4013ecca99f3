//! `standstill show`: a recording, for people or for programs.

use super::recording;
use anyhow::bail;
use debugger_host::answer::recording::{Row, rows};
use debugger_host::recording::Ending;
use debugger_host::render::text;
use std::io::Write;
use std::path::Path;

/// Prints a recording.
pub(super) fn show(path: &Path, is_json: bool) -> anyhow::Result<()> {
    let recording = recording(path)?;
    let mut out = std::io::stdout().lock();
    let print = |row: &Row| match is_json {
        true => serde_json::to_string(row).map_err(Into::into),
        false => Ok(text::recording::row(row)),
    };
    for row in rows(&recording) {
        let line: anyhow::Result<String> = print(&row);
        // Whoever reads it may have seen enough.
        if writeln!(out, "{}", line?).is_err() {
            return Ok(());
        }
    }
    match text::recording::ending(&recording.ending) {
        Some(line) if matches!(recording.ending, Ending::Damaged(_)) => {
            bail!("{}: {line}", path.display())
        }
        Some(line) => eprintln!("{}: {line}", path.display()),
        None => {}
    }
    Ok(())
}
