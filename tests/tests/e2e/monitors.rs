//! Memory that is watched: every access that touches the bytes stops once, no other does.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;

const TOUCH: &str = "/sys/module/lab_probe/parameters/touch";

/// A machine with the probe's four pages: their virtual and their physical address.
fn with_memory() -> (Lab, u64, u64) {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    let text = lab.guest(&format!("cat {TOUCH}"));
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    let [virtual_address, physical, ..] = numbers[..] else {
        panic!("no addresses in: {text}");
    };
    (lab, virtual_address, physical)
}

/// Adds events in a halt.
fn add(lab: &mut Lab, commands: &[String]) {
    lab.run("pause");
    for command in commands {
        let added = lab.run(command);
        assert!(added.starts_with("event "), "{command}: {added}");
    }
    lab.run("g");
}

/// Clears all events in a halt.
fn clear(lab: &mut Lab) {
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
}

/// Lets the guest make one access after the other; returns, for each stop, which event it was of.
#[track_caller]
fn stops(lab: &mut Lab, accesses: &[String]) -> Vec<u32> {
    let writes: Vec<String> = accesses
        .iter()
        .map(|access| format!("echo {access} > {TOUCH}"))
        .collect();
    lab.guest_background(&format!("{}; echo touched", writes.join("; ")));
    let mut events = Vec::new();
    let mut news = String::new();
    loop {
        // A halt that comes at once is told with the answer to `g`. The time is enough for everything
        // that comes without a stop in between.
        if news.is_empty() {
            news = lab.reply(".wait 0n4").output;
        }
        let Some((_, rest)) = news.split_once("event ") else {
            break;
        };
        let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let event = u32::from_str_radix(&digits, 16);
        events.push(event.unwrap_or_else(|_| panic!("no event in: {news}")));
        assert!(events.len() < 200, "the same access stops again and again");
        news = lab.run("g");
    }
    let said = lab.guest("wait");
    assert!(said.contains("touched"), "{said}");
    events
}

#[test]
fn only_accesses_that_touch_the_watched_bytes_stop() {
    let (mut lab, area, physical) = with_memory();
    let at = area + 0x108;
    add(&mut lab, &[format!("!monitor w {at:x} l 8")]);
    let store = |offset: i64| format!("store {:x}", at.wrapping_add_signed(offset));
    // Right before, right behind, and reads.
    let missed = [store(-8), store(8), store(0x800), format!("load {at:x}")];
    assert_eq!(stops(&mut lab, &missed), []);
    // The range itself, and accesses that run into it.
    assert_eq!(stops(&mut lab, &[store(0), store(-7), store(7)]), [0; 3]);
    // A read that is followed by a write, as one instruction.
    assert_eq!(stops(&mut lab, &[format!("add {at:x}")]), [0]);
    clear(&mut lab);
    assert_eq!(stops(&mut lab, &[store(0)]), []);
    // By physical address, for reads.
    let command = format!("!monitor pa r {:x} l 1", physical + 0x200);
    add(&mut lab, &[command]);
    let load = |offset: u64| format!("load {:x}", area + offset);
    let store = format!("store {:x}", area + 0x200);
    let loads = [load(0x1f8), load(0x201), load(0x1f9), load(0x200), store];
    assert_eq!(stops(&mut lab, &loads), [1; 2]);
    clear(&mut lab);
}

#[test]
fn every_iteration_and_every_operand_is_seen_once() {
    let (mut lab, area, _) = with_memory();
    let (from, to) = (area + 0xff8, area + 0x2000);
    // The source crosses into the watched page.
    let read = format!("!monitor r {:x} l 8", area + 0x1000);
    let written = format!("!monitor w {to:x} l 4");
    add(&mut lab, &[read, written]);
    let move_bytes = format!("move {from:x} {to:x} c");
    // Bytes 0 to 3 go to what is watched for writes, bytes 8 to 11 come from what is watched for reads.
    assert_eq!(stops(&mut lab, &[move_bytes]), [1, 1, 1, 1, 0, 0, 0, 0]);
    // One instruction that touches both: two stops.
    let both = format!("move {:x} {to:x} 1", area + 0x1000);
    assert_eq!(stops(&mut lab, &[both]), [0, 1]);
    // One access that touches two watched pages of one event: one stop.
    clear(&mut lab);
    add(
        &mut lab,
        &[format!("!monitor rw {:x} l 2000", area + 0x800)],
    );
    let across = format!("store {:x}", area + 0xffc);
    assert_eq!(stops(&mut lab, &[across]), [2]);
    clear(&mut lab);
}

