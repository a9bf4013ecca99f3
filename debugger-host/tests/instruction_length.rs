//! Lengths of instructions, as scripts get them, against an independent decoder.

use iced_x86::{Code, Decoder, DecoderOptions};
use proptest::prelude::*;
use wire_protocol::instruction::{CodeSize, length};

/// Instructions that no processor with VMX has: they share an opcode with VMREAD.
const FOREIGN: [Code; 2] = [Code::Extrq_xmm_imm8_imm8, Code::Insertq_xmm_xmm_imm8_imm8];

/// What is wrong with a length, if the other decoder knows the instruction.
fn difference(code: &[u8], size: CodeSize, bits: u32) -> Option<String> {
    let mut decoder = Decoder::new(bits, code, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let ours = length(code, size).map(usize::from);
    let foreign = FOREIGN.contains(&instruction.code());
    let same = instruction.is_invalid() || foreign || ours == Some(instruction.len());
    (!same).then(|| {
        format!(
            "{bits} bits {code:02x?}: {ours:?}, is {} ({:?})",
            instruction.len(),
            instruction.code()
        )
    })
}

fn assert_same(code: &[u8]) {
    for (size, bits) in [(CodeSize::Bits64, 64), (CodeSize::Bits32, 32)] {
        if let Some(difference) = difference(code, size, bits) {
            panic!("{difference}");
        }
    }
}

#[test]
fn every_opcode_has_its_length() {
    let prefixes: [&[u8]; 8] = [
        &[],
        &[0x66],
        &[0x67],
        &[0xf3],
        &[0xf2],
        &[0x48],
        &[0x66, 0x48],
        &[0x48, 0x66],
    ];
    let escapes: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut wrong = Vec::new();
    for prefix in prefixes {
        for escape in escapes {
            for opcode in 0..=255 {
                for modrm in 0..=255 {
                    let mut code = [prefix, escape, &[opcode, modrm]].concat();
                    code.extend([0x25; 10]);
                    for (size, bits) in [(CodeSize::Bits64, 64), (CodeSize::Bits32, 32)] {
                        wrong.extend(difference(&code, size, bits));
                    }
                }
            }
        }
    }
    let count = wrong.len();
    wrong.dedup_by_key(|text| text.rsplit('(').next().map(str::to_owned));
    wrong.truncate(30);
    assert_eq!(count, 0, "{wrong:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_have_the_same_length(code in proptest::collection::vec(any::<u8>(), 15)) {
        assert_same(&code);
    }

    #[test]
    fn random_vector_instructions_have_the_same_length(
        first in prop_oneof![Just(0xc4u8), Just(0xc5), Just(0x62), Just(0x8f)],
        rest in proptest::collection::vec(any::<u8>(), 14),
    ) {
        let mut code = vec![first];
        code.extend(rest);
        assert_same(&code);
    }
}
