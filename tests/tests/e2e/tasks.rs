//! Processes and threads are what the guest says of them itself, and the debuggee halts in the one that is asked for.

use crate::lab::Lab;
use serde_json::Value;
use std::collections::BTreeMap;
use vm_lab::machine::KernelLine;

#[track_caller]
fn decimal<N: std::str::FromStr>(text: &str) -> N {
    let number = text.trim().parse();
    number.unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[track_caller]
fn hex(text: &str) -> u64 {
    let number = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16);
    number.unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// A process or thread as the guest's own `/proc` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own {
    name: String,
    state: char,
    parent: u32,
    /// Where its command line stands.
    command_at: u64,
}

/// From lines of `stat`, by number.
#[track_caller]
fn own(text: &str) -> BTreeMap<u32, Own> {
    let lines = text.lines().filter(|line| line.contains('('));
    lines
        .map(|line| {
            let (number, rest) = line.split_once(" (").unwrap();
            let (name, rest) = rest.rsplit_once(") ").unwrap();
            let fields: Vec<&str> = rest.split(' ').collect();
            let own = Own {
                name: name.to_owned(),
                state: fields[0].chars().next().unwrap_or_default(),
                parent: decimal(fields[1]),
                command_at: decimal(fields[45]),
            };
            (decimal(number), own)
        })
        .collect()
}

/// A line of a list of tasks.
#[derive(Clone, Debug)]
struct Listed {
    pid: u32,
    tid: u32,
    parent: u32,
    state: String,
    structure: u64,
    name: String,
    command: String,
}

fn listed(list: &str) -> Vec<Listed> {
    list.lines()
        .skip(1)
        .map(|line| {
            let mut words = line.trim_start_matches('*').split_whitespace();
            let mut word = || words.next().unwrap_or_default();
            let number = |text: &str| hex(text) as u32;
            let (pid, tid, parent) = (number(word()), number(word()), number(word()));
            let state = word().to_owned();
            word();
            let structure = hex(word());
            let name = word().to_owned();
            Listed {
                pid,
                tid,
                parent,
                state,
                structure,
                name,
                command: words.collect::<Vec<_>>().join(" "),
            }
        })
        .collect()
}

/// What the letter of a state is called.
fn names_of_state(letter: char) -> &'static [&'static str] {
    match letter {
        'R' => &["running", "runnable"],
        'S' => &["sleeping"],
        'D' => &["uninterruptible"],
        'I' => &["idle"],
        'T' => &["stopped"],
        't' => &["traced"],
        'Z' => &["zombie"],
        'P' => &["parked"],
        _ => &["dead"],
    }
}

/// Its numbers of a process, by its name.
#[track_caller]
fn number_of(all: &BTreeMap<u32, Own>, name: &str, letter: char) -> u32 {
    let found = all
        .iter()
        .find(|(_, own)| own.name == name && (letter == '*' || own.state == letter));
    *found.unwrap_or_else(|| panic!("no {name} in {all:#?}")).0
}

/// Halts, whether that is told with the answer to `g` or later.
#[track_caller]
fn go_until_halted(lab: &mut Lab) -> String {
    match lab.run("g") {
        news if news.is_empty() => lab.run(".wait 0n60"),
        news => news,
    }
}

const STAT: &str = "cat /proc/[0-9]*/stat 2>/dev/null; true";
const COMMAND: &str = "head -c 200 /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true";

/// Command lines by number.
fn commands(text: &str) -> BTreeMap<u32, String> {
    let mut all = BTreeMap::new();
    let mut number = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let header = line.strip_prefix("==> /proc/");
        match header.and_then(|rest| rest.split('/').next()) {
            Some(text) => number = text.parse().ok(),
            None => {
                let line = line.trim_end().to_owned();
                all.extend(number.map(|number: u32| (number, line)));
            }
        }
    }
    all
}

