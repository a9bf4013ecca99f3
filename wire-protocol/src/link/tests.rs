use super::*;
use crate::limits::WINDOW_FRAMES;
use std::vec::Vec;

const TIMING: Timing = Timing {
    retry_us: 1000,
    ack_delay_us: 100,
    answer_us: 5000,
    byte_time_ns: 10_000,
};

const NONCE: u32 = 0x5eed_0001;

struct Memory(Vec<u8>);

impl Memory {
    fn new() -> Self {
        Self(std::vec![0; Storage::BYTES])
    }

    fn link(&mut self, role: Role) -> Link<'_> {
        Link::new(role, Storage::carve(&mut self.0).unwrap(), TIMING)
    }
}

/// Everything that a link has to say at that time.
fn said(link: &mut Link<'_>, now_us: u64) -> Vec<u8> {
    core::iter::from_fn(|| link.pull(now_us)).collect()
}

fn hear(link: &mut Link<'_>, bytes: &[u8], now_us: u64) -> Vec<Incoming> {
    let heard = bytes.iter().filter_map(|&byte| link.push(byte, now_us));
    heard.collect()
}

/// Runs a test with two links that have a session, and both quiet.
fn connected(run: impl FnOnce(&mut Link<'_>, &mut Link<'_>)) {
    let (mut host, mut debuggee) = (Memory::new(), Memory::new());
    let mut host = host.link(Role::Initiator);
    let mut debuggee = debuggee.link(Role::Responder);
    host.connect(NONCE);
    assert_eq!(hear(&mut debuggee, &said(&mut host, 0), 0), []);
    let agreed = hear(&mut host, &said(&mut debuggee, 0), 0);
    assert_eq!(agreed, [Incoming::Connected]);
    let started = hear(&mut debuggee, &said(&mut host, 0), 0);
    assert_eq!(started, [Incoming::Connected]);
    assert!(host.is_idle() && debuggee.is_idle());
    // As if a frame had come from the other side already.
    host.confirmed = true;
    run(&mut host, &mut debuggee);
}

#[test]
fn memory_that_is_too_small_is_not_carved() {
    let mut memory = Memory::new();
    assert!(Storage::carve(&mut memory.0).is_some());
    let least = MESSAGE_BYTES + BODY_BYTES + 2 * WIRE_BYTES;
    assert!(Storage::carve(&mut memory.0[..least]).is_some());
    assert!(Storage::carve(&mut memory.0[..least - 1]).is_none());
    assert!(Storage::carve(&mut []).is_none());
}

#[test]
fn message_is_there_until_it_is_released() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
        assert_eq!(debuggee.message(), b"question");
        debuggee.release();
        assert_eq!(debuggee.message(), b"");
    });
}

#[test]
fn empty_message_is_a_message() {
    connected(|host, debuggee| {
        host.send(b"").unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
    });
}

#[test]
fn nothing_is_sent_without_a_session() {
    for role in [Role::Initiator, Role::Responder] {
        let mut memory = Memory::new();
        let mut link = memory.link(role);
        assert_eq!(link.send(b"x"), Err(SendError::NotConnected));
        assert_eq!(said(&mut link, u64::MAX), []);
        assert_eq!(link.next_deadline_us(), None);
    }
}

#[test]
fn responder_does_not_start_sessions() {
    let mut memory = Memory::new();
    let mut link = memory.link(Role::Responder);
    link.connect(NONCE);
    assert_eq!(said(&mut link, 0), []);
}

#[test]
fn message_queued_before_the_session_follows_it() {
    let (mut host, mut debuggee) = (Memory::new(), Memory::new());
    let mut host = host.link(Role::Initiator);
    let mut debuggee = debuggee.link(Role::Responder);
    host.connect(NONCE);
    host.send(b"early").unwrap();
    let syn = said(&mut host, 0);
    assert_eq!(syn.len(), 13);
    hear(&mut debuggee, &syn, 0);
    hear(&mut host, &said(&mut debuggee, 0), 0);
    let heard = hear(&mut debuggee, &said(&mut host, 0), 0);
    assert_eq!(heard, [Incoming::Connected, Incoming::Message]);
    assert_eq!(debuggee.message(), b"early");
}

