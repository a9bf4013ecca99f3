//! Makes the text of what a script printed, from the program and a record. Runs where the program
//! is known, which is the host: never in VMX-root.
//!
//! Formats are those of C: `%d %i %u %o %x %X %c %p %s %ws %ls %f %%` with flags, width, precision
//! and the lengths `hh`, `h`, `l`, `ll`. Without a length a number has 32 bits. Nothing a record
//! may hold is an error: what does not fit its format is shown in angle brackets.

use crate::branch::Notes;
use crate::bytecode::Program;
use crate::bytecode::decode::{Operand, decode};
use crate::bytecode::routine::{Routine, Show};
use crate::bytecode::tag::Marker;
use crate::packet::{Argument, Arguments};
use core::fmt::{self, Write};

/// Longest width or precision that is kept to.
const WIDEST: usize = 1024;

/// What the pseudo-registers `$date` and `$time` stand for in a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock<'a> {
    /// The date when it was made.
    pub date: &'a str,
    /// The time when it was made.
    pub time: &'a str,
}

/// What a place of a program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site<'a> {
    /// One value.
    Show(Show),
    /// Values with this format.
    Format(&'a [u8]),
    /// A branch.
    Branch,
}

impl<'a> Site<'a> {
    /// What is printed at code offset `site`; `None` if that is no place that prints.
    #[must_use]
    pub fn of(program: &Program<'a>, site: u32) -> Option<Self> {
        let at = usize::try_from(site).ok()?;
        match decode(program.code(), at)?.operand {
            Operand::Show(show) => Some(Self::Show(show)),
            Operand::Routine(Routine::LbrPrint | Routine::LbrDump) => Some(Self::Branch),
            Operand::Printf { format, .. } => program.text(format).map(Self::Format),
            _ => None,
        }
    }

    /// Writes the text of a record that was made here. `print`, `formats` and `test_statement`
    /// write whole lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        &self,
        arguments: Arguments<'_>,
        clock: Clock<'_>,
        out: &mut impl Write,
    ) -> fmt::Result {
        let mut arguments = arguments.iter();
        match self {
            Self::Format(format) => write_format(format, arguments, clock, out),
            Self::Branch => write_branch(arguments, out),
            Self::Show(show) => match arguments.next() {
                Some(Argument::Number(value)) => write_value(*show, value, out),
                _ => writeln!(out, "<no value>"),
            },
        }
    }
}

/// `[ 3] from ffffffff81000010 to ffffffff81000200 call`
fn write_branch<'r>(
    arguments: impl Iterator<Item = Argument<'r>>,
    out: &mut impl Write,
) -> fmt::Result {
    let mut values = arguments.map_while(|argument| match argument {
        Argument::Number(value) => Some(value),
        Argument::Bytes(_) => None,
    });
    let mut value = || values.next().unwrap_or_default();
    let (number, from, to) = (value(), value(), value());
    let notes = u32::try_from(value()).map_or_else(|_| Notes::default(), Notes::from_bits);
    writeln!(out, "[{number:2}] from {from:016x} to {to:016x}{notes}")
}

fn write_value(show: Show, value: u64, out: &mut impl Write) -> fmt::Result {
    match show {
        Show::Print => writeln!(out, "{value:x}"),
        Show::Test => writeln!(out, "test_statement: {value:x}"),
        Show::Formats => {
            writeln!(out, "hex      {value:x}")?;
            writeln!(out, "decimal  {value}")?;
            if (value as i64) < 0 {
                writeln!(out, "signed   {}", value as i64)?;
            }
            writeln!(out, "octal    {value:o}")?;
            writeln!(out, "binary   {value:b}")?;
            write!(out, "chars    ")?;
            for byte in value.to_be_bytes() {
                let printable = byte.is_ascii_graphic() || byte == b' ';
                out.write_char(if printable { char::from(byte) } else { '.' })?;
            }
            writeln!(out)?;
            writeln!(
                out,
                "float    {:e}",
                f32::from_bits((value & 0xffff_ffff) as u32)
            )?;
            writeln!(out, "double   {:e}", f64::from_bits(value))
        }
    }
}

