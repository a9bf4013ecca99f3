//! A Windows named pipe, as hypervisors offer for their serial ports. Called by
//! [`super::Endpoint::open`].

use super::Line;

#[cfg(windows)]
pub(super) fn open(name: &str) -> std::io::Result<Line> {
    use interprocess::os::windows::named_pipe::{DuplexPipeStream, pipe_mode};
    let path = if name.starts_with(r"\\") {
        name.to_owned()
    } else {
        format!(r"\\.\pipe\{name}")
    };
    // Plain file handles let a waiting read block every write; this one is overlapped.
    let stream = DuplexPipeStream::<pipe_mode::Bytes>::connect_by_path(path.as_str())?;
    let (reader, writer) = stream.split();
    Ok(Line {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}

#[cfg(not(windows))]
pub(super) fn open(_: &str) -> std::io::Result<Line> {
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "named pipes are not available on this system; use --socket or --serial",
    ))
}
