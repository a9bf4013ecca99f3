//! Every refusal is provoked: it says the limit, its value, what was asked for and what helps, it changes nothing, and
//! what it says helps does help. The [table] has a row for each.

mod table;
mod wire;

use crate::lab::Lab;
use debugger_host::answer::{Problem, Scalar};
use debugger_host::command::{CommandError, problem};
use debugger_host::recording::told::Told;
use debugger_host::refusal::refusal;
use debugger_host::session::SessionError;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use table::{Case, OTHER_ROWS, ROWS, Row, Situation, WIRE_ROWS, WireCase};
use vm_lab::machine::Options;
use wire::Line;
use wire_protocol::event::PoolClass;
use wire_protocol::refusal::{BranchObstacle, DetourObstacle, ProcessorFeature, ProgramPart};

/// Small enough that everything runs out, and no thread that refills it.
const CONSTANTS: &[(&str, u64)] = &[
    ("arena_bytes", 4 << 20),
    ("replenish_ms", 0),
    ("regular_events", 2),
    ("ept_hooks", 1),
    ("ept_hooks2", 1),
    ("monitors", 1),
    ("big_condition_bytes", 200),
    ("regular_action_bytes", 512),
    ("big_action_bytes", 2048),
    ("big_safe_buffer_bytes", 8192),
    // What a script may do without an end before it is ended: enough to miss a halt.
    ("script_operations", 30_000_000),
];

/// What one page takes.
const HOOKS_PER_PAGE: u32 = 40;

/// Kinds of refusals whose words differ by the value of a field, that field, and its values.
fn closed_sets() -> [(&'static str, &'static str, Vec<Scalar>); 5] {
    [
        (
            "pool-exhausted",
            "class",
            PoolClass::ALL.map(|it| Scalar::from(it.told())).to_vec(),
        ),
        (
            "no-big-event",
            "part",
            ProgramPart::ALL.map(|it| Scalar::from(it.told())).to_vec(),
        ),
        (
            "no-detour",
            "obstacle",
            DetourObstacle::ALL
                .map(|it| Scalar::from(it.told()))
                .to_vec(),
        ),
        (
            "no-branches",
            "obstacle",
            BranchObstacle::ALL
                .map(|it| Scalar::from(it.told()))
                .to_vec(),
        ),
        (
            "no-feature",
            "feature",
            ProcessorFeature::ALL
                .map(|it| Scalar::from(it.told()))
                .to_vec(),
        ),
    ]
}

fn boot(constants: &[(&str, u64)], options: Options) -> Lab {
    let parameter = |(name, value): &(&str, u64)| ((*name).to_owned(), value.to_string());
    Lab::with(&Options {
        params: constants.iter().map(parameter).collect(),
        ..options
    })
}

/// All rows.
fn rows() -> impl Iterator<Item = &'static Row> {
    [ROWS, WIRE_ROWS, OTHER_ROWS].into_iter().flatten()
}

/// So many bytes of machine code that do nothing.
fn code(bytes: usize) -> String {
    format!("{}c3", "90".repeat(bytes - 1))
}

/// What stands in a document under a key.
fn text<'v>(value: &'v serde_json::Value, key: &str) -> &'v str {
    value
        .get(key)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}

/// A machine on which rows are tried, and what did not go as it should.
struct Session {
    lab: Lab,
    names: BTreeMap<&'static str, String>,
    wrong: String,
}

impl Session {
    fn new(lab: Lab) -> Self {
        let (names, wrong) = (BTreeMap::new(), String::new());
        Self { lab, names, wrong }
    }

    fn complain(&mut self, row: &str, what: &str) {
        let _ = writeln!(self.wrong, "{row}: {what}");
    }

    /// The command with its names replaced.
    fn meant(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for bytes in [150, 200, 201, 600, 2000, 2056] {
            text = text.replace(&format!("<{bytes} bytes>"), &code(bytes));
        }
        for (name, value) in &self.names {
            text = text.replace(&format!("<{name}>"), value);
        }
        text
    }

