//! Instructions.

use super::name;
use crate::answer::Instruction;

/// Lines of `u`: a heading where a symbol begins (or at the first line), then the instruction.
pub(super) fn code(instructions: &[Instruction]) -> String {
    let mut lines = Vec::new();
    for (index, instruction) in instructions.iter().enumerate() {
        let at = &instruction.at;
        if let Some(symbol) = &at.symbol
            && (index == 0 || (symbol.offset.0 == 0 && symbol.name.is_some()))
        {
            lines.push(format!("{}:", name(symbol)));
        }
        let bytes = instruction.bytes.to_string();
        lines.push(format!(
            "{:016x} {bytes:<15} {}",
            at.address, instruction.text
        ));
    }
    lines.join("\n")
}
