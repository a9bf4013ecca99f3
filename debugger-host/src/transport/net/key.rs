//! The key to a debuggee on the network, as a user gives it. Called by `main` and by the commands that open a line.

use serde::{Deserialize, Serialize};
use std::io::{Error, Result};
use std::path::Path;
use wire_protocol::secure::{self, KeyError};

/// A key, and what it is known by: only that is written into recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetKey {
    /// What tells it from other keys.
    pub id: String,
    #[serde(skip)]
    key: Option<secure::Key>,
    /// The debuggee's clock may be earlier than when it called last.
    #[serde(skip)]
    pub accepts_older_clock: bool,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum NetKeyError {
    /// What was given is none.
    #[error("{0}; `standstill key new` makes one")]
    NoKey(KeyError),
    /// What is in the file is none.
    #[error("{path}: {why}; `standstill key new` makes one")]
    NoKeyInFile {
        /// Which.
        path: String,
        /// What is wrong.
        why: KeyError,
    },
    /// The file cannot be read.
    #[error("the key's file {path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system says.
        why: String,
    },
}

impl NetKey {
    /// The key as it is written, or `@` and the file that has it.
    ///
    /// # Errors
    /// When it is none, or there is no such file.
    pub fn given(text: &str) -> std::result::Result<Self, NetKeyError> {
        match text.strip_prefix('@') {
            Some(path) => Self::in_file(Path::new(path)),
            None => text.parse().map(Self::of).map_err(NetKeyError::NoKey),
        }
    }

    /// The key that a file has.
    ///
    /// # Errors
    /// As for [`Self::given`].
    pub fn in_file(path: &Path) -> std::result::Result<Self, NetKeyError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| NetKeyError::Unreadable {
            path: shown(),
            why: why.to_string(),
        })?;
        let key = text
            .parse()
            .map_err(|why| NetKeyError::NoKeyInFile { path: shown(), why })?;
        Ok(Self::of(key))
    }

    fn of(key: secure::Key) -> Self {
        Self {
            id: format!("{:08x}", u32::from_be_bytes(key.id())),
            key: Some(key),
            accepts_older_clock: false,
        }
    }

    /// The key itself, which a recording does not have.
    ///
    /// # Errors
    /// When it does not.
    pub fn key(&self) -> Result<&secure::Key> {
        let missing = || Error::from(std::io::ErrorKind::InvalidInput);
        self.key.as_ref().ok_or_else(missing)
    }
}

/// A new key, of random bits of the operating system.
///
/// # Errors
/// When that has none.
pub fn new_key() -> Result<secure::Key> {
    super::random().map(secure::Key::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_itself_or_by_its_file() {
        let key = new_key().unwrap();
        let text = key.reveal().to_string();
        assert_ne!(text, new_key().unwrap().reveal().to_string());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, format!("{text}\n")).unwrap();
        let given = NetKey::given(&text).unwrap();
        assert_eq!(given.key().unwrap(), &key);
        assert_eq!(
            NetKey::given(&format!("@{}", path.display())).unwrap(),
            given
        );
        // Nothing of the key is in what a recording has.
        let written = serde_json::to_string(&given).unwrap();
        assert_eq!(written, format!("{{\"id\":\"{}\"}}", given.id));
        let read: NetKey = serde_json::from_str(&written).unwrap();
        assert!(read.key().is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let why = NetKey::given("1.2.3").unwrap_err().to_string();
        assert_eq!(
            why,
            "a key has 4 groups of 13 characters with dots between them; this has 3; `standstill key new` makes one"
        );
        let why = NetKey::given("@/nonexistent/key").unwrap_err().to_string();
        assert_eq!(
            why,
            "the key's file /nonexistent/key: No such file or directory (os error 2)"
        );
    }
}
