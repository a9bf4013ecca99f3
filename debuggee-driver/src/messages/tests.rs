extern crate std;
use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::VecDeque;
use std::vec::Vec;
use wire_protocol::packet::Failure;
use wire_protocol::packet::FailureCause;

fn with_ring(words: usize, look: impl FnOnce(&Ring<'_>)) {
    let memory: Box<[AtomicU64]> = (0..words).map(|_| AtomicU64::new(!0)).collect();
    look(&Ring::new(&memory));
}

fn content(at: u32) -> Vec<u8> {
    let mut bytes = [0; 32];
    let failure = Content::Failure(Failure {
        cause: FailureCause::Division,
        at,
        detail: 0,
    });
    let len = failure.encode_into(&mut bytes).unwrap();
    bytes[..len].to_vec()
}

fn at(messages: &Messages<'_>) -> Vec<(u32, u64)> {
    messages
        .iter()
        .map(|record| match record.content {
            Content::Failure(failure) => (failure.at, record.lost),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn drain(ring: &Ring<'_>, room: usize) -> Vec<(u32, u64)> {
    let mut memory = std::vec![0; limits::RECORD_BYTES + room];
    let mut found = Vec::new();
    // A producer that is fast enough would keep this going.
    for _ in 0..1000 {
        let more = ring.send_batch(CoreId(0), &mut memory, |messages| {
            found.extend(at(&messages));
            true
        });
        if !more {
            break;
        }
    }
    found
}

const EVENT: Source = Source::Event(EventId(7));

#[test]
fn records_come_out_in_order_and_losses_stand_where_they_happened() {
    // Four words each.
    with_ring(12, |ring| {
        for number in 0..5 {
            ring.push(EVENT, 1, false, &content(number));
        }
        assert_eq!(drain(ring, 100), [(0, 0), (1, 0), (2, 0)]);
        ring.push(EVENT, 2, false, &content(5));
        assert_eq!(drain(ring, 100), [(5, 2)]);
        let counts = ring.counts();
        assert_eq!((counts.produced, counts.delivered), (6, 4));
        assert_eq!((counts.dropped, counts.waiting), (2, 0));
    });
}

#[test]
fn what_is_not_taken_stays() {
    with_ring(64, |ring| {
        ring.push(EVENT, 1, false, &content(1));
        let mut memory = [0; limits::RECORD_BYTES + 64];
        assert!(!ring.send_batch(CoreId(3), &mut memory, |messages| {
            assert_eq!(messages.core, CoreId(3));
            false
        }));
        assert_eq!(ring.counts().waiting, 1);
        assert!(ring.wants_sending());
        assert_eq!(drain(ring, 100), [(1, 0)]);
    });
}

#[test]
fn flushing_takes_what_is_there_and_nothing_later() {
    with_ring(64, |ring| {
        ring.push(EVENT, 1, false, &content(1));
        ring.push(EVENT, 1, false, &content(2));
        ring.flush();
        ring.push(EVENT, 1, false, &content(3));
        assert_eq!(drain(ring, 100), [(3, 0)]);
        let counts = ring.counts();
        assert_eq!((counts.flushed, counts.delivered), (2, 1));
    });
}

#[test]
fn losses_are_told_once_by_a_record_or_by_a_flush() {
    // Three records fit.
    with_ring(12, |ring| {
        let lost = |ring: &Ring<'_>| {
            let counts = ring.counts();
            (counts.dropped, counts.told)
        };
        for number in 0..5 {
            ring.push(EVENT, 1, false, &content(number));
        }
        assert_eq!(lost(ring), (2, 0));
        ring.flush();
        ring.discard_flushed();
        assert_eq!(lost(ring), (2, 2));
        for number in 5..9 {
            ring.push(EVENT, 1, false, &content(number));
        }
        assert_eq!(drain(ring, 100), [(5, 0), (6, 0), (7, 0)]);
        assert_eq!(lost(ring), (3, 2));
        ring.push(EVENT, 1, false, &content(9));
        assert_eq!(drain(ring, 100), [(9, 1)]);
        assert_eq!(lost(ring), (3, 3));
    });
}

#[test]
fn patient_records_wait_for_a_batch_and_urgent_ones_do_not() {
    with_ring(4096, |ring| {
        assert!(!ring.wants_sending());
        ring.push(EVENT, 1, false, &content(1));
        assert!(!ring.wants_sending());
        ring.push(EVENT, 1, true, &content(1));
        assert!(ring.wants_sending());
        assert_eq!(drain(ring, 100).len(), 2);
        for _ in 0..limits::BATCH_BYTES / WORD_BYTES / 4 {
            assert!(!ring.wants_sending());
            ring.push(EVENT, 1, false, &content(1));
        }
        assert!(ring.wants_sending());
    });
}

#[test]
fn a_core_without_memory_loses_everything_and_says_so() {
    let rings = Rings::default();
    let trace = Content::Trace { rip: 5, code: &[] };
    rings.record(CoreId(2), Source::Request, 1, true, &trace);
    rings.record(CoreId(9999), Source::Request, 1, true, &trace);
    let counts = rings.counts();
    assert_eq!((counts.produced, counts.dropped, counts.waiting), (1, 1, 0));
}

#[test]
fn producer_and_consumer_work_at_the_same_time() {
    const COUNT: u32 = if cfg!(miri) { 200 } else { 200_000 };
    with_ring(64, |ring| {
        let mut found = Vec::new();
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                for number in 0..COUNT {
                    ring.push(EVENT, u64::from(number), true, &content(number));
                }
            });
            while !producer.is_finished() {
                found.extend(drain(ring, 64));
            }
            producer.join().unwrap();
        });
        found.extend(drain(ring, 64));
        let mut next = 0;
        for (number, lost) in found {
            next += lost as u32;
            assert_eq!(number, next);
            next += 1;
        }
        let counts = ring.counts();
        assert_eq!(counts.produced, u64::from(COUNT));
        assert_eq!(counts.delivered + counts.dropped, counts.produced);
        assert_eq!(counts.waiting, 0);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    Drain(usize),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u32>().prop_map(Step::Push),
        2 => (20..80_usize).prop_map(Step::Drain),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(crate::ept::model::config())]

    #[test]
    fn the_counts_add_up_whatever_happens(
        words in 0..40_usize,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        with_ring(words, |ring| {
            let mut model = VecDeque::new();
            let mut used = 0;
            let mut delivered = 0;
            for step in steps {
                match step {
                    Step::Push(number) => {
                        let bytes = content(number);
                        let taken = HEAD_WORDS + bytes.len().div_ceil(WORD_BYTES);
                        if used + taken <= words {
                            used += taken;
                            model.push_back(number);
                        }
                        ring.push(EVENT, 0, false, &bytes);
                    }
                    Step::Drain(room) => {
                        let found = drain(ring, room);
                        delivered += found.len() as u64;
                        for (number, _) in found {
                            assert_eq!(Some(number), model.pop_front());
                        }
                        assert!(model.is_empty());
                        used = 0;
                    }
                    Step::Flush => {
                        ring.flush();
                        ring.discard_flushed();
                        model.clear();
                        used = 0;
                    }
                }
                let counts = ring.counts();
                assert_eq!(counts.waiting, model.len() as u64);
                assert_eq!(counts.delivered, delivered);
                assert_eq!(
                    counts.produced,
                    counts.delivered + counts.dropped + counts.flushed + counts.waiting
                );
            }
        });
    }
}
