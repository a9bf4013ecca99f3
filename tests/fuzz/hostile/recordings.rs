//! Files of recorded sessions, and with them whatever a debuggee may say: a recording is read and played to the prompt.

use debugger_host::answer::recording::rows;
use debugger_host::command::{Debugger, run_line};
use debugger_host::recording::{Entry, Recording};
use debugger_host::render::{Output, Screen};
use debugger_host::session::Session;
use debugger_host::symbol::resolve::Symbols;
use debugger_host::timeout::{Interrupts, Timeout};
use std::time::Duration;
use wire_protocol::crc::Crc32;

/// Only these words of what was typed then are typed again: others write files, run files or end the program.
const HARMLESS: [&str; 24] = [
    "pause", "g", "r", "u", "db", "dq", "da", "eb", "?", "??", "~", "lm", "x", "ln", "events",
    "flush", "prealloc", "print", "!pte", "!epthook", "!monitor", "!syscall", "!cpuid", ".status",
];
/// So many commands of a recording, at most.
const COMMANDS: usize = 40;

/// Bytes as a recording, as they are and with the checksums that they should have.
pub fn recording(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    for bytes in [bytes, &mended] {
        if let Ok(recording) = Recording::read(bytes) {
            assert_eq!(rows(&recording).count(), recording.packets.len());
            replay(&recording);
        }
    }
}

/// Types what was typed then.
fn replay(recording: &Recording) {
    let timeout = Timeout::new(
        Interrupts::default(),
        Some(Duration::from_millis(1)),
        |_| {},
    );
    let mut session = Session::new(timeout);
    if session.replay(recording).is_err() {
        return;
    }
    let screen = Screen::new(Output::new(std::io::sink(), false));
    let mut debugger = Debugger::new(session, Symbols::default(), Box::new(screen));
    let _ = debugger.connect();
    let typed = recording
        .packets
        .iter()
        .filter_map(|packet| match &packet.entry {
            Entry::Command(line) => Some(line),
            _ => None,
        });
    let is_harmless = |line: &&String| {
        let word = line.split_whitespace().next();
        word.is_some_and(|word| HARMLESS.contains(&word))
    };
    for line in typed.filter(is_harmless).take(COMMANDS) {
        run_line(&mut debugger, line);
        debugger.show_news();
    }
}

/// Puts the right checksum into each packet: that of its time and of all behind it.
fn mend(file: &mut [u8]) {
    const PACKET: u32 = 6;
    /// Of a block, before its packet: kind, length, interface, time (high, low), length there and then.
    const HEAD_BYTES: usize = 28;
    let word = |block: &[u8], at: usize| {
        let bytes = block.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let mut rest = file;
    while let (Some(kind), Some(len)) = (word(rest, 0), word(rest, 4)) {
        let len = (len as usize).clamp(12, rest.len().max(12));
        if len > rest.len() {
            return;
        }
        let (block, after) = rest.split_at_mut(len);
        rest = after;
        let (Some(high), Some(low), Some(caught)) =
            (word(block, 12), word(block, 16), word(block, 20))
        else {
            continue;
        };
        let packet = HEAD_BYTES..HEAD_BYTES.saturating_add(caught as usize);
        if let (PACKET, Some([a, b, c, d, content @ ..])) = (kind, block.get_mut(packet)) {
            let mut crc = Crc32::new();
            crc.update(&(u64::from(high) << 32 | u64::from(low)).to_le_bytes());
            crc.update(content);
            [*a, *b, *c, *d] = crc.finish().to_le_bytes();
        }
    }
}
