//! The program at a terminal: what is typed, typed ahead and pasted runs in order, command by command.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use fake::Debuggee;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PROMPT: &str = "0: kd[1c lonely]> ";

/// The program, its terminal, and what it has written there.
struct Terminal {
    child: Child,
    keys: File,
    bytes: Receiver<Vec<u8>>,
    raw: Vec<u8>,
    _history: tempfile::TempDir,
}

/// What a person reads: without the sequences that move the cursor and colour, and each line as it
/// stood at last.
fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut lines = vec![String::new()];
    let mut at = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                let mut sequence = String::new();
                for c in chars.by_ref() {
                    sequence.push(c);
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
                match sequence.as_str() {
                    "[K" => lines.last_mut().expect("one").truncate(at),
                    right if right.ends_with('C') => {
                        at += right[1..right.len() - 1].parse().unwrap_or(1);
                    }
                    "[A" if lines.last().is_some_and(String::is_empty) && lines.len() > 1 => {
                        lines.pop();
                    }
                    _ => {}
                }
            }
            '\r' => at = 0,
            '\n' => {
                lines.push(String::new());
                at = 0;
            }
            c => {
                let line = lines.last_mut().expect("one");
                line.truncate(line.char_indices().nth(at).map_or(line.len(), |(at, _)| at));
                line.push(c);
                at += 1;
            }
        }
    }
    lines.join("\n")
}

impl Terminal {
    fn open(debuggee: &Debuggee) -> Self {
        let (socket, symbols) = (debuggee.socket.display(), debuggee.symbols());
        let arguments = format!(
            "connect --break-in --socket {socket} --symbols {}",
            symbols.display()
        );
        Self::start(&arguments)
    }

