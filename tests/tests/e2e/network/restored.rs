//! Machines that come back: hosts that connect over and over, and a debuggee that is restored from a snapshot.

use super::{clock::last_call_us, options};
use crate::budget::through_a_relay;
use crate::relay::assert_differ;
use std::collections::BTreeMap;
use std::time::Duration;

const YEAR_US: u64 = 365 * 86_400_000_000;

/// Calls that were answered.
fn sessions(captured: &[Vec<u8>]) -> usize {
    captured.iter().filter(|it| it[0] == 0x92).count()
}

/// Connects and leaves so many times, with work in between.
fn reconnect(times: usize) {
    let (mut lab, relay) = through_a_relay(&options());
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    let registers = lab.run("r");
    for time in 0..times {
        lab.kill_host();
        lab.connect();
        assert!(lab.run("events").contains("getsid"));
        if time % 8 == 0 {
            assert_eq!(lab.run("r"), registers);
            lab.run("db vmlinux!linux_banner l 400");
        }
    }
    lab.run("events c all");
    lab.go();
    let captured = relay.captured();
    println!(
        "{} datagrams, {} sessions",
        captured.len(),
        sessions(&captured)
    );
    assert!(sessions(&captured) > times);
    assert_differ(&captured);
}

#[test]
fn no_nonce_comes_twice_however_often_a_host_connects() {
    let times = std::env::var("STANDSTILL_RECONNECTS").map_or(8, |times| times.parse().unwrap());
    reconnect(times);
}

/// Under one nonce there is one datagram. A restored machine may send it again, as it is.
fn assert_no_nonce_seals_two(captures: &[Vec<Vec<u8>>]) {
    let mut sealed = BTreeMap::new();
    for datagram in captures.iter().flatten() {
        let use_of_key = match datagram[0] {
            0x91 | 0x92 => &datagram[..39],
            _ => &datagram[..31],
        };
        let first = sealed.entry(use_of_key).or_insert(datagram);
        assert_eq!(*first, datagram, "a nonce was used for something else");
    }
}

/// Datagrams to the host, by session and counter.
fn counters(captured: &[Vec<u8>]) -> BTreeMap<&[u8], &[u8]> {
    let to_host = captured.iter().filter(|it| it[0] == 0x93);
    to_host.map(|it| (&it[3..15], &it[15..])).collect()
}

#[test]
fn a_machine_that_was_saved_in_a_session_and_restored_twice_gives_nothing_away() {
    let (mut lab, relay) = through_a_relay(&options());
    lab.run("pause");
    // What it says goes on and on, and is never the same.
    lab.run("!syscall script { printf(\"%llx\\n\", rdtsc()); }");
    lab.run("g");
    lab.guest_background("while true; do lab-calls 20 1; done");
    lab.reply(".wait 1");
    let mut saved = lab.machine.save("in-session").unwrap();
    let at_save = relay.captured();
    let last_us = last_call_us(&lab.machine);
    let mut captures = Vec::new();
    for round in 1..=2 {
        saved.pass_a_year().unwrap();
        let from = relay.captured().len();
        lab.machine.restore(&mut saved).unwrap();
        if round == 1 {
            // The host has heard nothing yet that it had not said when it was saved: all goes on.
            lab.reply(".wait 2");
        } else {
            // Now it has, and has another session: it is called anew.
            std::thread::sleep(Duration::from_secs(2));
        }
        lab.kill_host();
        lab.connect();
        lab.run("pause");
        assert!(lab.run("events").contains("syscall"));
        assert!(lab.run("db vmlinux!linux_banner l 10").contains("Linux"));
        lab.run("g");
        let call_us = last_call_us(&lab.machine);
        let expected = last_us + round * YEAR_US;
        assert!(call_us.abs_diff(expected) < 2 * 86_400_000_000, "{call_us}");
        captures.push(relay.captured().split_off(from));
    }
    let [one, two] = [0, 1].map(|round: usize| counters(&captures[round]));
    let both = one.keys().filter(|key| two.contains_key(*key)).count();
    let differ = one
        .iter()
        .filter(|(key, rest)| two.get(*key).is_some_and(|it| it != *rest));
    let differ = differ.count();
    println!(
        "{both} counters of the session before were used by both, {differ} for something else"
    );
    assert!(differ > 0);
    captures.push(at_save);
    assert_no_nonce_seals_two(&captures);
}
