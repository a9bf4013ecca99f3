//! Texts of records, good ones and others.

use super::{Clock, Site, write_format};
use crate::bytecode::Assembler;
use crate::bytecode::Program;
use crate::bytecode::assemble::Scratch;
use crate::bytecode::op::Op;
use crate::bytecode::routine::Show;
use crate::bytecode::tag::Marker;
use crate::packet::{Argument, Arguments};
use Argument::{Bytes, Number};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

const CLOCK: Clock<'static> = Clock {
    date: "2031-02-03",
    time: "04:05:06",
};

fn text(format: &str, arguments: &[Argument<'_>]) -> String {
    let mut out = String::new();
    write_format(
        format.as_bytes(),
        arguments.iter().copied(),
        CLOCK,
        &mut out,
    )
    .unwrap();
    out
}

const MINUS: u64 = u64::MAX;

#[test]
fn numbers_have_the_bits_their_format_says() {
    assert_eq!(
        text("%d %i", &[Number(MINUS), Number(0xffff_ffff)]),
        "-1 -1"
    );
    assert_eq!(text("%lld", &[Number(0xffff_ffff)]), "4294967295");
    assert_eq!(text("%u", &[Number(MINUS)]), "4294967295");
    assert_eq!(
        text("%x %llx", &[Number(MINUS), Number(MINUS)]),
        "ffffffff ffffffffffffffff"
    );
    assert_eq!(text("%hx %hhx", &[Number(MINUS), Number(MINUS)]), "ffff ff");
    assert_eq!(text("%hd", &[Number(0x8000)]), "-32768");
    assert_eq!(text("%o", &[Number(8)]), "10");
    assert_eq!(text("%p", &[Number(0xabc)]), "0000000000000abc");
    assert_eq!(text("%c%c", &[Number(0x68), Number(0x69)]), "hi");
    assert_eq!(text("%lld", &[Number(1 << 63)]), "-9223372036854775808");
}

#[test]
fn width_precision_and_flags_are_those_of_c() {
    assert_eq!(text("[%5d]", &[Number(42)]), "[   42]");
    assert_eq!(text("[%-5d]", &[Number(42)]), "[42   ]");
    assert_eq!(text("[%05d]", &[Number((-42i64) as u64)]), "[-0042]");
    assert_eq!(text("[%+d]", &[Number(42)]), "[+42]");
    assert_eq!(text("[%#06x]", &[Number(0xab)]), "[0x00ab]");
    assert_eq!(text("[%.4x]", &[Number(0xab)]), "[00ab]");
    assert_eq!(text("[%016llX]", &[Number(0xab)]), "[00000000000000AB]");
    assert_eq!(text("[%5s]", &[Bytes(b"ab")]), "[   ab]");
    assert_eq!(text("[%-5.2s]", &[Bytes(b"abc")]), "[ab   ]");
    assert_eq!(text("[%.2f]", &[Number(1.005f64.to_bits())]), "[1.00]");
    assert_eq!(
        text("[%8.3f]", &[Number((-1.5f64).to_bits())]),
        "[  -1.500]"
    );
    assert_eq!(text("%f", &[Number(f64::NEG_INFINITY.to_bits())]), "-inf");
    assert_eq!(text("100%%", &[]), "100%");
}

#[test]
fn texts_are_shown_whatever_their_bytes() {
    assert_eq!(text("<%s>", &[Bytes("grün".as_bytes())]), "<grün>");
    assert_eq!(text("<%s>", &[Bytes(b"a\xffb")]), "<a\u{fffd}b>");
    let wide: Vec<u8> = "grün".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        text("<%ws> <%ls>", &[Bytes(&wide), Bytes(&wide)]),
        "<grün> <grün>"
    );
    assert_eq!(text("%s", &[Number(Marker::Time.address())]), "04:05:06");
    assert_eq!(
        text("%12s", &[Number(Marker::Date.address())]),
        "  2031-02-03"
    );
}

#[test]
fn what_does_not_fit_is_shown_and_no_error() {
    assert_eq!(text("%s", &[Number(0x10)]), "<no text at 10>");
    assert_eq!(text("%d", &[]), "<no value>");
    assert_eq!(text("%d", &[Bytes(b"abc")]), "abc");
    assert_eq!(text("%q %", &[Number(1)]), "%q %");
    assert_eq!(text("%99999999999999999999d", &[Number(1)]).len(), 1024);
}

#[test]
fn places_that_print_are_found() {
    let mut scratch = Scratch::default();
    let mut a = Assembler::new(scratch.memory());
    a.number(0x10).unwrap();
    a.show(Show::Print).unwrap();
    a.number(1).unwrap();
    let site = a.here();
    a.printf(b"%d\n", 1, 0).unwrap();
    a.op(Op::Exit).unwrap();
    let mut bytes = [0; 64];
    let bytes = a.finish(&mut bytes).unwrap();
    let program = Program::parse(bytes).unwrap();
    assert_eq!(Site::of(&program, 0), None);
    assert_eq!(Site::of(&program, 1), Some(Site::Show(Show::Print)));
    assert_eq!(Site::of(&program, site), Some(Site::Format(b"%d\n")));
    assert_eq!(Site::of(&program, 1000), None);
    let mut scratch = [0; 16];
    let arguments = Arguments::encode_into(&[Number(0x10)], &mut scratch).unwrap();
    let mut out = String::new();
    for site in [1, site] {
        let site = Site::of(&program, site).unwrap();
        site.write(arguments, CLOCK, &mut out).unwrap();
    }
    assert_eq!(out, "10\n16\n");
}

#[test]
fn formats_shows_every_notation() {
    let mut out = String::new();
    super::write_value(Show::Formats, 0x41, &mut out).unwrap();
    for part in ["41", "65", "101", "1000001", ".......A"] {
        assert!(out.contains(part), "{out}");
    }
}

proptest! {
    #![proptest_config(crate::proptest_config())]

    #[test]
    fn any_format_takes_any_values(
        format in proptest::collection::vec(
            prop_oneof![Just(b'%'), Just(b's'), Just(b'l'), Just(b'0'), Just(b'.'), any::<u8>()],
            0..40,
        ),
        numbers in proptest::collection::vec(any::<u64>(), 0..4),
    ) {
        let mut out = String::new();
        let arguments = numbers.iter().map(|&number| Number(number)).chain([Bytes(&format)]);
        write_format(&format, arguments, CLOCK, &mut out).unwrap();
    }
}
