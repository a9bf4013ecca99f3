//! Bytes to instructions. Called by `u`, and for halts and traces.

mod operand;

use crate::answer::{Address, Bytes, Instruction};
use crate::symbol::resolve::Symbols;
use iced_x86::{
    Decoder, DecoderOptions, FormatMnemonicOptions, Formatter, IntelFormatter, MemorySizeOptions,
    Mnemonic, OpKind, Register, SymbolResolver, SymbolResult,
};
use std::collections::HashMap;

/// Longest instruction.
pub const INSTRUCTION_BYTES: usize = 15;

/// Names of the addresses that one piece of code speaks of.
struct Names(HashMap<u64, String>);

impl Names {
    fn of(bytes: &[u8], address: u64, symbols: &Symbols) -> Self {
        let mut names = HashMap::new();
        for instruction in Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
            for operand in 0..instruction.op_count() {
                let target = match instruction.op_kind(operand) {
                    OpKind::NearBranch64 => instruction.near_branch64(),
                    OpKind::Memory if instruction.memory_base() == Register::RIP => {
                        instruction.ip_rel_memory_address()
                    }
                    _ => continue,
                };
                if let Some(place) = symbols.place(target) {
                    names.insert(target, place.to_string());
                }
            }
        }
        Self(names)
    }
}

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        instruction: &iced_x86::Instruction,
        _: u32,
        operand: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let names_a_place = match instruction.op_kind(operand?) {
            OpKind::NearBranch64 => true,
            OpKind::Memory => instruction.memory_base() == Register::RIP,
            _ => false,
        };
        let name = names_a_place.then(|| self.0.get(&address)).flatten()?;
        Some(SymbolResult::with_str(address, name))
    }
}

/// Where instructions start from `address` on, up to the one that has the byte at `end`. `None` if that cannot be told:
/// what is there is no instruction, or a breakpoint that stands for another one.
#[must_use]
pub fn starts(bytes: &[u8], address: u64, end: u64) -> Option<Vec<u64>> {
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let mut starts = Vec::new();
    while decoder.ip() <= end {
        let start = decoder.ip();
        if !decoder.can_decode() {
            return None;
        }
        let instruction = decoder.decode();
        let is_known = !instruction.is_invalid() && instruction.mnemonic() != Mnemonic::Int3;
        if !is_known && start != end {
            return None;
        }
        starts.push(start);
    }
    Some(starts)
}

