//! Which line of a script each operation of its program comes from. Kept by the host, for
//! messages about a running script.

use super::problem::{Position, Sources};

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

    /// `file:line` of the operation at that offset of the code.
    #[must_use]
    pub fn at(&self, offset: u32) -> Option<String> {
        let after = self.entries.partition_point(|(start, _)| *start <= offset);
        let (_, at) = self.entries.get(after.checked_sub(1)?)?;
        Some(self.sources.line(*at))
    }
}