#[test]
fn session_that_starts_with_data_gets_the_data_again() {
    let (mut host, mut debuggee) = (Memory::new(), Memory::new());
    let mut host = host.link(Role::Initiator);
    let mut debuggee = debuggee.link(Role::Responder);
    host.connect(NONCE);
    host.send(b"early").unwrap();
    hear(&mut debuggee, &said(&mut host, 0), 0);
    hear(&mut host, &said(&mut debuggee, 0), 0);
    let introduction_and_data = said(&mut host, 0);
    let data = &introduction_and_data[9..];
    assert_eq!(hear(&mut debuggee, data, 0), [Incoming::Connected]);
    hear(&mut host, &said(&mut debuggee, 0), 0);
    let again = said(&mut host, 0);
    assert_eq!(hear(&mut debuggee, &again, 0), [Incoming::Message]);
    assert_eq!(host.statistics().repeated_frames, 1);
}

#[test]
fn lost_syn_is_sent_again_with_longer_and_longer_waits() {
    let mut memory = Memory::new();
    let mut host = memory.link(Role::Initiator);
    host.connect(NONCE);
    let mut sent_at = Vec::new();
    for now_us in (0..100_000).step_by(100) {
        if !said(&mut host, now_us).is_empty() {
            sent_at.push(now_us);
        }
    }
    let waits: Vec<u64> = sent_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let doubling = [1000, 2000, 4000, 8000, 16_000, 16_000];
    assert_eq!(waits[..6], doubling);
}

#[test]
fn session_of_which_nothing_was_heard_is_proposed_again_with_the_data() {
    connected(|host, debuggee| {
        host.confirmed = false;
        host.send(b"question").unwrap();
        said(host, 0);
        let due_us = host.next_deadline_us().unwrap();
        let again = said(host, due_us);
        assert_eq!(again.len(), 13 + 17);
        assert_eq!(hear(debuggee, &again, due_us), [Incoming::Message]);
        hear(host, &said(debuggee, due_us + 100), due_us + 100);
        assert!(host.confirmed);
        hear(debuggee, &said(host, due_us + 100), due_us + 100);
        assert!(host.is_idle() && debuggee.is_idle());
    });
}

#[test]
fn late_copy_of_an_old_syn_changes_nothing() {
    let mut memory = Memory::new();
    let mut old = memory.link(Role::Initiator);
    old.connect(NONCE - 1);
    let old_syn = said(&mut old, 0);
    connected(|host, debuggee| {
        assert_eq!(hear(debuggee, &old_syn, 0), []);
        assert_eq!(hear(host, &said(debuggee, 0), 0), []);
        host.send(b"still here").unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
    });
}

#[test]
fn new_session_drops_what_the_old_one_left() {
    let mut memory = Memory::new();
    let mut second = memory.link(Role::Initiator);
    connected(|host, debuggee| {
        host.send(b"left").unwrap();
        hear(debuggee, &said(host, 0), 0);
        debuggee.send(b"unsent").unwrap();
        second.take_over(NONCE + 1);
        hear(debuggee, &said(&mut second, 0), 0);
        hear(&mut second, &said(debuggee, 0), 0);
        let heard = hear(debuggee, &said(&mut second, 0), 0);
        assert_eq!(heard, [Incoming::Connected]);
        assert_eq!(debuggee.message(), b"");
        // What the first host is told, which does not hear it.
        assert_eq!(said(debuggee, 1_000_000).len(), 13);
        assert_eq!(said(debuggee, 1_000_000), []);
        // The first host is a stranger now.
        let stranger = said(host, 1_000_000);
        assert!(!stranger.is_empty());
        assert_eq!(hear(debuggee, &stranger, 1_000_000), []);
        assert_eq!(debuggee.statistics().broken_frames, 0);
        let told = said(debuggee, 1_000_000);
        assert_eq!(hear(host, &told, 1_000_000), [Incoming::TakenOver]);
    });
}

#[test]
fn acknowledgement_rides_on_the_reply() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        hear(debuggee, &said(host, 0), 0);
        debuggee.release();
        debuggee.send(b"answer").unwrap();
        let reply = said(debuggee, 0);
        assert_eq!(reply.len(), 9 + b"answer".len());
        hear(host, &reply, 0);
        assert!(host.sender.is_empty());
        assert!(debuggee.ack_due_us.is_none());
    });
}

#[test]
fn acknowledgement_alone_waits_for_its_delay() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        hear(debuggee, &said(host, 0), 0);
        assert_eq!(said(debuggee, 99), []);
        assert_eq!(debuggee.next_deadline_us(), Some(100));
        let ack = said(debuggee, 100);
        assert_eq!(ack.len(), 9);
        hear(host, &ack, 100);
        assert!(host.is_idle() && debuggee.is_idle());
        assert_eq!(host.next_deadline_us(), None);
    });
}

