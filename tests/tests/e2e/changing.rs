//! A program's code changes, or the page that it is on goes elsewhere, or the kernel changes its own code, while it is watched:
//! the guest never notices, and every use is counted or the event is said to be stale.
//!
//! Each way of changing is tried with each kind of watcher, in a process of its own: five uses before the change, five with it and
//! five after it was undone. One watcher for each way is tried by default, all of them with `STANDSTILL_CHANGING_CODE=all`.

mod kernel_rows;
mod rows;

use crate::lab::{Lab, assert_log_is_clean};
use kernel_rows::{KERNEL, PROGRAM};
use rows::{BPF, Code, PAGES, PROCESS, Verdict, Watched, Watcher, Way};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use vm_lab::machine::{KernelLine, Options};

/// Uses of what is watched, each of the three times.
const USES: u64 = 5;
/// Where the process has its page: the instruction that is watched, and the word.
const INSTRUCTION: u64 = 0x7e10_0000_0004;
const WORD: u64 = 0x7e10_0000_0800;
const FRAME: &str = "pages: frame";
/// Longest wait for one line of the guest's shell.
const GUEST: Duration = Duration::from_secs(30);
/// How often is looked whether BPF code has gone.
const TRIES: u32 = 50;
/// So long is an instruction at least at which a detour fits.
const DETOUR_BYTES: usize = 5;

/// A machine, and the process that uses what is watched.
struct Ground {
    lab: Lab,
    pid: String,
    /// Where the kernel's code is that is watched.
    code: u64,
}

/// What a cell of the table came to: the word that is printed, or what was wrong.
type Cell = Result<&'static str, String>;

impl Ground {
    fn boot(options: &Options) -> Self {
        let mut lab = Lab::with(options);
        lab.load_probe();
        lab.guest(
            "mkfifo /pages /pages-answer; mount -t bpf bpf /sys/fs/bpf; \
             echo 1 > /proc/sys/kernel/bpf_stats_enabled",
        );
        Self {
            lab,
            pid: String::new(),
            code: 0,
        }
    }

    /// Runs a line of the guest's shell, or tells the process under test something.
    fn guest(&mut self, line: &str) -> Result<String, String> {
        if let Some(wanted) = line.strip_prefix(BPF) {
            return self.wait_for_bpf(wanted);
        }
        let command = match line.strip_prefix(PROCESS) {
            Some(act) => format!("echo '{act}' > /pages; cat /pages-answer"),
            None => line.to_owned(),
        };
        let answer = self.lab.machine.try_guest(&command, GUEST);
        let answer = answer.map_err(|error| format!("`{line}` in the guest: {error:#}"))?;
        let said = answer.output;
        if answer.status != 0 || said.contains("did not work") {
            return Err(format!("`{line}` in the guest: {} {said}", answer.status));
        }
        Ok(said)
    }

    fn all(&mut self, lines: &[&str]) -> Result<(), String> {
        lines.iter().try_for_each(|line| self.guest(line).map(drop))
    }

    /// One way of changing under one watcher.
    fn cell(&mut self, way: &Way, watcher: Watcher) -> Cell {
        self.pid = self.guest("lab-pages & echo $!")?.trim().to_owned();
        if let Watched::Page(kind) = way.watched {
            self.guest(&format!("{PROCESS}map {kind}"))?;
        }
        self.all(way.prepare)?;
        if let Watched::Code(code) = &way.watched {
            self.code = self.find(code)?;
        }
        let found = self.watched_while_it_changes(way, watcher);
        self.lab.run("pause");
        self.lab.run("events c all");
        self.lab.run("g");
        self.guest("killall lab-pages; wait; true")?;
        let undo = if found.is_err() { way.undo } else { &[] };
        for line in [undo, way.tidy].concat() {
            let tidied = self.guest(line);
            // After a failure, some of it was not done.
            if found.is_ok() {
                tidied?;
            }
        }
        found
    }

    /// Until so many pieces of BPF code have a name like that.
    fn wait_for_bpf(&mut self, wanted: &str) -> Result<String, String> {
        let (count, pattern) = wanted.split_once(' ').unwrap_or_default();
        for _ in 0..TRIES {
            if self.bpf(pattern).len().to_string() == count {
                return Ok(String::new());
            }
            self.guest("sleep 0.2")?;
        }
        Err(format!("not {wanted}: {:x?}", self.bpf(pattern)))
    }

    /// Addresses and names of BPF code.
    fn bpf(&mut self, pattern: &str) -> Vec<(u64, String)> {
        self.lab.run("pause");
        let found = self.lab.reply(&format!("x bpf!{pattern}")).output;
        self.lab.run("g");
        let lines = found.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter_map(|(address, name)| Some((number(address)?, name.to_owned())))
            .collect()
    }

