//! What comes over a line: frames, sessions of a link, messages.

use std::cell::RefCell;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::frame::{self, BODY_BYTES, Completed, Counts, Decoder, Header, WIRE_BYTES};
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::pack::{Packing, WORK_BYTES, quick, unpack};
use wire_protocol::packet::{Message, Request};

const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
const SESSION: u32 = 0x5eed;

const TIMING: Timing = Timing {
    retry_us: 100,
    ack_delay_us: 10,
    answer_us: 50,
    byte_time_ns: 1000,
};

thread_local! {
    static MEMORY: RefCell<Vec<u8>> = RefCell::new(vec![0; Storage::BYTES]);
    static COPY: RefCell<Vec<u8>> = RefCell::new(vec![0; MESSAGE_BYTES]);
}

/// Bytes as a stream of frames. What is opened is, written anew, what was read.
pub fn frame(bytes: &[u8]) {
    let mut body = [0; BODY_BYTES];
    let mut decoder = Decoder::new(&mut body);
    let mut near = Counts::default();
    let mut wire = [0; WIRE_BYTES];
    for &byte in bytes {
        if decoder.push(byte) != Some(Completed::Frame) {
            continue;
        }
        assert!(decoder.header().is_some());
        for session in [0, SESSION] {
            let Some(found) = decoder.open(session, near) else {
                continue;
            };
            let header = found.header;
            let len = frame::encode(header, session, [found.payload, &[], &[]], &mut wire);
            let mut again = [0; BODY_BYTES];
            let mut other = Decoder::new(&mut again);
            let ends = wire[..len]
                .iter()
                .filter_map(|byte| other.push(*byte))
                .last();
            assert_eq!(ends, Some(Completed::Frame));
            let same = other
                .open(session, header.counts)
                .expect("it was just written");
            assert_eq!((same.header, same.payload), (header, found.payload));
            near = header.counts;
        }
    }
}

/// Bytes as a message, in either direction. What is understood must be the only way to say what it says.
pub fn message(bytes: &[u8]) {
    COPY.with_borrow_mut(|copy| {
        if let Ok((id, request)) = Request::decode(bytes, BASE) {
            let mut out = Writer::new(copy);
            request.encode(id, BASE, &mut out).expect("fits");
            assert_eq!(out.written(), bytes, "{request:?}");
            let (again_id, again) = Request::decode(out.written(), BASE).expect("decodes");
            assert_eq!((again_id, again), (id, request));
        }
        if let Ok(message) = Message::decode(bytes, BASE) {
            let mut out = Writer::new(copy);
            message.encode(BASE, &mut out).expect("fits");
            assert_eq!(out.written(), bytes, "{message:?}");
            assert_eq!(Message::decode(out.written(), BASE), Ok(message));
        }
    });
}

/// Bytes as the content of a memory, packed and to be unpacked: whatever they are, so much comes of them as was asked for.
pub fn pack(bytes: &[u8]) {
    let mut work = vec![0; WORK_BYTES];
    let mut packed = vec![0; bytes.len()];
    let mut content = vec![0; bytes.len()];
    if let Some(len) = wire_protocol::pack::pack(bytes, &mut work, &mut packed) {
        assert!(unpack(&packed[..len], &mut work, &mut content));
        assert_eq!(content, bytes);
    }
    if let Some(len) = quick::pack(bytes, &mut packed) {
        content.fill(0);
        quick::unpack(&packed[..len], &mut content);
        assert_eq!(content, bytes);
    }
    let len = bytes.first().map_or(0, |first| usize::from(*first) * 8);
    for packing in [Packing::Model, Packing::Repeated, Packing::Quick] {
        let unpacked = packing.unpack(bytes, &mut work, &mut vec![0; len]);
        assert!(unpacked || packing == Packing::Repeated && bytes.len() != 1);
    }
}

fn with_link(role: Role, run: impl FnOnce(&mut Link<'_>)) {
    MEMORY.with_borrow_mut(|memory| {
        let storage = Storage::carve(memory).expect("enough");
        run(&mut Link::new(role, storage, TIMING));
    });
}

/// Takes a byte, and lets the link answer.
fn push(link: &mut Link<'_>, byte: u8, now_us: &mut u64) {
    *now_us += u64::from(byte);
    if link.push(byte, *now_us) == Some(Incoming::Message) {
        message(link.message());
        let _ = link.send(link.message().to_vec().as_slice());
        if byte.is_multiple_of(2) {
            link.release();
        }
    }
    let _ = link.pull(*now_us);
}

/// `[length][header, 2 bytes][payload]`, over and over: as good frames of that session, or of none.
fn push_frames(link: &mut Link<'_>, bytes: &[u8], session: u32, now_us: &mut u64) {
    let mut rest = bytes;
    let mut wire = [0; WIRE_BYTES];
    while let [len, low, high, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        let header = Header::from_bytes([*low, *high]);
        let session = if low.is_multiple_of(2) { session } else { 0 };
        let len = frame::encode(header, session, [payload, &[], &[]], &mut wire);
        for &byte in &wire[..len] {
            push(link, byte, now_us);
        }
        link.release();
    }
}

/// Bytes as the good frames of a session that both ends know.
pub fn link(bytes: &[u8]) {
    with_link(Role::Responder, |link| {
        let mut now_us = 0;
        let mut wire = [0; WIRE_BYTES];
        let syn = Header::from_bytes([2, 0]);
        let nonce = SESSION.to_le_bytes();
        let len = frame::encode(syn, 0, [&nonce, &[], &[]], &mut wire);
        for &byte in &wire[..len] {
            push(link, byte, &mut now_us);
        }
        push_frames(link, bytes, SESSION, &mut now_us);
    });
}

/// Bytes as what either end hears before there is a session: as they are, and as good frames that propose and agree. A host
/// that starts over afterwards with a debuggee that heard the same has a session.
pub fn handshake(bytes: &[u8]) {
    for role in [Role::Initiator, Role::Responder] {
        for as_frames in [false, true] {
            with_link(role, |link| {
                let mut now_us = 0;
                link.connect(SESSION);
                if as_frames {
                    push_frames(link, bytes, SESSION, &mut now_us);
                } else {
                    for &byte in bytes {
                        push(link, byte, &mut now_us);
                    }
                }
                finds_a_session(link, role, now_us);
            });
        }
    }
}

/// Whatever the link went through: a fresh other end that starts over, or answers, is heard.
fn finds_a_session(link: &mut Link<'_>, role: Role, mut now_us: u64) {
    const FRESH: u32 = 0x00f7_e54a;
    /// Far more than the retries of both ends take.
    const STEPS: u32 = 20_000;
    let mut memory = vec![0; Storage::BYTES];
    let other_role = match role {
        Role::Initiator => Role::Responder,
        Role::Responder => Role::Initiator,
    };
    let storage = Storage::carve(&mut memory).expect("enough");
    let mut other = Link::new(other_role, storage, TIMING);
    link.release();
    // Only the host's end does anything of it.
    link.connect(FRESH);
    other.connect(FRESH);
    for _ in 0..STEPS {
        if link.is_connected() && other.is_connected() && link.is_idle() && other.is_idle() {
            return;
        }
        now_us += 1;
        let (from_link, from_other) = (link.pull(now_us), other.pull(now_us));
        if let Some(byte) = from_link
            && other.push(byte, now_us) == Some(Incoming::Message)
        {
            other.release();
        }
        if let Some(byte) = from_other
            && link.push(byte, now_us) == Some(Incoming::Message)
        {
            link.release();
        }
    }
    panic!("no session after {STEPS} us");
}