/// How often each process was switched away from, of its own will or not.
const SWITCHES: &str = "grep ctxt /proc/[0-9]*/status 2>/dev/null; true";

fn switches(told: &str) -> BTreeMap<u32, Vec<String>> {
    let mut all = BTreeMap::<u32, Vec<String>>::new();
    for line in told.lines() {
        let rest = line
            .strip_prefix("/proc/")
            .and_then(|it| it.split_once('/'));
        let Some((number, counts)) = rest else {
            continue;
        };
        all.entry(decimal(number))
            .or_default()
            .push(counts.to_owned());
    }
    all
}

/// Programs of which something is known.
struct Guest {
    lab: Lab,
    all: BTreeMap<u32, Own>,
    switches: BTreeMap<u32, Vec<String>>,
    commands: BTreeMap<u32, String>,
    /// Waits for its threads.
    process: u32,
    threads: Vec<u32>,
    /// Looks every second whether there is more.
    tail: u32,
    /// Has ended, and its parent does not ask how.
    zombie: u32,
    /// Where its parent goes on in its own code, and its stack pointer then.
    sleeps: u32,
    goes_on: (u64, u64),
    spins: u32,
}

impl Guest {
    /// Halted. The kernel has tables of its own for user mode, and is where chance put it.
    fn start() -> Self {
        let mut lab = Lab::boot(KernelLine::Stock);
        lab.guest_background("lab-threads 5 2 > /threads");
        lab.guest("until [ $(grep -c thread /threads) = 2 ]; do usleep 20000; done");
        lab.guest_background("tail -f /threads > /tail");
        lab.guest_background("sh -c 'true & exec sleep 100000'");
        lab.guest_background("lab-spin 100000 1 > /spins");
        lab.guest("until grep -q ' Z ' /proc/[0-9]*/stat; do usleep 20000; done; usleep 100000");
        let told = lab.guest("cat /threads");
        let numbers = |what: &str| -> Vec<u32> {
            told.lines()
                .filter_map(|line| line.strip_prefix(what))
                .map(|rest| decimal(rest.split_whitespace().next().unwrap_or_default()))
                .collect()
        };
        let commands = commands(&lab.guest(COMMAND));
        let switches = switches(&lab.guest(SWITCHES));
        let all = own(&lab.guest(STAT));
        let sleeps = number_of(&all, "sleep", 'S');
        let stands = lab.guest(&format!("cat /proc/{sleeps}/syscall"));
        let stands: Vec<u64> = stands.split_whitespace().rev().take(2).map(hex).collect();
        let [rip, rsp] = stands[..] else {
            panic!("{stands:x?}");
        };
        // They say who they are in any order.
        let mut threads = numbers("thread ");
        threads.sort_unstable();
        lab.run("pause");
        Self {
            process: numbers("process ")[0],
            threads,
            tail: number_of(&all, "tail", '*'),
            zombie: number_of(&all, "sh", 'Z'),
            sleeps,
            goes_on: (rip, rsp),
            spins: number_of(&all, "lab-spin", '*'),
            lab,
            all,
            switches,
            commands,
        }
    }
}

#[test]
fn lists_and_contexts_are_what_the_guest_says() {
    let mut guest = Guest::start();
    let processes = the_list_of_processes_is_that_of_the_guest(&mut guest);
    the_list_of_threads_is_that_of_the_guest(&mut guest);
    a_sleeping_process_is_looked_at(&mut guest);
    what_has_no_memory_is_looked_at(&mut guest);
    a_running_one_is_its_core(&mut guest);
    what_is_not_there_is_refused_in_a_line(&mut guest, &processes);
    let mut lab = guest.lab;
    lab.go();
}

