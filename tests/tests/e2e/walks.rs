//! Steps of a thread: where it halts, who else does not, and what it says when it cannot.

use crate::lab::Lab;
use serde_json::Value;
use std::time::Duration;
use vm_lab::machine::Options;

const CORES: usize = 4;

/// A machine with a thread on each core that runs a recursive function again and again, halted.
struct Deep {
    lab: Lab,
    function: u64,
    holds: u64,
    process: u64,
    threads: Vec<u64>,
}

impl Deep {
    fn start(rounds: u32) -> Self {
        let mut lab = Lab::with(&Options {
            cpus: CORES as u32,
            ..Options::default()
        });
        lab.guest_background(&format!("lab-deep {rounds} {CORES} > /deep"));
        lab.guest(&format!(
            "until [ $(grep -c thread /deep) = {CORES} ]; do usleep 20000; done"
        ));
        let told = lab.guest("cat /deep; touch /tmp/deep");
        let number = |line: &str, radix| u64::from_str_radix(line, radix).ok();
        let after = |word: &str, radix| {
            let line = told.lines().find_map(|line| line.strip_prefix(word));
            line.and_then(|line| number(line, radix))
                .unwrap_or_else(|| panic!("no {word} in {told}"))
        };
        let mut threads: Vec<(String, u64)> = told
            .lines()
            .filter_map(|line| {
                let (tid, core) = line.strip_prefix("thread ")?.split_once(" on core ")?;
                Some((core.to_owned(), number(tid, 10)?))
            })
            .collect();
        threads.sort();
        let (process, function, holds) = (
            after("process ", 10),
            after("function ", 16),
            after("holds ", 16),
        );
        lab.run("pause");
        let threads = threads.into_iter().map(|(_, tid)| tid).collect();
        Self {
            lab,
            function,
            holds,
            process,
            threads,
        }
    }

    /// Halted at the first instruction of the function, in this thread.
    #[track_caller]
    fn enter(&mut self, thread: usize) {
        let Self {
            lab,
            function,
            process,
            threads,
            ..
        } = self;
        let tid = threads[thread];
        lab.run(&format!("bp {function:x} pid {process:x} tid {tid:x}"));
        self.next();
    }

    /// To the next breakpoint.
    #[track_caller]
    fn next(&mut self) {
        let news = self.lab.run("g");
        let news = match news.is_empty() {
            true => self.lab.run(".wait 0n60"),
            false => news,
        };
        assert!(news.starts_with("breakpoint "), "{news}");
    }

    fn is_in(&mut self, thread: usize) -> bool {
        self.lab.value("$tid") == self.threads[thread]
    }
}

/// What a command answers that ends with a halt.
#[track_caller]
fn answer(lab: &mut Lab, command: &str) -> Value {
    let answer = lab.answer(command);
    assert!(answer["halt"].is_object(), "{answer}");
    answer
}

/// Why it ended.
fn end(answer: &Value) -> &str {
    answer["halt"]["cause"]["end"].as_str().unwrap_or_default()
}

