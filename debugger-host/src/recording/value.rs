//! What messages and packets hold, as values with names: text for people, and the same for programs. Made by
//! [`super::told`], shown by [`super::describe`] and [`crate::answer`].

use crate::types::kebab;
use std::fmt;

/// Longer bytes are told by their beginning and their length.
const TOLD_BYTES: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    Nothing,
    /// Whether something is so.
    Flag(bool),
    /// How many, or how much: decimal.
    Count(u64),
    /// A number of 32 bits or fewer.
    Number(u32),
    /// A value of 64 bits, or a physical address.
    Hex(u64),
    /// A virtual address, or what a register holds.
    Address(u64),
    /// Text that somebody else wrote.
    Text(String),
    /// A word of the program's own.
    Word(String),
    /// Bytes in the order of their addresses.
    Bytes(Vec<u8>),
    /// Several, in order.
    List(Vec<Value>),
    /// Several with names.
    Parts(Parts),
    /// One of several kinds, with what only this kind has. The name is that of the code.
    Kind(&'static str, Parts),
    /// What people read of it, and what it is made of.
    Read(String, Box<Value>),
}

/// Values with their names.
pub type Parts = Vec<(String, Value)>;

impl Value {
    /// Its kind, if it is one of several; else nothing.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kind(name, _) => name,
            Self::Read(_, value) => value.kind(),
            _ => "",
        }
    }

    /// The parts that it has.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        match self {
            Self::Parts(parts) | Self::Kind(_, parts) => parts,
            Self::Read(_, value) => value.into_parts(),
            _ => Parts::new(),
        }
    }

    /// There is nothing to read of it.
    fn is_silent(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Parts(parts) => parts.iter().all(|(_, value)| value.is_silent()),
            _ => false,
        }
    }

    /// Inside of another one.
    fn nested(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts(parts) => braced(parts, f),
            other => fmt::Display::fmt(other, f),
        }
    }
}

fn braced(parts: &Parts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{{")?;
    unbraced(parts, f)?;
    write!(f, "}}")
}

fn unbraced(parts: &Parts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let told = parts.iter().filter(|(_, value)| !value.is_silent());
    for (at, (name, value)) in told.enumerate() {
        write!(f, "{}{name}=", if at > 0 { " " } else { "" })?;
        value.nested(f)?;
    }
    Ok(())
}

/// What is the same in both bases needs no sign of its base.
fn hex(number: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match number {
        0..10 => write!(f, "{number}"),
        _ => write!(f, "{number:#x}"),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "none"),
            Self::Flag(flag) => flag.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => hex((*number).into(), f),
            Self::Hex(number) => hex(*number, f),
            Self::Address(address) => write!(f, "{address:016x}"),
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Word(text) | Self::Read(text, _) => f.write_str(text),
            Self::Bytes(bytes) => {
                for byte in bytes.iter().take(TOLD_BYTES) {
                    write!(f, "{byte:02x}")?;
                }
                match bytes.len() {
                    0 => write!(f, "none"),
                    len if len > TOLD_BYTES => write!(f, "...({len} bytes)"),
                    _ => Ok(()),
                }
            }
            Self::List(values) => {
                write!(f, "[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}", if at > 0 { ", " } else { "" })?;
                    value.nested(f)?;
                }
                write!(f, "]")
            }
            Self::Parts(parts) => unbraced(parts, f),
            Self::Kind(name, parts) => {
                f.write_str(&kebab(name))?;
                match parts.iter().all(|(_, value)| value.is_silent()) {
                    true => Ok(()),
                    false => braced(parts, f),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, value: Value) -> (String, Value) {
        (name.to_owned(), value)
    }

    #[test]
    fn values_are_told_as_users_of_a_kernel_debugger_write_them() {
        let parts = vec![
            part("core", Value::Number(9)),
            part("event", Value::Number(26)),
            part("hits", Value::Count(26)),
            part("rip", Value::Address(0xffff_ffff_81a1_7918)),
            part("mask", Value::Hex(1 << 40)),
            part("pid", Value::Nothing),
            part("code", Value::Bytes(vec![0x0f, 0xa2])),
            part("program", Value::Bytes(Vec::new())),
            part("name", Value::Text("a \"b\"".to_owned())),
        ];
        assert_eq!(
            Value::Parts(parts).to_string(),
            "core=9 event=0x1a hits=26 rip=ffffffff81a17918 mask=0x10000000000 code=0fa2 \
             name=\"a \\\"b\\\"\""
        );
    }

    #[test]
    fn long_bytes_are_told_by_their_beginning_and_their_length() {
        assert_eq!(
            Value::Bytes((0..16).collect()).to_string(),
            "000102030405060708090a0b0c0d0e0f"
        );
        assert_eq!(
            Value::Bytes((0..40).collect()).to_string(),
            "000102030405060708090a0b0c0d0e0f...(40 bytes)"
        );
    }

    #[test]
    fn lists_are_told_item_by_item() {
        let halted = Value::Kind("Halted", vec![part("rip", Value::Address(1))]);
        let filter = Value::Parts(vec![part("pid", Value::Number(7))]);
        let lost = Value::Kind("WaitForSipi", vec![part("rip", Value::Nothing)]);
        assert_eq!(
            Value::List(vec![halted, filter, lost]).to_string(),
            "[halted{rip=0000000000000001}, {pid=7}, wait-for-sipi]"
        );
    }
}
