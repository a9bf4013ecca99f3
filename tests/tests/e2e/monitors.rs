//! Memory that is watched: every access that touches the bytes stops once, no other does.

use crate::actors::Places;
use crate::edges::hits;
use crate::lab::{Lab, assert_log_is_clean};
use vm_lab::machine::{KernelLine, Options};

const TOUCH: &str = "/sys/module/lab_probe/parameters/touch";

#[test]
fn accesses_to_watched_bytes_stop_once_each() {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    let places = Places::find(&mut lab);
    only_accesses_that_touch_the_watched_bytes_stop(&mut lab, places);
    every_iteration_and_every_operand_is_seen_once(&mut lab, places);
    monitors_and_hooks_share_a_page(&mut lab, places);
    the_stage_after_sees_what_was_written_and_a_skipped_write_leaves_nothing(&mut lab, places);
    a_hook_on_the_next_instruction_stops_once(&mut lab);
    what_every_instruction_touches_starves_nobody(&mut lab, 1, &STACK);
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// Adds events in a halt; returns the number of the first.
#[track_caller]
fn add(lab: &mut Lab, commands: &[String]) -> u32 {
    lab.run("pause");
    let first = add_halted(lab, commands);
    lab.run("g");
    first
}

/// Adds events; returns the number of the first.
#[track_caller]
fn add_halted(lab: &mut Lab, commands: &[String]) -> u32 {
    let numbers: Vec<u32> = commands.iter().map(|it| number(&lab.run(it))).collect();
    numbers[0]
}

/// The number that follows "event ".
#[track_caller]
fn number(text: &str) -> u32 {
    let digits = text.split("event ").nth(1).unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_hexdigit()).next();
    u32::from_str_radix(digits.unwrap_or_default(), 16)
        .unwrap_or_else(|_| panic!("no event in: {text}"))
}

/// Clears all events in a halt.
fn clear(lab: &mut Lab) {
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
}

/// Lets the guest run; returns the next stop.
#[track_caller]
fn next_stop(lab: &mut Lab) -> String {
    // A halt that comes at once is told with the answer to `g`.
    match lab.run("g") {
        news if news.is_empty() => lab.run(".wait 0n80"),
        news => news,
    }
}

/// Lets the guest make one access after the other; returns, for each stop, which event it was of, counted from `first`.
#[track_caller]
fn stops(lab: &mut Lab, first: u32, accesses: &[String]) -> Vec<u32> {
    let writes: Vec<String> = accesses
        .iter()
        .map(|access| format!("echo {access} > {TOUCH}"))
        .collect();
    let ends = |lab: &Lab| lab.machine.console_transcript().matches("touched").count();
    let before = ends(lab);
    lab.guest_background(&format!("{}; echo touched", writes.join("; ")));
    let mut events = Vec::new();
    let mut news = String::new();
    loop {
        // Whatever stops does so before the end is told.
        let is_over = ends(lab) != before;
        if news.is_empty() {
            news = lab.reply(".wait 0n1").output;
        }
        if news.contains(" hit on ") {
            events.push(number(&news) - first);
            news = lab.run("g");
        } else if is_over {
            break;
        } else {
            news.clear();
        }
        assert!(events.len() < 200, "the same access stops again and again");
    }
    lab.guest("wait");
    events
}

fn only_accesses_that_touch_the_watched_bytes_stop(lab: &mut Lab, places: Places) {
    let (area, physical) = (places.area, places.area_physical);
    let at = area + 0x108;
    let first = add(lab, &[format!("!monitor w {at:x} l 8")]);
    let store = |offset: i64| format!("store {:x}", at.wrapping_add_signed(offset));
    // Right before, right behind, and reads.
    let missed = [store(-8), store(8), store(0x800), format!("load {at:x}")];
    assert_eq!(stops(lab, first, &missed), [0_u32; 0]);
    // The range itself, and accesses that run into it.
    let touching = [store(0), store(-7), store(7)];
    assert_eq!(stops(lab, first, &touching), [0; 3]);
    // A read that is followed by a write, as one instruction.
    assert_eq!(stops(lab, first, &[format!("add {at:x}")]), [0]);
    clear(lab);
    assert_eq!(stops(lab, first, &[store(0)]), [0_u32; 0]);
    // By physical address, for reads.
    let command = format!("!monitor pa r {:x} l 1", physical + 0x200);
    let first = add(lab, &[command]);
    let load = |offset: u64| format!("load {:x}", area + offset);
    let store = format!("store {:x}", area + 0x200);
    let loads = [load(0x1f8), load(0x201), load(0x1f9), load(0x200), store];
    assert_eq!(stops(lab, first, &loads), [0; 2]);
    clear(lab);
}