/// Disassembles 64-bit code. The last instruction may be cut short by the end of `bytes`; it is
/// left out, unless it is the only one.
#[must_use]
pub fn disassemble(bytes: &[u8], address: u64, symbols: &Symbols) -> Vec<Instruction> {
    let names = Names::of(bytes, address, symbols);
    let mut formatter = IntelFormatter::with_options(Some(Box::new(names)), None);
    let options = formatter.options_mut();
    options.set_uppercase_all(false);
    options.set_uppercase_hex(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(false);
    options.set_branch_leading_zeros(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_show_symbol_address(true);
    options.set_rip_relative_addresses(false);
    options.set_memory_size_options(MemorySizeOptions::Always);
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let mut lines = Vec::new();
    while decoder.can_decode() {
        let start = decoder.position();
        let instruction = decoder.decode();
        let is_cut = decoder.last_error() == iced_x86::DecoderError::NoMoreBytes;
        if is_cut && !lines.is_empty() {
            break;
        }
        let is_valid = !is_cut && !instruction.is_invalid();
        let bytes = &bytes[start..decoder.position()];
        lines.push(match is_valid {
            true => whole(&instruction, bytes, &mut formatter, symbols),
            false => invalid(instruction.ip(), bytes, symbols),
        });
    }
    lines
}

/// Bytes that are no instruction, or only its beginning.
fn invalid(address: u64, bytes: &[u8], symbols: &Symbols) -> Instruction {
    Instruction {
        at: Address::new(address, symbols),
        bytes: Bytes(bytes.to_vec()),
        text: "???".to_owned(),
        is_valid: false,
        prefixes: Vec::new(),
        mnemonic: String::new(),
        operands: Vec::new(),
        mask: None,
        zeroes_masked: false,
    }
}

fn whole(
    instruction: &iced_x86::Instruction,
    bytes: &[u8],
    formatter: &mut IntelFormatter,
    symbols: &Symbols,
) -> Instruction {
    let (mut text, mut mnemonic) = (String::new(), String::new());
    formatter.format(instruction, &mut text);
    formatter.format_mnemonic_options(
        instruction,
        &mut mnemonic,
        FormatMnemonicOptions::NO_PREFIXES,
    );
    let prefixes = [
        (instruction.has_lock_prefix(), "lock"),
        (instruction.has_rep_prefix(), "rep"),
        (instruction.has_repne_prefix(), "repne"),
        (instruction.has_xacquire_prefix(), "xacquire"),
        (instruction.has_xrelease_prefix(), "xrelease"),
    ];
    let prefixes = prefixes.iter().filter(|(is_there, _)| *is_there);
    Instruction {
        at: Address::new(instruction.ip(), symbols),
        bytes: Bytes(bytes.to_vec()),
        text,
        is_valid: true,
        prefixes: prefixes.map(|(_, name)| (*name).to_owned()).collect(),
        mnemonic,
        operands: operand::operands(instruction, formatter, symbols),
        mask: operand::register(instruction.op_mask(), formatter),
        zeroes_masked: instruction.zeroing_masking(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Hex, Operand};
    use crate::symbol::table::{Symbol, Table};

    fn symbols() -> Symbols {
        let mut symbols = Symbols::default();
        symbols.set_kernel(Table::new(vec![
            Symbol {
                address: 0xffff_ffff_8100_0000,
                kind: b'T',
                name: "_text".into(),
            },
            Symbol {
                address: 0xffff_ffff_8100_0100,
                kind: b'T',
                name: "helper".into(),
            },
        ]));
        symbols
    }

    #[test]
    fn branch_targets_have_names() {
        // call +0xfb from ...0000 goes to ...0100
        let lines = disassemble(
            &[0xe8, 0xfb, 0, 0, 0, 0x90],
            0xffff_ffff_8100_0000,
            &symbols(),
        );
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].text.contains("vmlinux!helper"),
            "{}",
            lines[0].text
        );
        assert_eq!(lines[1].text, "nop");
    }

    #[test]
    fn all_that_the_text_says_is_in_the_parts() {
        let one = |code: &[u8]| disassemble(code, 0xffff_ffff_8100_0000, &symbols()).remove(0);
        // lock add qword ptr gs:[rbx+rcx*4-8],5
        let add = one(&[0xf0, 0x65, 0x48, 0x83, 0x44, 0x8b, 0xf8, 5]);
        assert_eq!(
            (add.mnemonic.as_str(), add.prefixes.as_slice()),
            ("add", &["lock".to_owned()][..])
        );
        let register = |name: &str| Some(name.to_owned());
        assert_eq!(
            add.operands,
            [
                Operand::Memory {
                    size_bytes: 8,
                    segment: register("gs"),
                    base: register("rbx"),
                    index: register("rcx"),
                    scale: 4,
                    displacement: Hex((-8_i64).cast_unsigned()),
                    is_broadcast: false,
                    target: None,
                },
                Operand::Immediate { value: Hex(5) },
            ]
        );
        // mov rax,[rip+0xf9]
        let load = one(&[0x48, 0x8b, 0x05, 0xf9, 0, 0, 0]);
        let Operand::Memory {
            target: Some(target),
            ..
        } = &load.operands[1]
        else {
            panic!("{load:?}");
        };
        assert_eq!(target.address, Hex(0xffff_ffff_8100_0100));
        assert_eq!(
            target.symbol.as_ref().and_then(|name| name.name.as_deref()),
            Some("helper")
        );
        let call = one(&[0xe8, 0xfb, 0, 0, 0]);
        assert_eq!(
            call.operands,
            [Operand::Branch {
                target: target.clone()
            }]
        );
    }

    #[test]
    fn an_instruction_that_is_cut_short_is_left_out() {
        let lines = disassemble(&[0x90, 0xe8, 0xfb], 0x1000, &symbols());
        assert_eq!(lines.len(), 1);
        assert_eq!(disassemble(&[0xe8], 0x1000, &symbols())[0].text, "???");
    }
}