fn the_list_of_processes_is_that_of_the_guest(guest: &mut Guest) -> Vec<Listed> {
    let list = guest.lab.run(".process list");
    let found = listed(&list);
    guest.lab.run("g");
    let later = own(&guest.lab.guest(STAT));
    let switched = switches(&guest.lab.guest(SWITCHES));
    guest.lab.run("pause");
    let again = |number: &u32| later.get(number);
    let (mut compared, mut still) = (0, 0);
    for (number, own) in &guest.all {
        // What read the list has ended.
        let Some(later) = again(number) else { continue };
        let line = found.iter().find(|line| line.pid == *number);
        let line = line.unwrap_or_else(|| panic!("no {number:x} ({own:?}) in\n{list}"));
        assert_eq!(line.tid, *number);
        assert_eq!(line.parent, own.parent, "{line:?}");
        // Of the kernel's own threads it tells longer names than it keeps with the task.
        let is_name = match own.parent == 2 {
            true => own.name.starts_with(&line.name),
            false => own.name == line.name,
        };
        assert!(is_name, "{line:?} {own:?}");
        let command = guest.commands.get(number).map_or("", String::as_str);
        assert!(
            command.starts_with(&line.command) && line.command.is_empty() == command.is_empty(),
            "{line:?} {command}"
        );
        // Whoever waited before and after may have done something between: then it was switched away from.
        let is_still = guest.switches.get(number) == switched.get(number);
        if own.state == later.state && (is_still || own.state == 'R') {
            let names = names_of_state(own.state);
            let is_worker = own.parent == 2 && matches!(&*line.state, "running" | "runnable");
            assert!(
                names.contains(&line.state.as_str()) || is_worker,
                "{line:?} {own:?}"
            );
            still += 1;
        }
        compared += 1;
    }
    eprintln!("{compared} processes of {} compared", guest.all.len());
    assert!(compared + 2 >= guest.all.len() && compared > 30);
    assert!(still > 20, "{still} did nothing meanwhile");
    // All that is there besides is the idle task, and what began meanwhile.
    let strange = found
        .iter()
        .filter(|line| !guest.all.contains_key(&line.pid) && !later.contains_key(&line.pid));
    assert!(
        strange.clone().all(|line| line.pid == 0),
        "{:?}",
        strange.collect::<Vec<_>>()
    );
    let json = guest.lab.answer(".process list");
    let tasks = json["tasks"].as_array().unwrap();
    let of_init = tasks.iter().find(|task| task["task"]["pid"] == 1).unwrap();
    assert_eq!(of_init["task"]["name"], "init");
    assert_eq!(json["are_threads"], false);
    assert!(json["damage"].is_null(), "{json}");
    found
}

fn the_list_of_threads_is_that_of_the_guest(guest: &mut Guest) {
    let process = guest.process;
    let list = guest.lab.run(&format!(".thread list pid {process:x}"));
    let found = listed(&list);
    let tids: Vec<u32> = found.iter().map(|line| line.tid).collect();
    let mut expected = vec![process];
    expected.extend(&guest.threads);
    assert_eq!(tids, expected, "{list}");
    assert!(
        found
            .iter()
            .all(|line| line.pid == process && line.name == "lab-threads"),
        "{list}"
    );
    let all = listed(&guest.lab.run(".thread list"));
    let others = all.iter().filter(|line| line.pid != line.tid);
    let others: Vec<u32> = others.map(|line| line.tid).collect();
    assert_eq!(others, guest.threads);
}

/// The value of a register in a list of them.
#[track_caller]
fn register(lab: &mut Lab, name: &str) -> u64 {
    let text = lab.run(&format!("r {name}"));
    hex(text.split('=').nth(1).unwrap_or_default())
}

/// The bytes of a dump, as text.
fn text_of(dump: &str) -> String {
    let lines = dump.lines();
    lines
        .flat_map(|line| line.split([' ', '-']).filter(|word| !word.is_empty()))
        .filter(|word| word.len() == 2)
        .map_while(|byte| u8::from_str_radix(byte, 16).ok())
        .map(|byte| if byte == 0 { ' ' } else { char::from(byte) })
        .collect()
}

