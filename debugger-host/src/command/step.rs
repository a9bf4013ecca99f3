//! `i` and `ir`: instructions of one core while all others stay held.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::{Address, Answer, Count, Hex, RegisterValue, StepLine};
use crate::disasm::disassemble;
use crate::expression::Expression;
use crate::session::{Space, Step, Stepped};
use crate::types::register::spelling;
use wire_protocol::limits;
use wire_protocol::packet::{StepDetail, StepOrder};
use wire_protocol::register::Register;

/// So many are shown with their instructions; of more, the last few.
const SHOWN_MAX: u64 = 0x40;
const LAST_SHOWN: usize = 8;

struct Instructions {
    count: Option<Expression>,
    shows_registers: bool,
}

fn instructions(
    mut arguments: Arguments<'_>,
    shows_registers: bool,
) -> Result<Box<dyn Action>, ParseError> {
    let count = if arguments.is_empty() {
        None
    } else {
        Some(arguments.number("COUNT")?)
    };
    arguments.end()?;
    Ok(Box::new(Instructions {
        count,
        shows_registers,
    }))
}

pub(super) fn plain(arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    instructions(arguments, false)
}

pub(super) fn with_registers(arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    instructions(arguments, true)
}

impl Action for Instructions {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let count = self.count.as_ref();
        let count = count_of(debugger, "COUNT", count, 1, self.shows_registers)?;
        let order = StepOrder {
            core: debugger.session.core(),
            count,
            detail: detail_for(count, self.shows_registers),
            walk: None,
        };
        let stepped = debugger.session.step(order)?;
        Ok(shown(debugger, stepped, self.shows_registers, false))
    }
}

/// How many are asked for: at most what can be shown if registers are.
pub(super) fn count_of(
    debugger: &mut Debugger,
    what: &'static str,
    count: Option<&Expression>,
    usual: u32,
    shows_registers: bool,
) -> Result<u32, CommandError> {
    let most = match shows_registers {
        true => SHOWN_MAX,
        false => u64::from(limits::STEPS),
    };
    let count = match count {
        Some(count) => debugger.value(count)?,
        None => u64::from(usual),
    };
    let in_range = u32::try_from(count).ok();
    let in_range = in_range.filter(|count| (1..=most).contains(&u64::from(*count)));
    in_range.ok_or(CommandError::OutOfRange {
        what,
        value: count,
        least: 1,
        most,
    })
}

/// What is to be told of so many.
pub(super) fn detail_for(count: u32, shows_registers: bool) -> StepDetail {
    match shows_registers {
        true => StepDetail::Registers,
        false if u64::from(count) <= SHOWN_MAX => StepDetail::Code,
        false => StepDetail::Addresses,
    }
}

/// What came of steps, of a thread or of a core alone.
pub(super) fn shown(
    debugger: &mut Debugger,
    stepped: Stepped,
    shows_registers: bool,
    is_thread: bool,
) -> Answer {
    // What scripts printed meanwhile comes first.
    debugger.show_news();
    let mut steps = stepped.steps;
    let last_has_record = steps.len() as u64 >= u64::from(stepped.count);
    let trace: Vec<Hex> = steps
        .iter()
        .map(|step| Hex(step.rip))
        .chain((!last_has_record && stepped.count > 0).then_some(Hex(stepped.halt.rip.0)))
        .collect();
    // The halt shows the last one.
    let last = if last_has_record { steps.pop() } else { None };
    let from = if steps.len() as u64 <= SHOWN_MAX {
        0
    } else {
        steps.len() - (LAST_SHOWN - 1)
    };
    let mut lines = Vec::new();
    for step in steps.drain(from..) {
        lines.push(line(debugger, step));
    }
    let of_last = last.and_then(|last| last.registers);
    let halt = debugger.halt(&stepped.halt);
    Answer::Stepped {
        is_thread,
        count: Count(stepped.count.into()),
        trace,
        lines,
        registers: named(of_last.unwrap_or(stepped.registers)),
        shows_registers,
        halt: Box::new(halt),
    }
}

fn named(values: Vec<(Register, u64)>) -> Vec<RegisterValue> {
    let named = values.into_iter().map(|(register, value)| RegisterValue {
        name: spelling(register),
        value: Hex(value),
    });
    named.collect()
}

/// One instruction that was stepped to; of a long trace its bytes are read now.
fn line(debugger: &mut Debugger, step: Step) -> StepLine {
    let core = debugger.session.core();
    let code = if step.code.is_empty() {
        let space = Space::Virtual(core);
        let read = debugger
            .session
            .memory(space, step.rip, limits::STOP_CODE_BYTES);
        read.unwrap_or_default()
    } else {
        step.code
    };
    let mut instructions = disassemble(&code, step.rip, &debugger.symbols).into_iter();
    StepLine {
        at: Address::new(step.rip, &debugger.symbols),
        instruction: instructions.next(),
        registers: named(step.registers.unwrap_or_default()),
    }
}