/// Everything between a `%` and its letter.
#[derive(Clone, Copy, Default)]
struct Spec {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    bits: Option<u32>,
    wide: bool,
}

fn write_format<'r>(
    format: &[u8],
    mut arguments: impl Iterator<Item = Argument<'r>>,
    clock: Clock<'_>,
    out: &mut impl Write,
) -> fmt::Result {
    let mut rest = format;
    loop {
        let plain = rest.iter().position(|&byte| byte == b'%');
        let (before, from) = rest
            .split_at_checked(plain.unwrap_or(rest.len()))
            .unwrap_or_default();
        write_bytes(before, out)?;
        if from.is_empty() {
            return Ok(());
        }
        let (spec, letter, after) = parse_spec(from);
        match letter {
            Some(b'%') => out.write_char('%')?,
            Some(letter) if is_conversion(letter) => match arguments.next() {
                Some(argument) => write_argument(letter, spec, argument, clock, out)?,
                None => out.write_str("<no value>")?,
            },
            _ => {
                let len = from.len() - after.len();
                write_bytes(from.get(..len).unwrap_or_default(), out)?;
            }
        }
        rest = after;
    }
}

fn is_conversion(letter: u8) -> bool {
    b"diuoxXcpsf".contains(&letter)
}

/// Number at the front, and what follows.
fn parse_number(text: &[u8]) -> (usize, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits).unwrap_or_default();
    let number = digits.iter().fold(0usize, |number, digit| {
        (10 * number + usize::from(digit - b'0')).min(WIDEST)
    });
    (number, rest)
}

/// What stands between `%` and its letter, the letter, and what follows.
fn parse_spec(text: &[u8]) -> (Spec, Option<u8>, &[u8]) {
    let mut spec = Spec::default();
    let mut rest = text.get(1..).unwrap_or_default();
    while let [flag, after @ ..] = rest {
        match flag {
            b'-' => spec.left = true,
            b'0' => spec.zeros = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternate = true,
            _ => break,
        }
        rest = after;
    }
    (spec.width, rest) = parse_number(rest);
    if let [b'.', after @ ..] = rest {
        let (precision, after) = parse_number(after);
        spec.precision = Some(precision);
        rest = after;
    }
    while let [length, after @ ..] = rest {
        match length {
            b'h' if spec.bits == Some(16) => spec.bits = Some(8),
            b'h' => spec.bits = Some(16),
            b'l' => {
                spec.bits = Some(64);
                spec.wide = true;
            }
            b'w' => spec.wide = true,
            _ => break,
        }
        rest = after;
    }
    match rest {
        [letter, after @ ..] => (spec, Some(*letter), after),
        [] => (spec, None, rest),
    }
}

fn write_argument(
    letter: u8,
    spec: Spec,
    argument: Argument<'_>,
    clock: Clock<'_>,
    out: &mut impl Write,
) -> fmt::Result {
    let value = match argument {
        Argument::Number(value) => value,
        Argument::Bytes(text) => {
            let most = spec.precision.unwrap_or(usize::MAX);
            return pad(spec, out, |out| write_text(text, spec.wide, most, out));
        }
    };
    let unsigned = value & (u64::MAX >> (64 - spec.bits.unwrap_or(32)));
    match letter {
        b'd' | b'i' => {
            let shift = 64 - spec.bits.unwrap_or(32);
            let signed = (value << shift) as i64 >> shift;
            let sign = match (signed < 0, spec.plus, spec.space) {
                (true, ..) => "-",
                (_, true, _) => "+",
                (_, _, true) => " ",
                _ => "",
            };
            let magnitude = signed.unsigned_abs();
            write_number(spec, sign, out, |out| write!(out, "{magnitude}"))
        }
        b'u' => write_number(spec, "", out, |out| write!(out, "{unsigned}")),
        b'o' => {
            let prefix = if spec.alternate { "0" } else { "" };
            write_number(spec, prefix, out, |out| write!(out, "{unsigned:o}"))
        }
        b'x' => {
            let prefix = if spec.alternate { "0x" } else { "" };
            write_number(spec, prefix, out, |out| write!(out, "{unsigned:x}"))
        }
        b'X' => {
            let prefix = if spec.alternate { "0X" } else { "" };
            write_number(spec, prefix, out, |out| write!(out, "{unsigned:X}"))
        }
        b'p' => pad(spec, out, |out| write!(out, "{value:016x}")),
        b'c' => pad(spec, out, |out| {
            out.write_char(char::from((value & 0xff) as u8))
        }),
        b'f' => write_float(spec, f64::from_bits(value), out),
        _ => match Marker::from_address(value) {
            Some(Marker::Date) => pad(spec, out, |out| out.write_str(clock.date)),
            Some(Marker::Time) => pad(spec, out, |out| out.write_str(clock.time)),
            None => write!(out, "<no text at {value:x}>"),
        },
    }
}

