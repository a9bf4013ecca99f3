use super::*;
use crate::limits::FRAME_PAYLOAD_BYTES;
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

const SESSION: u32 = 0x1234_5678;

/// Bytes of payload or garbage in property tests.
const MANY: usize = if cfg!(miri) { 30 } else { 1200 };

const HEADER: Header = Header {
    kind: Kind::Data,
    flags: Flags::FIRST.union(Flags::LAST),
    counts: Counts {
        sequence: 31,
        acknowledged: 17,
    },
};

fn wire_of(payload: &[u8]) -> Vec<u8> {
    let mut wire = Box::new([0; WIRE_BYTES]);
    let (one, other) = payload.split_at(payload.len() / 3);
    let len = encode(HEADER, SESSION, [&[], one, other], &mut wire);
    wire[..len].to_vec()
}

/// Payloads of the good frames in a stream, each with the number of bytes it took to see it.
fn decode(stream: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    let mut frames = Vec::new();
    for (at, &byte) in stream.iter().enumerate() {
        if decoder.push(byte) == Some(Completed::Frame)
            && let Some(frame) = decoder.open(SESSION, HEADER.counts)
        {
            frames.push((at + 1, frame.payload.to_vec()));
        }
    }
    frames
}

fn found(stream: &[u8]) -> Vec<Completed> {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    stream
        .iter()
        .filter_map(|&byte| decoder.push(byte))
        .collect()
}

#[test]
fn header_comes_back() {
    let bytes = HEADER.to_bytes();
    assert_eq!(bytes, [0xcc, 0x8f]);
    assert_eq!(Header::from_bytes(bytes), HEADER);
}

#[test]
fn counts_that_are_near_are_found_by_their_lowest_bits() {
    for near in [0_u32, 15, 16, 1000, u32::MAX] {
        for ahead in -15_i32..16 {
            let exact = near.wrapping_add_signed(ahead);
            let of = |sequence| Counts {
                sequence,
                acknowledged: !sequence,
            };
            let low = Counts {
                sequence: exact % 32,
                acknowledged: !exact % 32,
            };
            assert_eq!(of(near).nearest(low), of(exact), "{near} {ahead}");
        }
    }
}

#[test]
fn frame_of_another_round_of_counts_does_not_open() {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    for byte in wire_of(b"once") {
        decoder.push(byte);
    }
    let Counts {
        sequence,
        acknowledged,
    } = HEADER.counts;
    for (sequence, acknowledged, opens) in [
        (sequence + 15, acknowledged - 15, true),
        (sequence + 32, acknowledged, false),
        (sequence, acknowledged + 32, false),
        (sequence + 64, acknowledged + 64, false),
    ] {
        let near = Counts {
            sequence,
            acknowledged,
        };
        let frame = decoder.open(SESSION, near);
        assert_eq!(
            frame.map(|frame| frame.header),
            opens.then_some(HEADER),
            "{near:?}"
        );
    }
}

#[test]
fn short_frame_costs_nine_bytes() {
    for len in [0, 1, 100, 247] {
        assert_eq!(wire_of(&std::vec![1; len]).len(), len + 9);
        assert_eq!(wire_of(&std::vec![0; len]).len(), len + 9);
    }
}

#[test]
fn frame_has_no_zero_inside() {
    let wire = wire_of(&[0; 300]);
    let [0, inside @ .., 0] = wire.as_slice() else {
        panic!("delimiters");
    };
    assert!(!inside.contains(&0));
}

#[test]
fn longest_frame_fits() {
    for byte in [0, 1, 0xff] {
        let payload = std::vec![byte; FRAME_PAYLOAD_BYTES];
        let wire = wire_of(&payload);
        assert!(wire.len() <= WIRE_BYTES);
        assert_eq!(decode(&wire), [(wire.len(), payload)]);
    }
}

#[test]
fn frame_above_the_limit_is_not_written() {
    assert_eq!(wire_of(&[1; FRAME_PAYLOAD_BYTES + 1]), []);
}

