//! The table's rows, checked from outside: the emulator's own memory before and after each, which the debugger has no part
//! in, and all registers of all cores.

use super::rows::{Change, FILE, Row, STACK, rows};
use super::{digest, in_use};
use crate::lab::Lab;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use vm_lab::machine::KernelLine;
use vm_lab::memory::Memory;

const CORES: usize = 2;
/// The debugger has its memory in such pieces.
const CHUNK_BYTES: u64 = 2 << 20;
const MEMORY_BYTES: u64 = 256 << 20;
/// What the driver takes unless it is told otherwise.
const ARENA_BYTES: u64 = 16 << 20;
/// A value that stands nowhere but in a variable of scripts, and in what led to it.
const SECRET: u64 = 0x0123_4567_fedc_ba98;

/// All that the guest is made of.
struct Guest {
    memory: Memory,
    registers: [BTreeMap<String, String>; CORES],
}

impl Guest {
    #[track_caller]
    fn look(lab: &mut Lab) -> Self {
        let mut of = |core: usize| {
            lab.run(&format!("~ {core}"));
            let text = lab.run("r all");
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let registers = [of(1), of(0)];
        Self {
            memory: lab.machine.memory().unwrap(),
            registers,
        }
    }

    /// Bytes outside of the debugger's own memory that differ.
    fn bytes(&self, later: &Self, arena: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut found = self.memory.differences(&later.memory);
        found.retain(|bytes| {
            !arena
                .iter()
                .any(|own| own.start <= bytes.start && bytes.end <= own.end)
        });
        found
    }

    /// Registers that differ, of the operating core and of the other.
    fn registers(&self, later: &Self) -> [Vec<&str>; CORES] {
        let [other, operating] = [0, 1].map(|core| {
            let registers = self.registers[core].iter();
            let changed =
                registers.filter(|(name, value)| later.registers[core].get(*name) != Some(*value));
            changed.map(|(name, _)| name.as_str()).collect()
        });
        [operating, other]
    }
}

/// The chunks that the debugger calls its own.
#[track_caller]
fn arena(lab: &mut Lab) -> Vec<Range<u64>> {
    let chunks = (0..MEMORY_BYTES).step_by(CHUNK_BYTES as usize);
    let own = chunks.filter(|at| {
        let reply = lab.reply(&format!("!db {at:x} l 1"));
        !reply.ok && reply.output.contains("debugger itself")
    });
    own.map(|at| at..at + CHUNK_BYTES).collect()
}

/// Where the stack of the operating core is in memory.
#[track_caller]
fn stack(lab: &mut Lab) -> u64 {
    let told = lab.run("!va2pa @rsp");
    let mut words = told.split(' ').skip_while(|word| *word != "physical");
    let at = words.nth(1).unwrap_or_default();
    u64::from_str_radix(at, 16).unwrap_or_else(|_| panic!("no address in {told}"))
}

/// A machine in a halt, and what was found wrong.
struct Checked {
    lab: Lab,
    arena: Vec<Range<u64>>,
    wrong: Vec<String>,
}

impl Checked {
    /// Gives the line; what is different then is to be what the row says, and nothing else.
    fn give(&mut self, row: &Row, line: &str, before: &Guest, at: u64) -> Guest {
        let reply = self.lab.reply(line);
        if reply.ok != row.is_done || !reply.output.contains(row.says) {
            self.wrong.push(format!("`{line}` said: {}", reply.output));
        }
        if line == "exit" {
            self.lab.kill_host();
            self.lab.connect();
        }
        let after = Guest::look(&mut self.lab);
        let mut names: Vec<&str> = Vec::new();
        let mut bytes = Vec::new();
        match row.change {
            Change::Stack(len_bytes) => bytes.push(at..at + len_bytes),
            Change::Registers(changed) => names.extend(changed),
            Change::Nothing | Change::Everything => {}
        }
        names.sort_unstable();
        self.expect(line, before.bytes(&after, &self.arena), bytes);
        self.expect(line, before.registers(&after), [names, Vec::new()]);
        after
    }

    fn expect<T: Debug + PartialEq>(&mut self, line: &str, found: T, expected: T) {
        if found != expected {
            let text = format!("`{line}` changed {found:x?}, not {expected:x?}");
            self.wrong.push(text);
        }
    }

    /// Gives the row's line, twice if it changes something.
    fn check(&mut self, row: &Row, line: &str, before: Guest) -> Guest {
        let at = stack(&mut self.lab);
        let line = line.replace(STACK, &format!("{at:x}"));
        let changed = self.give(row, &line, &before, at);
        if matches!(row.change, Change::Nothing | Change::Everything) {
            return changed;
        }
        let back = self.give(row, &line, &changed, at);
        self.expect(&line, before.bytes(&back, &self.arena), Vec::new());
        back
    }
}

/// Variables of scripts are where the guest has nothing.
#[track_caller]
fn variables_are_the_debuggers_own(lab: &mut Lab, arena: &[Range<u64>]) {
    lab.run(&format!("? .lab_secret = {SECRET:x};"));
    let found = lab.machine.memory().unwrap().find(SECRET);
    let is_own = |at: &u64| arena.iter().any(|own| own.contains(at));
    assert!(!found.is_empty(), "it is nowhere");
    assert!(
        found.iter().all(is_own),
        "{found:x?} are not all in {arena:x?}"
    );
    let read = lab.run("? printf(\"%llx\\n\", .lab_secret);");
    assert_eq!(read, format!("{SECRET:016x}").trim_start_matches('0'));
}

#[test]
fn each_command_changes_what_its_row_says_and_nothing_else() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let arena = arena(&mut lab);
    assert_eq!(arena.len() as u64, ARENA_BYTES / CHUNK_BYTES, "{arena:x?}");
    variables_are_the_debuggers_own(&mut lab, &arena);
    let script = lab.file("still.ds", "r rip\n? print(.lab_still + $arg1);\n");
    let script = script.display().to_string();
    let start = digest(&mut lab);
    let pools = lab.run("pools");
    let mut checked = Checked {
        lab,
        arena,
        wrong: Vec::new(),
    };
    let mut now = Guest::look(&mut checked.lab);
    for row in rows().filter(|row| !matches!(row.change, Change::Everything)) {
        now = checked.check(&row, &row.line.replace(FILE, &script), now);
    }
    let Checked { mut lab, wrong, .. } = checked;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(digest(&mut lab), start);
    let after = lab.run("pools");
    assert_eq!(in_use(&after), in_use(&pools), "not all objects are back");
    // What is left lets the guest run.
    for row in rows().filter(|row| matches!(row.change, Change::Everything)) {
        lab.run(row.line);
    }
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}