#[test]
fn steps_over_calls_and_out_of_a_recursion_stay_with_their_thread() {
    let mut it = Deep::start(1_000_000);
    it.enter(1);
    let mut depths = Vec::new();
    for round in 0..12 {
        // As many calls deeper.
        for _ in 0..round % 6 {
            it.next();
        }
        assert!(it.is_in(1));
        let lab = &mut it.lab;
        let (back, top) = (lab.value("poi(@rsp)"), lab.value("@rsp"));
        depths.push(top);
        // The calls that this one makes pass the breakpoint, which is not for these.
        lab.run("bd 0");
        let out = answer(lab, "gu");
        assert_eq!(end(&out), "count", "{out}");
        assert_eq!(lab.value("@rip"), back, "{out}");
        assert_eq!(lab.value("@rsp"), top + 8, "at the depth it was called at");
        assert!(it.is_in(1));
        it.lab.run("be 0");
        it.next();
    }
    depths.sort_unstable();
    depths.dedup();
    assert!(depths.len() >= 5, "from several depths: {depths:x?}");

    // From the first instruction on, over the call: as many steps as the function has instructions of its own.
    it.lab.run("bd 0");
    let (start, top) = (it.lab.value("@rip"), it.lab.value("@rsp"));
    let back = it.lab.value("poi(@rsp)");
    let mut steps = 0;
    while it.lab.value("@rip") != back || it.lab.value("@rsp") <= top {
        let one = answer(&mut it.lab, "p");
        assert_eq!(
            (end(&one), one["count"].as_u64()),
            ("count", Some(1)),
            "{one}"
        );
        let rip = it.lab.value("@rip");
        assert!(
            (start..start + 0x100).contains(&rip) || rip == back,
            "{one}"
        );
        steps += 1;
        assert!(steps < 100);
    }
    assert!(it.is_in(1));
    println!("{steps} steps through the function");

    // The same in one request.
    it.lab.run("be 0");
    it.next();
    it.lab.run("bd 0");
    let back = it.lab.value("poi(@rsp)");
    let many = answer(&mut it.lab, &format!("p 0n{steps}"));
    assert_eq!(many["trace"].as_array().map(Vec::len), Some(steps));
    assert_eq!(it.lab.value("@rip"), back, "{many}");
    assert!(it.is_in(1));
    // Nothing of it is left.
    assert_eq!(it.lab.run("events"), "no events");
    let pools = it.lab.run("pools");
    let line = pools
        .lines()
        .find(|line| line.contains("thread-interception"));
    assert!(line.is_some_and(|line| line.contains(" 0 ")), "{pools}");
    it.lab.run("bc all");
    it.lab.go();
}

#[test]
fn steps_of_a_thread_go_through_system_calls_and_other_threads() {
    let mut it = Deep::start(1_000_000);
    it.enter(2);
    it.lab.run("bc all");
    // Each round has a system call that lets others run, and faults and interrupts come as they come.
    for command in ["t 0n300", "p 0n300", "tr 20", "pr 20"] {
        let steps = answer(&mut it.lab, command);
        assert_eq!(end(&steps), "count", "{command}: {steps}");
        assert!(it.is_in(2), "{command}");
        let trace = steps["trace"].as_array().unwrap();
        let is_user = |at: &&Value| !at.as_str().unwrap_or_default().starts_with("0xffff");
        let users = trace.iter().filter(is_user).count();
        assert_eq!(users, trace.len(), "{command} stays in the program");
    }
    for (command, next) in [
        ("pc", " call "),
        ("tc", " call "),
        ("pt", " ret"),
        ("tt", " ret"),
    ] {
        let text = it.lab.run(command);
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(next), "{command}: {text}");
        assert!(it.is_in(2), "{command}");
    }
    let function = it.function;
    answer(&mut it.lab, &format!("ta {function:x}"));
    assert_eq!(it.lab.value("@rip"), function);
    assert!(it.is_in(2));
    // In the kernel, too.
    it.lab.run(&format!(
        "bp __x64_sys_clock_nanosleep tid {:x}",
        it.threads[2]
    ));
    it.next();
    it.lab.run("bc all");
    let back = it.lab.value("poi(@rsp)");
    let out = answer(&mut it.lab, "gu");
    assert_eq!((end(&out), it.lab.value("@rip")), ("count", back), "{out}");
    assert!(it.is_in(2));
    it.lab.go();
}

