//! What each event command watches: its own arguments, before the options. Called by the command
//! table.

use super::options::{Options, begins_here, unknown};
use super::{AddEvent, Parsed};
use crate::command::{Arguments, CommandError, Debugger, ParseError};
use crate::expression::{Expression, SyntaxError};
use crate::types::msr::{MSRS, msr};
use crate::types::vector::{VECTORS, vector};
use wire_protocol::address::GuestVirtual;
use wire_protocol::event::{Access, ControlRegister, Modes, Space, SyscallBy, TraceKind, Trigger};

/// What is watched, as typed.
pub(super) enum TriggerArguments {
    EptHook(Expression),
    EptHook2(Expression),
    Monitor {
        space: Space,
        access: Access,
        from: Expression,
        to: End,
    },
    /// A number, or all.
    Numbered(Number, Option<Expression>),
    Interrupt(Expression),
    CrWrite(ControlRegister, Option<Expression>),
    /// Nothing more to know.
    Plain(Trigger),
}

/// Where a monitored range ends.
pub(super) enum End {
    /// With this byte.
    At(Expression),
    /// After so many bytes.
    Length(Expression),
}

/// What the number of an event is.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Syscall(SyscallBy),
    SyscallEntry,
    Leaf,
    MsrRead,
    MsrWrite,
    PortIn,
    PortOut,
    Exception,
    Xcr,
}

impl Number {
    /// Its name, and the most it can be.
    const fn limit(self) -> (&'static str, u64) {
        match self {
            Self::Syscall(_) | Self::SyscallEntry => {
                ("the number of the system call", u32::MAX as u64)
            }
            Self::Leaf => ("the leaf", u32::MAX as u64),
            Self::MsrRead | Self::MsrWrite => ("the MSR", u32::MAX as u64),
            Self::PortIn | Self::PortOut => ("the port", u16::MAX as u64),
            Self::Exception => ("the vector", Trigger::LAST_EXCEPTION as u64),
            Self::Xcr => ("the XCR", u32::MAX as u64),
        }
    }

    /// Names that users know the numbers by.
    const fn names(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Exception => &VECTORS,
            Self::MsrRead | Self::MsrWrite => &MSRS,
            _ => &[],
        }
    }

    /// The number that a word names which comes next. Vectors end at 1f, so `de` and `db` are
    /// exceptions and no numbers; elsewhere what can be a number is one.
    fn named(self, arguments: &mut Arguments<'_>) -> Option<Expression> {
        let mut ahead = arguments.clone();
        let word = ahead.word()?;
        let value = match self {
            Self::Exception => vector(word),
            Self::MsrRead | Self::MsrWrite => msr(word),
            _ => None,
        }?;
        *arguments = ahead;
        Some(Expression::Number {
            value: value.into(),
            word: None,
        })
    }

    /// What is said of a word that is neither a number nor an option.
    fn unknown(self, word: &str) -> ParseError {
        match unknown(word, self.names()) {
            ParseError::UnknownOption { similar: None, .. } if !self.names().is_empty() => {
                ParseError::Expression {
                    argument: self.limit().0,
                    why: SyntaxError::NoNumber {
                        word: word.to_owned(),
                    },
                }
            }
            unknown => unknown,
        }
    }

    const fn trigger(self, number: Option<u32>) -> Trigger {
        // The limits hold: what is narrowed here fits.
        let small = match number {
            Some(number) => Some(number as u16),
            None => None,
        };
        match self {
            Self::Syscall(by) => Trigger::Syscall { number, by },
            Self::SyscallEntry => Trigger::SyscallEntry { number },
            Self::Leaf => Trigger::Cpuid { leaf: number },
            Self::MsrRead => Trigger::MsrRead { msr: number },
            Self::MsrWrite => Trigger::MsrWrite { msr: number },
            Self::PortIn => Trigger::IoIn { port: small },
            Self::PortOut => Trigger::IoOut { port: small },
            Self::Exception => Trigger::Exception {
                vector: match number {
                    Some(number) => Some(number as u8),
                    None => None,
                },
            },
            Self::Xcr => Trigger::Xsetbv { xcr: number },
        }
    }
}

