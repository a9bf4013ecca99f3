//! Which line of a script each operation of its program comes from. Kept by the host, for
//! messages about a running script.

use super::problem::{Position, Sources};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A line of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Name of the file, or of the option or command that the script is part of.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// It may be the condition of the event as well.
    pub or_condition: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.or_condition {
            true => f.write_str(" (or the condition)"),
            false => Ok(()),
        }
    }
}

/// Lines of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Offset in the code and what is written from there on; ascending.
    entries: Vec<(u32, Position)>,
    sources: Sources,
}

impl Lines {
    /// From `offset` on, the operations come from `at`.
    pub(super) fn add(&mut self, offset: u32, at: Position) {
        match self.entries.last_mut() {
            Some(last) if last.0 == offset => last.1 = at,
            Some((_, last)) if (last.file, last.line) == (at.file, at.line) => {}
            _ => self.entries.push((offset, at)),
        }
    }

    /// Adds the names of the files.
    pub(super) fn name_files(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// The line of the operation at that offset of the code.
    #[must_use]
    pub fn at(&self, offset: u32) -> Option<Line> {
        let after = self.entries.partition_point(|(start, _)| *start <= offset);
        let (_, at) = self.entries.get(after.checked_sub(1)?)?;
        Some(Line {
            file: self.sources.name(at.file).to_owned(),
            line: at.line,
            or_condition: false,
        })
    }
}
