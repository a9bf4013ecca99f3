//! A serial device, on every system. Called by [`super::Endpoint::open`].

use super::Line;
use std::time::Duration;

/// The reader looks this often whether it is still wanted.
const READ_LIMIT: Duration = Duration::from_millis(200);

pub(super) fn open(device: &str, baud: u32) -> std::io::Result<Line> {
    let writer = serialport::new(device, baud).timeout(READ_LIMIT).open()?;
    let reader = writer.try_clone()?;
    Ok(Line {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}