#[test]
fn a_frozen_thread_gets_on_alone_or_says_that_it_does_not() {
    let mut it = Deep::start(1_000_000);
    it.enter(1);
    it.lab.run("bd 0");
    let mut others = Vec::new();
    let registers = |lab: &mut Lab| {
        let mut all = Vec::new();
        for core in [0, 2, 3] {
            lab.run(&format!("~ {core}"));
            all.push(lab.run("r all"));
        }
        lab.run("~ 1");
        all
    };
    others.push(registers(&mut it.lab));
    let (back, top) = (it.lab.value("poi(@rsp)"), it.lab.value("@rsp"));
    let out = answer(&mut it.lab, "gu freeze");
    assert_eq!((end(&out), it.lab.value("@rip")), ("count", back), "{out}");
    assert_eq!(it.lab.value("@rsp"), top + 8);
    others.push(registers(&mut it.lab));
    assert_eq!(others[0], others[1], "nobody else moved");
    // Somebody holds what the deepest call waits for, and is held.
    it.lab.run("be 0");
    it.next();
    it.lab.run("bd 0");
    let holds = it.holds;
    it.lab.run(&format!("eq {holds:x} 1"));
    // The deepest one makes no call: this is a loop of its own, else a call that does not come back.
    let said = it.lab.run("gu freeze");
    println!("{said}");
    assert!(
        said.contains("core 1 does not get on alone: it is in ")
            || said.contains("did not lead there"),
        "{said}"
    );
    it.lab.run(&format!("eq {holds:x} 0"));
    let out = answer(&mut it.lab, "gu");
    assert_eq!(end(&out), "count", "{out}");
    it.lab.run("bc all");
    it.lab.go();
}

#[test]
fn steps_end_early_by_ctrl_c_and_breakpoints_and_need_an_interception() {
    let mut it = Deep::start(1_000_000);
    it.enter(0);
    let (holds, function) = (it.holds, it.function);
    // A breakpoint on the way, of the same thread.
    let depth = it.lab.value("@rsp");
    let cut = answer(&mut it.lab, "t 0n100");
    assert_eq!(cut["halt"]["cause"]["kind"], "event", "{cut}");
    assert_eq!(it.lab.value("@rip"), function);
    assert!(it.lab.value("@rsp") != depth && it.is_in(0));
    it.lab.run("bc all");
    // One that can never finish.
    it.lab.run(&format!("eq {holds:x} 1"));
    let said = it.lab.interrupted("gu", Duration::from_millis(1500));
    assert!(said.contains("break-in on core "), "{said}");
    let rip = it.lab.value("@rip");
    assert!(said.contains(&format!("{rip:016x} ")), "{said}");
    // It waits there and writes nothing: neither does anybody else while it is stepped.
    let waits = |lab: &mut Lab| {
        lab.run("~ 0");
        (function..function + 0x100).contains(&lab.value("@rip"))
    };
    // A break-in may come while the core handles an interrupt.
    for _ in 0..20 {
        if waits(&mut it.lab) {
            break;
        }
        it.lab.run("g");
        it.lab.run("pause");
    }
    assert!(waits(&mut it.lab));
    let memory = it.lab.run("!digest");
    let many = answer(&mut it.lab, "i 0n9000");
    assert_eq!((end(&many), many["count"].as_u64()), ("count", Some(9000)));
    assert_eq!(it.lab.run("!digest"), memory);
    it.lab.run(&format!("eq {holds:x} 0"));
    for (command, says) in [
        ("p 0", "COUNT is 0, not between 1 and 100000"),
        ("t zz", "`zz` is no number"),
        ("pr 41", "COUNT is 41, not between 1 and 40"),
        ("gu 100001", "MAX is 100001, not between 1 and 100000"),
        ("pa", "the address"),
        ("ta vmlinux!nosuch", "no symbol"),
        ("pc 3", "3"),
        ("p 3 freez", "freez"),
    ] {
        let refused = it.lab.refused(command);
        assert!(refused.contains(says), "{command}: {refused}");
    }
    it.lab.go();
}

#[test]
fn with_the_pool_empty_steps_are_refused_with_its_remedy() {
    let mut lab = Lab::with(&Options {
        params: [
            ("ept_hooks", 0),
            ("arena_bytes", 8 << 20),
            ("replenish_ms", 0),
        ]
        .into_iter()
        .map(|(name, value): (&str, u64)| (name.to_owned(), value.to_string()))
        .collect(),
        ..Options::default()
    });
    lab.run("pause");
    for command in ["gu", "p", "t 5", "g vmlinux!panic"] {
        let refused = lab.refused(command);
        assert!(refused.contains("c0000023"), "{command}: {refused}");
        assert!(
            refused.contains("prealloc thread-interception"),
            "{command}: {refused}"
        );
    }
    // Single instructions need none.
    lab.run("i 5");
    lab.run("prealloc thread-interception 1");
    answer(&mut lab, "t");
    lab.go();
}