fn write_float(spec: Spec, value: f64, out: &mut impl Write) -> fmt::Result {
    let sign = match (value.is_sign_negative(), spec.plus) {
        (true, _) => "-",
        (_, true) => "+",
        _ => "",
    };
    let (precision, magnitude) = (spec.precision.unwrap_or(6), value.abs());
    let spec = Spec {
        zeros: spec.zeros && value.is_finite(),
        precision: None,
        ..spec
    };
    write_number(spec, sign, out, |out| {
        if value.is_nan() {
            out.write_str("nan")
        } else if value.is_infinite() {
            out.write_str("inf")
        } else {
            write!(out, "{magnitude:.precision$}")
        }
    })
}

/// Counts what is written.
struct Counter(usize);

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.chars().count();
        Ok(())
    }
}

fn count(write: impl Fn(&mut dyn Write) -> fmt::Result) -> usize {
    let mut counter = Counter(0);
    let _ = write(&mut counter);
    counter.0
}

fn fill(with: char, count: usize, out: &mut impl Write) -> fmt::Result {
    (0..count).try_for_each(|_| out.write_char(with))
}

/// Spaces on one side, up to the width.
fn pad(
    spec: Spec,
    out: &mut impl Write,
    write: impl Fn(&mut dyn Write) -> fmt::Result,
) -> fmt::Result {
    let missing = spec.width.saturating_sub(count(&write));
    fill(' ', if spec.left { 0 } else { missing }, out)?;
    write(out)?;
    fill(' ', if spec.left { missing } else { 0 }, out)
}

/// Zeros between sign and digits, up to the precision or the width.
fn write_number(
    spec: Spec,
    prefix: &str,
    out: &mut impl Write,
    digits: impl Fn(&mut dyn Write) -> fmt::Result,
) -> fmt::Result {
    let len = count(&digits);
    let wanted = match spec.precision {
        Some(precision) => precision,
        None if spec.zeros && !spec.left => spec.width.saturating_sub(prefix.len()),
        None => 0,
    };
    let zeros = wanted.saturating_sub(len);
    pad(spec, out, |mut out| {
        out.write_str(prefix)?;
        fill('0', zeros, &mut out)?;
        digits(out)
    })
}

/// Bytes that should be UTF-8.
fn write_bytes(bytes: &[u8], mut out: &mut (impl Write + ?Sized)) -> fmt::Result {
    write_text(bytes, false, usize::MAX, &mut out)
}

/// At most so many characters of a text.
fn write_text(text: &[u8], wide: bool, most: usize, out: &mut dyn Write) -> fmt::Result {
    if wide {
        let units = text.chunks_exact(2).map(|unit| match unit {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        });
        let characters = char::decode_utf16(units)
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
        return characters
            .take(most)
            .try_for_each(|character| out.write_char(character));
    }
    let characters = text.utf8_chunks().flat_map(|chunk| {
        let bad = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(bad)
    });
    characters
        .take(most)
        .try_for_each(|character| out.write_char(character))
}

#[cfg(test)]
mod tests;
