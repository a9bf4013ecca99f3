use super::*;
use crate::packet::kind::{ReplyKind, RequestKind};
use crate::packet::testing::{
    reply_body, reply_is_malformed, request_body, request_is_malformed, unencodable_reply,
    unencodable_request,
};
use crate::packet::{Reply, Request};

const TWO: RegisterSet = RegisterSet::EMPTY.with(Register::Rax).with(Register::Rcx);
const THREE: RegisterSet = TWO.with(Register::Rdx);

#[test]
fn numbers_of_registers_are_their_places() {
    for (number, register) in Register::ALL.into_iter().enumerate() {
        assert_eq!(register as usize, number);
        assert_eq!(Register::from_wire(number as u8), Some(register));
    }
    assert_eq!(Register::from_wire(Register::COUNT as u8), None);
}

#[test]
fn whole_set_has_every_register() {
    assert_eq!(RegisterSet::ALL.len(), Register::COUNT);
    assert!(RegisterSet::EMPTY.is_empty());
}

#[test]
fn request_names_core_and_set() {
    let core = CoreId(1);
    let body = request_body(Request::ReadRegisters { core, set: TWO });
    assert_eq!(body, [1, 3]);
}

#[test]
fn unknown_register_in_a_set_is_rejected() {
    let core = CoreId(1);
    let set = RegisterSet(1 << Register::COUNT);
    let error = unencodable_request(Request::ReadRegisters { core, set });
    assert_eq!(error, Some(EncodeError::OverLimit));
    request_is_malformed(
        RequestKind::ReadRegisters,
        &[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 8],
    );
}

#[test]
fn values_are_as_short_as_their_sign_allows() {
    for (value, len) in [
        (0, 0),
        (1, 1),
        (0x7f, 1),
        (0x80, 2),
        (0xffff_ffff_ffff_ff80, 1),
        (0xffff_ffff_8145_6789, 4),
        (0x8145_6789, 5),
        (0xffff_8881_0234_5678, 6),
        (0x7fff_1234_5678, 6),
        (u64::MAX, 1),
        (1 << 63, 8),
    ] {
        assert_eq!(short_len(value), len, "{value:x}");
        let bytes = value.to_le_bytes();
        assert_eq!(extend(&bytes[..usize::from(len)]), value);
    }
}

fn values<'a>(from: &[u64], scratch: &'a mut [u8]) -> RegisterValues<'a> {
    RegisterValues::encode_into(from.iter().copied(), scratch).unwrap()
}

#[test]
fn lengths_stand_before_values() {
    let mut scratch = [0; 32];
    let body = reply_body(Reply::Registers {
        set: THREE,
        values: values(&[0, 0x1234, u64::MAX], &mut scratch),
    });
    assert_eq!(body, [7, 0x20, 0x01, 0x34, 0x12, 0xff]);
}

#[test]
fn values_are_given_in_order() {
    let mut scratch = [0; 32];
    let values = values(&[5, 0, 1 << 40], &mut scratch);
    assert!(values.iter().eq([5, 0, 1 << 40]));
    assert_eq!((values.len(), values.is_empty()), (3, false));
}

#[test]
fn number_of_values_that_is_not_the_sets_is_not_written() {
    let mut scratch = [0; 32];
    let error = unencodable_reply(Reply::Registers {
        set: THREE,
        values: values(&[1, 2], &mut scratch),
    });
    assert_eq!(error, Some(EncodeError::OverLimit));
}

#[test]
fn more_values_than_registers_are_not_written() {
    let many = RegisterValues::encode_into([0; Register::COUNT + 1], &mut []).err();
    assert_eq!(many, Some(EncodeError::OverLimit));
}

#[test]
fn values_longer_than_the_scratch_memory_are_not_written() {
    for len in 0..3 {
        let error = RegisterValues::encode_into([1, 1], &mut [0; 3][..len]).err();
        assert_eq!(error, Some(EncodeError::Full));
    }
}

#[test]
fn value_longer_than_needed_is_rejected() {
    reply_is_malformed(ReplyKind::Registers, &[1, 0x02, 5, 0]);
    reply_is_malformed(ReplyKind::Registers, &[1, 0x01, 0]);
}

#[test]
fn value_longer_than_a_register_is_rejected() {
    reply_is_malformed(ReplyKind::Registers, &[1, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn value_that_is_cut_is_rejected() {
    reply_is_malformed(ReplyKind::Registers, &[1, 0x02, 5]);
    reply_is_malformed(ReplyKind::Registers, &[3]);
}

#[test]
fn length_of_a_value_that_is_not_there_is_rejected() {
    reply_is_malformed(ReplyKind::Registers, &[1, 0x11, 5, 5]);
    reply_is_malformed(ReplyKind::Registers, &[1, 0x11, 5]);
}

#[test]
fn written_value_takes_the_rest_of_the_message() {
    let write = |value| {
        request_body(Request::WriteRegister {
            core: CoreId(2),
            register: Register::Rip,
            value,
        })
    };
    assert_eq!(write(0), [2, 16]);
    assert_eq!(write(0x1000), [2, 16, 0, 0x10]);
    assert_eq!(write(1 << 63).len(), 10);
}

#[test]
fn written_value_longer_than_needed_is_rejected() {
    request_is_malformed(RequestKind::WriteRegister, &[2, 16, 0]);
    request_is_malformed(
        RequestKind::WriteRegister,
        &[2, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
}

#[test]
fn write_to_an_unknown_register_is_rejected() {
    request_is_malformed(RequestKind::WriteRegister, &[2, Register::COUNT as u8]);
}
