//! Compared with an independent decoder.

extern crate std;

use super::decode::{decode, first_opcode_byte};
use super::parts::Encoding;
use super::{LENGTH_MAX, Registers};
use crate::ept::model::config;
use iced_x86::{
    Decoder, DecoderOptions, Instruction as Other, InstructionInfoFactory, OpAccess, OpKind,
    Register,
};
use proptest::prelude::*;
use std::format;
use std::vec;
use std::vec::Vec;

const RIP: u64 = 0xffff_ffff_8100_0000;

fn other(bytes: &[u8]) -> Option<Other> {
    let mut decoder = Decoder::with_ip(64, bytes, RIP, DecoderOptions::NONE);
    let other = decoder.decode();
    (!other.is_invalid()).then_some(other)
}

fn general() -> [u64; 16] {
    core::array::from_fn(|number| 0x1000_0000_0000 + 0x0101_0101_0000 * number as u64)
}

fn registers(general: &[u64; 16]) -> Registers<'_> {
    Registers {
        general,
        rsp: general[4],
        rip: RIP,
        fs_base: 0x7000_0000,
        gs_base: 0x5000_0000_0000,
    }
}

fn value(register: Register, general: &[u64; 16]) -> u64 {
    match register {
        Register::FS => 0x7000_0000,
        Register::GS => 0x5000_0000_0000,
        _ if register.is_segment_register() => 0,
        _ => {
            let full = general[register.full_register().number()];
            if register.size() == 4 {
                full & 0xffff_ffff
            } else {
                full
            }
        }
    }
}

/// Instructions that the decoder leaves out on purpose: other vendors', and state of unknown size.
fn is_left_out(other: &Other) -> bool {
    other.cpuid_features().iter().any(|feature| {
        let name = format!("{feature:?}");
        [
            "XOP", "CYRIX", "D3NOW", "KNC", "PADLOCK", "GEODE", "MVEX", "AMX", "SSE4A", "SEV",
            "RMP", "CL1INVMB",
        ]
        .iter()
        .any(|left_out| name.starts_with(left_out))
    })
}

fn assert_same(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Some(other) = other(bytes).filter(|other| !is_left_out(other)) else {
        return Ok(());
    };
    let what = format!("{other:?} {:x?}", &bytes[..other.len()]);
    let Some(mine) = decode(bytes) else {
        return Err(TestCaseError::fail(what));
    };
    prop_assert_eq!(usize::from(mine.len), other.len(), "{}", what);
    let general = general();
    let registers = registers(&general);
    let mut factory = InstructionInfoFactory::new();
    for used in factory.info(&other).used_memory() {
        if used.vsib_size() != 0 || matches!(used.access(), OpAccess::NoMemAccess | OpAccess::None)
        {
            continue;
        }
        let size = used.memory_size().size();
        let mine_bytes = usize::from(mine.memory_bytes());
        let is_the_named_one = used.memory_size() == other.memory_size()
            && used.segment() == other.memory_segment()
            && used.base() == other.memory_base()
            && used.index() == other.memory_index()
            && other.op_kinds().any(|kind| kind == OpKind::Memory);
        let has_one =
            used.segment() != Register::SS || !other.op_kinds().any(|kind| kind == OpKind::Memory);
        let is_exact = mine.encoding == Encoding::Legacy && (is_the_named_one || has_one);
        if size == 0 {
            // Of unknown size.
            prop_assert!(mine_bytes >= 1, "{}", what);
        } else if is_exact {
            prop_assert_eq!(mine_bytes, size, "{} {:?}", what, used);
        } else {
            prop_assert!(mine_bytes >= size, "{} {:?} {}", what, used, mine_bytes);
        }
        // What is only partly read, as XSAVE does, counts as written.
        if !is_the_named_one || size == 0 {
            continue;
        }
        match used.access() {
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
                prop_assert!(mine.reads_what_it_writes(), "{}", what);
            }
            OpAccess::Write | OpAccess::CondWrite => {
                prop_assert!(!mine.reads_what_it_writes(), "{}", what);
            }
            _ => {}
        }
        let address = used.virtual_address(0, |register, _, _| Some(value(register, &general)));
        if let (Some(address), Some(mine_address)) = (address, mine.effective_address(&registers)) {
            prop_assert_eq!(mine_address, address, "{} {:?}", what, used);
        }
    }
    Ok(())
}

