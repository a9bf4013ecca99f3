//! Bytes to instructions. Called by `u` and when a halt is shown.

use crate::symbol::resolve::Symbols;
use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, MemorySizeOptions, OpKind,
    Register, SymbolResolver, SymbolResult,
};
use std::collections::HashMap;

/// Longest instruction.
pub const INSTRUCTION_BYTES: usize = 15;

/// One instruction as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it is.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Mnemonic and operands, with names of branch targets and rip-relative operands.
    pub text: String,
}

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
        instruction: &Instruction,
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

/// Disassembles 64-bit code. The last instruction may be cut short by the end of `bytes`; it is
/// left out, unless it is the only one.
#[must_use]
pub fn disassemble(bytes: &[u8], address: u64, symbols: &Symbols) -> Vec<Line> {
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
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        lines.push(Line {
            address: instruction.ip(),
            bytes: bytes[start..decoder.position()].to_vec(),
            text: if is_cut || instruction.is_invalid() {
                "???".into()
            } else {
                text
            },
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn an_instruction_that_is_cut_short_is_left_out() {
        let lines = disassemble(&[0x90, 0xe8, 0xfb], 0x1000, &symbols());
        assert_eq!(lines.len(), 1);
        assert_eq!(disassemble(&[0xe8], 0x1000, &symbols())[0].text, "???");
    }
}
