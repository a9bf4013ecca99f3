//! Where hits are hard to count: each is counted exactly once all the same.

use crate::actors::{Actors, act_command};
use crate::lab::assert_log_is_clean;

/// Hits of every event in the list.
pub(crate) fn hits(list: &str) -> Vec<u64> {
    list.lines()
        .filter_map(|line| {
            let line = line.trim_end();
            // What stands behind them says how the event stands to the code.
            let part = line
                .split("; ")
                .find(|part| part.ends_with(" hits") || part.ends_with(" hit"))?;
            let line = part.strip_suffix(" hits").or(part.strip_suffix(" hit"))?;
            line.rsplit(' ').next()?.parse().ok()
        })
        .collect()
}

/// Installs events while the guest runs a command; checks the hits of each and returns what was said.
#[track_caller]
fn are_hit(actors: &mut Actors, events: &[(String, u64)], guest: &str) -> String {
    let lab = &mut actors.lab;
    lab.run("pause");
    for (event, _) in events {
        lab.run(&format!("{event} script {{ .n += 1; }}"));
    }
    lab.run("g");
    let said = lab.guest(guest);
    lab.run("pause");
    let list = lab.run("events");
    let expected: Vec<u64> = events.iter().map(|(_, hits)| *hits).collect();
    lab.run("events c all");
    lab.run("g");
    actors.check(&list, &hits(&list), &expected);
    said
}

#[test]
fn hits_that_are_hard_to_count_are_counted_once() {
    let mut actors = Actors::boot();
    an_instruction_across_a_hooked_page(&mut actors);
    strings_of_ports_and_watched_memory(&mut actors);
    nmis_and_interrupts_at_a_hook(&mut actors);
    a_single_step_at_a_hook(&mut actors);
    actors.assert_all_right();
    let lab = &mut actors.lab;
    assert_log_is_clean(&lab.guest("dmesg"));
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}

/// What the guest's shell must run so that both act at once.
fn on_both(act: &str) -> String {
    format!("printf '{act}\\n' > /worker0; printf '{act}\\n' > /worker1; cat /answer0 /answer1")
}

/// Hooks on both pages of an instruction, and its bytes watched for being fetched. On both cores at once.
fn an_instruction_across_a_hooked_page(actors: &mut Actors) {
    let crossing = actors.places.crossing;
    let next = crossing + 7;
    assert!(next.is_multiple_of(0x1000), "{crossing:x}");
    // Its first byte there and its last. Once on each core: the emulator remembers what it decoded across pages, and
    // then looks at the first one alone.
    let bytes = [0, 2].map(|byte| (format!("!monitor x {:x} l 1", next + byte), 2));
    are_hit(actors, &bytes, &on_both("crossing 1"));
    let calls = 500;
    let hooks = [
        (format!("!epthook {crossing:x}"), 2 * calls),
        (format!("!epthook {:x}", crossing + 10), 2 * calls),
        // The instruction behind it, and what is never run.
        (format!("!monitor x {:x} l 1", next + 3), 2 * calls),
        (format!("!monitor x {:x} l 8", next + 0x10), 0),
    ];
    are_hit(actors, &hooks, &on_both(&format!("crossing {calls}")));
    // A store from a page that nobody watches into one that is watched.
    let area = actors.places.area;
    let watched = (format!("!monitor w {:x} l 8", area + 0x1000), 1);
    let store = format!("touch store {:x} 5", area + 0xffc);
    are_hit(actors, &[watched], &act_command(0, &store, 1));
}

/// REP OUTSB and REP INSB: a hit of the port is the instruction's, one of the memory each iteration's.
fn strings_of_ports_and_watched_memory(actors: &mut Actors) {
    let area = actors.places.area;
    let (from, to) = (area + 0x300, area + 0x1300);
    let both = |pre: &str| [format!("{pre} stage pre"), format!("{pre} stage post")];
    let [out_pre, out_post] = both("!ioout 84 condition { $context == 84 }");
    let [in_pre, in_post] = both("!ioin 84 condition { $context == 84 }");
    let events = [
        (out_pre, 1),
        (out_post, 1),
        (in_pre, 1),
        (in_post, 1),
        ("!ioin 85".to_owned(), 0),
        (format!("!monitor r {:x} l 2", from + 1), 2),
        (format!("!monitor w {:x} l 2 stage post", to + 2), 2),
    ];
    let act = format!(
        "touch store {from:x} 0807060504030201\\ntouch out 84 {from:x} 4\\ntouch in 84 {to:x} 6\\ntouch load {to:x}"
    );
    let said = are_hit(actors, &events, &act_command(0, &act, 1));
    // The port keeps the last byte.
    let is_moved = said.contains("word 0x40404040404\n");
    actors.check(&said, &is_moved, &true);
    // Kept from happening: neither port nor memory changes.
    let lab = &mut actors.lab;
    lab.run("pause");
    lab.run("!ioin 84 sc on script { .n += 1; }");
    lab.run("g");
    let act = format!("touch store {to:x} 7\\ntouch in 84 {to:x} 6\\ntouch load {to:x}");
    let said = actors.act(1, &act, 1);
    actors.check(&said, &said.contains("word 0x7\n"), &true);
    let lab = &mut actors.lab;
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
}

/// One core runs into a hook again and again while the other sends it what comes in between.
fn nmis_and_interrupts_at_a_hook(actors: &mut Actors) {
    let target = actors.places.target;
    let calls = 20_000;
    let sent = 300;
    for what in ["nmi", "ipi"] {
        let hook = (format!("!epthook {target:x} core 1"), calls);
        let guest = format!(
            "printf 'target {calls}\\n' > /worker1; printf 'send {what} {sent}\\n' > /worker0; \
             cat /answer0 /answer1"
        );
        let said = are_hit(actors, &[hook], &guest);
        let all = format!("sent {sent} handled {sent}");
        let are_handled = said.contains(&all) && said.contains("called");
        actors.check(&said, &are_handled, &true);
    }
}

/// A process that its parent single-steps runs into a hook: as many steps as without it.
fn a_single_step_at_a_hook(actors: &mut Actors) {
    let lab = &mut actors.lab;
    let calls = 100;
    let said = lab.guest(&format!("touch /tmp/step; lab-stepped {calls}"));
    assert!(said.contains(&format!("entered {calls}")), "{said}");
    lab.guest("rm /tmp/step /tmp/stepped");
    lab.guest(&format!("lab-stepped {calls} > /said &"));
    let line = lab.guest("while ! grep address /tmp/stepped; do sleep 0.1; done");
    let words: Vec<&str> = line.split_whitespace().collect();
    let [.., "pid", pid, "address", address] = words[..] else {
        panic!("no address: {line}");
    };
    let hook = (format!("!epthook {address} pid {pid}"), calls);
    let guest = "touch /tmp/step; while ! grep steps /said; do sleep 0.1; done";
    let hooked = are_hit(actors, &[hook], guest);
    actors.check("single steps", &hooked, &said);
}
