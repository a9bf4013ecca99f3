use super::datagram::{HELLO_BYTES, WELCOME_BYTES};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;

const TIMING: Timing = Timing {
    call_us: 10,
    alive_us: 20,
    lost_us: 70,
    rekey_us: 10_000,
};

fn key() -> Key {
    Key::new([0x4b; 32])
}

/// Bytes for the link, and whether a session begins with them.
type AtHost = Result<(Vec<u8>, bool), Cause>;

/// Both ends, and what has gone over the network between them.
struct Ends {
    caller: Caller,
    listener: Listener,
    now_us: u64,
    clock_us: u64,
    random: u64,
    /// Every datagram of either end.
    sent: Vec<Vec<u8>>,
}

impl Ends {
    fn new() -> Self {
        Self {
            caller: Caller::new(key(), TIMING),
            listener: Listener::new(key(), None, OlderClock::Refused),
            now_us: 0,
            clock_us: 1000,
            random: 0,
            sent: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut ends = Self::new();
        ends.connect();
        ends
    }

    fn random(&mut self) -> Random {
        self.random += 1;
        let mut random = [0; 32];
        random[..8].copy_from_slice(&self.random.to_le_bytes());
        random
    }

    fn note(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.sent.push(datagram.to_vec());
        datagram.to_vec()
    }

    /// What the debuggee says by itself.
    fn polled(&mut self) -> Vec<u8> {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let len = self
            .caller
            .poll(self.now_us, self.clock_us, &random, &mut out);
        if len == 0 {
            return Vec::new();
        }
        self.note(&out[..len])
    }

    fn said(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let len = self.caller.seal(bytes, self.now_us, &random, &mut out);
        self.note(&out[..len])
    }

    fn said_by_host(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let len = self.listener.seal(bytes, &random, &mut out);
        self.note(&out[..len])
    }

    /// The host hears it; what it answers, and what it makes of it.
    fn reach_host(&mut self, datagram: &[u8]) -> (Vec<u8>, AtHost) {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let mut datagram = datagram.to_vec();
        let (answer_bytes, heard) = match self.listener.take(&mut datagram, &random, &mut out) {
            Heard::Dropped(cause) => (0, Err(cause)),
            Heard::Call { answer_bytes, .. } => (answer_bytes, Ok((Vec::new(), false))),
            Heard::Debuggee {
                bytes,
                answer_bytes,
                begins,
                ..
            } => (answer_bytes, Ok((bytes.to_vec(), begins.is_some()))),
        };
        let answer = match answer_bytes {
            0 => Vec::new(),
            _ => self.note(&out[..answer_bytes]),
        };
        (answer, heard)
    }

    fn reach_debuggee(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Cause> {
        let mut datagram = datagram.to_vec();
        match self.caller.take(&mut datagram, self.now_us) {
            Taken::Dropped(cause) => Err(cause),
            Taken::Done | Taken::Session => Ok(Vec::new()),
            Taken::Bytes(bytes) => Ok(bytes.to_vec()),
        }
    }

    fn connect(&mut self) {
        let hello = self.polled();
        assert_eq!(hello.len(), HELLO_BYTES);
        let (welcome, heard) = self.reach_host(&hello);
        assert_eq!(heard, Ok((Vec::new(), false)));
        assert_eq!(welcome.len(), WELCOME_BYTES);
        assert_eq!(self.reach_debuggee(&welcome), Ok(Vec::new()));
        let alive = self.polled();
        let (answer, heard) = self.reach_host(&alive);
        assert_eq!(heard, Ok((Vec::new(), true)));
        assert_eq!(self.reach_debuggee(&answer), Ok(Vec::new()));
        assert_eq!(self.polled(), []);
    }

    /// Bytes go both ways.
    fn talk(&mut self) {
        let datagram = self.said(b"up");
        assert_eq!(self.reach_host(&datagram).1, Ok((b"up".to_vec(), false)));
        let datagram = self.said_by_host(b"down");
        assert_eq!(self.reach_debuggee(&datagram), Ok(b"down".to_vec()));
    }

    /// Nothing of it is answered or changes anything, at either end.
    fn is_dropped(&mut self, datagram: &[u8], to_host: bool, cause: Cause) {
        let count = |ends: &Self| match to_host {
            true => ends.listener.dropped(),
            false => ends.caller.dropped(),
        };
        let before = count(self);
        if to_host {
            assert_eq!(self.reach_host(datagram), (Vec::new(), Err(cause)));
        } else {
            assert_eq!(self.reach_debuggee(datagram), Err(cause));
        }
        let after = count(self);
        assert_eq!(after.of(cause), before.of(cause) + 1);
        assert_eq!(after.total(), before.total() + 1);
        assert_eq!(self.polled(), []);
    }
}

#[test]
fn a_debuggee_that_calls_is_answered_and_bytes_go_both_ways() {
    let mut ends = Ends::connected();
    ends.talk();
    assert_eq!(ends.listener.dropped(), Dropped::default());
    assert_eq!(ends.caller.dropped(), Dropped::default());
}

#[test]
fn without_a_session_nothing_is_sealed() {
    let mut ends = Ends::new();
    assert_eq!(ends.said(b"x"), []);
    assert_eq!(ends.said_by_host(b"x"), []);
}

#[test]
fn a_call_that_is_not_answered_is_made_again_with_a_later_time() {
    let mut ends = Ends::new();
    let first = ends.polled();
    assert_eq!(ends.polled(), []);
    ends.now_us += TIMING.call_us;
    // Even if the clock stands still, or goes back.
    ends.clock_us -= 10;
    let second = ends.polled();
    assert_ne!(first, second);
    let (welcome, heard) = ends.reach_host(&second);
    assert!(heard.is_ok());
    // The first one comes late.
    assert_eq!(
        ends.reach_host(&first),
        (Vec::new(), Err(Cause::OlderClock))
    );
    assert_eq!(ends.reach_debuggee(&welcome), Ok(Vec::new()));
    ends.talk_after_welcome();
}

impl Ends {
    fn talk_after_welcome(&mut self) {
        let alive = self.polled();
        assert_eq!(self.reach_host(&alive).1, Ok((Vec::new(), true)));
        self.talk();
    }
}

#[test]
fn an_answer_to_a_call_that_is_over_is_dropped() {
    let mut ends = Ends::new();
    let first = ends.polled();
    let (late, _) = ends.reach_host(&first);
    ends.now_us += TIMING.call_us;
    let second = ends.polled();
    assert_eq!(ends.reach_debuggee(&late), Err(Cause::UnknownSession));
    let (welcome, _) = ends.reach_host(&second);
    assert_eq!(ends.reach_debuggee(&welcome), Ok(Vec::new()));
    ends.talk_after_welcome();
}

#[test]
fn what_is_forged_replayed_cut_sent_back_or_of_another_key_changes_nothing() {
    let mut ends = Ends::connected();
    let recorded = ends.sent.clone();
    let [hello, welcome, alive, answer] = [0, 1, 2, 3].map(|at| recorded[at].clone());

    ends.is_dropped(&hello, true, Cause::Replayed);
    ends.is_dropped(&alive, true, Cause::Replayed);
    ends.is_dropped(&welcome, false, Cause::UnknownSession);
    ends.is_dropped(&answer, false, Cause::Replayed);
    for of_host in [&welcome, &answer] {
        ends.is_dropped(of_host, true, Cause::Reflected);
    }
    for of_debuggee in [&hello, &alive] {
        ends.is_dropped(of_debuggee, false, Cause::Reflected);
    }
    for (datagram, to_host) in [
        (&hello, true),
        (&alive, true),
        (&welcome, false),
        (&answer, false),
    ] {
        ends.is_dropped(&datagram[..datagram.len() - 1], to_host, Cause::Truncated);
        ends.is_dropped(&datagram[..2], to_host, Cause::Truncated);
        ends.is_dropped(&[&datagram[..], b"x"].concat(), to_host, Cause::Foreign);
    }
    ends.is_dropped(b"", true, Cause::Foreign);
    ends.is_dropped(b"GET / HTTP/1.1", true, Cause::Foreign);

    let mut other = Ends::new();
    other.caller = Caller::new(Key::new([0x4c; 32]), TIMING);
    let hello = other.polled();
    ends.is_dropped(&hello, true, Cause::WrongKey);
    let mut disguised = hello.clone();
    disguised[3..7].copy_from_slice(&key().id());
    ends.is_dropped(&disguised, true, Cause::Forged);
    // A session of a debuggee with the key at another host, whose host is asked.
    let mut elsewhere = Ends::new();
    elsewhere.random = 1 << 40;
    elsewhere.connect();
    let datagram = elsewhere.said(b"x");
    ends.is_dropped(&datagram, true, Cause::UnknownSession);
    let datagram = elsewhere.said_by_host(b"x");
    ends.is_dropped(&datagram, false, Cause::UnknownSession);

    for (to_host, at) in [(true, 40), (false, 40), (true, 31), (false, 8)] {
        let mut datagram = match to_host {
            true => ends.said(b"bytes of the link"),
            false => ends.said_by_host(b"bytes of the link"),
        };
        datagram[at] ^= 1;
        ends.is_dropped(&datagram, to_host, Cause::Forged);
    }
    ends.talk();
}

#[test]
fn a_forged_answer_does_not_spoil_the_call() {
    let mut ends = Ends::new();
    let hello = ends.polled();
    let (welcome, _) = ends.reach_host(&hello);
    let mut forged = welcome.clone();
    forged[20] ^= 1;
    assert_eq!(ends.reach_debuggee(&forged), Err(Cause::Forged));
    assert_eq!(ends.reach_debuggee(&welcome), Ok(Vec::new()));
    ends.talk_after_welcome();
}

#[test]
fn a_session_lasts_until_the_debuggee_has_shown_the_keys_of_the_next() {
    let mut ends = Ends::connected();
    ends.now_us += TIMING.rekey_us;
    let hello = ends.polled();
    let (welcome, _) = ends.reach_host(&hello);
    // The answer is under way; both still use the session before.
    ends.talk();
    assert_eq!(ends.reach_debuggee(&welcome), Ok(Vec::new()));
    let of_old = ends.said_by_host(b"late");
    assert_eq!(ends.reach_debuggee(&of_old), Err(Cause::UnknownSession));
    let first = ends.said(b"first");
    assert_eq!(ends.reach_host(&first).1, Ok((b"first".to_vec(), true)));
    ends.talk();
}

#[test]
fn a_host_that_is_gone_is_called_anew_and_one_that_says_so_at_once() {
    let mut ends = Ends::connected();
    for _ in 0..3 {
        ends.now_us += TIMING.alive_us;
        let alive = ends.polled();
        assert!(alive.len() < HELLO_BYTES, "not yet");
    }
    ends.now_us += TIMING.alive_us;
    assert_eq!(ends.polled().len(), HELLO_BYTES);

    let mut ends = Ends::connected();
    let mut out = [0; DATAGRAM_BYTES];
    let len = ends.listener.bye(&[9; 32], &mut out);
    assert_eq!(ends.reach_debuggee(&out[..len]), Ok(Vec::new()));
    assert!(!ends.caller.is_connected() && !ends.listener.is_connected());
    ends.listener = Listener::new(key(), Some(ends.clock_us), OlderClock::Refused);
    ends.connect();
    ends.talk();
}

#[test]
fn whoever_is_heard_is_not_called_anew() {
    let mut ends = Ends::connected();
    for _ in 0..100 {
        ends.now_us += TIMING.alive_us;
        let alive = ends.polled();
        let (answer, heard) = ends.reach_host(&alive);
        assert_eq!(heard, Ok((Vec::new(), false)));
        assert_eq!(ends.reach_debuggee(&answer), Ok(Vec::new()));
    }
}

#[test]
fn an_older_clock_is_accepted_when_the_user_says_so_and_until_there_is_a_session() {
    let mut ends = Ends::new();
    ends.listener = Listener::new(key(), Some(5000), OlderClock::Refused);
    let hello = ends.polled();
    ends.is_dropped(&hello, true, Cause::OlderClock);

    ends.listener = Listener::new(key(), Some(5000), OlderClock::Accepted);
    let (_, heard) = ends.reach_host(&hello);
    assert!(heard.is_ok());
    ends.now_us += TIMING.call_us;
    ends.connect();
    // From here on the time grows again.
    ends.is_dropped(&hello, true, Cause::OlderClock);
    ends.talk();
}

/// The public keys and the nonces that were used, in each session and direction.
fn uses(sent: &[Vec<u8>]) -> Vec<&[u8]> {
    let uses = sent.iter().map(|datagram| match datagram[0] {
        0x91 | 0x92 => &datagram[7..39],
        _ => &datagram[..31],
    });
    uses.collect()
}

#[test]
fn a_hundred_sessions_use_no_key_with_a_nonce_twice() {
    let mut ends = Ends::new();
    for _ in 0..100 {
        ends.connect();
        ends.talk();
        ends.talk();
        let mut out = [0; DATAGRAM_BYTES];
        let random = ends.random();
        let len = ends.listener.bye(&random, &mut out);
        let bye = ends.note(&out[..len]);
        assert_eq!(ends.reach_debuggee(&bye), Ok(Vec::new()));
    }
    let uses = uses(&ends.sent);
    let different: BTreeSet<&[u8]> = uses.iter().copied().collect();
    assert_eq!(uses.len(), 100 * 9);
    assert_eq!(different.len(), uses.len());
}

#[test]
fn calls_of_a_restored_machine_are_the_same_only_at_the_same_time() {
    let call = |clock_us| {
        let mut ends = Ends::new();
        ends.clock_us = clock_us;
        ends.polled()
    };
    assert_eq!(call(7), call(7));
    // The same random bits, and another ephemeral key all the same.
    assert_ne!(call(7)[7..39], call(8)[7..39]);
}

proptest! {
    #![proptest_config(crate::proptest_config())]

    #[test]
    fn any_datagrams_are_dropped_unanswered(
        datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
        kind in 0x90u8..0x96,
    ) {
        let mut ends = Ends::connected();
        for mut datagram in datagrams {
            if datagram.len() > 2 {
                datagram[0] = kind;
                let len = datagram.len() as u16;
                datagram[1..3].copy_from_slice(&len.to_le_bytes());
            }
            let (answer, heard) = ends.reach_host(&datagram);
            prop_assert!(answer.is_empty() && heard.is_err());
            prop_assert!(ends.reach_debuggee(&datagram).is_err());
        }
        ends.talk();
    }
}