fn a_sleeping_process_is_looked_at(guest: &mut Guest) {
    let sleeps = guest.sleeps;
    let at = guest.all[&sleeps].command_at;
    let command = &guest.commands[&sleeps];
    assert_eq!(command, "sleep 100000");
    let lab = &mut guest.lab;
    let dump = |lab: &mut Lab, of: &str| {
        let len = command.len();
        text_of(&lab.run(&format!("db {at:x} l {len:x}{of}")))
    };
    assert_eq!(&dump(lab, &format!(" pid {sleeps:x}")), command);
    let said = lab.run(&format!(".process context {sleeps:x}"));
    assert!(
        said.starts_with(&format!(
            "commands look at process {sleeps:x} (sleep), sleeping; it goes on at vmlinux!"
        )),
        "{said}"
    );
    assert_eq!(&dump(lab, ""), command);
    let physical = lab.run(&format!("!va2pa {at:x}"));
    // In the scheduler, on its own stack, at whose end stands what it did in the program.
    let rip = register(lab, "rip");
    let near = lab.run(&format!("ln {rip:x}"));
    assert!(near.contains("vmlinux!__schedule"), "{near}");
    let code = lab.run("u @rip l 8");
    assert!(code.contains("__schedule"), "{code}");
    let rsp = register(lab, "rsp");
    let end = (rsp & !0x3fff) + 0x4000;
    let (own_rip, own_rsp) = guest.goes_on;
    let word = |lab: &mut Lab, at: u64| lab.value(&format!("poi({at:x})"));
    assert_eq!(word(lab, end - 40), own_rip);
    assert_eq!(word(lab, end - 16), own_rsp);
    assert!(lab.refused("r rax").contains("was not saved"));
    assert!(
        lab.refused("r rbx = 1")
            .contains("does not run cannot be changed")
    );
    let shown = lab.run(".process");
    assert!(
        shown.contains(&format!("commands look at process {sleeps:x} (sleep)")),
        "{shown}"
    );
    lab.run(".process context off");
    let of_core = lab.run(&format!("!va2pa {at:x} pid {sleeps:x}"));
    assert_eq!(of_core, physical);
    // What is written in another process is there for it, and taken back.
    lab.run(&format!("eb {at:x} 53 pid {sleeps:x}"));
    lab.run("g");
    let seen = lab.guest(&format!("cat /proc/{sleeps}/cmdline | tr '\\0' ' '"));
    assert_eq!(seen.trim_end(), "Sleep 100000");
    lab.run("pause");
    lab.run(&format!("eb {at:x} 73 pid {sleeps:x}"));
}

fn what_has_no_memory_is_looked_at(guest: &mut Guest) {
    let (lab, zombie) = (&mut guest.lab, guest.zombie);
    let said = lab.run(".process context 2");
    assert!(
        said.starts_with(
            "commands look at process 2 (kthreadd), sleeping, which has no memory of its own; it goes on at vmlinux!"
        ),
        "{said}"
    );
    let rip = register(lab, "rip");
    assert!(
        lab.run(&format!("ln {rip:x}"))
            .contains("vmlinux!__schedule")
    );
    // What the kernel has it has, too.
    assert!(text_of(&lab.run("db vmlinux!linux_banner l e")).contains("Linux version"));
    let said = lab.run(&format!(".process context {zombie:x}"));
    assert_eq!(
        said,
        format!(
            "commands look at process {zombie:x} (sh), zombie, which has no memory of its own; its registers cannot be read"
        )
    );
    let refused = lab.refused("r rip");
    assert!(refused.contains("is not known"), "{refused}");
    assert_eq!(lab.refused("r"), refused);
    let refused = lab.refused(&format!("db 400000 l 8 pid {zombie:x}"));
    assert!(refused.contains("(sh) has ended"), "{refused}");
    let refused = lab.refused(&format!(".process pid {zombie:x}"));
    assert!(refused.contains("(sh) has ended"), "{refused}");
    lab.run(".process context off");
}