    /// The instruction that is watched. A detour fits there.
    fn find(&mut self, code: &Code) -> Result<u64, String> {
        let instructions = self.instructions(code)?;
        let fitting = instructions.iter().find(|(_, len)| *len >= DETOUR_BYTES);
        let (address, _) = fitting.ok_or_else(|| format!("{instructions:x?}"))?;
        if code.of == PROGRAM {
            self.lab.run("pause");
            let line = self.lab.refused(&format!("!epthook {:x}", address + 1));
            self.lab.run("g");
            if !line.contains("no instruction starts at bpf!bpf_prog_") {
                return Err(line);
            }
        }
        Ok(*address)
    }

    /// Addresses and lengths of the first instructions. BPF code has the address and the name that the kernel says.
    fn instructions(&mut self, code: &Code) -> Result<Vec<(u64, usize)>, String> {
        let mut symbol = code.of.to_owned();
        if let Some(pattern) = code.of.strip_prefix("bpf!") {
            let found = self.bpf(pattern);
            let [(address, name)] = &found[..] else {
                return Err(format!("not one {pattern}: {found:x?}"));
            };
            name.clone_into(&mut symbol);
            if pattern.starts_with("bpf_prog") {
                let said = self.guest("lab-bpf name /sys/fs/bpf/lab")?;
                let expected = format!("{address:x} {}", name.trim_start_matches("bpf!"));
                if said.trim() != expected {
                    return Err(format!("the kernel says {said}, not {expected}"));
                }
            }
        }
        self.lab.run("pause");
        let listing = self.lab.run(&format!("u {symbol} l 40"));
        self.lab.run("g");
        if !listing.starts_with(&format!("{symbol}:")) {
            return Err(format!("{symbol}: {listing}"));
        }
        let instructions = listing.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((number(words.next()?)?, words.next()?.len() / 2))
        });
        Ok(instructions.collect())
    }

    fn watched_while_it_changes(&mut self, way: &Way, watcher: Watcher) -> Cell {
        self.lab.run("pause");
        let event = self.event(way, watcher);
        let reply = self.lab.reply(&event);
        self.lab.run("g");
        let is_page = matches!(way.watched, Watched::Page(_));
        if watcher == Watcher::Detour && is_page {
            return match reply.output.contains("only the kernel") {
                true => Ok("refused"),
                false => Err(reply.output),
            };
        }
        if !reply.ok {
            return Err(reply.output);
        }
        let first = self.use_it(way, watcher, false)?;
        let before = if way.moves {
            self.guest(FRAME)?
        } else {
            String::new()
        };
        self.all(way.change)?;
        // The first store has taken the copy already.
        let is_copied = watcher == Watcher::Write && way.watched == Watched::Page("private");
        if way.moves && !is_copied && self.guest(FRAME)? == before {
            return Err(format!("the page stays at frame {before}"));
        }
        let mut all = first + self.use_it(way, watcher, true)?;
        if let Some((line, part)) = way.confirm {
            let said = self.guest(line)?;
            if !said.contains(part) {
                return Err(format!("{line}: {said}"));
            }
        }
        self.all(way.undo)?;
        all += self.use_it(way, watcher, true)?;
        if let (Watcher::Write, Watched::Code(code)) = (watcher, way.watched) {
            all = code.writes;
        }
        self.lab.run("pause");
        let list = self.lab.run("events");
        self.lab.run("g");
        judge(way, watcher, first..=all, &list)
    }

    /// The command that adds the event.
    fn event(&self, way: &Way, watcher: Watcher) -> String {
        let (code, word) = match way.watched {
            Watched::Page(_) => (INSTRUCTION, WORD),
            Watched::Code(_) => (self.code, self.code),
        };
        let what = match watcher {
            Watcher::Hook => format!("!epthook {code:x}"),
            Watcher::Detour => format!("!epthook2 {code:x}"),
            Watcher::Read => format!("!monitor r {word:x} l 4"),
            // Of a patch, only the first byte is written each time.
            Watcher::Write if word == code => format!("!monitor w {word:x} l 1"),
            Watcher::Write => format!("!monitor w {word:x} l 8"),
            Watcher::Execute => format!("!monitor x {code:x} l 1"),
        };
        let pid = &self.pid;
        let whose = match (way.watched, watcher) {
            // The kernel reads pages that it copies and compares, for the process.
            (Watched::Page(_), _) => format!("pid 0n{pid} condition {{ (@cs & 3) == 3 }}"),
            // Whoever changes it.
            (Watched::Code(_), Watcher::Write) => String::new(),
            (Watched::Code(_), _) => format!("pid 0n{pid}"),
        };
        format!("{what} {whose} script {{ .lab_uses += 1; }}")
    }

    /// Uses what is watched; returns how often a watcher must have seen it.
    fn use_it(&mut self, way: &Way, watcher: Watcher, is_changed: bool) -> Result<u64, String> {
        let (acts, seen) = match (way.watched, watcher) {
            (Watched::Page("file"), Watcher::Write) => return Ok(0),
            (Watched::Page(_), Watcher::Read) => (vec!["load".to_owned()], USES),
            (Watched::Page(_), Watcher::Write) => (vec!["store".to_owned()], USES),
            (Watched::Page(_), _) => (vec!["run".to_owned()], USES),
            // Whoever watches, the code runs.
            (Watched::Code(code), Watcher::Write) => (vec![code.run.to_owned()], 0),
            (Watched::Code(code), Watcher::Read) if is_changed && code.is_freed => {
                (vec![code.run.to_owned()], 0)
            }
            (Watched::Code(code), Watcher::Read) => {
                let load = format!("peek {:x}", self.code);
                (vec![code.run.to_owned(), load], USES)
            }
            (Watched::Code(code), Watcher::Execute) if is_changed && code.of == PROGRAM => {
                // An instruction of the other program is on the byte, or nothing is.
                let byte = self.code;
                let there = self.instructions(&code)?;
                let is_on =
                    |(start, len): &(u64, usize)| (*start..start + *len as u64).contains(&byte);
                let seen = if there.iter().any(is_on) { USES } else { 0 };
                (vec![code.run.to_owned()], seen)
            }
            (Watched::Code(code), _) => (vec![code.run.to_owned()], USES),
        };
        for act in acts {
            let said = self.guest(&format!("{PROCESS}{act} {USES}"))?;
            if said.contains("wrong") && !said.contains("wrong 0") || !said.contains("done") {
                return Err(format!("{act}: {said}"));
            }
        }
        Ok(seen)
    }
}