    /// Commands that must succeed.
    #[track_caller]
    fn follow(&mut self, row: &str, commands: &[&str]) {
        for command in commands {
            if *command == "<forty hooks>" {
                for hook in 0..HOOKS_PER_PAGE {
                    let at = 0x1000 + hook * 0x10;
                    let command = format!("!epthook (vmlinux!_text + {at:x}) force");
                    self.follow(row, &[&command]);
                }
                continue;
            }
            if let Some(command) = command.strip_prefix("guest: ") {
                self.lab.guest(command);
                continue;
            }
            let command = self.meant(command);
            let reply = self.lab.reply(&command);
            if !reply.ok {
                let shown = command.get(..60).unwrap_or(&command);
                self.complain(
                    row,
                    &format!("`{shown}` fails: {}", reply.output.trim_end()),
                );
            }
            // A warning may come first.
            let added = reply
                .output
                .lines()
                .find_map(|line| line.strip_prefix("event "));
            if let Some((number, _)) = added.and_then(|rest| rest.split_once(": ")) {
                self.names.insert("event", number.to_owned());
            }
        }
    }

    /// The row's command is refused as the row says, and changes neither pools nor events.
    #[track_caller]
    fn refuse(&mut self, row: &'static str, case: &Case) {
        let state = |lab: &mut Lab| [lab.run("pools"), lab.run("events")];
        let command = self.meant(case.command);
        let before = state(&mut self.lab);
        let reply = self.lab.reply(&format!(".json {command}"));
        if state(&mut self.lab) != before {
            self.complain(row, "it changed something");
        }
        let document = reply.output.lines().find_map(|line| {
            let document: serde_json::Value = serde_json::from_str(line).ok()?;
            document.get("error").cloned()
        });
        let Some(problem) = document else {
            let said = format!("it is no refusal: {}", reply.output.trim_end());
            return self.complain(row, &said);
        };
        let message = text(&problem, "message").to_owned();
        let mut kind = text(&problem, "kind").to_owned();
        for (of, field, _) in closed_sets() {
            let fields = problem["fields"].as_array();
            let field = fields
                .into_iter()
                .flatten()
                .find(|it| text(it, "name") == field);
            if let Some(field) = field.filter(|_| kind == of) {
                kind = format!("{kind} {}", text(field, "value"));
            }
        }
        // What a script cannot have is a problem of the script.
        let is_told = kind == row || kind == "wrong-script" && row.starts_with("global");
        let words = case.words.iter().map(|word| self.meant(word));
        let missing: Vec<_> = words.filter(|word| !message.contains(word)).collect();
        if !is_told || message.contains('\n') || !missing.is_empty() {
            self.complain(row, &format!("a {kind}, and no {missing:?} in: {message}"));
        }
        let mut quoted = message.split('`').skip(1).step_by(2);
        let help = quoted.next().unwrap_or_default().to_owned();
        self.names.insert("help", help);
        self.names.insert("again", command);
        if let Some((_, end)) = message.rsplit_once("addresses end at ") {
            self.names.insert("end", end.to_owned());
        }
    }

    /// The rows that `of` takes, one after the other.
    #[track_caller]
    fn try_rows(&mut self, of: impl Fn(&Situation) -> Option<&Case>) {
        for row in ROWS {
            if let Some(case) = of(&row.situation) {
                self.follow(row.refusal, case.before);
                self.refuse(row.refusal, case);
                self.follow(row.refusal, case.cure);
                self.lab.run("events c all");
            }
        }
    }

    /// What rows name and only a machine knows. While it runs.
    fn learn(&mut self) {
        self.lab.guest("echo 1 > /proc/sys/kernel/kptr_restrict");
        let maps = self.lab.guest("cat /proc/vmallocinfo");
        let device = maps.lines().find(|line| line.contains("phys=0x00000000fe"));
        let device = device.and_then(|line| line.strip_prefix("0x")?.split('-').next());
        self.names
            .insert("device", device.unwrap_or_default().to_owned());
    }

