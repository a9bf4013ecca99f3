//! Where the lab keeps what it downloads and builds, and how an entry appears there whole or not at all.
//!
//! Called by `provision`, `driver`, `image` and `background`. An entry is built in a temporary sibling and renamed into
//! place, so an interrupted start leaves nothing half done; one lock file keeps two starts from doing the same work.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const UNFINISHED: &str = "half-";
/// Waiting for longer than this is told.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The lab's directory outside the source tree.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache: `STANDSTILL_CACHE`, else `$XDG_CACHE_HOME/standstill`, else `~/.cache/standstill`.
    ///
    /// # Errors
    /// When none of the variables is set, or the directory can't be created.
    pub fn open() -> Result<Self> {
        let root = root_from(|name| std::env::var(name).ok())
            .context("no HOME: set STANDSTILL_CACHE to a directory for the lab's files")?;
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self::at(root.canonicalize()?))
    }

    /// The cache in an existing directory.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// A path inside the cache.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits for the lock called `name` and holds it until the returned file is dropped. Waiting for another lab is told.
    ///
    /// # Errors
    /// When the lock file can't be created.
    pub fn lock(&self, name: &str) -> Result<File> {
        self.lock_telling(name, &mut std::io::stderr())
    }

    fn lock_telling(&self, name: &str, told: &mut dyn Write) -> Result<File> {
        let path = self.path(&format!("{name}.lock"));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        if !try_lock_for(&file, WORTH_A_LINE)? {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            if holder.is_empty() {
                holder.push_str("another process");
            }
            let own = format!("process {} ", std::process::id());
            if !holder.starts_with(&own) {
                writeln!(told, "waiting for {holder}, which holds {}", path.display())?;
            }
            file.lock()?;
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(holder().as_bytes())?;
        Ok(file)
    }

    /// Returns the entry `name`, running `build` on an empty temporary directory first if there is none yet.
    ///
    /// # Errors
    /// What `build` reports.
    pub fn entry(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.path(name);
        if place.exists() {
            return Ok(place);
        }
        // A start that was killed could not clean up after itself.
        forget_old(&self.root, UNFINISHED);
        let scratch = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)?;
        let half = scratch.path().join("entry");
        fs::create_dir(&half)?;
        build(&half)?;
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(&half, &place).with_context(|| format!("placing {}", place.display()))?;
        Ok(place)
    }
}

/// Removes the directories in `place` whose names start with `prefix` and that are more than a day old.
pub(crate) fn forget_old(place: &Path, prefix: &str) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
        let age = changed.and_then(|time| time.elapsed().ok());
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        if named && age.is_some_and(|age| age > DAY) {
            // Another start may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Tries for `time` to lock `file`; says whether it did.
fn try_lock_for(file: &File, time: Duration) -> Result<bool> {
    let deadline = Instant::now() + time;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// This process, for those who wait for it.
fn holder() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let name = match name.to_string_lossy() {
        name if name == "lab" => "cargo lab".into(),
        name => name,
    };
    let words: Vec<String> = std::iter::once(name.into_owned()).chain(words).collect();
    format!("process {} ({})", std::process::id(), words.join(" "))
}

fn root_from(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    set("STANDSTILL_CACHE")
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|base| Path::new(&base).join("standstill")))
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache/standstill")))
}

/// A short name for the contents of `files` and the words in `settings`: equal inputs, equal name.
///
/// # Errors
/// When a file can't be read.
pub fn fingerprint(files: &[PathBuf], settings: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for word in settings {
        hash.update(word.len().to_le_bytes());
        hash.update(word);
    }
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        hash.update(bytes.len().to_le_bytes());
        hash.update(&bytes);
    }
    Ok(hex(&hash.finalize())[..16].to_owned())
}

/// A short name for `bytes`.
#[must_use]
pub fn fingerprint_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))[..16].to_owned()
}

/// Fails unless the SHA-256 of `file` is `expected`, in hexadecimal.
///
/// # Errors
/// When the file can't be read or has another sum.
pub fn verify_sha256(file: &Path, expected: &str) -> Result<()> {
    let found = hex(&Sha256::digest(fs::read(file)?));
    if found != expected {
        bail!(
            "{} has SHA-256 {found}, but the signed index says {expected}",
            file.display()
        );
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_prefers_the_lab_variable_then_xdg_then_home() {
        let all = |name: &str| Some(format!("/{name}"));
        assert_eq!(root_from(all), Some("/STANDSTILL_CACHE".into()));
        let xdg = |name: &str| (name != "STANDSTILL_CACHE").then(|| format!("/{name}"));
        assert_eq!(root_from(xdg), Some("/XDG_CACHE_HOME/standstill".into()));
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        assert_eq!(root_from(home), Some("/h/.cache/standstill".into()));
        assert_eq!(root_from(|_| Some(String::new())), None);
    }

    #[test]
    fn waiting_for_another_lab_is_told_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        for (holder, told_of) in [("process 0 (cargo lab test)", true), (&holder(), false)] {
            let path = cache.path("x.lock");
            fs::write(&path, holder).unwrap();
            let held = File::open(&path).unwrap();
            held.lock().unwrap();
            let mut told = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(WORTH_A_LINE + Duration::from_millis(500));
                    drop(held);
                });
                cache.lock_telling("x", &mut told).unwrap();
            });
            let line = format!("waiting for {holder}, which holds {}\n", path.display());
            assert_eq!(told, if told_of { line.as_bytes() } else { b"" });
            let own = fs::read_to_string(&path).unwrap();
            assert!(own.starts_with(&format!("process {} (", std::process::id())));
        }
    }

    #[test]
    fn failed_build_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        assert!(cache.entry("a", |_| bail!("no")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let made = cache.entry("a", |half| Ok(fs::write(half.join("x"), "1")?));
        assert!(made.unwrap().join("x").exists());
        cache.entry("a", |_| bail!("must not run again")).unwrap();
    }

    #[test]
    fn only_old_directories_of_that_name_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - 2 * DAY;
        for (name, aged) in [("half-a", true), ("half-b", false), ("c", true)] {
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            if aged {
                File::open(place).unwrap().set_modified(old).unwrap();
            }
        }
        forget_old(dir.path(), UNFINISHED);
        let left = |name| dir.path().join(name).exists();
        assert_eq!(
            (left("half-a"), left("half-b"), left("c")),
            (false, true, true)
        );
    }

    #[test]
    fn fingerprint_separates_settings() {
        assert_ne!(
            fingerprint(&[], &["ab", "c"]).unwrap(),
            fingerprint(&[], &["a", "bc"]).unwrap()
        );
    }

    #[test]
    fn wrong_sum_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify_sha256(&file, sum).unwrap();
        assert!(verify_sha256(&file, &sum.replace('b', "c")).is_err());
    }
}
