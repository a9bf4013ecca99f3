//! Files that nobody but the user can read: what this program keeps by itself, and keys. Called by [`crate::saved`], by
//! [`crate::transport`] and by `main`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

/// The folder of that name in which this program keeps things, made if it is not there. `None` if the user has no place for
/// such.
#[must_use]
pub fn folder(name: &str) -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "standstill")?;
    let folder = folders
        .state_dir()
        .unwrap_or_else(|| folders.data_local_dir());
    let folder = folder.join(name);
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).ok()?;
    Some(folder)
}

/// Writes a file that is not there yet.
///
/// # Errors
/// What the operating system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

/// Writes a file anew: whole, or as it was.
///
/// # Errors
/// What the operating system says.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push(".half");
    let half = PathBuf::from(half);
    // Of a program that died.
    let _ = std::fs::remove_file(&half);
    write_new(&half, bytes)?;
    std::fs::rename(&half, path)
}