fn every_iteration_and_every_operand_is_seen_once(lab: &mut Lab, places: Places) {
    let area = places.area;
    let (from, to) = (area + 0xff8, area + 0x2000);
    // The source crosses into the watched page.
    let read = format!("!monitor r {:x} l 8", area + 0x1000);
    let written = format!("!monitor w {to:x} l 4");
    let first = add(lab, &[read, written]);
    let move_bytes = format!("move {from:x} {to:x} c");
    // Bytes 0 to 3 go to what is watched for writes, bytes 8 to 11 come from what is watched for reads.
    let moved = stops(lab, first, &[move_bytes]);
    assert_eq!(moved, [1, 1, 1, 1, 0, 0, 0, 0]);
    // One instruction that touches both: two stops.
    let both = format!("move {:x} {to:x} 1", area + 0x1000);
    assert_eq!(stops(lab, first, &[both]), [0, 1]);
    // One access that touches two watched pages of one event: one stop.
    clear(lab);
    let first = add(lab, &[format!("!monitor rw {:x} l 2000", area + 0x800)]);
    let across = format!("store {:x}", area + 0xffc);
    assert_eq!(stops(lab, first, &[across]), [0]);
    clear(lab);
}

fn monitors_and_hooks_share_a_page(lab: &mut Lab, places: Places) {
    let address = places.target;
    let first = add(
        lab,
        &[
            format!("!epthook {address:x}"),
            format!("!epthook {address:x}"),
            format!("!monitor r {address:x} l 1"),
            format!("!monitor x {address:x} l 1"),
        ],
    );
    // Reading the hooked code is seen, and shows what stood there: the same byte is equal to itself.
    let compare = format!("compare {address:x} {address:x}");
    assert_eq!(stops(lab, first, &[format!("load {address:x}")]), [2]);
    assert_eq!(stops(lab, first, &[compare]).len(), 1);
    // Running it is seen by the monitor and by both hooks, which stop together.
    lab.guest_background("echo 1 > /sys/module/lab_probe/parameters/target; echo called");
    let news = lab.run(".wait 0n30");
    assert_eq!(number(&news), first + 3, "{news}");
    let news = next_stop(lab);
    assert_eq!(number(&news), first, "{news}");
    let rip = lab.run("? @rip");
    assert!(rip.contains(&format!("{address:x}")), "{rip}");
    assert_eq!(hits(&lab.run("events")), [1, 1, 2, 1]);
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("wait").contains("called"));
    let again = "echo 1 > /sys/module/lab_probe/parameters/target; echo again";
    assert!(lab.guest(again).contains("again"));
}

fn a_hook_on_the_next_instruction_stops_once(lab: &mut Lab) {
    lab.run("pause");
    let hook = "!epthook @rip".to_owned();
    let first = add_halted(lab, &[hook.clone(), hook.clone()]);
    let stop = next_stop(lab);
    assert_eq!(number(&stop), first, "{stop}");
    // One that is added here is hit by the same instruction; the others are not hit again by it.
    let third = add_halted(lab, &[hook]);
    let before = lab.run("? @rip");
    let stop = next_stop(lab);
    assert_eq!(number(&stop), third, "{stop}");
    assert_eq!(lab.run("? @rip"), before);
    lab.run("events c all");
    lab.go();
}

/// Lets the guest make one access; returns what the stop says.
#[track_caller]
fn stop(lab: &mut Lab, access: &str) -> String {
    lab.guest_background(&format!("echo {access} > {TOUCH}; echo touched"));
    lab.run(".wait 0n30")
}

