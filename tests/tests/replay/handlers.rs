//! One changed line in a handler makes a replay diverge: for each kind of request the driver is built with that line, and
//! its core plays the recordings. `cargo lab soak handlers` runs it; it builds the core once for each row.

#[path = "../layering/sources.rs"]
#[allow(dead_code, reason = "the rules of imports use more of it")]
mod sources;

use crate::{folder, kinds, names, recording};
use debugger_host::recording::describe::{self, Bases};
use debugger_host::recording::trim::{Found, play_by};
use debugger_host::recording::{Entry, Recording};
use sources::{copy_to, repository};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The kind of request, the file of the driver, a text of one line, and what stands there instead.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        "Hello",
        "command/system.rs",
        "cores: facts.core_count,",
        "cores: facts.core_count + 1,",
    ),
    (
        "ForeignHello",
        "command/system.rs",
        "ours: PROTOCOL_VERSION,",
        "ours: PROTOCOL_VERSION + 1,",
    ),
    (
        "Go",
        "command/mod.rs",
        "Request::Go => return (Reply::Done, Next::Go),",
        "Request::Go => return (Reply::MemoryAsExpected, Next::Go),",
    ),
    (
        "Cores",
        "command/run.rs",
        "Presence::WaitForSipi => CoreState::WaitForSipi,",
        "Presence::WaitForSipi => CoreState::Missing,",
    ),
    (
        "ShortCircuit",
        "command/event.rs",
        "    if !can_be {",
        "    if can_be {",
    ),
    (
        "Step",
        "command/step.rs",
        "let values = values.unwrap_or_default();",
        "let values = RegisterValues::default();",
    ),
    (
        "ReadRegisters",
        "command/register.rs",
        "|register| file.get(register)",
        "|register| !file.get(register)",
    ),
    (
        "WriteRegister",
        "command/register.rs",
        "file(context, core)?.set(register, value)?;",
        "file(context, CoreId(core.0 + 1))?.set(register, value)?;",
    ),
    (
        "ReadMemory",
        "command/memory.rs",
        "content.get_mut(..len_bytes as usize)",
        "content.get_mut(..len_bytes as usize - 1)",
    ),
    (
        "WriteMemory",
        "command/memory.rs",
        "check_length(bytes.len())?;",
        "check_length(bytes.len() + limits::MEMORY_BYTES)?;",
    ),
    (
        "ListTasks",
        "command/task.rs",
        "Reply::Tasks(FoundTasks { end, at, tasks })",
        "Reply::Tasks(FoundTasks { end, at: GuestVirtual(at.0 + 1), tasks })",
    ),
    (
        "Translate",
        "command/memory.rs",
        "address: found.address,",
        "address: GuestPhysical(found.address.0 ^ 1),",
    ),
    (
        "DigestMemory",
        "command/memory.rs",
        "Xxh64::new(0)",
        "Xxh64::new(1)",
    ),
    (
        "AddEvents",
        "command/event.rs",
        "results.into_iter().take(events.len()),",
        "results.into_iter().take(events.len() - 1),",
    ),
    (
        "ChangeEvents",
        "command/event.rs",
        "        installed.change(&mut physical, change, which)\n",
        "        installed.change(&mut physical, change, Selection::Events)\n",
    ),
    (
        "ListEvents",
        "command/event.rs",
        "entry.id >= from",
        "entry.id > from",
    ),
    (
        "EventPrograms",
        "command/event.rs",
        "let [condition, script, code] = parts;",
        "let [condition, code, script] = parts;",
    ),
    (
        "Prealloc",
        "command/event.rs",
        "free: carved.free,",
        "free: carved.free + 1,",
    ),
    (
        "Pools",
        "command/event.rs",
        "arena_carved_bytes: pools.arena().carved_bytes(),",
        "arena_carved_bytes: pools.arena().left_bytes(),",
    ),
    (
        "DefineGlobals",
        "command/script.rs",
        "*slot = GlobalOffset(u32::from(offset));",
        "*slot = GlobalOffset(u32::from(offset) + 8);",
    ),
    (
        "RunScript",
        "command/script.rs",
        "value: outcome.value().unwrap_or(0),",
        "value: outcome.value().unwrap_or(0) ^ 1,",
    ),
    (
        "Flush",
        "command/messages.rs",
        "*request == Request::Flush",
        "*request == Request::Go",
    ),
    (
        "MessageCounts",
        "command/messages.rs",
        "*request == Request::Flush",
        "*request == Request::MessageCounts",
    ),
    (
        "Occasions",
        "command/occasion.rs",
        "shared.occasions.rules()",
        "shared.occasions.rules().into_iter().take(1)",
    ),
    (
        "Restart",
        "command/mod.rs",
        "Request::Restart => return (Reply::Done, Next::Restart),",
        "Request::Restart => return (Reply::MemoryAsExpected, Next::Stay),",
    ),
    (
        "Crash",
        "command/mod.rs",
        "context.shared.occasions.ask_for_crash();",
        "return (Reply::MemoryAsExpected, Next::Stay);",
    ),
    (
        "ChangeBranches",
        "command/branch.rs",
        "order == BranchOrder::Filter && !layout.can_filter(filter)",
        "order == BranchOrder::Filter && layout.can_filter(filter)",
    ),
    (
        "ReadBranches",
        "command/branch.rs",
        "Reply::Branches { is_on, branches }",
        "Reply::Branches { is_on: !is_on, branches }",
    ),
];

