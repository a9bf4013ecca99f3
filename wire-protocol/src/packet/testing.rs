//! What the tests of every family need: one message, as bytes and back.

use super::kind::{NoticeKind, ReplyKind, RequestKind};
use super::{Message, MessageError, Notice, Reply, Request, RequestError};
use crate::address::GuestVirtual;
use crate::codec::{EncodeError, Writer};
use std::vec::Vec;

pub(super) const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
pub(super) const ID: u8 = 7;

fn write(encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut memory = [0; 8192];
    let mut out = Writer::new(&mut memory);
    encode(&mut out).unwrap();
    out.written().to_vec()
}

/// The body of a request, after it was seen to come back as it was.
pub(super) fn request_body(request: Request<'_>) -> Vec<u8> {
    let message = write(|out| request.encode(ID, BASE, out));
    assert_eq!(Request::decode(&message, BASE), Ok((ID, request)));
    message[2..].to_vec()
}

/// The body of a reply, after it was seen to come back as it was.
pub(super) fn reply_body(reply: Reply<'_>) -> Vec<u8> {
    let message = write(|out| reply.encode(ID, BASE, out));
    assert_eq!(
        Message::decode(&message, BASE),
        Ok(Message::Reply { id: ID, reply })
    );
    message[2..].to_vec()
}

/// The body of a notice, after it was seen to come back as it was.
pub(super) fn notice_body(notice: Notice<'_>) -> Vec<u8> {
    let message = write(|out| notice.encode(BASE, out));
    assert_eq!(Message::decode(&message, BASE), Ok(Message::Notice(notice)));
    message[1..].to_vec()
}

pub(super) fn unencodable_request(request: Request<'_>) -> Option<EncodeError> {
    request
        .encode(ID, BASE, &mut Writer::new(&mut [0; 8192]))
        .err()
}

pub(super) fn unencodable_reply(reply: Reply<'_>) -> Option<EncodeError> {
    reply
        .encode(ID, BASE, &mut Writer::new(&mut [0; 8192]))
        .err()
}

#[track_caller]
pub(super) fn request_is_malformed(kind: RequestKind, body: &[u8]) {
    let kind = kind.to_wire();
    let message = [&[kind, ID], body].concat();
    let malformed = RequestError::Malformed { kind, id: ID };
    assert_eq!(Request::decode(&message, BASE), Err(malformed));
}

#[track_caller]
pub(super) fn reply_is_malformed(kind: ReplyKind, body: &[u8]) {
    let kind = kind.to_wire();
    let message = [&[kind, ID], body].concat();
    let malformed = MessageError::MalformedReply { kind, id: ID };
    assert_eq!(Message::decode(&message, BASE), Err(malformed));
}

#[track_caller]
pub(super) fn notice_is_malformed(kind: NoticeKind, body: &[u8]) {
    let kind = kind.to_wire();
    let message = [&[kind], body].concat();
    let malformed = MessageError::MalformedNotice { kind };
    assert_eq!(Message::decode(&message, BASE), Err(malformed));
}
