//! Text to machine code, for the `asm` options of events. Called by [`crate::command`].
//!
//! Intel syntax; statements end at `;` or the end of a line, comments begin with `//`. Numbers are hexadecimal, as
//! everywhere. Names that are neither registers nor labels are symbols of the debuggee. The code
//! may run at any address, so it must not refer to one relative to itself.

use crate::types::number;
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};
use rsasm::arch::{self, Syntax};
use rsasm::assembler::{Assembler, Options};
use rsasm::section::SectionId;
use std::collections::HashSet;

/// Why text is no machine code, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("assembler, line {line}, column {column}: {why}")]
pub struct AssemblyError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// In words, with the part that is wrong.
    pub why: String,
}

/// Machine code of `text`. `symbol` gives the address of a name.
///
/// # Errors
/// What is wrong, and where.
pub fn assemble(
    text: &str,
    symbol: &mut dyn FnMut(&str) -> Option<u64>,
) -> Result<Vec<u8>, AssemblyError> {
    let source = Source::read(text, symbol)?;
    let Some(processor) = arch::lookup("x86-64") else {
        return Err(place(
            text,
            0,
            "there is no assembler for x86-64".to_owned(),
        ));
    };
    let options = Options::new()
        .with_syntax(Syntax::Intel)
        .with_relocatable(false);
    let mut assembler = Assembler::new(processor, options);
    assembler.assemble_str("asm", &source.rewritten);
    let is_whole = assembler.finish();
    // A warning (a value cut to fit, for one) means that the code is not what was written.
    if let Some(first) = assembler.diags().iter().next() {
        let line = assembler.source_map().lookup(first.span.lo);
        let offset = line.map_or(0, |file| first.span.lo.saturating_sub(file.start) as usize);
        return Err(place(text, source.original(offset), first.msg.clone()));
    }
    let code = assembler.section_bytes(SectionId(0));
    match stray_reference(&code) {
        None if is_whole => Ok(code),
        None => Err(place(text, 0, "this cannot be encoded".to_owned())),
        Some(stray) => {
            let offset = text.to_ascii_lowercase().find(&stray.mnemonic).unwrap_or(0);
            Err(place(text, offset, stray.text))
        }
    }
}

fn place(text: &str, offset: usize, why: String) -> AssemblyError {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    AssemblyError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        why,
    }
}

/// The text as the assembler wants it: numbers with `0x`, symbols as numbers.
struct Source {
    rewritten: String,
    /// Pairs of offsets, rewritten and original, in ascending order.
    offsets: Vec<(usize, usize)>,
}

const fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '!' | '$' | '`' | '@')
}

/// What a word in operand position stands for, if it has to be written differently.
fn operand(
    word: &str,
    labels: &HashSet<&str>,
    symbol: &mut dyn FnMut(&str) -> Option<u64>,
) -> Result<Option<u64>, String> {
    if labels.contains(word) {
        return Ok(None);
    }
    let looks_like_number = |c: char| c.is_ascii_hexdigit() || c == '`';
    if word.starts_with(|c: char| c.is_ascii_digit()) || word.chars().all(looks_like_number) {
        return number::parse(word).map(Some).map_err(|why| why.to_string());
    }
    if word.contains('!') {
        return symbol(word)
            .map(Some)
            .ok_or_else(|| format!("no symbol `{word}`"));
    }
    let is_register = crate::types::register::part(&word.to_ascii_lowercase()).is_some();
    Ok(if is_register { None } else { symbol(word) })
}

impl Source {
    fn read(
        text: &str,
        symbol: &mut dyn FnMut(&str) -> Option<u64>,
    ) -> Result<Self, AssemblyError> {
        let labels: HashSet<&str> = text
            .split([';', '\n'])
            .filter_map(|statement| statement.split_once(':'))
            .map(|(label, _)| label.trim())
            .collect();
        let mut source = Self {
            rewritten: String::new(),
            offsets: Vec::new(),
        };
        let mut rest = text;
        let mut is_operand = false;
        while let Some(first) = rest.chars().next() {
            let at = text.len() - rest.len();
            source.offsets.push((source.rewritten.len(), at));
            if rest.starts_with("//") {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            if !is_name_part(first) {
                is_operand &= !matches!(first, ';' | '\n');
                source.rewritten.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let end = rest.find(|c| !is_name_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            if !is_operand && after.trim_start_matches([' ', '\t']).starts_with(':') {
                source.rewritten.push_str(word);
                continue;
            }
            let is_mnemonic = !std::mem::replace(&mut is_operand, true);
            let value = if is_mnemonic {
                if is_prefix(word) {
                    is_operand = false;
                }
                None
            } else {
                operand(word, &labels, symbol).map_err(|why| place(text, at, why))?
            };
            match value {
                Some(value) => source.rewritten.push_str(&format!("{value:#x}")),
                None => source.rewritten.push_str(word.trim_start_matches('@')),
            }
        }
        Ok(source)
    }

    /// Where in the user's text a place of the rewritten one comes from.
    fn original(&self, offset: usize) -> usize {
        let next = self.offsets.partition_point(|(from, _)| *from <= offset);
        next.checked_sub(1).map_or(0, |index| self.offsets[index].1)
    }
}

fn is_prefix(word: &str) -> bool {
    ["lock", "rep", "repe", "repz", "repne", "repnz"]
        .iter()
        .any(|prefix| word.eq_ignore_ascii_case(prefix))
}

/// The code, with a RET behind it if it does not end with one: what follows is nobody's code.
#[must_use]
pub fn returning(mut code: Vec<u8>) -> Vec<u8> {
    let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
    let last = decoder.iter().last();
    if last.is_none_or(|last| last.mnemonic() != Mnemonic::Ret) {
        code.push(0xc3);
    }
    code
}

struct Stray {
    mnemonic: String,
    text: String,
}

/// An instruction that refers to something outside relative to itself. Also the second opinion
/// on what the assembler made: all of it must be instructions.
fn stray_reference(code: &[u8]) -> Option<Stray> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let is_inside = |target: u64| target <= code.len() as u64;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let mnemonic = format!("{:?}", instruction.mnemonic()).to_ascii_lowercase();
        let is_near_branch = (0..instruction.op_count()).any(|operand| {
            matches!(
                instruction.op_kind(operand),
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
            )
        });
        let text = if instruction.is_invalid() {
            "this cannot be encoded".to_owned()
        } else if is_near_branch && !is_inside(instruction.near_branch_target()) {
            format!(
                "`{mnemonic}` leads out of the code, which may lie anywhere; put the address \
                 into a register and use that"
            )
        } else if instruction.is_ip_rel_memory_operand()
            && !is_inside(instruction.ip_rel_memory_address())
        {
            format!(
                "`{mnemonic}` names memory relative to the code, which may lie anywhere; put the \
                 address into a register and use that"
            )
        } else {
            continue;
        };
        return Some(Stray { mnemonic, text });
    }
    None
}

#[cfg(test)]
mod tests;
