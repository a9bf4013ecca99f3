//! Breakpoints, with the guest's own account of how often it came by.

use crate::lab::Lab;
use vm_lab::machine::Options;

const CALLED: &str = "__x64_sys_getsid";
const CORES: usize = 4;

/// A machine with a thread on each core, which wait to be let go.
struct Threads {
    lab: Lab,
    /// How often each calls.
    calls: u64,
    process: String,
    /// Their numbers, by core.
    threads: Vec<String>,
}

impl Threads {
    /// Halted.
    fn start(calls: u64) -> Self {
        let mut lab = Lab::with(&Options {
            cpus: CORES as u32,
            ..Options::default()
        });
        lab.guest_background(&format!("lab-threads {calls} {CORES} > /threads"));
        lab.guest(&format!(
            "until [ $(grep -c thread /threads) = {CORES} ]; do usleep 20000; done"
        ));
        let told = lab.guest("grep process /threads; grep thread /threads | sort -k 5");
        let mut numbers = told.lines().filter_map(|line| line.split(' ').nth(1));
        let process = numbers.next().unwrap().to_owned();
        let threads: Vec<String> = numbers.map(str::to_owned).collect();
        assert_eq!(threads.len(), CORES, "{told}");
        lab.run("pause");
        Self {
            lab,
            calls,
            process,
            threads,
        }
    }

    /// Lets them go; the first line of each halt until all have called as often as they should.
    fn halts(&mut self) -> Vec<String> {
        let lab = &mut self.lab;
        let over = lab.run("!epthook __x64_sys_sethostname");
        let over = over.split(':').next().unwrap().to_owned();
        lab.run("g");
        lab.guest_background(&format!(
            "touch /tmp/threads; until [ $(grep -c calls /threads) = {CORES} ]; do usleep 20000; done; hostname over"
        ));
        let mut halts = Vec::new();
        let mut news = String::new();
        loop {
            // A halt that comes at once is told with the answer to `g`.
            if news.is_empty() {
                news = lab.run(".wait 0n80");
            }
            let first = news.lines().next().unwrap().to_owned();
            if first.starts_with(&over) {
                break;
            }
            halts.push(first);
            news = lab.run("g");
        }
        lab.run("events c all");
        lab.go();
        let said = lab.guest("wait; cat /threads");
        for core in 0..CORES {
            let line = format!("calls {} core {core}", self.calls);
            assert!(said.contains(&line), "{said}");
        }
        lab.run("pause");
        halts
    }

