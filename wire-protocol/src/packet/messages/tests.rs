use super::*;
use crate::address::CoreId;
use crate::packet::kind::{NoticeKind, ReplyKind};
use crate::packet::testing::{notice_body, notice_is_malformed, reply_body, reply_is_malformed};
use crate::packet::{Notice, Reply};
use std::vec::Vec;

fn print<'a>(site: u32, arguments: &[Argument<'_>], scratch: &'a mut [u8]) -> Content<'a> {
    Content::Print {
        site,
        arguments: Arguments::encode_into(arguments, scratch).unwrap(),
    }
}

fn batch<'a>(records: &[(Source, u64, u64, Content<'_>)], buffer: &'a mut [u8]) -> Messages<'a> {
    let mut batch = Batch::new(buffer);
    assert!(batch.is_empty());
    for (source, tsc, lost, content) in records {
        let mut encoded = [0; 64];
        let len = content.encode_into(&mut encoded).unwrap();
        batch.push(*source, *tsc, *lost, &encoded[..len]).unwrap();
    }
    batch.finish(CoreId(1)).unwrap()
}

#[test]
fn a_print_of_two_addresses_has_no_byte_too_many() {
    let mut scratch = [0; 64];
    let (rip, stack) = (0xffff_ffff_8123_4567, 3);
    let content = print(
        9,
        &[Argument::Number(rip), Argument::Number(stack)],
        &mut scratch,
    );
    let records = [(Source::Event(EventId(4)), 1000, 0, content)];
    let mut buffer = [0; 64];
    let body = notice_body(Notice::Messages(batch(&records, &mut buffer)));
    // Core, event, time, site, shape, and the two values.
    assert_eq!(body[..6], [1, 10, 0xe8, 7, 36, 4]);
    assert_eq!(body.len(), 6 + 5 + 1);
}

#[test]
fn records_come_back_with_their_times_and_losses() {
    let mut scratch = [0; 64];
    let text = print(
        0,
        &[Argument::Bytes(b"init"), Argument::Number(1)],
        &mut scratch,
    );
    let failure = Content::Failure(Failure {
        cause: FailureCause::Operations,
        at: 7,
        detail: 1_000_000,
    });
    let trace = Content::Trace {
        rip: 0xffff_ffff_8100_0000,
        code: &[0x90],
    };
    let given = [
        (Source::Request, 50, 0, text),
        (Source::Event(EventId(u32::MAX)), 60, 8, failure),
        // The counter was set back.
        (Source::Event(EventId(0)), 40, 0, trace),
    ];
    let mut buffer = [0; 128];
    let messages = batch(&given, &mut buffer);
    notice_body(Notice::Messages(messages));
    let found: Vec<_> = messages.iter().collect();
    for (record, (source, tsc, lost, content)) in found.iter().zip(&given) {
        assert_eq!(record.source, *source);
        assert_eq!((record.tsc, record.lost), (*tsc, *lost));
        assert_eq!(record.content, *content);
    }
    assert_eq!(found.len(), 3);
}

#[test]
fn a_full_batch_keeps_what_it_has() {
    let mut buffer = [0; 12];
    let mut batch = Batch::new(&mut buffer);
    batch.push(Source::Request, 1, 0, &[36, 1]).unwrap();
    let len = batch.len();
    assert_eq!(
        batch.push(Source::Request, 2, 0, &[0; 9]),
        Err(EncodeError::Full)
    );
    assert_eq!(batch.len(), len);
    batch.push(Source::Request, 2, 0, &[36, 1]).unwrap();
    assert_eq!(batch.finish(CoreId(0)).unwrap().iter().count(), 2);
    assert!(Batch::new(&mut buffer).finish(CoreId(0)).is_none());
}

#[test]
fn too_many_arguments_are_refused() {
    let many = [Argument::Number(0); limits::PRINT_ARGUMENTS + 1];
    let error = Arguments::encode_into(&many, &mut [0; 64]).err();
    assert_eq!(error, Some(EncodeError::OverLimit));
    let most = &many[1..];
    assert!(Arguments::encode_into(most, &mut [0; 64]).is_ok());
}

#[test]
fn batches_that_nobody_makes_are_rejected() {
    for body in [
        // No record; a cut one; an unknown standing.
        [1].as_slice(),
        &[1, 0],
        &[1, 0, 1, 7 << 2 | 3],
        // Announced losses that are none; a shape without its end mark, and one of 17 arguments.
        &[1, 1, 0, 1, 36, 1],
        &[1, 0, 1, 36, 0],
        &[
            1, 0, 1, 36, 0x80, 0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        // An unknown cause of a failure; a trace of more bytes than an instruction has.
        &[1, 0, 1, 2, 10, 0],
        &[
            1,
            0,
            1,
            17 << 2 | 1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
    ] {
        notice_is_malformed(NoticeKind::Messages, body);
    }
}

#[test]
fn some_failures_end_the_run() {
    assert!(FailureCause::Exception.ends_the_run());
    assert!(!FailureCause::Division.ends_the_run());
}

#[test]
fn counts_and_results_of_scripts_come_back() {
    let counts = MessageCounts {
        produced: 15,
        delivered: 4,
        dropped: 5,
        flushed: 6,
        waiting: 0,
        told: 3,
        network: None,
    };
    let numbers = [15, 4, 5, 6, 0, 3];
    assert_eq!(reply_body(Reply::MessageCounts(counts)), numbers);
    reply_is_malformed(ReplyKind::MessageCounts, &[15, 4, 5, 6, 0]);
    let failure = Some(Failure {
        cause: FailureCause::Division,
        at: 3,
        detail: 0,
    });
    let value = 5;
    assert_eq!(
        reply_body(Reply::ScriptRan { value, failure }),
        [1, 10, 3, 5, 0]
    );
    let failure = None;
    assert_eq!(reply_body(Reply::ScriptRan { value, failure }), [0, 10]);
    reply_is_malformed(ReplyKind::ScriptRan, &[2, 10]);
}
