use super::*;
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> std::vec::Vec<u8> {
    let mut memory = [0; 32];
    let mut out = Writer::new(&mut memory);
    write(&mut out).unwrap();
    out.written().to_vec()
}

#[test]
fn varint_takes_seven_bits_per_byte() {
    assert_eq!(written(|out| out.varint(0u64)), [0]);
    assert_eq!(written(|out| out.varint(127u64)), [0x7f]);
    assert_eq!(written(|out| out.varint(128u64)), [0x80, 1]);
    assert_eq!(written(|out| out.varint(u64::MAX)).len(), 10);
}

#[test]
fn varint_longer_than_needed_is_rejected() {
    assert!(varint(&[0x80, 0x00]).is_err());
    assert!(varint(&[0xff, 0x80, 0x00]).is_err());
}

#[test]
fn varint_above_64_bits_is_rejected() {
    let mut bytes = [0xff; 11];
    bytes[9] = 0x01;
    assert_eq!(varint(&bytes), Ok((&bytes[10..], u64::MAX)));
    bytes[9] = 0x03;
    assert!(varint(&bytes).is_err());
    bytes[9] = 0x81;
    assert!(varint(&bytes).is_err());
}

#[test]
fn varint_without_end_is_rejected() {
    assert!(varint(&[]).is_err());
    assert!(varint(&[0x80]).is_err());
}

#[test]
fn number_too_big_for_its_type_is_rejected() {
    assert_eq!(narrow::<u16>(&[0xff, 0xff, 3]), Ok((&[][..], 0xffff)));
    assert!(narrow::<u16>(&[0x80, 0x80, 4]).is_err());
}

#[test]
fn near_addresses_are_short_on_both_sides() {
    let base = 0xffff_ffff_8100_0000;
    assert_eq!(written(|out| out.difference(base, base)), [0]);
    assert_eq!(written(|out| out.difference(base - 1, base)), [1]);
    assert_eq!(written(|out| out.difference(base + 0x3f, base)), [0x7e]);
    assert_eq!(
        written(|out| out.difference(base + 0xff_ffff, base)).len(),
        4
    );
}

#[test]
fn whole_pages_and_cache_lines_are_short() {
    assert_eq!(written(|out| out.size(0)), [0]);
    assert_eq!(written(|out| out.size(0x3f000)), [0x7e]);
    assert_eq!(written(|out| out.size(64)), [3, 0]);
    assert_eq!(written(|out| out.size(1)).len(), 3);
}

#[test]
fn whole_pages_in_the_other_form_are_rejected() {
    assert!(size(&[1, 1]).is_err());
}

#[test]
fn size_of_more_than_64_bits_is_rejected() {
    assert!(size(&written(|out| out.varint(1u64 << 53))).is_err());
    assert!(size(&[0x81, 0x40, 0]).is_err());
}

#[test]
fn run_longer_than_its_limit_is_rejected() {
    assert_eq!(run(2)(&[2, 7, 8, 9]), Ok((&[9][..], &[7, 8][..])));
    assert!(run(2)(&[3, 7, 8, 9]).is_err());
    assert!(run(9)(&[3, 7, 8]).is_err());
    let mut memory = [0; 8];
    let long = Writer::new(&mut memory).run(&[7, 8, 9], 2);
    assert_eq!(long, Err(EncodeError::OverLimit));
}

#[test]
fn boolean_is_zero_or_one() {
    assert_eq!(boolean(&[1]), Ok((&[][..], true)));
    assert!(boolean(&[2]).is_err());
}

#[test]
fn writer_never_writes_past_its_end() {
    let mut memory = [0xaa; 4];
    let mut out = Writer::new(memory.split_at_mut(3).0);
    assert_eq!(out.bytes(&[1, 2]), Ok(()));
    assert_eq!(out.bytes(&[3, 4]), Err(EncodeError::Full));
    assert_eq!((out.written(), out.len()), (&[1, 2][..], 2));
    assert_eq!(memory, [1, 2, 0xaa, 0xaa]);
}

proptest! {
    #![proptest_config(crate::proptest_config())]

    #[test]
    fn numbers_come_back(value: u64, shift in 0u32..64, from: u64) {
        let value = value >> shift;
        let bytes = written(|out| out.varint(value));
        prop_assert_eq!(varint(&bytes), Ok((&[][..], value)));
        let bytes = written(|out| out.size(value));
        prop_assert_eq!(size(&bytes), Ok((&[][..], value)));
        let bytes = written(|out| out.difference(value, from));
        prop_assert_eq!(difference(from)(&bytes), Ok((&[][..], value)));
    }

    #[test]
    fn numbers_have_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12), from: u64) {
        if let Ok((rest, value)) = varint(&bytes) {
            prop_assert_eq!(&written(|out| out.varint(value)), &bytes[..bytes.len() - rest.len()]);
        }
        if let Ok((rest, value)) = size(&bytes) {
            prop_assert_eq!(&written(|out| out.size(value)), &bytes[..bytes.len() - rest.len()]);
        }
        if let Ok((rest, value)) = difference(from)(&bytes) {
            let again = written(|out| out.difference(value, from));
            prop_assert_eq!(&again, &bytes[..bytes.len() - rest.len()]);
        }
    }
}