#[test]
fn monitors_and_hooks_share_a_page() {
    let (mut lab, _, _) = with_memory();
    let target = lab.guest("cat /sys/module/lab_probe/parameters/target");
    let address = target.trim().rsplit("0x").next().unwrap_or_default();
    let address = u64::from_str_radix(address, 16).unwrap_or_else(|_| panic!("{target}"));
    add(
        &mut lab,
        &[
            format!("!epthook {address:x}"),
            format!("!epthook {address:x}"),
            format!("!monitor r {address:x} l 1"),
            format!("!monitor x {address:x} l 1"),
        ],
    );
    // Reading the hooked code is seen, and shows what stood there: the same byte is equal to itself.
    let compare = format!("compare {address:x} {address:x}");
    assert_eq!(stops(&mut lab, &[format!("load {address:x}")]), [2]);
    assert_eq!(stops(&mut lab, &[compare]).len(), 1);
    // Running it is seen by the monitor and by both hooks, which stop together.
    lab.guest_background("echo 1 > /sys/module/lab_probe/parameters/target; echo called");
    let mut news = lab.run(".wait 0n30");
    assert!(news.contains("event 3 hit"), "{news}");
    news = lab.run("g");
    if news.is_empty() {
        news = lab.run(".wait 0n30");
    }
    assert!(news.contains("event 0 hit"), "{news}");
    let rip = lab.run("? @rip");
    assert!(rip.contains(&format!("{address:x}")), "{rip}");
    assert_eq!(hits(&lab.run("events")), [1, 1, 2, 1]);
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("wait").contains("called"));
    let again = "echo 1 > /sys/module/lab_probe/parameters/target; echo again";
    assert!(lab.guest(again).contains("again"));
}

/// Hits of every event in the list.
fn hits(list: &str) -> Vec<u64> {
    list.lines()
        .filter_map(|line| {
            let line = line.trim_end();
            let line = line.strip_suffix(" hits").or(line.strip_suffix(" hit"))?;
            line.rsplit(' ').next()?.parse().ok()
        })
        .collect()
}

#[test]
fn a_hook_on_the_next_instruction_stops_once() {
    let mut lab = Lab::halted(KernelLine::Lean);
    lab.run("!epthook @rip");
    lab.run("!epthook @rip");
    let news = lab.run("g");
    let stop = if news.is_empty() {
        lab.run(".wait 0n20")
    } else {
        news
    };
    assert!(stop.contains("event 0 hit"), "{stop}");
    // One that is added here is hit by the same instruction; the others are not hit again by it.
    lab.run("!epthook @rip");
    let before = lab.run("? @rip");
    let news = lab.run("g");
    let stop = if news.is_empty() {
        lab.run(".wait 0n20")
    } else {
        news
    };
    assert!(stop.contains("event 2 hit"), "{stop}");
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

#[test]
fn the_stage_after_sees_what_was_written_and_a_skipped_write_leaves_nothing() {
    let (mut lab, area, _) = with_memory();
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
    add(
        &mut lab,
        &[
            format!("!monitor w {after:x} l 8 stage post"),
            format!("!monitor w {skipped:x} l 8 sc on"),
            format!("!monitor w {skipped:x} l 8 core 1"),
        ],
    );
    let said = stop(&mut lab, &format!("store {after:x}"));
    assert!(said.contains("event 0 hit"), "{said}");
    assert_eq!(word(&mut lab, after), 1);
    lab.run("g");
    assert!(lab.guest("wait").contains("touched"));
    let said = stop(&mut lab, &format!("store {skipped:x}"));
    assert!(said.contains("event 1 hit"), "{said}");
    let news = lab.run("g");
    assert_eq!(news, "", "skipped once, touched never");
    assert!(lab.guest("wait").contains("touched"));
    lab.run("pause");
    assert_eq!(word(&mut lab, skipped), 0);
    lab.run("events c all");
    lab.go();
}