fn a_running_one_is_its_core(guest: &mut Guest) {
    let (lab, spins) = (&mut guest.lab, guest.spins);
    let runs = format!("process {spins:x} (lab-spin) runs on core 1, which commands work on now");
    // Others are to run on its core, too, before whom it waits.
    let waits = format!("commands look at process {spins:x} (lab-spin), runnable; it goes on at ");
    let mut tries = 0;
    loop {
        let said = lab.run(&format!(".process context {spins:x}"));
        if said == runs {
            break;
        }
        assert!(said.starts_with(&waits) && tries < 20, "{said}");
        tries += 1;
        lab.run("g");
        lab.run("sleep 0n50");
        lab.run("pause");
    }
    let shown = lab.run(".process");
    assert!(
        shown.starts_with(&format!(
            "core 1 runs process {spins:x} (lab-spin), running"
        )),
        "{shown}"
    );
    assert!(shown.contains("command `lab-spin 100000 1`"), "{shown}");
    lab.run("~ 0");
}

fn what_is_not_there_is_refused_in_a_line(guest: &mut Guest, processes: &[Listed]) {
    let (lab, thread) = (&mut guest.lab, guest.threads[0]);
    let is_thread = format!("{thread:x} is a thread of process {:x} ", guest.process);
    for line in [
        format!(".process context {thread:x}"),
        format!(".process pid {thread:x}"),
        format!(".thread list pid {thread:x}"),
        format!("db 400000 pid {thread:x}"),
    ] {
        assert!(lab.refused(&line).starts_with(&is_thread), "{line}");
    }
    for line in [
        ".process context fffff",
        ".process pid fffff",
        ".process2 pid fffff",
        "db 400000 pid fffff",
        "eb 400000 0 pid fffff",
        "u 400000 pid fffff",
        "!va2pa 400000 pid fffff",
    ] {
        assert!(lab.refused(line).starts_with("no process fffff "), "{line}");
    }
    for line in [
        ".thread context fffff",
        ".thread tid fffff",
        ".thread2 tid fffff",
    ] {
        assert!(lab.refused(line).starts_with("no thread fffff "), "{line}");
    }
    // A structure is known by its address alone, not by one inside of it.
    let structure = processes.iter().find(|line| line.pid == 1).unwrap();
    let at = structure.structure;
    for line in [
        format!(".process process {:x}", at + 8),
        ".thread thread 1234".to_owned(),
        ".process2 process vmlinux!linux_banner".to_owned(),
    ] {
        assert!(lab.refused(&line).contains("no process or thread"));
    }
    for line in [".process context", ".process frobnicate", ".process2 list"] {
        lab.refused(line);
    }
    assert!(
        lab.refused(".process pid 2")
            .contains("thread of the kernel")
    );
}

