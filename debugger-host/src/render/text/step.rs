//! Instructions that were executed one by one.

use super::code::code;
use super::news::reasons;
use super::{address, name};
use crate::answer::{
    Address, Cause, Count, Halt, Instruction, Name, RegisterValue, StepEndName, StepLine,
};

/// A line for each instruction that came next, what changed if that is shown, and where all of it ended.
pub(super) fn stepped(
    is_thread: bool,
    count: Count,
    lines: &[StepLine],
    registers: &[RegisterValue],
    shows_registers: bool,
    end: &Halt,
) -> String {
    let mut text = Vec::new();
    let is_short = lines.len() as u64 + 1 >= count.0;
    let counted = Cause::Stepped {
        end: StepEndName::Count,
    };
    if end.cause != counted || !is_short {
        let (s, are) = if count.0 == 1 {
            ("", "is")
        } else {
            ("s", "are")
        };
        let rest = match is_short || lines.is_empty() {
            true => "",
            false => "; the last ones:",
        };
        text.push(match is_thread {
            true => format!("{count} step{s} {are} done{rest}"),
            false => format!(
                "{count} instruction{s} of core {:x} {are} done{rest}",
                end.core
            ),
        });
    }
    let mut symbol = None;
    for line in lines {
        text.push(next(&line.at, line.instruction.as_ref(), &mut symbol));
        if shows_registers {
            text.extend(changed(&line.registers));
        }
    }
    match &end.cause {
        Cause::Stepped {
            end: StepEndName::Stuck | StepEndName::Asleep,
        } if is_thread => text.push(alone(end)),
        _ => text.extend(reasons(end)),
    }
    text.push(next(&end.at, end.instruction.as_ref(), &mut symbol));
    if shows_registers {
        text.extend(changed(registers));
    }
    text.join("\n")
}

/// The thread does not come back while its core is alone.
fn alone(end: &Halt) -> String {
    let place = end
        .at
        .symbol
        .as_ref()
        .map_or_else(|| format!("{:016x}", end.at.address), name);
    format!(
        "core {:x} does not get on alone: it is in {place}, and what it waits for is with a core that is held; \
         without `freeze` all cores run",
        end.core
    )
}

/// The instruction that comes next, under the name of its function where that is another one than before.
fn next(at: &Address, instruction: Option<&Instruction>, symbol: &mut Option<Name>) -> String {
    let Some(instruction) = instruction else {
        *symbol = None;
        return address(at);
    };
    let is_same = match (&instruction.at.symbol, symbol.as_ref()) {
        (Some(here), Some(before)) => here.module == before.module && here.name == before.name,
        _ => false,
    };
    symbol.clone_from(&instruction.at.symbol);
    let whole = code(std::slice::from_ref(instruction));
    match whole.rsplit_once('\n') {
        Some((_, last)) if is_same => last.to_owned(),
        _ => whole,
    }
}

/// `    rax=0000000000000001 rflags=0000000000000246`, four in a row.
fn changed(registers: &[RegisterValue]) -> Vec<String> {
    let row = |row: &[RegisterValue]| {
        let values = row
            .iter()
            .map(|register| format!("{}={:016x}", register.name, register.value));
        format!("    {}", values.collect::<Vec<_>>().join(" "))
    };
    registers.chunks(4).map(row).collect()
}