    /// The same, in a halt.
    fn learn_halted(&mut self) {
        let driver = self.lab.run("lm m standstill");
        let driver = driver
            .split_whitespace()
            .find(|word| word.starts_with("ffffffff"));
        self.names
            .insert("driver", driver.unwrap_or_default().to_owned());
        let far = "(vmlinux!vfs_read - ffffffff80000000 + ffff888000000000)";
        self.names.insert("far", far.to_owned());
        // Opcodes that no processor knows in 64-bit mode, and such that never stand alone.
        let text = "vmlinux!linux_banner";
        let unmovable = (0..0x80).find(|at| {
            [0x27, 0x2f, 0x37, 0x3f].contains(&self.byte(&format!("({text} + {at:x})")))
        });
        let unmovable = format!("({text} + {:x})", unmovable.unwrap_or_default());
        self.names.insert("unmovable", unmovable);
        let crossing = (1..40).map(|page| format!("(vmlinux!_text + {page:x}fff)"));
        let mut crossing = crossing.filter(|at| [0x48, 0x0f, 0xe8, 0x4c].contains(&self.byte(at)));
        let crossing = crossing.next().unwrap_or_default();
        self.names.insert("crossing", crossing);
    }

    fn byte(&mut self, at: &str) -> u64 {
        let value = self.lab.run(&format!("? db({at})"));
        let digits = value.split(' ').next().unwrap_or_default();
        u64::from_str_radix(digits, 16).unwrap_or_default()
    }

    #[track_caller]
    fn end(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong);
    }
}

/// Every kind of refusal, with each value of the closed set that its words differ by, has its row, and no row is of
/// something else; tests that rows name are there.
#[track_caller]
fn rows_are_complete() {
    let sets = closed_sets();
    let mut wanted = BTreeSet::new();
    for kind in problem::refusals() {
        match sets.iter().find(|(of, ..)| *of == kind) {
            None => {
                wanted.insert(kind);
            }
            Some((_, _, values)) => wanted.extend(values.iter().map(|value| match value {
                Scalar::Text(value) => format!("{kind} {value}"),
                other => panic!("{other:?}"),
            })),
        }
    }
    let found: BTreeSet<String> = rows().map(|row| row.refusal.to_owned()).collect();
    assert_eq!(found, wanted);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for row in OTHER_ROWS {
        let Situation::Other { test, because } = row.situation else {
            panic!("{} is no row of these", row.refusal);
        };
        eprintln!("{} is not made here: {because}", row.refusal);
        if let Some((file, test)) = test {
            let source = std::fs::read_to_string(root.join(file)).expect("a source");
            assert!(
                source.contains(&format!("fn {test}(")),
                "{file} has no {test}"
            );
        }
    }
}

#[test]
fn every_refusal_says_what_helps_and_changes_nothing() {
    rows_are_complete();
    let mut session = Session::new(boot(CONSTANTS, Options::default()));
    session.learn();
    session.lab.run("pause");
    session.learn_halted();
    let digest = session.lab.run("!digest");
    session.try_rows(|situation| match situation {
        Situation::Halted(case) => Some(case),
        _ => None,
    });
    assert_eq!(session.lab.run("!digest"), digest, "the guest ran");
    a_core_that_does_not_come(&mut session);
    another_process(&mut session);
    over_the_wire(&mut session);
    session.end();
}

