//! A serial device, on every system; a pseudo-terminal is one. Called by the link thread through [`Transport`].

use super::{Line, PATIENCE, Port, Transport, senseless};
use serialport::SerialPort;
use std::io::{Result, Write};
use std::time::Duration;
use wire_protocol::link::Rates;

/// Windows carries out one request at a time on a handle that is not overlapped, so what is to be written waits for
/// whoever reads.
const READ_PATIENCE: Duration = if cfg!(windows) {
    Duration::from_millis(10)
} else {
    PATIENCE
};

/// See [`super::Endpoint::Serial`].
pub(super) struct Serial {
    pub(super) device: String,
    pub(super) baud: u32,
    pub(super) baud_fixed: bool,
}

impl Transport for Serial {
    fn open(&mut self) -> Result<Line> {
        if self.baud == 0 {
            return Err(senseless("0 baud is no speed"));
        }
        must_be_a_device(&self.device)?;
        let port = serialport::new(&self.device, self.baud).timeout(READ_PATIENCE);
        let writer = port.open().map_err(explained)?;
        let reader = writer.try_clone()?;
        let port = Handle(writer.try_clone()?);
        Ok(Line {
            port: Some(Box::new(port)),
            ..Line::without_rate(reader, writer)
        })
    }

    fn rates(&self) -> Option<Rates> {
        Some(Rates {
            baud_hz: self.baud,
            clock_hz: 0,
            is_fixed: self.baud_fixed,
        })
    }
}

/// Of an open device.
struct Handle(Box<dyn SerialPort>);

impl Port for Handle {
    fn set_baud(&mut self, baud: u32) -> Result<()> {
        self.0.flush()?;
        Ok(self.0.set_baud_rate(baud)?)
    }
}

/// Two programs would each get some of the bytes, so a device is one program's: by `TIOCEXCL`, which the superuser passes,
/// and by a lock.
fn explained(error: serialport::Error) -> std::io::Error {
    let is_taken = error.kind() == serialport::ErrorKind::NoDevice
        && ["busy", "exclusive lock"]
            .iter()
            .any(|word| error.description.contains(word));
    match is_taken {
        true => std::io::Error::new(
            std::io::ErrorKind::ResourceBusy,
            "another program has it open, and two would take each other's bytes; close that one",
        ),
        false => error.into(),
    }
}

/// Whatever else has that name would say so in words of terminals.
#[cfg(unix)]
fn must_be_a_device(device: &str) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(device) {
        Ok(meta) if !meta.file_type().is_char_device() => Err(senseless("it is no serial device")),
        // It may come, and what else is wrong is told by opening it.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn must_be_a_device(_: &str) -> Result<()> {
    Ok(())
}
