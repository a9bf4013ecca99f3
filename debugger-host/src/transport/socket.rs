//! A Unix socket. Called by the link thread through [`Transport`].

use super::{Line, Transport};
use std::io::Result;
use std::path::PathBuf;

/// See [`super::Endpoint::Socket`].
pub(super) struct Socket {
    pub(super) path: PathBuf,
}

#[cfg(unix)]
impl Transport for Socket {
    fn open(&mut self) -> Result<Line> {
        use std::os::unix::{fs::FileTypeExt, net::UnixStream};
        // The system would call it a refused connection, as it does while nobody listens.
        if let Ok(meta) = std::fs::metadata(&self.path)
            && !meta.file_type().is_socket()
        {
            let what = if meta.is_dir() {
                "a directory"
            } else {
                "a file"
            };
            return Err(super::senseless(format!("it is {what}, no socket")));
        }
        let writer = UnixStream::connect(&self.path)?;
        let reader = writer.try_clone()?;
        reader.set_read_timeout(Some(super::PATIENCE))?;
        writer.set_write_timeout(Some(super::PATIENCE))?;
        Ok(Line::without_rate(reader, writer))
    }
}

#[cfg(not(unix))]
impl Transport for Socket {
    fn open(&mut self) -> Result<Line> {
        Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!(
                "this system has no sockets as {}; use a pipe, TCP or a serial device",
                self.path.display()
            ),
        ))
    }
}
