//! Machines saved right after booting: starting one takes a second, booting one takes ten.
//!
//! Called by `machine`. All machines that start from one snapshot have the same random numbers behind them, the address
//! of the kernel among them.

use crate::cache::Cache;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where they are in the cache.
const PLACE: &str = "snapshots";
/// How many are kept, of some 130 MB each. The tests use ten.
const KEPT: usize = 16;

/// A saved machine. It is not forgotten while this exists.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The directory that `make` filled.
    pub(crate) place: PathBuf,
    _held: File,
}

/// The snapshot called `name`. If there is none, `make` has to leave it in the directory that it is given.
///
/// # Errors
/// What `make` reports.
pub(crate) fn get(
    cache: &Cache,
    name: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<Snapshot> {
    // Held while making one, so that two starts of the same machine boot it once.
    let _making = cache.lock(PLACE)?;
    let place = cache.entry(&format!("{PLACE}/{name}"), |half| {
        forget_all_but(KEPT - 1, &cache.path(PLACE));
        make(half)
    })?;
    let held = File::open(&place).context("opening the snapshot")?;
    held.lock_shared()?;
    // What was used last is forgotten last.
    held.set_modified(SystemTime::now())?;
    Ok(Snapshot { place, _held: held })
}

/// Removes the snapshots in `place` that were not used for longest, until `kept` are left. One in use stays.
fn forget_all_but(kept: usize, place: &Path) {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    let many = found.len().saturating_sub(kept);
    for (_, path) in found.into_iter().take(many) {
        if File::open(&path).is_ok_and(|directory| directory.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn oldest_snapshots_go_unless_they_are_in_use() {
        let place = tempfile::tempdir().unwrap();
        let names = ["in use", "old", "newer", "new"];
        for (age, name) in names.iter().rev().enumerate() {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            let age = Duration::from_secs(60 * age as u64);
            let directory = File::open(path).unwrap();
            directory.set_modified(SystemTime::now() - age).unwrap();
        }
        let held = File::open(place.path().join("in use")).unwrap();
        held.lock_shared().unwrap();
        forget_all_but(2, place.path());
        let left = names.map(|name| place.path().join(name).exists());
        assert_eq!(left, [true, false, true, true]);
    }
}
