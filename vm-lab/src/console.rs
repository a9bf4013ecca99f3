//! The debuggee's console: types commands and collects their output.
//!
//! Called by `machine`. The shell in the debuggee echoes nothing and ends every answer with a mark that holds the
//! command's number, so output is never confused with input or with a late answer to an earlier command.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Starts every mark.
const MARK: char = '\x1e';
const READY: &str = "\x1eready\n";

#[derive(Debug, Default)]
struct Received {
    text: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

/// What a command on the debuggee's console led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Everything printed up to the end mark.
    pub output: String,
    /// Exit status of the command.
    pub status: i32,
}

/// The console of one machine.
#[derive(Debug)]
pub struct Console {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Where the output begins that no command has claimed yet.
    claimed: usize,
    number: u32,
}

impl Console {
    /// Takes over the console's serial line.
    ///
    /// # Errors
    /// When the stream can't be duplicated for the reading thread.
    pub fn new(stream: TcpStream) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut input = stream.try_clone()?;
        let sink = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let count = input.read(&mut chunk).unwrap_or(0);
                let mut received = sink.received.lock().unwrap_or_else(PoisonError::into_inner);
                received.text.extend(&chunk[..count]);
                received.closed = count == 0;
                sink.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Ok(Self {
            stream,
            shared,
            claimed: 0,
            number: 0,
        })
    }

    /// Waits until the shell is there.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        self.wait(timeout, |text| {
            text.find(READY).map(|at| (at + READY.len(), ()))
        })
    }

    /// Runs `command` and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `timeout` or the shell dies of it.
    pub fn run(&mut self, command: &str, timeout: Duration) -> Result<Answer> {
        let number = self.send(command)?;
        let mark = format!("{MARK}{number} ");
        let answer = self.wait(timeout, |text| {
            if let Some(at) = text.find(&mark) {
                let rest = &text[at + mark.len()..];
                let end = rest.find('\n')?;
                let answer = Answer {
                    output: without_marks(&text[..at]),
                    status: rest[..end].trim().parse().unwrap_or(-1),
                };
                return Some((at + mark.len() + end + 1, Some(answer)));
            }
            text.find(READY).map(|at| (at + READY.len(), None))
        })?;
        match answer {
            Some(answer) => Ok(answer),
            None => bail!("the debuggee's shell did not survive `{command}`: a syntax error?"),
        }
    }

    /// Types `command` without waiting; returns its number.
    ///
    /// # Errors
    /// When the command has more than one line or the emulator is gone.
    pub fn send(&mut self, command: &str) -> Result<u32> {
        if command.contains('\n') {
            bail!("a console command is one line");
        }
        self.number += 1;
        self.stream
            .write_all(format!("{} {command}\n", self.number).as_bytes())
            .context("the emulator has closed the console")?;
        Ok(self.number)
    }

    /// Everything received so far, marks included.
    #[must_use]
    pub fn transcript(&self) -> String {
        let received = self
            .shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&received.text).into_owned()
    }

    /// Waits until `found` says where in the unclaimed text it is satisfied, and claims up to there.
    fn wait<T>(
        &mut self,
        timeout: Duration,
        found: impl Fn(&str) -> Option<(usize, T)>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut received = self
            .shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            // Only ASCII and what programs print is sent; a broken character would shift offsets, so bytes map one to
            // one to characters of at most one byte here.
            let text: String = received.text[self.claimed..]
                .iter()
                .map(|byte| ascii(*byte))
                .collect();
            if let Some((end, value)) = found(&text) {
                self.claimed += end;
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if received.closed {
                bail!(
                    "the emulator closed the console; its last words:\n{}",
                    crate::run::tail(&text, 20)
                );
            }
            if left.is_zero() {
                let seconds = timeout.as_secs_f32();
                bail!(
                    "no answer on the debuggee's console for {seconds} s; last seen:\n{}",
                    crate::run::tail(&without_marks(&text), 20)
                );
            }
            received = self
                .shared
                .changed
                .wait_timeout(received, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Ends the reading thread.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn ascii(byte: u8) -> char {
    if byte.is_ascii() {
        char::from(byte)
    } else {
        '?'
    }
}

/// Removes end marks of earlier commands that nobody waited for, and carriage returns.
fn without_marks(text: &str) -> String {
    let mut clean = String::new();
    for line in text.split_inclusive('\n') {
        match line.find(MARK) {
            Some(at) => clean.push_str(&line[..at]),
            None => clean.push_str(line),
        }
    }
    clean.replace('\r', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Console, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (Console::new(near).unwrap(), far)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn answer_ends_at_its_own_mark() {
        let (mut console, mut far) = pair();
        far.write_all(b"boot noise\n\x1eready\n").unwrap();
        console.wait_ready(SOON).unwrap();
        console.send("slow").unwrap();
        far.write_all(b"late\n\x1e1 0\nno newline\x1e2 3\n")
            .unwrap();
        let answer = console.run("false", SOON).unwrap();
        assert_eq!(answer.output, "late\nno newline");
        assert_eq!(answer.status, 3);
    }

    #[test]
    fn silence_is_an_error_after_the_timeout() {
        let (mut console, _far) = pair();
        let told = console.run("x", Duration::from_millis(20)).unwrap_err();
        assert!(told.to_string().contains("no answer"));
    }

    #[test]
    fn dead_shell_and_closed_line_are_told() {
        let (mut console, mut far) = pair();
        far.write_all(b"\x1eready\n").unwrap();
        let told = console.run("(", SOON).unwrap_err();
        assert!(told.to_string().contains("did not survive"));
        drop(far);
        assert!(console.run("x", SOON).is_err());
    }

    #[test]
    fn command_of_two_lines_is_refused() {
        let (mut console, _far) = pair();
        assert!(console.send("a\nb").is_err());
    }
}
