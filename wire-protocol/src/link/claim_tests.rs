use super::super::{Incoming, Link, Role, Storage, Timing};
use std::vec::Vec;

const TIMING: Timing = Timing {
    retry_us: 1_000_000,
    ack_delay_us: 100,
    answer_us: 500_000,
    byte_time_ns: 0,
};
/// Three questions, each waited for.
const PATIENCE_US: u64 = 3 * 500_000;

/// Two hosts and a debuggee on one line: each hears what the others say.
struct Shared {
    links: [Link<'static>; 3],
    /// Who hears and says nothing.
    is_deaf: [bool; 3],
    now_us: u64,
    heard: Vec<(usize, Incoming)>,
}

const FIRST: usize = 0;
const SECOND: usize = 1;
const DEBUGGEE: usize = 2;

impl Shared {
    fn new() -> Self {
        let link = |role| {
            let memory = std::vec![0; Storage::BYTES].leak();
            Link::new(role, Storage::carve(memory).unwrap(), TIMING)
        };
        Self {
            links: [
                link(Role::Initiator),
                link(Role::Initiator),
                link(Role::Responder),
            ],
            is_deaf: [false; 3],
            now_us: 0,
            heard: Vec::new(),
        }
    }

    /// One host has a session, and has said something in it.
    fn with_a_session() -> Self {
        let mut shared = Self::new();
        shared.links[FIRST].connect(1);
        assert_eq!(
            shared.run(2000),
            [
                (FIRST, Incoming::Connected),
                (DEBUGGEE, Incoming::Connected)
            ]
        );
        shared.ask(FIRST);
        shared
    }

    /// What each heard within that time.
    fn run(&mut self, time_us: u64) -> Vec<(usize, Incoming)> {
        let end_us = self.now_us + time_us;
        while self.now_us < end_us {
            for from in 0..3 {
                let now_us = self.now_us;
                let said: Vec<u8> = core::iter::from_fn(|| self.links[from].pull(now_us)).collect();
                if self.is_deaf[from] {
                    continue;
                }
                let is_debuggee = from == DEBUGGEE;
                for to in 0..3 {
                    if (to == DEBUGGEE) == is_debuggee || self.is_deaf[to] {
                        continue;
                    }
                    for byte in &said {
                        let incoming = self.links[to].push(*byte, now_us);
                        self.heard.extend(incoming.map(|incoming| (to, incoming)));
                        if incoming == Some(Incoming::Message) {
                            self.links[to].release();
                        }
                    }
                }
            }
            self.now_us += 1000;
        }
        core::mem::take(&mut self.heard)
    }

    /// A message of that host arrives.
    #[track_caller]
    fn ask(&mut self, host: usize) {
        self.links[host].send(b"question").unwrap();
        assert_eq!(self.run(3000), [(DEBUGGEE, Incoming::Message)]);
        self.links[DEBUGGEE].send(b"answer").unwrap();
        assert_eq!(self.run(3000), [(host, Incoming::Message)]);
    }
}

#[test]
fn second_host_is_refused_and_the_first_notices_nothing() {
    let mut shared = Shared::with_a_session();
    shared.run(12_000_000);
    shared.links[SECOND].connect(2);
    assert_eq!(shared.run(3000), [(SECOND, Incoming::Busy)]);
    assert_eq!(shared.links[SECOND].busy_s(), 12);
    assert!(shared.links[SECOND].send(b"x").is_err());
    assert_eq!(shared.run(100_000_000), []);
    shared.ask(FIRST);
    assert_eq!(shared.links[FIRST].statistics().repeated_frames, 0);
}

#[test]
fn host_that_is_dead_locks_nobody_out() {
    let mut shared = Shared::with_a_session();
    shared.is_deaf[FIRST] = true;
    shared.links[SECOND].connect(2);
    assert_eq!(shared.run(PATIENCE_US - 10_000), []);
    let heard = shared.run(20_000);
    assert_eq!(
        heard,
        [
            (SECOND, Incoming::Connected),
            (DEBUGGEE, Incoming::Connected)
        ]
    );
    shared.ask(SECOND);
    // It was only away: it hears what became of its session as soon as it says something.
    shared.is_deaf[FIRST] = false;
    shared.links[FIRST].send(b"still there").unwrap();
    assert_eq!(shared.run(3000), [(FIRST, Incoming::TakenOver)]);
    shared.ask(SECOND);
}

#[test]
fn one_question_that_is_lost_loses_no_session() {
    let mut shared = Shared::with_a_session();
    shared.links[SECOND].connect(2);
    shared.is_deaf[FIRST] = true;
    assert_eq!(shared.run(700_000), []);
    shared.is_deaf[FIRST] = false;
    assert_eq!(shared.run(500_000), [(SECOND, Incoming::Busy)]);
    shared.ask(FIRST);
}

#[test]
fn host_that_takes_over_is_let_in_at_once_and_the_first_one_stops() {
    let mut shared = Shared::with_a_session();
    shared.links[SECOND].take_over(2);
    let heard = shared.run(5000);
    assert_eq!(
        heard,
        [
            (SECOND, Incoming::Connected),
            (DEBUGGEE, Incoming::Connected),
            (FIRST, Incoming::TakenOver)
        ]
    );
    assert_eq!(shared.run(100_000_000), [], "nobody steals it back");
    shared.ask(SECOND);
    // Asked once more, it is refused as everybody.
    shared.links[FIRST].connect(3);
    assert_eq!(shared.run(3000), [(FIRST, Incoming::Busy)]);
    shared.ask(SECOND);
}

#[test]
fn same_host_begins_anew_at_once() {
    let mut shared = Shared::with_a_session();
    shared.links[FIRST].connect(5);
    let now_us = shared.now_us;
    let proposal: Vec<u8> = core::iter::from_fn(|| shared.links[FIRST].pull(now_us)).collect();
    assert_eq!(proposal.len(), 15, "a serial port takes 16 bytes");
    shared.links[FIRST].connect(5);
    let heard = shared.run(3000);
    assert_eq!(
        heard,
        [
            (FIRST, Incoming::Connected),
            (DEBUGGEE, Incoming::Connected)
        ]
    );
    assert_eq!(shared.run(10_000), [], "it is not told of itself");
    shared.ask(FIRST);
}

#[test]
fn host_that_leaves_makes_room_at_once() {
    let mut shared = Shared::with_a_session();
    shared.links[FIRST].leave();
    assert_eq!(shared.run(2000), []);
    assert!(shared.links[FIRST].is_idle());
    shared.is_deaf[FIRST] = true;
    shared.links[SECOND].connect(2);
    let heard = shared.run(3000);
    assert_eq!(
        heard,
        [
            (SECOND, Incoming::Connected),
            (DEBUGGEE, Incoming::Connected)
        ]
    );
    shared.ask(SECOND);
}

#[test]
fn driver_that_knows_of_no_session_greets_who_speaks_in_one() {
    let mut shared = Shared::with_a_session();
    shared.links[DEBUGGEE] = Shared::new().links.into_iter().nth(DEBUGGEE).unwrap();
    shared.links[FIRST].send(b"question").unwrap();
    let heard = shared.run(3000);
    assert!(heard.contains(&(FIRST, Incoming::BreakIn)), "{heard:?}");
}