#[test]
fn a_processor_that_lacks_what_an_event_needs_says_so() {
    let cpu = "corei7_ivy_bridge_3770k".into();
    let constants = [
        ("arena_bytes", 6 << 20),
        ("regular_events", 2),
        ("replenish_ms", 500),
    ];
    let mut session = Session::new(boot(
        &constants,
        Options {
            cpu,
            ..Options::default()
        },
    ));
    session.lab.run("pause");
    session.try_rows(|situation| match situation {
        Situation::Older(case) => Some(case),
        _ => None,
    });
    let lab = &mut session.lab;
    lab.run("!epthook vmlinux!__x64_sys_getsid script { .hits = .hits + 1; }");
    lab.run("g");
    assert!(lab.guest("lab-calls 5 1").contains("calls 5"));
    lab.run("pause");
    assert_eq!(lab.run("? print(.hits);").trim(), "5");
    session.end();
}

/// A core that runs a long script when the machine is to halt: nothing can be installed or cleared, and all is well
/// once it came.
fn a_core_that_does_not_come(session: &mut Session) {
    session.follow("late", &["!cpuid 9 core 1 script { while (1) { } }", "g"]);
    session.lab.guest_background("taskset 2 lab-cpuid 9 1");
    session.lab.run("sleep 500");
    let halt = session.lab.run("pause");
    assert!(halt.contains("core 1 did not check in"), "{halt}");
    let list = session.lab.run("~");
    assert!(list.contains("did not check in"), "{list}");
    let late = || {
        ROWS.iter().filter_map(|row| match &row.situation {
            Situation::Late(case) => Some((row.refusal, case)),
            _ => None,
        })
    };
    for (row, case) in late() {
        session.refuse(row, case);
    }
    session.lab.run("g");
    session.lab.guest("wait");
    session.lab.run("pause");
    let list = session.lab.run("~");
    assert_eq!(list.matches("  halted   ").count(), 2, "{list}");
    // The event of the first row is not the one that the last row clears.
    let event = session.names["event"].clone();
    for (row, case) in late() {
        session.names.insert("event", event.clone());
        let again = session.meant(case.command);
        session.names.insert("again", again);
        session.follow(row, case.cure);
    }
    session.lab.run("events c all");
    session.lab.run("g");
    let check = session.lab.guest("lab-check 2");
    assert!(check.contains("check ok cores 2"), "{check}");
}

/// A program on core 1, whose stack nobody else has.
fn another_process(session: &mut Session) {
    session.lab.guest_background("lab-spin 20 1");
    session.lab.guest("sleep 1; taskset 1 true");
    session.lab.run("pause");
    session.lab.run("~ 1");
    let mut stack = session.lab.run("r rsp");
    // It may stand in the kernel, whose stacks all processes have.
    while stack.contains("=ffff") {
        session.lab.run("g");
        session.lab.run("sleep 0n50");
        session.lab.run("pause");
        session.lab.run("~ 1");
        stack = session.lab.run("r rsp");
    }
    session
        .names
        .insert("stack", stack.trim_start_matches("rsp=").to_owned());
    session.try_rows(|situation| match situation {
        Situation::Elsewhere(case) => Some(case),
        _ => None,
    });
}

/// What the host program does not send. The machine is halted before and after.
fn over_the_wire(session: &mut Session) {
    session.lab.kill_host();
    let mut line = Line::open(session.lab.machine.socket_path());
    for row in WIRE_ROWS {
        let Situation::Wire(WireCase { ask, words, cure }) = &row.situation else {
            panic!("{} is no row of these", row.refusal);
        };
        let (kind, said) = match ask(&mut line) {
            Ok(()) => Default::default(),
            Err(refused) => {
                let error = CommandError::from(SessionError::Refused(refused));
                let problem = Problem::from(&error);
                (problem.kind, problem.message)
            }
        };
        if kind != row.refusal || !words.iter().all(|word| said.contains(word)) {
            session.complain(
                row.refusal,
                &format!("a {kind}, and no {words:?} in: {said}"),
            );
        }
        if let Err(refused) = cure(&mut line) {
            session.complain(row.refusal, &format!("no way out: {}", refusal(&refused)));
        }
    }
}
