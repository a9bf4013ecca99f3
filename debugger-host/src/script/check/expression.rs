//! Expressions: what each kind of them means.

use super::super::problem::{Position, Problem};
use super::super::tree::{Binary, Expression, ExpressionKind as E, Unary};
use super::super::types::{INT, LONG, Type};
use super::super::value::{Base, Place, Value, ValueKind};
use super::memory::Operand;
use super::{Checked, Checker, call};
use crate::script::include;
use crate::script::parser::{self, foreign};
use crate::script::problem::Sources;
use crate::types::{number, register};
use wire_protocol::bytecode::routine::Pseudo;

impl Checker<'_> {
    /// The value of an expression.
    pub(super) fn value(&mut self, expression: &Expression) -> Checked<Value> {
        let operand = self.operand(expression)?;
        let value = self.loaded(expression.at, operand)?;
        if let Type::Struct(_) = value.of {
            return Err(Problem::new(
                expression.at,
                format!("`{}` as a whole is no value", value.of),
            )
            .help("name a member of it, or take its address with `&`"));
        }
        Ok(value)
    }

    /// What an expression stands for.
    pub(super) fn operand(&mut self, expression: &Expression) -> Checked<Operand> {
        let at = expression.at;
        let value = match &expression.kind {
            E::Number(value) => Value::number(at, *value),
            E::Float(value) => Value::new(at, Type::Double, ValueKind::Constant(value.to_bits())),
            E::Text(bytes) => text(at, bytes, 1),
            E::Wide(bytes) => text(at, bytes, 2),
            E::Name(name) => return self.name(at, name),
            E::Global(name) => {
                let global = self.global(at, name, None)?;
                let place = Place {
                    base: Base::Global(global.offset),
                    offset: 0,
                };
                return Ok(Operand::Place(place, global.of));
            }
            E::Register(name) => match register::part(name) {
                Some(part) => Value::new(at, LONG, ValueKind::Register(part)),
                None => return Err(no_register(at, name)),
            },
            E::Pseudo(name) => self.pseudo(at, name)?,
            E::Symbol(name) => match self.environment.symbol(name) {
                Some(address) => Value::new(at, Type::Untyped, ValueKind::Constant(address)),
                None => return Err(self.no_symbol(at, name)),
            },
            E::Unary(Unary::Target, pointer) => {
                let pointer = self.value(pointer)?;
                return self.target(at, pointer);
            }
            E::Unary(Unary::Address, operand) => self.address_of(at, operand)?,
            E::Unary(sign, operand) => {
                let operand = self.value(operand)?;
                self.unary(at, *sign, operand)?
            }
            E::Binary(sign, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                match sign {
                    Binary::LogicalAnd => self.logical(at, true, left, right)?,
                    Binary::LogicalOr => self.logical(at, false, left, right)?,
                    sign => self.binary(at, *sign, left, right)?,
                }
            }
            E::Conditional(condition, holds, fails) => {
                self.conditional(at, condition, holds, fails)?
            }
            E::Try(value, otherwise) => {
                let value = self.value(value)?;
                let otherwise = self.value(otherwise)?;
                let [value, otherwise] = self.alike(at, value, otherwise)?;
                let of = value.of.clone();
                let kind = ValueKind::Try(Box::new(value), Box::new(otherwise));
                Value::new(at, of, kind)
            }
            E::Cast(type_name, operand) => {
                let of = self.type_of(type_name)?;
                let operand = self.value(operand)?;
                let mut value = self.convert(operand, &of)?;
                value.at = at;
                value
            }
            E::SizeOfType(type_name) => {
                let of = self.type_of(type_name)?;
                self.size_of_type(at, &of)?
            }
            E::SizeOf(operand) => self.size_of(at, operand)?,
            E::Call(name, arguments) => self.call(at, name, arguments)?,
            E::Index(array, index) => return self.element(at, array, index),
            E::Member(whole, name) => return self.member(at, whole, name),
            E::Arrow(pointer, name) => return self.arrow(at, pointer, name),
        };
        Ok(Operand::Value(value))
    }

    /// A word: the first of variable, number, register, variable that is written to somewhere,
    /// and symbol.
    fn name(&mut self, at: Position, name: &str) -> Checked<Operand> {
        if let Some(number) = self.declared(name) {
            return Ok(self.variable(number));
        }
        if let Some(number) = self.constants.get(name) {
            let value = ValueKind::Constant(number.cast_unsigned());
            return Ok(Operand::Value(Value::new(at, INT, value)));
        }
        let digits = name.replace('`', "");
        if digits.chars().all(|c| c.is_ascii_hexdigit()) {
            let value = number::parse(name).map_err(|why| Problem::new(at, why.to_string()))?;
            if let Some(symbol) = self.environment.symbol(name) {
                self.warn(
                    Problem::new(
                        at,
                        format!(
                            "`{name}` is the number {value:x} here, not the symbol at {symbol:x}"
                        ),
                    )
                    .help(format!(
                        "write `nt!{name}` for the symbol, `0{name}` for the number"
                    )),
                );
            }
            return Ok(Operand::Value(Value::number(at, value)));
        }
        if let Some(part) = register::part(&name.to_ascii_lowercase()) {
            let value = Value::new(at, LONG, ValueKind::Register(part));
            return Ok(Operand::Value(value));
        }
        if self.frame.names.assigned.contains(name) {
            self.look_at_implicit(at, name);
            let number = self.implicit(name);
            return Ok(self.variable(number));
        }
        if let Some(known) = known(at, name) {
            return Ok(Operand::Value(known));
        }
        if let Some(address) = self.environment.symbol(name) {
            let value = Value::new(at, Type::Untyped, ValueKind::Constant(address));
            return Ok(Operand::Value(value));
        }
        Err(self.no_name(at, name))
    }

    /// Warns of a variable that is one only because something is assigned to it somewhere.
    fn look_at_implicit(&mut self, at: Position, name: &str) {
        let is_written = self.frame.names.written.contains(name);
        let hidden = if is_written {
            self.hidden(name)
        } else {
            self.environment.symbol(name)
        };
        if let Some(address) = hidden {
            let what = if is_written {
                format!("`{name}` is a variable here, not the symbol at {address:x}")
            } else {
                format!("`&{name}` makes a variable of this name, not the symbol at {address:x}")
            };
            self.warn(Problem::new(at, what).help(format!(
                "write `nt!{name}` for the symbol's address, or give the variable another name"
            )));
        } else if self.frame.names.early.contains(&at) {
            let what = format!("`{name}` is read before anything is assigned to it");
            let problem = Problem::new(at, what);
            self.warn(match self.frame.returns {
                None => problem.help(format!(
                    "it is 0 at first, then what the last run on this core left; if that is \
                     meant, declare it, `long {name};`"
                )),
                Some(_) => problem.help("it is 0 here, whatever an earlier call left"),
            });
        }
    }

    /// The symbol that a variable of this name hides. Kernels have symbols of one letter, too,
    /// which nobody means.
    pub(super) fn hidden(&mut self, name: &str) -> Option<u64> {
        let is_long = name.len() > 1;
        is_long.then(|| self.environment.symbol(name)).flatten()
    }

    fn variable(&self, number: usize) -> Operand {
        let slot = self.frame.slots.get(number);
        let of = slot.map_or(Type::Untyped, |slot| slot.of.clone());
        let base = match self.frame.statics.get(&number) {
            Some(number) => Base::Static(*number),
            None => Base::Variable(number),
        };
        Operand::Place(Place { base, offset: 0 }, of)
    }

    /// `x ? y : z`
    fn conditional(
        &mut self,
        at: Position,
        condition: &Expression,
        holds: &Expression,
        fails: &Expression,
    ) -> Checked<Value> {
        let condition = self.value(condition)?;
        let condition = self.condition(condition)?;
        let holds = self.value(holds)?;
        let fails = self.value(fails)?;
        let [holds, fails] = self.alike(at, holds, fails)?;
        if let Some(known) = condition.constant() {
            let mut value = if known != 0 { holds } else { fails };
            value.at = at;
            return Ok(value);
        }
        let of = holds.of.clone();
        let [condition, holds, fails] = [condition, holds, fails].map(Box::new);
        let kind = ValueKind::Conditional(condition, holds, fails);
        Ok(Value::new(at, of, kind))
    }

    /// Two values, of which one is taken, as one type.
    fn alike(&mut self, at: Position, left: Value, right: Value) -> Checked<[Value; 2]> {
        self.need_value(&left)?;
        self.need_value(&right)?;
        let is_null = |value: &Value| value.constant() == Some(0);
        let of = match (&left.of, &right.of) {
            (Type::Pointer(_), Type::Pointer(target))
                if is_null(&left) || **target == Type::Void =>
            {
                if is_null(&left) {
                    right.of.clone()
                } else {
                    left.of.clone()
                }
            }
            (of @ Type::Pointer(_), other) | (other, of @ Type::Pointer(_)) => {
                if other.is_floating() {
                    return Err(Problem::new(
                        at,
                        format!("`{}` and `{}` are no values of one type", left.of, right.of),
                    ));
                }
                of.clone()
            }
            (left, right) => left.common(right),
        };
        Ok([self.convert(left, &of)?, self.convert(right, &of)?])
    }

    fn no_name(&mut self, at: Position, name: &str) -> Problem {
        if self.function_names.contains_key(name) || call::is_known(name) {
            return Problem::new(at, format!("`{name}` is a function"))
                .help(format!("call it, `{name}(…)`"));
        }
        if self.frame.returns.is_some() && self.main_names.contains(name) {
            return Problem::new(
                at,
                format!("`{name}` is a variable of the main part, which functions do not see"),
            )
            .help(format!(
                "pass it as an argument, or make it global, `.{name}`"
            ));
        }
        let problem = Problem::new(at, format!("`{name}` is neither a variable nor a symbol"));
        if let Some(advice) = foreign::advice(name) {
            return problem.help(advice);
        }
        match self.environment.similar(name) {
            Some(similar) => problem.help(format!("is the symbol `{similar}` meant?")),
            None => problem.help("a variable exists once something is assigned to it"),
        }
    }

    fn no_symbol(&mut self, at: Position, name: &str) -> Problem {
        let problem = Problem::new(at, format!("there is no symbol `{name}`"));
        match self.environment.similar(name) {
            Some(similar) => problem.help(format!("is `{similar}` meant?")),
            None => problem.help(
                "symbols are those of the file that `--symbols` names, and of loaded modules",
            ),
        }
    }

    fn pseudo(&mut self, at: Position, name: &str) -> Checked<Value> {
        if let Some(index) = name.strip_prefix("arg")
            && let Ok(index) = index.parse::<usize>()
        {
            return self.argument(at, index);
        }
        match Pseudo::from_name(name) {
            Some(pseudo) => {
                let of = match pseudo {
                    Pseudo::Ip => LONG,
                    _ => Type::Untyped,
                };
                Ok(Value::new(at, of, ValueKind::Pseudo(pseudo)))
            }
            None => {
                let names = Pseudo::ALL.iter().map(|pseudo| pseudo.name());
                let what = format!("there is no pseudo-register `${name}`");
                Err(call::unknown(at, &what, name, names))
            }
        }
    }

    /// `$arg0` is the script's name, the others are expressions.
    fn argument(&mut self, at: Position, index: usize) -> Checked<Value> {
        let Some(argument) = self.arguments.get(index) else {
            let count = self.arguments.len().saturating_sub(1);
            return Err(Problem::new(
                at,
                format!("the script was started with {count} arguments, `$arg{index}` is missing"),
            ));
        };
        if index == 0 {
            return Ok(text(at, argument.as_bytes(), 1));
        }
        let mut sources = Sources::default();
        let none = |_: &str| Err(std::io::Error::other("not in an argument"));
        let tokens = include::words(&mut sources, argument, argument, &none);
        let parsed = tokens.and_then(|tokens| parser::only_expression(&tokens));
        let value = parsed.and_then(|expression| {
            // An argument that uses arguments could use itself.
            let arguments = std::mem::take(&mut self.arguments);
            let value = self.value(&expression);
            self.arguments = arguments;
            value
        });
        value
            .map(|mut value| {
                value.at = at;
                value
            })
            .map_err(|why| Problem::new(at, format!("`$arg{index}`, `{argument}`: {}", why.what)))
    }
}

/// A name that stands for a number, unless the script has a variable of that name.
fn known(at: Position, name: &str) -> Option<Value> {
    let (of, number) = match name {
        "true" => (INT, 1),
        "false" => (INT, 0),
        "NULL" => (Type::pointer(Type::Void), 0),
        _ => return None,
    };
    Some(Value::new(at, of, ValueKind::Constant(number)))
}

/// The address of a string with a zero of that many bytes.
pub(super) fn text(at: Position, bytes: &[u8], unit: u8) -> Value {
    let mut stored = bytes.to_vec();
    stored.resize(bytes.len() + usize::from(unit), 0);
    let of = if unit == 1 {
        Type::text()
    } else {
        Type::pointer(Type::Integer {
            bytes: 2,
            signed: false,
        })
    };
    Value::new(at, of, ValueKind::Text(stored))
}

fn no_register(at: Position, name: &str) -> Problem {
    let names: Vec<String> = register::all().map(register::spelling).collect();
    let flags = register::FLAGS.iter().map(|(flag, ..)| *flag);
    let names = names.iter().map(String::as_str).chain(flags);
    call::unknown(at, &format!("there is no register `@{name}`"), name, names)
}