/// Prefixes and opcodes of all maps, with any operands behind.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![0x66_u8, 0xf2, 0xf3, 0x67, 0x64, 0x65, 0x2e, 0xf0]);
    let prefixes = prop_oneof![
        6 => Just(vec![]),
        4 => prop::collection::vec(prefix, 1..3),
    ];
    let rex = prop_oneof![1 => Just(vec![]), 1 => (0x40_u8..0x50).prop_map(|rex| vec![rex])];
    let map = prop_oneof![
        4 => Just(vec![]),
        4 => Just(vec![0x0f]),
        2 => Just(vec![0x0f, 0x38]),
        2 => Just(vec![0x0f, 0x3a]),
        2 => any::<u8>().prop_map(|byte| vec![0xc5, byte]),
        2 => (0_u8..4, any::<u8>(), any::<u8>()).prop_map(|(map, high, byte)| vec![0xc4, map | high & 0xe0, byte]),
        2 => (0_u8..7, any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(map, high, second, third)| vec![0x62, map | high & 0xf0, second | 4, third]),
    ];
    let rest = prop::collection::vec(any::<u8>(), LENGTH_MAX);
    (prefixes, rex, map, rest).prop_map(|(prefixes, rex, map, rest)| {
        let mut bytes = [prefixes, rex, map, rest].concat();
        bytes.truncate(LENGTH_MAX);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases * 64, ..config() })]

    #[test]
    #[cfg_attr(miri, ignore = "the other decoder reads through pointers of its own making, which Miri refuses")]
    fn lengths_and_accesses_are_those_of_another_decoder(bytes in bytes()) {
        assert_same(&bytes)?;
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "the other decoder reads through pointers of its own making, which Miri refuses"
)]
fn every_opcode_of_every_map_is_known() {
    let mut wrong = Vec::new();
    let maps: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    for map in maps {
        for prefix in [
            &[][..],
            &[0x66],
            &[0xf2],
            &[0xf3],
            &[0x48],
            &[0x66, 0x48],
            &[0xf3, 0x48],
            &[0xf2, 0x48],
        ] {
            for opcode in 0..=255_u8 {
                for modrm in [
                    0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x04, 0x05, 0x46, 0x84, 0xc1,
                    0xd1, 0xe9,
                ] {
                    let mut bytes = [prefix, map, &[opcode, modrm, 0x25]].concat();
                    bytes.resize(LENGTH_MAX, 0x11);
                    if let Err(error) = assert_same(&bytes) {
                        wrong.push(format!("{error}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_end_too_early_are_no_instruction() {
    let long = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(decode(&long).map(|it| it.len), Some(10));
    for len in 0..long.len() {
        assert_eq!(decode(&long[..len]), None);
    }
    assert_eq!(decode(&[0x66; 20]), None);
}

#[test]
fn an_operand_that_begins_on_the_page_before_is_found() {
    let general = general();
    let registers = registers(&general);
    // MOV [RBX], RAX
    let store = decode(&[0x48, 0x89, 0x03]).unwrap();
    assert_eq!(store.start_of_access(&registers, general[3]), general[3]);
    assert_eq!(
        store.start_of_access(&registers, general[3] + 5),
        general[3]
    );
    let elsewhere = general[3] + 8;
    assert_eq!(store.start_of_access(&registers, elsewhere), elsewhere);
    // REP MOVSQ
    let string = decode(&[0xf3, 0x48, 0xa5]).unwrap();
    assert!(string.is_repeated_string());
    assert_eq!(
        string.start_of_access(&registers, general[7] + 7),
        general[7]
    );
    // PUSH RAX
    let push = decode(&[0x50]).unwrap();
    assert_eq!(
        push.start_of_access(&registers, general[4] - 3),
        general[4] - 8
    );
}

#[test]
fn prefixes_are_not_the_opcode() {
    for (bytes, in_64_bit, in_32_bit) in [
        (&[0xc3][..], Some(0xc3), Some(0xc3)),
        (&[0xf3, 0xc3], Some(0xc3), Some(0xc3)),
        (&[0x48, 0xcf], Some(0xcf), Some(0x48)),
        (&[0x66, 0x2e, 0x65, 0x4f, 0xcf], Some(0xcf), Some(0x4f)),
        (&[0x66; 15], None, None),
        (&[], None, None),
    ] {
        assert_eq!(first_opcode_byte(bytes, true), in_64_bit, "{bytes:x?}");
        assert_eq!(first_opcode_byte(bytes, false), in_32_bit, "{bytes:x?}");
    }
}

#[test]
fn system_calls_and_their_returns_are_known_with_prefixes() {
    let of = |bytes: &[u8]| decode(bytes).map(|it| (it.is_syscall(), it.is_sysret(), it.len));
    assert_eq!(of(&[0x0f, 5]), Some((true, false, 2)));
    assert_eq!(
        of(&[0x66, 0xf3, 0x64, 0x48, 0x0f, 5]),
        Some((true, false, 6))
    );
    assert_eq!(of(&[0x48, 0x0f, 7]), Some((false, true, 3)));
    // LOCK makes them invalid.
    assert_eq!(of(&[0xf0, 0x0f, 5]), Some((false, false, 3)));
    assert_eq!(of(&[0xf0, 0x0f, 7]), Some((false, false, 3)));
    assert_eq!(of(&[0x0f, 0x0b]), Some((false, false, 2)));
}
