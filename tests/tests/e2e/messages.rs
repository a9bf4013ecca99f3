//! Messages: none is lost without being counted, and the guest is never held for them.

use crate::lab::Lab;
use std::time::{Duration, Instant};
use vm_lab::machine::KernelLine;

/// What the line cannot carry by far: it takes about five hundred of these messages in a second.
const MESSAGES: u64 = 1_000_000;

/// Produced, delivered, dropped, flushed and waiting, as `.status` shows them.
#[track_caller]
fn counts(lab: &mut Lab) -> [u64; 5] {
    let status = lab.run(".status");
    let line = status
        .lines()
        .find(|line| line.starts_with("messages"))
        .unwrap_or_else(|| panic!("no messages in:\n{status}"));
    let numbers: Vec<u64> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [produced, delivered, dropped, flushed, waiting] => {
            [produced, delivered, dropped, flushed, waiting]
        }
        _ => panic!("not five counts: {line}"),
    }
}

/// As [`counts`], which add up.
#[track_caller]
fn adds_up(lab: &mut Lab) -> [u64; 5] {
    let counts = counts(lab);
    let [produced, delivered, dropped, flushed, waiting] = counts;
    assert_eq!(delivered + dropped + flushed + waiting, produced);
    counts
}

#[test]
fn a_flood_of_messages_hangs_nobody_and_the_count_adds_up() {
    let mut lab = Lab::halted(KernelLine::Lean);
    lab.run("!cpuid 9 script { printf(\"%llx %llx\\n\", $core, rdtsc()); }");
    lab.go();
    let started = Instant::now();
    lab.guest_background(&format!("lab-cpuid 9 {MESSAGES}"));
    // A break-in comes through the flood, and so do requests. What is not sent yet goes out in the halt, so it takes more
    // than one where this program gets no processor for a while.
    let caught = (0..20).any(|_| {
        lab.run("sleep 1000");
        lab.run("pause");
        let [produced, ..] = adds_up(&mut lab);
        assert!(0 < produced && produced < MESSAGES, "{produced} so far");
        let caught = flush_tells_all_that_is_gone_and_nothing_of_it_follows(&mut lab);
        if !caught {
            lab.run("g");
        }
        caught
    });
    assert!(caught, "each time all was told before it could be flushed");
    lab.run("g");
    let said = lab.guest_within("wait", Duration::from_secs(240));
    let seconds = started.elapsed().as_secs_f64();
    assert!(said.contains(&format!("count {MESSAGES}")), "{said}");
    eprintln!(
        "{MESSAGES} messages in {seconds:.1} s, {:.0} in a minute",
        MESSAGES as f64 * 60.0 / seconds
    );
    lab.run("pause");
    let [produced, delivered, dropped, ..] = adds_up(&mut lab);
    assert_eq!(produced, MESSAGES);
    assert!(delivered > 0 && dropped > 0, "{delivered} {dropped}");
    // What is in the rings goes out while the machine stands still.
    lab.run("events c all");
    for _ in 0..60 {
        if counts(&mut lab)[4] == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let [produced, delivered, dropped, flushed, _] = counts(&mut lab);
    assert_eq!(delivered + dropped + flushed, produced);
    lab.go();
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}

/// In a halt, with messages that found no room, and others in the rings, on the line or in the host. Whether any was left.
fn flush_tells_all_that_is_gone_and_nothing_of_it_follows(lab: &mut Lab) -> bool {
    let said = lab.run("flush");
    let answer = said.lines().last().unwrap_or_default();
    let numbers: Vec<u64> = answer
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_, lost] = numbers[..] else {
        assert_eq!(answer, "0 messages dropped");
        return false;
    };
    // What had found room may all have been sent by now.
    assert!(lost > 0, "{answer}");
    assert!(answer.ends_with("had found no room before"), "{answer}");
    assert_eq!(lab.run("? 1"), "1 = 0n1");
    assert_eq!(lab.run("flush"), "0 messages dropped");
    true
}