/// The core with a changed line, or with none.
struct Builder {
    root: PathBuf,
    target: PathBuf,
}

impl Builder {
    fn core(&self, row: Option<&Row>) -> PathBuf {
        copy_to(&self.root, |path, bytes| match row {
            Some((_, file, line, other)) if path == format!("debuggee-driver/src/{file}") => {
                let text = String::from_utf8(bytes).expect("text");
                let found = text.matches(line).count();
                assert_eq!(found, 1, "{path}: `{line}`");
                assert!(line.trim_end().lines().count() == 1);
                text.replace(line, other).into_bytes()
            }
            _ => bytes,
        });
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--offline", "--quiet", "--bin", "standstill-core"]);
        cargo.current_dir(&self.root);
        cargo.env("CARGO_TARGET_DIR", &self.target);
        cargo.env("CARGO_INCREMENTAL", "1");
        let output = cargo.output().expect("cargo");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{row:?}: {said}");
        self.target.join("debug/standstill-core")
    }
}

/// The kind of the request that the message of a packet answers; else of the message itself.
fn kind_at(recording: &Recording, packet: u32) -> String {
    let mut bases = Bases::default();
    let mut asked: [Option<String>; 256] = [const { None }; 256];
    for it in &recording.packets {
        let words = describe::packet(it, bases);
        let id = words.id.map(usize::from);
        if let (Entry::Request(_), Some(id)) = (&it.entry, id) {
            asked[id] = Some(words.kind.clone());
        }
        if it.number == packet {
            let answered = id.and_then(|id| asked[id].clone());
            return answered.unwrap_or(words.kind);
        }
        bases.pass(&it.entry);
    }
    panic!("there is no packet {packet}")
}

/// Where the core differs from each recording first, and how.
fn differences(core: &Path, file: &Path) -> Vec<(String, String, String)> {
    let difference = |name: String| {
        let recording = recording(&name);
        let found = play_by(core, &recording, file).expect("it plays");
        let Found { packet, how } = found?;
        Some((kind_at(&recording, packet), name, how))
    };
    names().into_iter().filter_map(difference).collect()
}

#[test]
#[ignore = "it builds the core for each handler; `cargo lab soak handlers` runs this"]
fn one_changed_line_in_any_handler_makes_a_replay_diverge() {
    let [requests, _] = kinds();
    let rows: BTreeSet<String> = ROWS.iter().map(|(kind, ..)| (*kind).to_owned()).collect();
    assert_eq!(
        rows, requests,
        "a row for each kind of request, and no other"
    );
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("recording");
    let builder = Builder {
        root: Path::new(env!("CARGO_TARGET_TMPDIR")).join("handlers"),
        target: repository().join("target/handlers"),
    };
    assert_eq!(differences(&builder.core(None), &file), []);
    assert!(folder().is_dir());
    let mut missed = Vec::new();
    for row in ROWS {
        let (kind, at, line, other) = row;
        let started = Instant::now();
        let found = differences(&builder.core(Some(row)), &file);
        let seconds = started.elapsed().as_secs_f32();
        match found.iter().find(|(of, ..)| of == kind) {
            Some((_, name, how)) => {
                let how: String = how.chars().take(160).collect();
                println!("{kind:<15} {seconds:>5.1} s  {name}{how}");
            }
            None => missed.push(format!(
                "{kind}: {at}: `{line}` as `{other}` shows as {found:?}"
            )),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
