//! The project's sources as text.

use std::fs;
use std::path::{Path, PathBuf};

/// Root of the repository.
pub(crate) fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.to_owned(), Path::to_owned)
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    match fs::read(repository().join(path)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => panic!("reading {path}: {error}"),
    }
}

/// Lines of a table in a manifest, without comments.
pub(crate) fn lines_of_table(manifest: &str, table: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != format!("[{table}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Every file below the repository that is not built.
pub(crate) fn all_files() -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![repository()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !["target", ".git", "corpus", "artifacts"]
                    .iter()
                    .any(|built| name == *built)
                {
                    waiting.push(path);
                }
            } else if let Ok(path) = path.strip_prefix(repository()) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// A copy of the sources, some of them changed; it is written only where it differs, so that cargo knows what it has built.
pub(crate) fn copy_to(root: &Path, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    for path in all_files() {
        let bytes = fs::read(repository().join(&path)).expect("readable");
        let bytes = change(&path, bytes);
        let target = root.join(&path);
        if fs::read(&target).is_ok_and(|now| now == bytes) {
            continue;
        }
        fs::create_dir_all(target.parent().expect("a folder")).expect("writable");
        fs::write(&target, bytes).expect("writable");
    }
}

/// The Rust sources below a directory.
pub(crate) fn sources(directory: &str) -> Vec<Source> {
    all_files()
        .into_iter()
        .filter(|path| path.starts_with(&format!("{directory}/")) && path.ends_with(".rs"))
        .map(|path| Source {
            text: read(&path),
            path,
        })
        .collect()
}

/// The host's name at the start of what follows a URL's scheme.
pub(crate) fn leading_host(rest: &str) -> &str {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '.' && c != '-');
    &rest[..end.unwrap_or(rest.len())]
}

/// Whether `word` stands in `line` and is not part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name)
    })
}

/// Whether `start` stands in `line` where a path can begin.
pub(crate) fn has_word_start(line: &str, start: &str) -> bool {
    line.match_indices(start)
        .any(|(at, _)| !line[..at].ends_with(is_name) && !line[..at].ends_with("::"))
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// A Rust source file.
pub(crate) struct Source {
    /// From the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// A source that is in no file.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// As the compiler reads it.
    pub(crate) fn parsed(&self) -> syn::File {
        match syn::parse_file(&self.text) {
            Ok(file) => file,
            Err(error) => panic!("{}: {error}", self.path),
        }
    }

    /// Lines with their numbers, without comments and strings.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter_map(|(index, line)| {
            let line = line.split("//").next().unwrap_or_default();
            // A quotation ends what is looked at; imports and unsafe blocks do not come behind one.
            let line = line.split('"').next().unwrap_or_default();
            (!line.trim().is_empty()).then_some((index + 1, line))
        })
    }

    /// The crate's top-level module that this file belongs to.
    pub(crate) fn module(&self) -> String {
        let rest = self.path.split("/src/").nth(1).unwrap_or_default();
        let first = rest.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Whether the line is in a file of tests or behind `#[cfg(test)]`.
    pub(crate) fn is_test_code(&self, number: usize) -> bool {
        let in_file = self.path.contains("/tests")
            || self.path.ends_with("_tests.rs")
            || self.path.ends_with("model.rs");
        in_file
            || self
                .text
                .lines()
                .position(|line| line.trim() == "#[cfg(test)]")
                .is_some_and(|start| number > start)
    }

    /// `crate::NAME` on every line: number, line, name. Braces right behind `crate::` are looked into.
    pub(crate) fn imports(&self) -> Vec<(usize, &str, String)> {
        let mut found = Vec::new();
        for (number, line) in self.code() {
            for (at, start) in line.match_indices("crate::") {
                if line[..at].ends_with(is_name) {
                    continue;
                }
                let rest = &line[at + start.len()..];
                let names = match rest.strip_prefix('{') {
                    Some(list) => list.split(',').collect::<Vec<_>>(),
                    None => vec![rest],
                };
                for name in names {
                    let name: String = name.trim().chars().take_while(|c| is_name(*c)).collect();
                    if !name.is_empty() {
                        found.push((number, line, name));
                    }
                }
            }
        }
        found
    }
}