fn number(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// Whether the list of events says what it must: all uses were counted, or those before it was told that it is stale.
fn judge(way: &Way, watcher: Watcher, uses: RangeInclusive<u64>, list: &str) -> Cell {
    let hits = list.split("; ").find_map(|part| part.strip_suffix(" hits"));
    let hits: u64 = hits
        .and_then(|hits| hits.trim().parse().ok())
        .ok_or_else(|| format!("no hits in {list}"))?;
    let is_stale = list.contains("stale");
    let is_to_tell = way.verdict == Verdict::Told || way.told.contains(&watcher);
    match (is_to_tell, is_stale) {
        (true, true) if uses.contains(&hits) => Ok("told"),
        (false, false) if hits == *uses.end() => Ok("counted"),
        _ => Err(format!("{hits} of {uses:?}: {list}")),
    }
}

/// Whether the whole table is wanted.
fn is_whole() -> bool {
    std::env::var("STANDSTILL_CHANGING_CODE").is_ok_and(|which| which == "all")
}

/// Whether a watcher is tried for the way of this number: all, or in turns those that have something to see.
fn is_tried(index: usize, way: &Way, watcher: Watcher) -> bool {
    let turns = [
        Watcher::Execute,
        Watcher::Hook,
        Watcher::Read,
        Watcher::Write,
        Watcher::Detour,
    ];
    let turns = match way.watched {
        Watched::Page(_) => &turns[..4],
        Watched::Code(_) => &turns,
    };
    is_whole() || turns.get(index % turns.len()) == Some(&watcher)
}

/// Fills in the table on one machine, and prints it; the kernel's own faults are no less wrong.
fn try_all(options: &Options, parts: &[&[Way]]) {
    let mut ground = Ground::boot(options);
    let (mut table, mut wrong) = (String::new(), String::new());
    let heads = Watcher::ALL.map(|watcher| format!("{:<12}", watcher.name()));
    let _ = writeln!(table, "{:<22}{}", "", heads.concat());
    let ways = parts.iter().flat_map(|ways| ways.iter().enumerate());
    for (index, way) in ways {
        let _ = write!(table, "{:<22}", way.name);
        for watcher in Watcher::ALL {
            if !is_tried(index, way, watcher) {
                let _ = write!(table, "{:<12}", "-");
                continue;
            }
            let started = Instant::now();
            let word = ground.cell(way, watcher).unwrap_or_else(|error| {
                eprintln!("{error}");
                let _ = writeln!(wrong, "{}, {}: {error}", way.name, watcher.name());
                "WRONG"
            });
            let seconds = started.elapsed().as_secs_f32();
            eprintln!("{}, {}: {word} ({seconds:.1} s)", way.name, watcher.name());
            let _ = write!(table, "{word:<12}");
        }
        table.push('\n');
    }
    eprintln!("{:?}, {} cores\n{table}", options.kernel_line, options.cpus);
    assert!(wrong.is_empty(), "{table}\n{wrong}");
    assert_log_is_clean(&ground.lab.guest("dmesg"));
    let check = ground.lab.guest("lab-check 1");
    let all = format!("check ok cores {}", options.cpus);
    assert!(check.contains(&all), "{check}");
}

#[test]
fn code_and_pages_change_under_every_watcher() {
    try_all(&Options::default(), &[PAGES, KERNEL]);
    if is_whole() {
        let stock = Options {
            kernel_line: KernelLine::Stock,
            cpus: 4,
            ..Options::default()
        };
        try_all(&stock, &[KERNEL]);
    }
}