#[test]
fn lost_frame_comes_again_and_a_copy_is_dropped() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        let lost = said(host, 0);
        let deadline_us = host.next_deadline_us().unwrap();
        // One message of eight bytes and its record take 100 us on the line.
        assert_eq!(deadline_us, 1100);
        assert_eq!(said(host, deadline_us - 1), []);
        assert_eq!(said(host, deadline_us), lost);
        assert_eq!(hear(debuggee, &lost, 0), [Incoming::Message]);
        debuggee.release();
        assert_eq!(hear(debuggee, &lost, 0), []);
        assert_eq!(debuggee.statistics().duplicate_frames, 1);
        assert_eq!(said(debuggee, 0).len(), 9);
    });
}

#[test]
fn gap_is_reported_once_and_filled_at_once() {
    connected(|host, debuggee| {
        for message in [b"one", b"two", b"six"] {
            host.send(message).unwrap();
        }
        let frames = said(host, 0);
        let lost = 12;
        assert_eq!(hear(debuggee, &frames[lost..], 0), []);
        let report = said(debuggee, 0);
        assert_eq!(report.len(), 9);
        hear(host, &report, 0);
        assert_eq!(said(host, 0), frames);
        let statistics = debuggee.statistics();
        assert_eq!((statistics.gap_frames, statistics.sent_frames), (2, 2));
    });
}

#[test]
fn frame_before_release_is_thrown_away_and_asked_for_again() {
    connected(|host, debuggee| {
        host.send(b"one").unwrap();
        host.send(b"two").unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
        assert_eq!(debuggee.message(), b"one");
        debuggee.release();
        hear(host, &said(debuggee, 0), 0);
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
        assert_eq!(debuggee.message(), b"two");
        assert_eq!(debuggee.statistics().busy_frames, 1);
    });
}

#[test]
fn frame_that_comes_once_more_when_its_bits_mean_another_one_is_not_taken() {
    connected(|host, debuggee| {
        let mut late = Vec::new();
        for number in 0..32 {
            host.send(&[number]).unwrap();
            let frame = said(host, 0);
            assert_eq!(hear(debuggee, &frame, 0), [Incoming::Message]);
            debuggee.release();
            hear(host, &said(debuggee, 1000), 1000);
            late.push(frame);
        }
        for frame in late {
            assert_eq!(hear(debuggee, &frame, 0), []);
        }
        host.send(b"new").unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
        assert_eq!(debuggee.message(), b"new");
    });
}

#[test]
fn damaged_frame_is_asked_for_at_once_and_not_for_ever() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        let mut damaged = said(host, 0);
        damaged[3] ^= 1;
        let mut reports = 0;
        while reports < 10 {
            assert_eq!(hear(debuggee, &damaged, 0), []);
            let report = said(debuggee, 0);
            if report.is_empty() {
                break;
            }
            reports += 1;
            hear(host, &report, 0);
            assert_eq!(said(host, 0).len(), damaged.len());
        }
        assert_eq!(reports, usize::from(DAMAGE_REPORTS));
    });
}

#[test]
fn missing_frame_that_is_lost_again_is_asked_for_again() {
    connected(|host, debuggee| {
        for message in [b"one", b"two", b"six"] {
            host.send(message).unwrap();
        }
        let frames = said(host, 0);
        for _ in 0..5 {
            assert_eq!(hear(debuggee, &frames[12..], 0), []);
            let report = said(debuggee, 0);
            assert_eq!(report.len(), 9);
            hear(host, &report, 0);
            assert_eq!(said(host, 0), frames);
        }
        assert_eq!(hear(debuggee, &frames, 0), [Incoming::Message]);
    });
}

/// Sends the message over a line on which every frame above `limit` bytes is damaged, and then those above `later_limit`.
fn passes(message: &[u8], limit: usize, later_limit: usize) {
    connected(|host, debuggee| {
        host.send(message).unwrap();
        let (mut now_us, mut rounds) = (0, 0);
        loop {
            now_us += 10;
            let limit = if rounds < 20 { limit } else { later_limit };
            let mut heard = Vec::new();
            let said_now = said(host, now_us);
            for frame in said_now.split_inclusive(|&byte| byte == 0) {
                let mut frame = frame.to_vec();
                if frame.len() > limit {
                    frame[7] ^= 1;
                }
                heard.extend(hear(debuggee, &frame, now_us));
            }
            if heard.contains(&Incoming::Message) {
                break;
            }
            if said_now.is_empty() {
                now_us = host.next_deadline_us().unwrap().max(now_us);
            }
            let answer = said(debuggee, now_us + 100);
            hear(host, &answer, now_us + 100);
            rounds += 1;
            assert!(rounds < 2000, "{:?}", host.statistics());
        }
        assert_eq!(debuggee.message(), message);
    });
}