#[test]
fn every_group_boundary_comes_back() {
    for len in 240..264 {
        for zero_at in 0..len {
            let mut payload = std::vec![7; len];
            payload[zero_at] = 0;
            let wire = wire_of(&payload);
            assert_eq!(decode(&wire), [(wire.len(), payload)]);
            if cfg!(miri) {
                break;
            }
        }
    }
}

#[test]
fn frames_may_share_a_delimiter() {
    let (one, two) = (wire_of(b"one"), wire_of(b"two"));
    let mut stream = one.clone();
    stream.extend(&two[1..]);
    assert_eq!(decode(&stream).len(), 2);
}

#[test]
fn damaged_frame_does_not_open() {
    let wire = wire_of(b"some payload");
    for at in 0..wire.len() {
        for bit in 0..8 {
            let mut damaged = wire.clone();
            damaged[at] ^= 1 << bit;
            let frames = decode(&damaged);
            // The first delimiter is there so that garbage before it does no harm.
            assert!(frames.is_empty(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn frame_of_another_session_does_not_open() {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    let found = wire_of(b"old")
        .iter()
        .filter_map(|&byte| decoder.push(byte))
        .last();
    assert_eq!(found, Some(Completed::Frame));
    assert_eq!(decoder.open(SESSION + 1, HEADER.counts), None);
    assert_eq!(decoder.open(0, HEADER.counts), None);
    assert!(decoder.open(SESSION, HEADER.counts).is_some());
}

#[test]
fn frame_that_is_too_long_is_broken_and_the_next_is_found() {
    let mut stream = std::vec![0];
    stream.extend(std::iter::repeat_n(0xff, 2 * WIRE_BYTES));
    stream.extend(wire_of(b"next"));
    assert_eq!(found(&stream), [Completed::Broken, Completed::Frame]);
    assert_eq!(decode(&stream).len(), 1);
}

#[test]
fn frame_shorter_than_its_head_and_checksum_is_broken() {
    assert_eq!(found(&[0, 1, 0]), [Completed::Broken]);
    assert_eq!(found(&[0, 6, 1, 2, 3, 4, 5, 0]), [Completed::Broken]);
}

#[test]
fn frame_cut_in_a_group_is_broken() {
    let mut wire = wire_of(b"payload");
    wire.remove(5);
    assert_eq!(found(&wire), [Completed::Broken]);
}

#[test]
fn delimiters_alone_say_nothing() {
    assert_eq!(found(&[0; 5]), []);
}

#[test]
fn break_in_is_found_between_broken_frames() {
    let mut stream = wire_of(b"half of this one");
    stream.truncate(9);
    stream.extend(BREAK_IN);
    stream.extend(&wire_of(b"rest")[3..]);
    stream.extend(BREAK_IN);
    let found = found(&stream);
    let count = found
        .iter()
        .filter(|&&found| found == Completed::BreakIn)
        .count();
    assert_eq!(count, 2, "{found:?}");
}

#[test]
fn break_in_needs_exactly_its_bytes() {
    for stream in [
        &b"\0BR\0"[..],
        b"\0BRKK\0",
        b"\0\x01BRK\0",
        b"\0BRk\0",
        b"\0BRK",
    ] {
        assert!(!found(stream).contains(&Completed::BreakIn), "{stream:?}");
    }
}

proptest! {
    #![proptest_config(crate::proptest_config())]

    #[test]
    fn any_payload_comes_back(
        payload in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..MANY),
    ) {
        let wire = wire_of(&payload);
        prop_assert_eq!(decode(&wire), [(wire.len(), payload)]);
    }

    #[test]
    fn good_frame_is_found_at_its_own_end_after_any_garbage(
        mut stream in prop::collection::vec(any::<u8>(), 0..MANY),
        payload in prop::collection::vec(any::<u8>(), 0..MANY),
    ) {
        stream.extend(wire_of(&payload));
        let frames = decode(&stream);
        prop_assert_eq!(frames.last(), Some(&(stream.len(), payload)));
    }

    #[test]
    fn break_in_is_found_after_any_garbage(
        mut stream in prop::collection::vec(any::<u8>(), 0..MANY),
    ) {
        stream.extend(BREAK_IN);
        prop_assert_eq!(found(&stream).pop(), Some(Completed::BreakIn));
    }
}

fn datagram_of(payload: &[u8]) -> Vec<u8> {
    let mut wire = Box::new([0; WIRE_BYTES]);
    let (one, other) = payload.split_at(payload.len() / 3);
    let len = encode_datagram(HEADER, SESSION, [&[], one, other], &mut wire);
    wire[..len].to_vec()
}

/// The payload, if it is a frame of that session near those counts.
fn taken(datagram: &[u8], session: u32, near: Counts) -> Option<Vec<u8>> {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    // The beginning of a frame that came another way.
    for byte in [0, 9, 1] {
        decoder.push(byte);
    }
    if decoder.take(datagram) != Completed::Frame {
        return None;
    }
    assert!(!decoder.is_inside());
    let frame = decoder.open(session, near)?;
    assert_eq!(frame.header, HEADER);
    Some(frame.payload.to_vec())
}

#[test]
fn a_frame_takes_six_bytes_of_a_datagram_whatever_it_carries() {
    for len in [0, 1, 300, FRAME_PAYLOAD_BYTES] {
        let payload = std::vec![0; len];
        let datagram = datagram_of(&payload);
        assert_eq!(datagram.len(), len + 6);
        assert_eq!(taken(&datagram, SESSION, HEADER.counts), Some(payload));
        assert_eq!(payload_within(len + 6), len);
    }
    assert_eq!(payload_within(FRAME_PAYLOAD_BYTES + 7), FRAME_PAYLOAD_BYTES);
    assert_eq!(payload_within(5), 0);
    assert_eq!(datagram_of(&[1; FRAME_PAYLOAD_BYTES + 1]), []);
}

#[test]
fn a_datagram_of_another_session_or_round_of_counts_does_not_open() {
    let datagram = datagram_of(b"once");
    let Counts {
        sequence,
        acknowledged,
    } = HEADER.counts;
    assert_eq!(taken(&datagram, SESSION + 1, HEADER.counts), None);
    for (sequence, acknowledged, opens) in [
        (sequence + 15, acknowledged - 15, true),
        (sequence + 32, acknowledged, false),
        (sequence, acknowledged + 32, false),
    ] {
        let near = Counts {
            sequence,
            acknowledged,
        };
        assert_eq!(taken(&datagram, SESSION, near).is_some(), opens);
    }
    for at in 0..6 {
        let mut damaged = datagram.clone();
        damaged[at] ^= 1;
        assert_eq!(taken(&damaged, SESSION, HEADER.counts), None, "{at}");
    }
}

#[test]
fn a_datagram_that_is_no_frame_is_broken_and_one_may_be_a_break_in() {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    for datagram in [&[][..], &[1; 5], &[1; BODY_BYTES + 1]] {
        assert_eq!(decoder.take(datagram), Completed::Broken);
    }
    assert_eq!(decoder.take(&BREAK_IN), Completed::BreakIn);
}

#[test]
fn streams_are_read_after_datagrams() {
    let mut body = Box::new([0; BODY_BYTES]);
    let mut decoder = Decoder::new(&mut body);
    assert_eq!(decoder.take(&datagram_of(b"one")), Completed::Frame);
    let wire = wire_of(b"two");
    let found: Vec<_> = wire.iter().filter_map(|it| decoder.push(*it)).collect();
    assert_eq!(found, [Completed::Frame]);
    let frame = decoder.open(SESSION, HEADER.counts).unwrap();
    assert_eq!(frame.payload, b"two");
}