/// Reads any event command.
pub(in crate::command) fn add(mut arguments: Arguments<'_>) -> Parsed {
    let typed = arguments.clone().rest();
    let trigger = match arguments.name {
        "bp" | "!epthook" => TriggerArguments::EptHook(arguments.expression("the address")?),
        "!epthook2" => TriggerArguments::EptHook2(arguments.expression("the address")?),
        "ba" => access_breakpoint(&mut arguments)?,
        "!monitor" => monitor(&mut arguments)?,
        "!syscall" => syscall(&mut arguments)?,
        "!syscall2" => numbered(&mut arguments, Number::Syscall(SyscallBy::Range))?,
        "!cpuid" => numbered(&mut arguments, Number::Leaf)?,
        "!msrread" | "!msread" => numbered(&mut arguments, Number::MsrRead)?,
        "!msrwrite" => numbered(&mut arguments, Number::MsrWrite)?,
        "!ioin" => numbered(&mut arguments, Number::PortIn)?,
        "!ioout" | "!iout" => numbered(&mut arguments, Number::PortOut)?,
        "!exception" => numbered(&mut arguments, Number::Exception)?,
        "!xsetbv" => numbered(&mut arguments, Number::Xcr)?,
        "!interrupt" => TriggerArguments::Interrupt(arguments.number("the vector (20 to ff)")?),
        "!crwrite" => control_register(&mut arguments)?,
        "!sysret2" => TriggerArguments::Plain(Trigger::Sysret {
            by: SyscallBy::Range,
        }),
        "!tsc" => TriggerArguments::Plain(Trigger::Tsc),
        "!pmc" => TriggerArguments::Plain(Trigger::Pmc),
        "!vmcall" => TriggerArguments::Plain(Trigger::Vmcall),
        "!dr" => TriggerArguments::Plain(Trigger::Dr),
        "!mode" => TriggerArguments::Plain(Trigger::Mode {
            to: modes(arguments.required_word("u, k or ku")?)?,
        }),
        "!trace" => TriggerArguments::Plain(Trigger::Trace {
            kind: trace(arguments.required_word("step-in, step-out or instrument-step")?)?,
        }),
        _ => TriggerArguments::Plain(Trigger::Sysret {
            by: SyscallBy::Bytes,
        }),
    };
    let left = arguments.clone().rest();
    let own = typed.strip_suffix(left).unwrap_or(typed).trim().to_owned();
    let options = Options::parse(&mut arguments)?;
    let event = AddEvent {
        name: arguments.name.to_owned(),
        own,
        arguments: trigger,
        options,
    };
    event.check_options()?;
    Ok(Box::new(event))
}

fn syscall(arguments: &mut Arguments<'_>) -> Result<TriggerArguments, ParseError> {
    let number = if arguments.keyword("entry") {
        Number::SyscallEntry
    } else {
        Number::Syscall(SyscallBy::Bytes)
    };
    numbered(arguments, number)
}

/// A number, if one comes before the options.
fn numbered(arguments: &mut Arguments<'_>, number: Number) -> Result<TriggerArguments, ParseError> {
    if arguments.is_empty() || begins_here(arguments) {
        return Ok(TriggerArguments::Numbered(number, None));
    }
    if let Some(value) = number.named(arguments) {
        return Ok(TriggerArguments::Numbered(number, Some(value)));
    }
    let (what, _) = number.limit();
    let mut ahead = arguments.clone();
    let value = arguments.number(what).map_err(|why| match why {
        // A bare name is no number of anything here, but an option that was misspelt.
        ParseError::Expression {
            why: SyntaxError::NoNumber { word },
            ..
        } if ahead.name() == Some(&word) => number.unknown(&word),
        other => other,
    })?;
    Ok(TriggerArguments::Numbered(number, Some(value)))
}

fn monitor(arguments: &mut Arguments<'_>) -> Result<TriggerArguments, ParseError> {
    let expected = "r, w, x, rw, rx, wx or rwx";
    let mut space = None;
    let mut access = None;
    while space.is_none() || access.is_none() {
        let mut ahead = arguments.clone();
        let word = ahead.word().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "va" if space.is_none() => space = Some(Space::Virtual),
            "pa" if space.is_none() => space = Some(Space::Physical),
            _ if access.is_none() => access = Some(accesses(&word, expected)?),
            _ => break,
        }
        *arguments = ahead;
    }
    let access = access.ok_or_else(|| ParseError::BadWord {
        word: String::new(),
        expected,
    })?;
    let from = arguments.expression("the first address")?;
    let to = if arguments.keyword("l") {
        End::Length(arguments.number("the length")?)
    } else {
        End::At(arguments.expression("the last address, or `l LENGTH`,")?)
    };
    Ok(TriggerArguments::Monitor {
        space: space.unwrap_or(Space::Virtual),
        access,
        from,
        to,
    })
}

/// `w8 ADDRESS`, or as `!monitor` has it.
fn access_breakpoint(arguments: &mut Arguments<'_>) -> Result<TriggerArguments, ParseError> {
    let expected = "r, w, x, rw, rx, wx or rwx, with or without a size";
    let mut space = Space::Virtual;
    for (word, of) in [("va", Space::Virtual), ("pa", Space::Physical)] {
        if arguments.keyword(word) {
            space = of;
            break;
        }
    }
    let word = arguments.required_word(expected)?.to_ascii_lowercase();
    let letters = word.trim_end_matches(|c: char| c.is_ascii_hexdigit());
    let access = accesses(letters, expected).map_err(|_| ParseError::BadWord {
        word: word.clone(),
        expected,
    })?;
    let size = &word[letters.len()..];
    let from = arguments.expression("the address")?;
    let number = |value| Expression::Number { value, word: None };
    let length = match u64::from_str_radix(size, 16) {
        Ok(size) => number(size),
        Err(_) if arguments.keyword("l") => arguments.number("the length")?,
        // Of an instruction the first byte is fetched.
        Err(_) if access == Access::EXECUTE => number(1),
        Err(_) => {
            return Err(arguments.missing("the size, as in `ba w8 ADDRESS` or `ba w ADDRESS l 8`,"));
        }
    };
    Ok(TriggerArguments::Monitor {
        space,
        access,
        from,
        to: End::Length(length),
    })
}

