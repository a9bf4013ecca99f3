//! A Unix socket. Called by [`super::Endpoint::open`].

use super::Line;
use std::path::Path;

#[cfg(unix)]
pub(super) fn open(path: &Path) -> std::io::Result<Line> {
    let writer = std::os::unix::net::UnixStream::connect(path)?;
    let reader = writer.try_clone()?;
    // Neither direction may wait for good: the threads look this often whether they are wanted.
    reader.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
    writer.set_write_timeout(Some(std::time::Duration::from_millis(200)))?;
    Ok(Line {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}

#[cfg(not(unix))]
pub(super) fn open(_: &Path) -> std::io::Result<Line> {
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "Unix sockets are not available on this system; use --pipe or --serial",
    ))
}
