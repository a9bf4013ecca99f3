//! Writes a recording as it happens, each packet at once, so that a crash loses nothing. Called by
//! the link thread and its owner in [`crate::session`].

use super::describe;
use super::{Entry, LINK_TYPE, Moment, Packet, Recording, Side, Start, form};
use pcap_parser::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, OptionCode, SHB_MAGIC};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In a packet's flags: from the other side, and to it.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// The option of a packet that has them.
const PACKET_FLAGS: OptionCode = OptionCode(2);
/// Of seconds: microseconds.
const RESOLUTION: u8 = 6;

/// Where a recording goes.
pub(super) trait Output: Write + Send {
    /// Drops what stands behind this length, if that is possible.
    fn cut(&mut self, len: u64);
}

impl Output for File {
    fn cut(&mut self, len: u64) {
        // A pipe has no length.
        let _ = self.set_len(len);
    }
}

/// Takes what happens. All copies write to one file.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Sink>>);

struct Sink {
    /// `None` once nothing is recorded any more.
    output: Option<Box<dyn Output>>,
    len: u64,
    packets: u32,
    failure: Option<String>,
    /// Events that were recorded, and those of them that the session has taken.
    events: u32,
    taken: u32,
    /// Counts lines: what an old one has to tell is told to nobody.
    line: u32,
}

/// A block: its type, its length, what it holds, its length again. `pcap-parser`, which reads them, could write
/// them with the help of a runtime for asynchronous programs.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    // A message, the longest of what is in a block, has fewer bytes than this can hold.
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

/// To a multiple of four bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Options, and their end.
fn put_options(out: &mut Vec<u8>, options: &[(OptionCode, &[u8])]) {
    for (code, value) in options.iter().chain(&[(OptionCode::EndOfOpt, &[][..])]) {
        // What is longer than an option can be is cut.
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        out.extend(code.0.to_le_bytes());
        out.extend((value.len() as u16).to_le_bytes());
        out.extend(value);
        pad(out);
    }
}

/// What a file begins with: who wrote it, and what its packets are.
fn head(start: &Start) -> Vec<u8> {
    let comment = format!(
        "a recorded session, with what was read of the debuggee's memory; protocol version {}",
        start.protocol
    );
    let mut section = BOM_MAGIC.to_le_bytes().to_vec();
    // Version 1.0, and a section that is as long as the file.
    section.extend([1, 0, 0, 0]);
    section.extend((-1_i64).to_le_bytes());
    put_options(
        &mut section,
        &[
            (OptionCode::Comment, comment.as_bytes()),
            (OptionCode::ShbOs, std::env::consts::OS.as_bytes()),
            (OptionCode::ShbUserAppl, start.program.as_bytes()),
        ],
    );
    // Packets of any length.
    let mut interface = u64::from(LINK_TYPE).to_le_bytes().to_vec();
    put_options(
        &mut interface,
        &[
            (OptionCode::IfName, b"standstill"),
            (OptionCode::IfTsresol, &[RESOLUTION]),
        ],
    );
    let mut bytes = block(SHB_MAGIC, &section);
    bytes.extend(block(IDB_MAGIC, &interface));
    bytes
}

fn packet_block(packet: &Packet) -> Vec<u8> {
    let data = form::write(packet);
    let flags = match packet.entry.side() {
        Side::Host => OUTBOUND,
        Side::Debuggee => INBOUND,
        Side::Program => 0,
    };
    let flags = flags.to_le_bytes();
    let mut options = vec![(PACKET_FLAGS, &flags[..])];
    // The versions of the debuggee are known once it has introduced itself.
    let debuggee = match &packet.entry {
        Entry::Message(message) => describe::debuggee(message),
        _ => None,
    };
    if let Some(debuggee) = &debuggee {
        options.push((OptionCode::Comment, debuggee.as_bytes()));
    }
    let mut body = Vec::new();
    let len = data.len() as u32;
    // The interface, the time, the length here and the length that it had.
    let (high, low) = ((packet.at.0 >> 32) as u32, packet.at.0 as u32);
    for number in [0, high, low, len, len] {
        body.extend(number.to_le_bytes());
    }
    body.extend(data);
    pad(&mut body);
    put_options(&mut body, &options);
    block(EPB_MAGIC, &body)
}

impl Recording {
    /// As a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = head(&self.start);
        for packet in &self.packets {
            bytes.extend(packet_block(packet));
        }
        bytes
    }

    /// Into a new file, which only its owner can read.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        open(path)?.write_all(&self.to_bytes())
    }
}

/// A new file that only its owner can read; what is no file (a pipe to Wireshark, say) as it is.
fn open(path: &Path) -> std::io::Result<File> {
    let is_special = std::fs::metadata(path).is_ok_and(|is| !is.is_file() && !is.is_dir());
    if is_special {
        return OpenOptions::new().write(true).open(path);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            std::io::Error::new(ErrorKind::AlreadyExists, "it is there already")
        }
        _ => error,
    })
}

impl Recorder {
    /// Begins a recording.
    ///
    /// # Errors
    /// When the file is there already, or cannot be made or written.
    pub fn create(path: &Path, start: Start) -> std::io::Result<Self> {
        Self::over(Box::new(open(path)?), start)
    }

    pub(super) fn over(mut output: Box<dyn Output>, start: Start) -> std::io::Result<Self> {
        let mut bytes = head(&start);
        bytes.extend(packet_block(&Packet {
            number: 0,
            at: Moment::now(),
            taken: 0,
            entry: Entry::Start(start),
        }));
        output.write_all(&bytes)?;
        output.flush()?;
        Ok(Self(Arc::new(Mutex::new(Sink {
            output: Some(output),
            len: bytes.len() as u64,
            packets: 1,
            failure: None,
            events: 0,
            taken: 0,
            line: 0,
        }))))
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line is about to be opened. Its number.
    pub fn begin_line(&self) -> u32 {
        let mut sink = self.sink();
        sink.line += 1;
        sink.taken = sink.events;
        sink.line
    }

    /// Writes what the session does. Where that fails, the recording ends with the packet before.
    pub fn act(&self, entry: Entry) {
        let mut sink = self.sink();
        let taken = sink.taken;
        sink.note(Moment::now(), taken, entry);
    }

    /// The same for what comes to the session, over the line of that number.
    pub fn event(&self, line: u32, at: Moment, entry: Entry) {
        let mut sink = self.sink();
        if sink.line == line {
            sink.events = sink.events.wrapping_add(1);
            sink.note(at, 0, entry);
        }
    }

    /// The session has taken one of them.
    pub fn took(&self) {
        let mut sink = self.sink();
        sink.taken = sink.taken.wrapping_add(1);
    }

    /// The session has ended.
    pub fn finish(&self) {
        self.act(Entry::End);
        self.sink().output = None;
    }

    /// Why nothing is recorded any more; told once.
    pub fn take_failure(&self) -> Option<String> {
        self.sink().failure.take()
    }
}

impl Sink {
    fn note(&mut self, at: Moment, taken: u32, entry: Entry) {
        let Some(output) = &mut self.output else {
            return;
        };
        let packet = Packet {
            number: self.packets,
            at,
            taken,
            entry,
        };
        let bytes = packet_block(&packet);
        match output.write_all(&bytes).and_then(|()| output.flush()) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                self.packets += 1;
            }
            Err(error) => {
                output.cut(self.len);
                self.output = None;
                self.failure = Some(error.to_string());
            }
        }
    }
}