fn accesses(word: &str, expected: &'static str) -> Result<Access, ParseError> {
    let mut access = Access::empty();
    for c in word.chars() {
        let one = match c {
            'r' => Access::READ,
            'w' => Access::WRITE,
            'x' => Access::EXECUTE,
            _ => Access::empty(),
        };
        if one.is_empty() || access.contains(one) {
            access = Access::empty();
            break;
        }
        access |= one;
    }
    if access.is_empty() {
        return Err(ParseError::BadWord {
            word: word.to_owned(),
            expected,
        });
    }
    Ok(access)
}

fn control_register(arguments: &mut Arguments<'_>) -> Result<TriggerArguments, ParseError> {
    let word = arguments.required_word("0 or 4")?;
    let register = match word.to_ascii_lowercase().as_str() {
        "0" | "cr0" => ControlRegister::Cr0,
        "4" | "cr4" => ControlRegister::Cr4,
        _ => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "0 or 4, a control register whose writes can be watched",
            });
        }
    };
    let mask = if arguments.keyword("mask") {
        Some(arguments.number("the mask")?)
    } else {
        None
    };
    Ok(TriggerArguments::CrWrite(register, mask))
}

fn modes(word: &str) -> Result<Modes, ParseError> {
    match word.to_ascii_lowercase().as_str() {
        "u" => Ok(Modes::USER),
        "k" => Ok(Modes::KERNEL),
        "ku" | "uk" => Ok(Modes::all()),
        _ => Err(ParseError::BadWord {
            word: word.to_owned(),
            expected: "u, k or ku",
        }),
    }
}

fn trace(word: &str) -> Result<TraceKind, ParseError> {
    match word.to_ascii_lowercase().as_str() {
        "step-in" => Ok(TraceKind::StepIn),
        "step-out" => Ok(TraceKind::StepOut),
        "instrument-step" => Ok(TraceKind::Instrument),
        _ => Err(ParseError::BadWord {
            word: word.to_owned(),
            expected: "step-in, step-out or instrument-step",
        }),
    }
}

/// A value within bounds.
pub(super) fn within(
    what: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<u64, CommandError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(CommandError::OutOfRange {
        what,
        value,
        least,
        most,
    })
}

impl TriggerArguments {
    /// With every argument's value.
    pub(super) fn trigger(&self, debugger: &mut Debugger) -> Result<Trigger, CommandError> {
        Ok(match self {
            Self::EptHook(address) => Trigger::EptHook {
                address: GuestVirtual(debugger.value(address)?),
            },
            Self::EptHook2(address) => Trigger::EptHook2 {
                address: GuestVirtual(debugger.value(address)?),
            },
            Self::Monitor {
                space,
                access,
                from,
                to,
            } => {
                let from = debugger.value(from)?;
                let len_bytes = match to {
                    End::At(to) => {
                        let to = within("the last address", debugger.value(to)?, from, u64::MAX)?;
                        (to - from).saturating_add(1)
                    }
                    End::Length(length) => {
                        let most = (u64::MAX - from).saturating_add(1);
                        within("the length", debugger.value(length)?, 1, most)?
                    }
                };
                Trigger::Monitor {
                    space: *space,
                    access: *access,
                    from,
                    len_bytes,
                }
            }
            Self::Numbered(number, None) => number.trigger(None),
            Self::Numbered(number, Some(value)) => {
                let (what, most) = number.limit();
                let value = within(what, debugger.value(value)?, 0, most)?;
                number.trigger(Some(value as u32))
            }
            Self::Interrupt(vector) => {
                let least = u64::from(Trigger::LAST_EXCEPTION) + 1;
                let vector = debugger.value(vector)?;
                let vector = within("the vector", vector, least, u64::from(u8::MAX))?;
                Trigger::Interrupt {
                    vector: vector as u8,
                }
            }
            Self::CrWrite(register, mask) => Trigger::CrWrite {
                register: *register,
                mask: match mask {
                    Some(mask) => within("the mask", debugger.value(mask)?, 1, u64::MAX)?,
                    None => u64::MAX,
                },
            },
            Self::Plain(trigger) => *trigger,
        })
    }

    /// What kind of event it is; the numbers in it mean nothing.
    pub(super) const fn kind(&self) -> Trigger {
        let address = GuestVirtual(0);
        match self {
            Self::EptHook(_) => Trigger::EptHook { address },
            Self::EptHook2(_) => Trigger::EptHook2 { address },
            Self::Monitor { space, access, .. } => Trigger::Monitor {
                space: *space,
                access: *access,
                from: 0,
                len_bytes: 1,
            },
            Self::Numbered(number, _) => number.trigger(None),
            Self::Interrupt(_) => Trigger::Interrupt { vector: u8::MAX },
            Self::CrWrite(register, _) => Trigger::CrWrite {
                register: *register,
                mask: 1,
            },
            Self::Plain(trigger) => *trigger,
        }
    }
}