#[test]
fn long_frames_pass_in_parts_where_they_do_not_pass_whole() {
    let message: Vec<u8> = (0..10_000_u32).map(|at| (at * 7 % 251 + 1) as u8).collect();
    for (limit, later_limit) in [(75, 75), (200, 75), (75, 5000), (300, 150)] {
        passes(&message, limit, later_limit);
    }
    // Lengths around those of parts.
    for len in [64, 65, 66, 128, 129] {
        passes(&message[..len], 75, 75);
    }
}

#[test]
fn window_is_not_exceeded() {
    connected(|host, debuggee| {
        for _ in 0..20 {
            host.send(b"x").unwrap();
        }
        assert_eq!(said(host, 0).len(), WINDOW_FRAMES * 10);
        assert_eq!(debuggee.message(), b"");
    });
}

#[test]
fn full_queue_says_what_is_wanted_and_what_is_there() {
    connected(|host, _| {
        let long = std::vec![7; MESSAGE_BYTES];
        host.send(&long).unwrap();
        let error = host.send(&long).unwrap_err();
        let SendError::QueueFull {
            wanted_bytes,
            free_bytes,
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(wanted_bytes > MESSAGE_BYTES && free_bytes < wanted_bytes);
    });
}

#[test]
fn message_above_the_limit_is_refused() {
    connected(|host, _| {
        let error = host.send(&std::vec![7; MESSAGE_BYTES + 1]);
        assert!(matches!(error, Err(SendError::TooLong { .. })));
        assert!(host.is_idle());
    });
}

#[test]
fn message_longer_than_the_receivers_memory_is_skipped_and_the_next_is_taken() {
    connected(|host, debuggee| {
        let whole = core::mem::take(&mut debuggee.receiver.buffer);
        debuggee.receiver.buffer = &mut whole[..16];
        host.send(&[7; 17]).unwrap();
        host.send(&[8; 16]).unwrap();
        assert_eq!(hear(debuggee, &said(host, 0), 0), [Incoming::Message]);
        assert_eq!(debuggee.message(), [8; 16]);
        assert_eq!(debuggee.statistics().discarded_messages, 1);
    });
}

#[test]
fn break_in_passes_without_a_session_and_before_other_frames() {
    let (mut host, mut debuggee) = (Memory::new(), Memory::new());
    let mut host = host.link(Role::Initiator);
    let mut debuggee = debuggee.link(Role::Responder);
    host.connect(NONCE);
    host.break_in();
    let bytes = said(&mut host, 0);
    assert_eq!(bytes[..5], BREAK_IN);
    assert_eq!(hear(&mut debuggee, &bytes, 0), [Incoming::BreakIn]);
    assert_eq!(debuggee.statistics().break_ins, 1);
}

#[test]
fn retry_waits_while_a_frame_comes_in_but_not_for_ever() {
    connected(|host, debuggee| {
        host.send(b"question").unwrap();
        hear(debuggee, &said(host, 0), 0);
        debuggee.release();
        debuggee.send(&[7; 1000]).unwrap();
        let reply = said(debuggee, 0);
        let due_us = host.next_deadline_us().unwrap();
        hear(host, &reply[..500], due_us);
        assert_eq!(said(host, due_us), []);
        assert_eq!(host.next_deadline_us(), Some(due_us + TIMING.retry_us));
        // The rest never comes, but single bytes do.
        let patience_us = TIMING.retry_us + WIRE_BYTES as u64 * 10;
        hear(host, &[7], due_us + patience_us);
        assert!(!said(host, due_us + patience_us).is_empty());
    });
}

#[test]
fn frames_of_a_handshake_with_the_wrong_role_are_ignored() {
    connected(|host, debuggee| {
        host.connect(NONCE + 1);
        let syn = said(host, 0);
        hear(debuggee, &syn, 0);
        let syn_ack = said(debuggee, 0);
        assert_eq!(hear(debuggee, &syn_ack, 0), []);
        assert_eq!(hear(host, &syn, 0), []);
        assert!(!host.is_connected());
        assert!(debuggee.is_connected());
    });
}

#[test]
fn statistics_count_both_directions() {
    connected(|host, debuggee| {
        let (host, debuggee) = (host.statistics(), debuggee.statistics());
        assert_eq!(host.sent_bytes, debuggee.received_bytes);
        assert_eq!(host.received_bytes, debuggee.sent_bytes);
        assert_eq!((host.sent_frames, host.received_frames), (2, 1));
        assert_eq!((host.sessions, debuggee.sessions), (1, 1));
    });
}
