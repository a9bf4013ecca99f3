//! `r`: shows and changes registers, parts of registers, flags.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use crate::expression::register::{Part, all, part, spelling};
use crate::render;
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

impl Action for Registers {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let core = debugger.session.core();
        match self {
            Self::Show => {
                let values = debugger.session.registers(core, general())?;
                debugger.out.line(render::registers(&values));
            }
            Self::All => {
                let every = all().fold(RegisterSet::default(), RegisterSet::with);
                for (register, value) in debugger.session.registers(core, every)? {
                    debugger
                        .out
                        .line(format!("{}={value:016x}", spelling(register)));
                }
            }
            Self::Read(name) => {
                let part = known(name)?;
                let value = part.of(debugger.session.register(part.register)?);
                let digits = part.bits.div_ceil(4) as usize;
                let text = match (part.register, part.bits) {
                    (Register::Rflags, 64) => {
                        format!("{name}={value:016x} {}", render::flags(value))
                    }
                    _ => format!("{name}={value:0digits$x}"),
                };
                debugger.out.line(text);
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
            }
        }
        Ok(())
    }
}
