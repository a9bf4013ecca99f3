//! Any bytes: as a message, as a stream, and as the payloads of good frames. Nothing may panic,
//! and a message that is understood must be the only way to say what it says.
//!
//! `cargo +nightly fuzz run decode`
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::frame::{self, Header, WIRE_BYTES};
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{Message, Request};

const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
const SESSION: u32 = 0x5eed;

thread_local! {
    static MEMORY: RefCell<Vec<u8>> = RefCell::new(vec![0; Storage::BYTES]);
    static COPY: RefCell<Vec<u8>> = RefCell::new(vec![0; MESSAGE_BYTES]);
}

fuzz_target!(|bytes: &[u8]| {
    as_message(bytes);
    as_stream(bytes);
    as_payloads(bytes);
});

fn as_message(bytes: &[u8]) {
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

fn with_link(role: Role, run: impl FnOnce(&mut Link<'_>)) {
    MEMORY.with_borrow_mut(|memory| {
        let timing = Timing {
            retry_us: 100,
            ack_delay_us: 10,
            byte_time_ns: 1000,
        };
        let storage = Storage::carve(memory).expect("enough");
        run(&mut Link::new(role, storage, timing));
    });
}

/// Takes a byte, and lets the link answer.
fn push(link: &mut Link<'_>, byte: u8, now_us: &mut u64) {
    *now_us += u64::from(byte);
    if link.push(byte, *now_us) == Some(Incoming::Message) {
        as_message(link.message());
        let _ = link.send(link.message().to_vec().as_slice());
        if byte % 2 == 0 {
            link.release();
        }
    }
    let _ = link.pull(*now_us);
}

fn as_stream(bytes: &[u8]) {
    for role in [Role::Initiator, Role::Responder] {
        with_link(role, |link| {
            let mut now_us = 0;
            link.connect(SESSION);
            for &byte in bytes {
                push(link, byte, &mut now_us);
            }
        });
    }
}

/// `[length][header, 2 bytes][payload]`, over and over.
fn as_payloads(bytes: &[u8]) {
    with_link(Role::Responder, |link| {
        let mut now_us = 0;
        let mut rest = bytes;
        let mut wire = [0; WIRE_BYTES];
        let mut feed = |link: &mut Link<'_>, header, session, payload| {
            let len = frame::encode(header, session, [payload, &[], &[]], &mut wire);
            for &byte in &wire[..len] {
                push(link, byte, &mut now_us);
            }
            link.release();
        };
        let syn = Header::from_bytes([2, 0]);
        let nonce = SESSION.to_le_bytes();
        feed(link, syn, 0, &nonce);
        while let [len, low, high, after @ ..] = rest {
            let (payload, after) = after.split_at(after.len().min(usize::from(*len)));
            rest = after;
            let header = Header::from_bytes([*low, *high]);
            let session = if low % 2 == 0 { SESSION } else { 0 };
            feed(link, header, session, payload);
        }
    });
}
