//! `r`: shows and changes registers, parts of registers, flags.

use super::looked_at::TaskContext;
use super::news::changed;
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::{Answer, Flags, Hex, RegisterValue};
use crate::expression::Expression;
use crate::types::register::{FLAGS, Part, all, part, spelling};
use wire_protocol::register::{Register, RegisterSet};

/// What `r` alone shows.
fn general() -> RegisterSet {
    all()
        .take_while(|r| *r <= Register::Gs)
        .fold(RegisterSet::default(), RegisterSet::with)
}

enum Registers {
    Show,
    All,
    Read(String),
    Write(String, Expression),
}

pub(super) fn registers(mut arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    if arguments.is_empty() {
        return Ok(Box::new(Registers::Show));
    }
    let rest = arguments.rest();
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    let name = name.trim().trim_start_matches('@').to_ascii_lowercase();
    if name.contains(char::is_whitespace) || name.is_empty() {
        return Err(ParseError::BadWord {
            word: name,
            expected: "a register; `.help r` lists them",
        });
    }
    Ok(Box::new(match value {
        None if name == "all" => Registers::All,
        None => Registers::Read(name),
        Some(value) => {
            let value =
                crate::expression::parser::parse(value).map_err(|why| ParseError::Expression {
                    argument: "the new value",
                    why,
                })?;
            Registers::Write(name, value)
        }
    }))
}

fn known(name: &str) -> Result<Part, CommandError> {
    part(name).ok_or_else(|| CommandError::NoRegister {
        name: name.to_owned(),
    })
}

/// What a value of rflags says.
fn flags(value: u64) -> Flags {
    let set = FLAGS
        .iter()
        .rev()
        .filter(|(_, bit, width)| *width == 1 && value & (1 << bit) != 0);
    Flags {
        iopl: (value >> 12 & 3) as u8,
        set: set.map(|(name, _, _)| (*name).to_owned()).collect(),
    }
}

/// Values of registers of the operating core.
fn values(debugger: &mut Debugger, set: RegisterSet, is_all: bool) -> Result<Answer, CommandError> {
    let core = debugger.session.core();
    let values = debugger.session.registers(core, set)?;
    let rflags = values.iter().find(|(r, _)| *r == Register::Rflags);
    let halt = debugger.session.halt();
    let changed = halt.filter(|halt| halt.core == core).and_then(changed);
    Ok(Answer::Registers {
        core: core.0,
        is_all,
        changed,
        flags: flags(rflags.map_or(0, |(_, value)| *value)),
        registers: values
            .iter()
            .map(|(register, value)| RegisterValue {
                name: spelling(*register),
                value: Hex(*value),
            })
            .collect(),
    })
}

/// Registers that a task saved when it ran last.
fn of_task(context: &TaskContext, core: u16, wanted: &Registers) -> Result<Answer, CommandError> {
    match wanted {
        Registers::Show | Registers::All if context.registers().is_empty() => {
            Err(context.nothing_saved())
        }
        Registers::Show | Registers::All => Ok(Answer::Registers {
            core,
            is_all: true,
            changed: None,
            flags: flags(0),
            registers: context
                .registers()
                .iter()
                .map(|(register, value)| RegisterValue {
                    name: spelling(*register),
                    value: Hex(*value),
                })
                .collect(),
        }),
        Registers::Read(name) => {
            let part = known(name)?;
            let whole = context.register(part.register);
            let whole = whole.ok_or_else(|| context.not_saved(name))?;
            Ok(Answer::Register {
                core,
                name: name.clone(),
                bits: part.bits,
                value: Hex(part.of(whole)),
                flags: None,
            })
        }
        Registers::Write(..) => Err(CommandError::ContextRegisters),
    }
}

impl Action for Registers {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let core = debugger.session.core();
        if let Some(context) = debugger.context() {
            return of_task(context, core.0, self);
        }
        match self {
            Self::Show => values(debugger, general(), false),
            Self::All => {
                let every = all().fold(RegisterSet::default(), RegisterSet::with);
                values(debugger, every, true)
            }
            Self::Read(name) => {
                let part = known(name)?;
                let value = part.of(debugger.session.register(part.register)?);
                let is_whole = (part.register, part.bits) == (Register::Rflags, 64);
                Ok(Answer::Register {
                    core: core.0,
                    name: name.clone(),
                    bits: part.bits,
                    value: Hex(value),
                    flags: is_whole.then(|| flags(value)),
                })
            }
            Self::Write(name, value) => {
                let part = known(name)?;
                let value = debugger.value(value)?;
                if part.bits < 64 && value >> part.bits != 0 {
                    return Err(CommandError::TooBig {
                        what: "the new value",
                        value,
                        limit: part.mask(),
                    });
                }
                let whole = match part.bits {
                    64 => value,
                    _ => part.replaced(debugger.session.register(part.register)?, value),
                };
                debugger.session.write_register(part.register, whole)?;
                Ok(Answer::Done {})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_flags_are_named() {
        let words = |value| {
            let flags = flags(value);
            (flags.iopl, flags.set.join(" "))
        };
        assert_eq!(words(0x246), (0, "if zf pf".to_owned()));
        assert_eq!(words(0x3002), (3, String::new()));
    }
}
