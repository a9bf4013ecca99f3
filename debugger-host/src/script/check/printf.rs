//! `print`, `printf`, `formats` and `test_statement`.

use super::super::problem::{Position, Problem};
use super::super::tree::{Expression, ExpressionKind as E};
use super::super::types::Type;
use super::super::value::{Action, Value, ValueKind};
use super::call::wrong_count;
use super::convert::not_a;
use super::format::{Shows, conversions};
use super::{Checked, Checker};
use wire_protocol::bytecode::PRINT_ARGUMENTS;
use wire_protocol::bytecode::routine::{ArgumentKind, Show};

impl Checker<'_> {
    /// One of the functions that show something; `None` if the function is not.
    pub(super) fn shown(
        &mut self,
        at: Position,
        name: &str,
        arguments: &[Expression],
    ) -> Checked<Option<Action>> {
        let show = match name {
            "print" => Show::Print,
            "formats" => Show::Formats,
            "test_statement" => Show::Test,
            "printf" => return self.printf(at, arguments).map(Some),
            _ => return Ok(None),
        };
        let [argument] = arguments else {
            return Err(wrong_count(at, name, 1, arguments.len()));
        };
        let value = self.value(argument)?;
        self.need_value(&value)?;
        if value.of.is_floating() && show == Show::Print {
            return Ok(Some(Action::Printf(b"%f\n".to_vec(), vec![value], 0)));
        }
        Ok(Some(Action::Show(show, value)))
    }

    fn printf(&mut self, at: Position, arguments: &[Expression]) -> Checked<Action> {
        let Some((format, arguments)) = arguments.split_first() else {
            return Err(Problem::new(at, "`printf` needs a format")
                .help("write `printf(\"%llx\\n\", @rax)`"));
        };
        let E::Text(text) = &format.kind else {
            return Err(
                Problem::new(format.at, "the format of `printf` must be a string")
                    .help("to print a string from memory, write `printf(\"%s\", address)`"),
            );
        };
        if text.contains(&0) {
            return Err(Problem::new(
                format.at,
                "a format cannot contain a zero byte",
            ));
        }
        let conversions = conversions(text).map_err(|what| unknown(format.at, what))?;
        if conversions.len() != arguments.len() {
            return Err(Problem::new(
                format.at,
                format!(
                    "this format has {} conversions, and {} values follow it",
                    conversions.len(),
                    arguments.len()
                ),
            ));
        }
        if conversions.len() > PRINT_ARGUMENTS {
            return Err(Problem::new(
                format.at,
                format!("`printf` prints at most {PRINT_ARGUMENTS} values"),
            )
            .help("use two of them"));
        }
        let mut values = Vec::new();
        let mut kinds = 0;
        for (index, (argument, shows)) in arguments.iter().zip(&conversions).enumerate() {
            let value = self.value(argument)?;
            self.need_value(&value)?;
            values.push(self.printed(value, *shows)?);
            let kind = match shows {
                Shows::Text => ArgumentKind::Text,
                Shows::Wide => ArgumentKind::WideText,
                _ => ArgumentKind::Value,
            };
            kinds |= (kind as u32) << (2 * index);
        }
        Ok(Action::Printf(text.clone(), values, kinds))
    }

    fn printed(&mut self, value: Value, shows: Shows) -> Checked<Value> {
        match shows {
            // Of an untyped value or a register, the bits are those of a `double` in memory.
            Shows::Fraction if value.of == Type::Untyped && !value.is_literal => Ok(value),
            Shows::Fraction if matches!(value.kind, ValueKind::Register(_)) => Ok(value),
            Shows::Fraction => self.convert(value, &Type::Double),
            _ if value.of.is_floating() => Err(not_a(value.at, "a whole number", &value.of)
                .help("print it with `%f`, or cast it to `long`")),
            Shows::Text | Shows::Wide => {
                let size = match &value.of {
                    Type::Pointer(target) => target.size(),
                    _ => None,
                };
                let wanted = if shows == Shows::Text { 1 } else { 2 };
                if size.is_some_and(|size| size != wanted && size <= 2) {
                    self.warn(
                        Problem::new(
                            value.at,
                            format!("`{}` is not the kind of string that is printed", value.of),
                        )
                        .help("`%s` prints ASCII, `%ws` UTF-16"),
                    );
                }
                Ok(value)
            }
            _ => Ok(value),
        }
    }
}

fn unknown(at: Position, text: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(text);
    let problem = Problem::new(at, format!("`{text}` is no conversion of `printf`"));
    let lower = text.to_lowercase();
    match conversions(lower.as_bytes()) {
        Ok(_) if lower != text => problem.help(format!("write `{lower}`")),
        _ if text == "%" => problem.help("`%%` prints a percent sign"),
        _ => problem.help("known are %d %i %u %o %x %c %p %s %ws %ls %f, with h, l and ll"),
    }
}
