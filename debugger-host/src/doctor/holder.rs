//! Which process has a file or a socket, by what the system tells of processes: all of one's own, or of everybody for root.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A process that is not this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    process: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.process, self.name)
    }
}

/// The other processes, with their directories.
fn others() -> impl Iterator<Item = (u32, PathBuf)> {
    let found = fs::read_dir("/proc").into_iter().flatten().flatten();
    found.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        (number != std::process::id()).then(|| (number, entry.path()))
    })
}

fn named(process: u32, directory: &Path) -> Holder {
    let name = fs::read_to_string(directory.join("comm")).unwrap_or_default();
    Holder {
        process,
        name: name.trim_end().to_owned(),
    }
}

/// The first process of which a descriptor leads to `target`.
fn with_descriptor(target: &Path) -> Option<Holder> {
    others().find_map(|(process, directory)| {
        let mut descriptors = fs::read_dir(directory.join("fd")).ok()?.flatten();
        descriptors
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|link| link == target))
            .then(|| named(process, &directory))
    })
}

/// Who has a file open.
pub(super) fn of_file(path: &Path) -> Option<Holder> {
    with_descriptor(&fs::canonicalize(path).ok()?)
}

/// Who has the socket of this number.
pub(super) fn of_socket(number: &str) -> Option<Holder> {
    with_descriptor(Path::new(&format!("socket:[{number}]")))
}

/// Who was started with this word among its arguments, but for `besides`.
pub(super) fn started_with(word: &str, besides: Option<&Holder>) -> Option<Holder> {
    others().find_map(|(process, directory)| {
        let line = fs::read(directory.join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let is_other = besides.is_none_or(|holder| holder.process != process);
        (is_other && words.any(|it| it == word.as_bytes())).then(|| named(process, &directory))
    })
}
