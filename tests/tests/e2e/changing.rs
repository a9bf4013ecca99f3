//! A program's code changes, or the page that it is on goes elsewhere, while it is watched: the guest never notices, and
//! every use is counted or the event is said to be stale.
//!
//! Each way of changing is tried with each kind of watcher, in a process of its own: five uses before the change, five with it and
//! five after it was undone. One watcher for each way is tried by default, all of them with `STANDSTILL_CHANGING_CODE=all`.

mod rows;

use crate::lab::{Lab, assert_log_is_clean};
use rows::{PAGES, PROCESS, Verdict, Watcher, Way};
use std::fmt::Write;
use std::time::Duration;
use vm_lab::machine::KernelLine;

/// Uses of what is watched, each of the three times.
const USES: u64 = 5;
/// Where the process has its page: the instruction that is watched, and the word.
const INSTRUCTION: u64 = 0x7e10_0000_0004;
const WORD: u64 = 0x7e10_0000_0800;
const FRAME: &str = "pages: frame";
/// Longest wait for one line of the guest's shell.
const GUEST: Duration = Duration::from_secs(15);

/// A machine, and the process whose page it is.
struct Ground {
    lab: Lab,
    pid: String,
}

/// What a cell of the table came to: the word that is printed, or what was wrong.
type Cell = Result<&'static str, String>;

impl Ground {
    fn boot() -> Self {
        let mut lab = Lab::boot(KernelLine::Lean);
        lab.guest("mkfifo /pages /pages-answer");
        Self {
            lab,
            pid: String::new(),
        }
    }

    /// Runs a line of the guest's shell, or tells the process under test something.
    fn guest(&mut self, line: &str) -> Result<String, String> {
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
        self.guest(&format!("{PROCESS}map {}", way.page))?;
        self.all(way.prepare)?;
        let found = self.watched_while_it_changes(way, watcher);
        self.lab.run("pause");
        self.lab.run("events c all");
        self.lab.run("g");
        self.guest("killall lab-pages; wait; true")?;
        found
    }

    fn watched_while_it_changes(&mut self, way: &Way, watcher: Watcher) -> Cell {
        self.lab.run("pause");
        let event = self.event(watcher);
        let reply = self.lab.reply(&event);
        self.lab.run("g");
        if watcher == Watcher::Detour {
            return match reply.output.contains("only the kernel") {
                true => Ok("refused"),
                false => Err(reply.output),
            };
        }
        if !reply.ok {
            return Err(reply.output);
        }
        let mut uses = self.use_it(way, watcher)?;
        let before = self.guest(FRAME)?;
        self.all(way.change)?;
        // The first store has taken the copy already.
        let is_copied = watcher == Watcher::Write && way.page == "private";
        if way.moves && !is_copied && self.guest(FRAME)? == before {
            return Err(format!("the page stays at frame {before}"));
        }
        uses += self.use_it(way, watcher)?;
        self.all(way.undo)?;
        uses += self.use_it(way, watcher)?;
        self.lab.run("pause");
        let list = self.lab.run("events");
        self.lab.run("g");
        judge(way, watcher, uses, &list)
    }

    /// The command that adds the event. The kernel reads pages that it copies and compares, for the process.
    fn event(&self, watcher: Watcher) -> String {
        let what = match watcher {
            Watcher::Hook => format!("!epthook {INSTRUCTION:x}"),
            Watcher::Detour => format!("!epthook2 {INSTRUCTION:x}"),
            Watcher::Read => format!("!monitor r {WORD:x} l 4"),
            Watcher::Write => format!("!monitor w {WORD:x} l 8"),
            Watcher::Execute => format!("!monitor x {INSTRUCTION:x} l 1"),
        };
        let pid = &self.pid;
        format!("{what} pid 0n{pid} condition {{ (@cs & 3) == 3 }} script {{ .lab_uses += 1; }}")
    }

    /// Uses what is watched; returns how often a watcher must have seen it.
    fn use_it(&mut self, way: &Way, watcher: Watcher) -> Result<u64, String> {
        let act = match watcher {
            Watcher::Write if way.page == "file" => return Ok(0),
            Watcher::Read => "load",
            Watcher::Write => "store",
            Watcher::Hook | Watcher::Detour | Watcher::Execute => "run",
        };
        let said = self.guest(&format!("{PROCESS}{act} {USES}"))?;
        if said.contains("wrong") && !said.contains("wrong 0") || !said.contains("done") {
            return Err(format!("{act}: {said}"));
        }
        Ok(USES)
    }
}

/// Whether the list of events says what it must after so many uses.
fn judge(way: &Way, watcher: Watcher, uses: u64, list: &str) -> Cell {
    let hits = list.split("; ").find_map(|part| part.strip_suffix(" hits"));
    let hits: u64 = hits
        .and_then(|hits| hits.trim().parse().ok())
        .ok_or_else(|| format!("no hits in {list}"))?;
    let is_stale = list.contains("stale");
    if way.verdict == Verdict::Told || way.told.contains(&watcher) {
        return match is_stale && hits <= uses {
            true => Ok("told"),
            false => Err(format!("not told, {hits} of {uses}")),
        };
    }
    let is_right = hits == uses;
    match is_right && !is_stale {
        true => Ok("counted"),
        false => Err(format!("{hits} of {uses}: {list}")),
    }
}

/// Whether a watcher is tried for the way of this number: all, or those that have something to follow in turns.
fn is_tried(index: usize, watcher: Watcher) -> bool {
    let is_all = std::env::var("STANDSTILL_CHANGING_CODE").is_ok_and(|which| which == "all");
    let turns = [
        Watcher::Execute,
        Watcher::Hook,
        Watcher::Read,
        Watcher::Write,
    ];
    is_all || turns.get(index % turns.len()) == Some(&watcher)
}

/// Fills in the table for these ways, and prints it.
fn try_all(ways: &[Way]) {
    let mut ground = Ground::boot();
    let (mut table, mut wrong) = (String::new(), String::new());
    let heads = Watcher::ALL.map(|watcher| format!("{:<12}", watcher.name()));
    let _ = writeln!(table, "{:<22}{}", "", heads.concat());
    for (index, way) in ways.iter().enumerate() {
        let _ = write!(table, "{:<22}", way.name);
        for watcher in Watcher::ALL {
            if !is_tried(index, watcher) {
                let _ = write!(table, "{:<12}", "-");
                continue;
            }
            let word = ground.cell(way, watcher).unwrap_or_else(|error| {
                eprintln!("{error}");
                let _ = writeln!(wrong, "{}, {}: {error}", way.name, watcher.name());
                "WRONG"
            });
            eprintln!("{}, {}: {word}", way.name, watcher.name());
            let _ = write!(table, "{word:<12}");
        }
        table.push('\n');
    }
    eprintln!("{table}");
    assert!(wrong.is_empty(), "{table}\n{wrong}");
    assert_log_is_clean(&ground.lab.guest("dmesg"));
    assert!(ground.lab.guest("lab-check 1").contains("check ok cores 2"));
}

#[test]
fn pages_of_a_process_change_under_every_watcher() {
    try_all(PAGES);
}