    /// The program with these arguments.
    fn start(arguments: &str) -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&control).expect("ours");
        unlockpt(&control).expect("ours");
        let name = ptsname(&control, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("a plain name");
        let side = || OpenOptions::new().read(true).write(true).open(&name);
        let size = Winsize {
            ws_row: 50,
            ws_col: 160,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&control, size).expect("supported");
        let history = tempfile::tempdir().expect("a folder");
        let child = Command::new(env!("CARGO_BIN_EXE_standstill"))
            .args(arguments.split_whitespace())
            .env("TERM", "xterm")
            .env("XDG_STATE_HOME", history.path())
            .stdin(side().expect("open"))
            .stdout(side().expect("open"))
            .stderr(side().expect("open"))
            .spawn()
            .expect("the program starts");
        let keys = File::from(control);
        let mut screen = keys.try_clone().expect("one more");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keys,
            bytes,
            raw: Vec::new(),
            _history: history,
        }
    }

    fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("it is open");
    }

    /// Waits until `is_there` what is to be read; all that is to be read since the last time.
    fn until(&mut self, is_there: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = shown(&self.raw);
            if is_there(&text) {
                // The line that is not over yet is the first one to be read next time.
                self.raw = text.lines().last().unwrap_or_default().as_bytes().to_vec();
                return text;
            }
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(20), "only this came:\n{text}");
            if let Ok(more) = self.bytes.recv_timeout(Duration::from_millis(50)) {
                self.raw.extend(more);
            }
        }
    }

    /// Until the prompt waits at the end, behind `count` others.
    fn prompts(&mut self, count: usize) -> String {
        self.until(|text| text.matches(PROMPT).count() > count && text.ends_with(PROMPT))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn opened() -> (Debuggee, Terminal) {
    let debuggee = Debuggee::start();
    let mut terminal = Terminal::open(&debuggee);
    terminal.prompts(0);
    (debuggee, terminal)
}

const LINES: [&str; 4] = ["r rax", "r rbx", "? 1+1", "ln vfs_read"];
const SESSION: &str = "\
0: kd[1c lonely]> r rax\nrax=0000000000001000\n\
0: kd[1c lonely]> r rbx\nrbx=0000000000001003\n\
0: kd[1c lonely]> ? 1+1\n2 = 0n2\n\
0: kd[1c lonely]> ln vfs_read\n(ffffffff91002000) vmlinux!vfs_read\n(ffffffff91010000) vmlinux!_end\n\
0: kd[1c lonely]> ";

#[test]
fn lines_that_come_at_once_all_run_in_order_each_behind_its_prompt() {
    let (_debuggee, mut terminal) = opened();
    terminal.keys(&format!("{}\r", LINES.join("\r")));
    assert_eq!(terminal.prompts(LINES.len()), SESSION);
    // What the terminal marks as pasted is one text in the editor, until Enter is pressed.
    terminal.keys(&format!("\x1b[200~{}\r\x1b[201~", LINES.join("\r")));
    terminal.until(|text| text.contains(LINES[3]));
    terminal.keys("\r");
    let text = terminal.prompts(LINES.len());
    assert!(text.ends_with(SESSION), "{text}");
}

#[test]
fn lines_behind_g_run_while_the_debuggee_runs_and_after_its_halt() {
    let (_debuggee, mut terminal) = opened();
    terminal.keys("g\r? 7\rpause\rr rax\rr r");
    // The line before begins with the same letters.
    let is_last = |text: &str| text.contains("rax=") && text.ends_with("0: kd[1c lonely]> r r");
    let text = terminal.until(is_last);
    let order = [
        "0: kd[1c lonely]> g\n",
        "? 7\n7 = 0n7\n",
        "pause\nbreak-in",
        "0: kd[1c lonely]> r rax\nrax=",
    ];
    let places: Vec<_> = order.iter().map(|it| text.find(it)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{text}"
    );
    // The rest of a line goes on where its beginning was.
    terminal.keys("bx\r");
    let text = terminal.prompts(0);
    assert!(text.contains("rbx=0000000000001003"), "{text}");
    terminal.keys("g\r? 8\r? ");
    terminal.until(|text| text.contains("8 = 0n8"));
    terminal.keys("9\n");
    terminal.until(|text| text.contains("9 = 0n9"));
}

#[test]
fn an_error_stops_what_was_pasted_behind_it_and_says_so() {
    let (_debuggee, mut terminal) = opened();
    let refused = "no command `frobnicate`; `.help` lists all\n";
    terminal.keys("? 1\rfrobnicate\r? 2\r? {\r3;\r}\r? 4");
    let text = terminal.until(|text| text.ends_with("0: kd[1c lonely]> ? 4"));
    let told = "not run: 2 commands that were pasted or typed behind it\n";
    assert!(
        text.starts_with("0: kd[1c lonely]> ? 1\n1 = 0n1\n0: kd[1c lonely]> frobnicate\n"),
        "{text}"
    );
    assert!(text.contains(refused) && text.contains(told), "{text}");
    assert!(!text.contains("2 = 0n2"), "{text}");
    terminal.keys("\r");
    assert!(terminal.prompts(0).contains("4 = 0n4"));
    terminal.keys("\x1b[200~? 5\rfrobnicate\r? 6\x1b[201~");
    terminal.until(|text| text.contains("? 6"));
    terminal.keys("\r");
    let text = terminal.prompts(2);
    let one = "not run: 1 command that was pasted or typed behind it\n0: kd[1c lonely]> ";
    assert!(
        text.contains("5 = 0n5") && !text.contains("6 = 0n6"),
        "{text}"
    );
    assert!(text.ends_with(&format!("{refused}{one}")), "{text}");
    terminal.keys("frobnicate\r");
    assert!(!terminal.prompts(1).contains("not run"), "nothing was");
}

#[test]
fn a_block_is_one_command_however_it_comes() {
    let (_debuggee, mut terminal) = opened();
    terminal.keys("? { // }\r  printf(\"}\\n\");\r}\r? 5\r");
    let text = terminal.prompts(2);
    assert!(
        text.contains("\n}\n0: kd[1c lonely]> ? 5\n5 = 0n5\n"),
        "{text}"
    );
    terminal.keys("\x1b[200~? 6\r? {\r  printf(\"7\\n\");\r}\x1b[201~\r");
    let text = terminal.prompts(2);
    assert!(
        text.contains("6 = 0n6\n0: kd[1c lonely]> ? {\n  printf(\"7\\n\");\n}\n7\n"),
        "{text}"
    );
}

#[test]
fn a_program_without_a_debuggee_has_a_prompt_that_connects() {
    let debuggee = Debuggee::start();
    let mut terminal = Terminal::start("");
    let text = terminal.until(|text| text.ends_with("\nkd> "));
    let hint =
        "not connected; `.debug remote` connects, as in `.debug remote serial 115200 COM3`\n";
    assert!(text.starts_with(hint), "{text}");
    terminal.keys("r\r");
    terminal.until(|text| text.ends_with(&format!("r\n{hint}kd> ")));
    let line = format!("socket {}", debuggee.socket.display());
    terminal.keys(&format!(".debug remote pause {line}\r"));
    terminal.until(|text| {
        text.contains("\nbreak-in on core 0; process 1c (lonely); changed: rcx r11\n")
            && text.ends_with(PROMPT)
    });
    terminal.keys(".debug close\r");
    let told = format!("{line} is closed; the debuggee runs\nkd> ");
    terminal.until(|text| text.ends_with(&told));
    // Once more, and this time it runs on.
    terminal.keys(&format!(".debug remote {line}\r"));
    terminal.until(|text| text.contains("; running"));
    terminal.keys(".debug close\r");
    terminal.until(|text| text.ends_with(&told));
}