#[test]
fn the_debuggee_halts_in_the_process_and_thread_that_is_asked_for() {
    let mut guest = Guest::start();
    let (process, threads, tail, spins) = (
        guest.process,
        guest.threads.clone(),
        guest.tail,
        guest.spins,
    );
    let own = guest
        .all
        .iter()
        .find(|(_, own)| ["rcu_sched", "rcu_preempt"].contains(&&*own.name));
    let worker = *own.unwrap_or_else(|| panic!("{:#?}", guest.all)).0;
    let lab = &mut guest.lab;
    let structure = listed(&lab.run(&format!(".thread list pid {process:x}")))[2].structure;
    for (line, is_own, (pid, tid)) in [
        (format!(".process pid {tail:x}"), true, (tail, Some(tail))),
        (format!(".process2 pid {tail:x}"), false, (tail, Some(tail))),
        (format!(".process2 pid {process:x}"), false, (process, None)),
        // It is in its own code already, or waits for its core in the midst of it.
        (
            format!(".process pid {spins:x}"),
            true,
            (spins, Some(spins)),
        ),
        (
            format!(".thread tid {:x}", threads[0]),
            true,
            (process, Some(threads[0])),
        ),
        (
            format!(".thread thread {structure:x}"),
            true,
            (process, Some(threads[1])),
        ),
        (
            format!(".thread2 tid {:x}", threads[1]),
            false,
            (process, Some(threads[1])),
        ),
        // One of the kernel's own, which has something to do now and then.
        (
            format!(".thread2 tid {worker:x}"),
            false,
            (worker, Some(worker)),
        ),
    ] {
        let said = lab.run(&line);
        let words = match is_own {
            true => "goes on in its own code, at ",
            false => "`g` runs until the kernel has switched to ",
        };
        assert!(said.contains(words), "{said}");
        let news = go_until_halted(lab);
        assert!(news.starts_with("breakpoint "), "{news}");
        let whose = match tid == Some(pid) {
            true => format!("; process {pid:x} ("),
            false => format!("; process {pid:x}, thread "),
        };
        assert!(news.lines().next().unwrap().contains(&whose), "{news}");
        let json = lab.answer(".lastevent");
        let halt = &json["halt"];
        assert_eq!(halt["task"]["pid"], pid, "{json}");
        let of = halt["task"]["tid"].as_u64().unwrap() as u32;
        assert!(tid.is_none_or(|tid| tid == of), "{json}");
        assert_eq!(lab.run(".lastevent").lines().next(), news.lines().next());
        let rip = register(lab, "rip");
        let at = hex(said
            .rsplit([' ', '(', ')'])
            .find(|word| word.len() > 12)
            .unwrap_or("0"));
        assert_eq!(rip, at, "{said}");
        assert_eq!(rip >> 63 == 0, is_own);
        let shown = lab.run(".thread");
        assert!(
            shown.contains(&format!(" {of:x} (")) && shown.contains(", running, "),
            "{shown}"
        );
        assert!(lab.run("bl").contains(" disabled "), "it halts once");
    }
    lab.run("g");
    lab.run("sleep 0n200");
    lab.run("pause");
    assert_eq!(lab.run("bl"), "no breakpoints");
    lab.go();
}

#[test]
fn stops_say_what_has_changed() {
    let mut lab = Lab::boot(KernelLine::Lean);
    let first = lab.run("pause");
    let line = first
        .lines()
        .find(|line| line.starts_with("break-in on core "));
    let line = line.unwrap_or_else(|| panic!("{first}"));
    assert!(line.contains("; process "), "{line}");
    assert!(!line.contains("changed"), "{line}: nothing was before");
    lab.run("bp __x64_sys_getsid");
    lab.run("g");
    lab.guest_background("lab-calls 3 0");
    let first = lab.run(".wait 0n60");
    assert!(first.contains(" (lab-calls)"), "{first}");
    let before = lab.run("r all");
    let second = go_until_halted(&mut lab);
    let after = lab.run("r all");
    let values = |text: &str| -> BTreeMap<String, String> {
        text.split_whitespace()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_end_matches('*').to_owned()))
            .collect()
    };
    let marked = after.clone();
    let (before, after) = (values(&before), values(&after));
    let json = lab.answer(".lastevent");
    let told: Vec<&str> = json["halt"]["changed"]
        .as_array()
        .unwrap_or_else(|| panic!("{json}"))
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let general = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15", "rflags",
    ];
    for name in general {
        let has_changed = before.get(name) != after.get(name);
        assert_eq!(told.contains(&name), has_changed, "{name}: {second}");
        let is_marked = marked.lines().any(|line| {
            let value = line
                .strip_prefix(name)
                .and_then(|line| line.strip_prefix('='));
            value.is_some_and(|value| value.contains('*'))
        });
        assert_eq!(is_marked, has_changed, "{name}:\n{marked}");
    }
    let shown = second.lines().next().unwrap_or_default();
    assert!(
        shown.contains("changed") && shown.contains(" (lab-calls)"),
        "{second}"
    );
    lab.run("bc all");
    lab.go();
}
