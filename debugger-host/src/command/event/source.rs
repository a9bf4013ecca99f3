//! What stands in the blocks of an event's command, before it is compiled or assembled. Called by
//! [`super::options`].

use crate::assembler::{assemble, returning};
use crate::command::program::{Kind, compile};
use crate::command::{CommandError, Debugger, ParseError};
use crate::expression::eval::Context;
use crate::session::{NewCondition, Script};

/// A program as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Statements of a script.
    Script(String),
    /// A file of them.
    File(String),
    /// An expression, the condition of an event.
    Expression(String),
    /// Instructions.
    Assembly(String),
    /// Machine code.
    Bytes(Vec<u8>),
}

fn not_empty<'a>(option: &'static str, text: &'a str) -> Result<&'a str, ParseError> {
    match text.trim() {
        "" => Err(ParseError::BadBlock {
            option,
            why: "it is empty".to_owned(),
        }),
        _ => Ok(text),
    }
}

impl Source {
    /// The block of `script`.
    pub(super) fn script(text: &str) -> Result<Self, ParseError> {
        let path = text.trim().strip_prefix("file:").map(str::trim);
        Ok(match path {
            Some(path) => Self::File(not_empty("script", path)?.trim_matches('"').to_owned()),
            None => Self::Script(not_empty("script", text)?.to_owned()),
        })
    }

    /// The block of `condition`: machine code if it is nothing but pairs of hexadecimal digits,
    /// else an expression.
    pub(super) fn condition(text: &str) -> Result<Self, ParseError> {
        let text = not_empty("condition", text)?;
        Ok(match byte_pairs(text) {
            Some(bytes) => Self::Bytes(bytes),
            None => Self::Expression(text.to_owned()),
        })
    }

    /// The block of `code`.
    pub(super) fn bytes(text: &str) -> Result<Self, ParseError> {
        byte_pairs(not_empty("code", text)?)
            .map(Self::Bytes)
            .ok_or_else(|| ParseError::BadBlock {
                option: "code",
                why: "it holds bytes as pairs of hexadecimal digits (`90 c3`); instructions go \
                      into `asm code {…}`"
                    .to_owned(),
            })
    }

    /// The block of `asm condition` and `asm code`.
    pub(super) fn assembly(text: &str) -> Result<Self, ParseError> {
        Ok(Self::Assembly(not_empty("asm", text)?.to_owned()))
    }
}

impl Source {
    /// The condition, compiled or assembled.
    pub(super) fn condition_program(
        &self,
        debugger: &mut Debugger,
    ) -> Result<NewCondition, CommandError> {
        Ok(match self {
            Self::Bytes(_) | Self::Assembly(_) => {
                NewCondition::Code(self.machine_code("condition", debugger)?)
            }
            Self::Script(text) | Self::File(text) | Self::Expression(text) => {
                let compiled = compile(debugger, Kind::Condition, text, "condition")?;
                NewCondition::Script(compiled.into())
            }
        })
    }

    /// The script, compiled.
    pub(super) fn script_program(&self, debugger: &mut Debugger) -> Result<Script, CommandError> {
        let compiled = match self {
            Self::File(path) => {
                let text = std::fs::read(path).map_err(|error| CommandError::Script {
                    path: path.clone(),
                    why: error.to_string(),
                })?;
                compile(
                    debugger,
                    Kind::Script,
                    &String::from_utf8_lossy(&text),
                    path,
                )?
            }
            Self::Script(text) | Self::Expression(text) | Self::Assembly(text) => {
                compile(debugger, Kind::Script, text, "script")?
            }
            Self::Bytes(_) => return Ok(Script::default()),
        };
        Ok(compiled.into())
    }

    /// Machine code of the option `option`.
    pub(super) fn machine_code(
        &self,
        option: &'static str,
        debugger: &mut Debugger,
    ) -> Result<Vec<u8>, CommandError> {
        match self {
            Self::Bytes(bytes) => Ok(returning(bytes.clone())),
            Self::Assembly(text) => {
                let mut symbol = |name: &str| Context::symbol(debugger, name);
                assemble(text, &mut symbol)
                    .map(returning)
                    .map_err(|why| CommandError::Assembly { option, why })
            }
            Self::Script(_) | Self::File(_) | Self::Expression(_) => Ok(Vec::new()),
        }
    }
}

/// `48 31c0 c3`, or `\x48\x31`.
fn byte_pairs(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let digits = word.replace("\\x", "");
        let digits = digits.strip_prefix("0x").unwrap_or(&digits);
        if digits.len() % 2 != 0 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        for at in (0..digits.len()).step_by(2) {
            bytes.push(u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_digits_are_machine_code_and_all_else_is_an_expression() {
        for (text, bytes) in [
            ("90 c3", &[0x90, 0xc3][..]),
            (" 4831c0c3 ", &[0x48, 0x31, 0xc0, 0xc3]),
            ("\\x90\\xc3", &[0x90, 0xc3]),
        ] {
            assert_eq!(Source::condition(text), Ok(Source::Bytes(bytes.to_vec())));
        }
        for text in ["@rax == 5", "1", "poi(@rsp)"] {
            assert_eq!(
                Source::condition(text),
                Ok(Source::Expression(text.to_owned()))
            );
            assert!(Source::bytes(text).is_err());
        }
    }

    #[test]
    fn a_script_can_be_a_file() {
        let file = |path: &str| Ok(Source::File(path.to_owned()));
        assert_eq!(Source::script(" file:/tmp/x.ds "), file("/tmp/x.ds"));
        assert_eq!(Source::script("file: \"c:\\a b.ds\""), file("c:\\a b.ds"));
        assert!(Source::script("file:").is_err());
        assert!(Source::script("  ").is_err());
    }
}