fn the_stage_after_sees_what_was_written_and_a_skipped_write_leaves_nothing(
    lab: &mut Lab,
    places: Places,
) {
    let area = places.area;
    let word = |lab: &mut Lab, at: u64| {
        let line = lab.run(&format!("dq {at:x} l 8"));
        let digits = line
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .replace('`', "");
        u64::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("no word in: {line}"))
    };
    let (after, skipped) = (area + 0x100, area + 0x1100);
    let first = add(
        lab,
        &[
            format!("!monitor w {after:x} l 8 stage post"),
            format!("!monitor w {skipped:x} l 8 sc on"),
            format!("!monitor w {skipped:x} l 8 core 1"),
        ],
    );
    let said = stop(lab, &format!("store {after:x}"));
    assert_eq!(number(&said), first, "{said}");
    assert_eq!(word(lab, after), 1);
    lab.run("g");
    assert!(lab.guest("wait").contains("touched"));
    let said = stop(lab, &format!("store {skipped:x}"));
    assert_eq!(number(&said), first + 1, "{said}");
    let news = lab.run("g");
    assert_eq!(news, "", "skipped once, touched never");
    assert!(lab.guest("wait").contains("touched"));
    lab.run("pause");
    assert_eq!(word(lab, skipped), 0);
    lab.run("events c all");
    lab.go();
}

/// A program on what is watched makes so many system calls before so many hits.
struct Progress {
    /// The event, up to the page.
    watch: &'static str,
    /// What leads to the page.
    register: &'static str,
    calls: u64,
    hits: u64,
}

/// The whole kernel stack of a program: interrupts push on it, too.
const STACK: Progress = Progress {
    watch: "!monitor rw",
    register: "@rsp",
    calls: 10,
    hits: 20_000,
};

/// The root of its page tables, which every instruction's translation reads.
const PAGE_TABLES: Progress = Progress {
    watch: "!monitor pa rw",
    register: "@cr3",
    calls: 10,
    hits: 400_000,
};

/// How far the program gets is told by what the guest did, not by any clock.
fn what_every_instruction_touches_starves_nobody(lab: &mut Lab, core: u32, progress: &Progress) {
    const CALLS: u64 = 2000;
    let call = format!("vmlinux!__x64_sys_getsid core {core}");
    lab.run("pause");
    lab.run(&format!("!epthook {call}"));
    lab.run("g");
    lab.guest_background(&format!("lab-calls {CALLS} {core}"));
    let stop = lab.run(".wait 0n30");
    assert!(stop.contains(&format!("hit on core {core}")), "{stop}");
    let page = lab.value(progress.register) & !0xfff;
    lab.run("events c all");
    let until =
        |name, limit| format!("script {{ {name} += 1; if ({name} == 0n{limit}) {{ pause(); }} }}");
    let hook = format!("!epthook {call} {}", until(".lab_calls", progress.calls));
    lab.run(&hook);
    let watch = progress.watch;
    let count = until(".lab_touched", progress.hits);
    lab.run(&format!("{watch} {page:x} l 1000 {count}"));
    next_stop(lab);
    let calls = lab.value(".lab_calls");
    let hits = lab.value(".lab_touched");
    println!("{watch}: {calls} calls in {hits} hits");
    assert_eq!(calls, progress.calls, "in {hits} hits");
    lab.run("events c all");
    lab.run("g");
    let said = lab.guest("wait");
    let done = format!("calls {CALLS} core {core}");
    assert!(said.contains(&done), "{said}");
}

/// On one core: where the emulated clock is so slow for so slow a core, another one changes the time faster than this one
/// reads it.
#[test]
#[ignore = "it takes half a minute; `cargo lab soak starvation` runs it"]
fn a_program_gets_on_whose_page_tables_are_watched() {
    let mut lab = Lab::with(&Options {
        cpus: 1,
        ..Options::default()
    });
    what_every_instruction_touches_starves_nobody(&mut lab, 0, &PAGE_TABLES);
    assert_log_is_clean(&lab.guest("dmesg"));
}