    /// Hits of the breakpoint of that number.
    #[track_caller]
    fn hits(&mut self, number: u32) -> u64 {
        let list = self.lab.run("bl");
        list.lines()
            .find(|line| line.trim_start().starts_with(&format!("{number} ")))
            .and_then(|line| line.strip_suffix(" hits")?.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no hits of {number} in:\n{list}"))
    }
}

#[test]
fn breakpoints_of_four_threads_on_four_cores_count_exactly() {
    let calls = 10_000;
    let mut it = Threads::start(calls);
    let all = calls * CORES as u64;
    for line in [
        format!("bp {CALLED} tid 0n{} passes 0n{calls}", it.threads[2]),
        format!("bp {CALLED} condition {{ $core == 3 }} passes 0n{calls}"),
        format!("bp {CALLED} pid 0n{} passes 0n{all}", it.process),
        format!("bp {CALLED} tid 1"),
    ] {
        let added = it.lab.run(&line);
        assert!(added.starts_with("breakpoint "), "{added}");
    }
    let halts = it.halts();
    eprintln!("{halts:#?}");
    // Each halts at the last of its passes; two that have the same last one halt together.
    let halted_at = |what: &str| halts.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(halted_at("breakpoint 0 hit on core 2"), 1);
    assert_eq!(halted_at("breakpoint 1 hit on core 3"), 1);
    assert!(halts.len() == 2 + halted_at("breakpoint 2 hit on core "));
    let counted: Vec<u64> = (0..4).map(|number| it.hits(number)).collect();
    assert_eq!(counted, [calls, calls, all, 0]);
    it.lab.run("bc all");
    assert_eq!(it.lab.run("bl"), "no breakpoints");
    it.lab.go();
}

#[test]
fn a_breakpoint_that_halts_once_halts_one_of_four_threads() {
    let mut it = Threads::start(500);
    it.lab.run(&format!("bp {CALLED} once"));
    it.lab
        .run(&format!("bp {CALLED} script {{ .passed = 1; }} once"));
    let halts = it.halts();
    eprintln!("{halts:#?}");
    // With the second one at the same instruction: it runs its script there, and halts with the first or by itself.
    let of_first = halts
        .iter()
        .filter(|line| line.starts_with("breakpoint 0 "));
    assert_eq!(of_first.count(), 1);
    assert!(halts.len() <= 2);
    assert_eq!(it.lab.run("bl"), "no breakpoints");
    assert!(it.lab.run("print .passed").starts_with("1 "));
    it.lab.go();
}

#[test]
fn a_breakpoint_that_is_over_leaves_nothing_behind_for_other_cores() {
    let mut it = Threads::start(2000);
    let lab = &mut it.lab;
    for _ in 0..5 {
        lab.run(&format!("bp {CALLED} once"));
        lab.run("g");
        lab.guest_background("touch /tmp/threads");
        let at = lab.run(".wait 0n60");
        assert!(at.contains(" hit on core "), "{at}");
        // Whatever is set now is taken over by all cores, some of which stand at the same instruction.
        lab.run("!cpuid 77");
        lab.run("events c all");
    }
    lab.go();
    let said = lab.guest("wait; cat /threads");
    for core in 0..CORES {
        assert!(said.contains(&format!("calls 2000 core {core}")), "{said}");
    }
    it.lab.run("pause");
    assert_eq!(it.lab.run("bl"), "no breakpoints");
    it.lab.go();
}

#[test]
fn memory_breakpoints_halt_at_what_is_asked_for() {
    let mut lab = Lab::with(&Options::default());
    lab.run("pause");
    lab.run("ba w4 vmlinux!panic_timeout stage post");
    lab.run("ba r4 vmlinux!panic_timeout");
    lab.run("g");
    // What stands beside it is another matter.
    lab.guest("echo 1 > /proc/sys/kernel/panic_on_oops; cat /proc/sys/kernel/panic_on_oops");
    lab.guest_background("echo 51 > /proc/sys/kernel/panic; cat /proc/sys/kernel/panic");
    let written = lab.run(".wait 0n60");
    assert!(
        written.starts_with("breakpoint 0 hit on core "),
        "{written}"
    );
    assert!(lab.run("dd vmlinux!panic_timeout l 4").contains("00000033"));
    let next = lab.run("g");
    let read = match next.is_empty() {
        true => lab.run(".wait 0n60"),
        false => next,
    };
    assert!(read.starts_with("breakpoint 1 hit on core "), "{read}");
    lab.run("bc 0 1");
    lab.run("g");
    assert!(lab.guest("wait").contains("51"));
}

#[test]
fn going_to_an_address_stops_this_thread_there_and_leaves_nothing() {
    let mut it = Threads::start(200);
    let lab = &mut it.lab;
    lab.run(&format!("bp {CALLED} tid 0n{}", it.threads[1]));
    lab.run("g");
    lab.guest_background("touch /tmp/threads");
    let at = lab.run(".wait 0n60");
    assert!(at.starts_with("breakpoint 0 hit on core 1"), "{at}");
    // Four threads are about to come to it; only this one counts, and none of them stays there.
    for _ in 0..3 {
        let news = lab.run("g vmlinux!__x64_sys_getsid");
        let news = match news.is_empty() {
            true => lab.run(".wait 0n60"),
            false => news,
        };
        assert!(news.starts_with("breakpoint 0 hit on core 1"), "{news}");
    }
    lab.run("bc 0");
    let news = lab.run("g (@rip + 5)");
    let news = match news.is_empty() {
        true => lab.run(".wait 0n60"),
        false => news,
    };
    assert!(news.starts_with("came to the address on core 1"), "{news}");
    assert!(news.contains("vmlinux!__x64_sys_getsid+5"), "{news}");
    assert_eq!(lab.run("bl"), "no breakpoints");
    // Nobody comes there: the next halt takes it away.
    lab.run("g vmlinux!panic");
    lab.run("sleep 0n200");
    lab.run("pause");
    lab.run("g");
    lab.run("sleep 0n200");
    lab.run("pause");
    assert_eq!(lab.run("bl"), "no breakpoints");
    assert!(lab.refused("g vmlinux!nosuch").contains("no symbol"));
    assert!(lab.refused("g 10").contains("10"));
    lab.go();
}

#[test]
fn a_breakpoint_halts_once_with_another_one_and_again_if_it_is_enabled() {
    let mut lab = Lab::with(&Options::default());
    lab.run("pause");
    lab.run(&format!("bp {CALLED}"));
    lab.run(&format!("bp {CALLED} once"));
    lab.run("g");
    lab.guest_background("lab-calls 20 1");
    let halted = |lab: &mut Lab, news: String| match news.is_empty() {
        true => lab.run(".wait 0n60"),
        false => news,
    };
    let at = halted(&mut lab, String::new());
    assert!(at.starts_with("breakpoint 0 hit on core 1"), "{at}");
    // It was met, too, so it is over; `be` sets it again.
    assert!(lab.run("bl").contains("  1  disabled "));
    lab.run("be 1");
    assert!(lab.run("bl").contains("  1  enabled "));
    lab.run("bc 0");
    let news = lab.run("g");
    let at = halted(&mut lab, news);
    assert!(at.starts_with("breakpoint 1 hit on core 1"), "{at}");
    let file = lab.machine.socket_path().with_file_name("a.session");
    let saved = lab.run(&format!(".session save {}", file.display()));
    assert!(saved.starts_with("0 events "), "{saved}");
    lab.run("g");
    assert!(lab.guest("wait").contains("calls 20 core 1"));
    lab.run("pause");
    assert_eq!(lab.run("bl"), "no breakpoints");
    lab.go();
}
