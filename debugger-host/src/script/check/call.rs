//! Calls: of functions of the script and of the language.

use super::super::problem::{Position, Problem};
use super::super::tree::{Expression, Unary};
use super::super::types::{LONG, Type};
use super::super::value::{Value, ValueKind};
use super::convert::not_a;
use super::{Checked, Checker};
use crate::types::near::nearest;
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::routine::Routine;

/// Functions that are operations of their own.
const OPERATIONS: [(&str, Op); 24] = [
    ("poi", Op::Load64),
    ("dq", Op::Load64),
    ("dd", Op::Load32),
    ("dw", Op::Load16),
    ("db", Op::Load8),
    ("low", Op::Load16),
    ("hi", Op::Load16),
    ("poi_pa", Op::LoadPhysical64),
    ("dq_pa", Op::LoadPhysical64),
    ("dd_pa", Op::LoadPhysical32),
    ("dw_pa", Op::LoadPhysical16),
    ("db_pa", Op::LoadPhysical8),
    ("low_pa", Op::LoadPhysical16),
    ("hi_pa", Op::LoadPhysical16),
    ("not", Op::Not),
    ("neg", Op::Neg),
    ("eq", Op::Put64),
    ("ed", Op::Put32),
    ("ew", Op::Put16),
    ("eb", Op::Put8),
    ("eq_pa", Op::PutPhysical64),
    ("ed_pa", Op::PutPhysical32),
    ("ew_pa", Op::PutPhysical16),
    ("eb_pa", Op::PutPhysical8),
];

/// Functions that are statements, and those that take a variable.
const OTHERS: [&str; 6] = [
    "print",
    "printf",
    "formats",
    "test_statement",
    "reference",
    "ref",
];

/// It is a function of the language.
pub(super) fn is_known(name: &str) -> bool {
    Routine::from_name(name).is_some()
        || OTHERS.contains(&name)
        || OPERATIONS.iter().any(|(known, _)| *known == name)
}

/// Names of all functions of the language.
pub(crate) fn known<'n>() -> impl Iterator<Item = &'n str> {
    let routines = Routine::ALL.iter().map(|routine| routine.name());
    let operations = OPERATIONS.iter().map(|(name, _)| *name);
    routines
        .chain(operations)
        .chain(OTHERS)
        .chain(["disassemble_len"])
}

/// A problem with a name, with the closest of the right ones.
pub(super) fn unknown<'n>(
    at: Position,
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
) -> Problem {
    let problem = Problem::new(at, what);
    match nearest(name, names) {
        Some(closest) => problem.help(format!("is `{closest}` meant?")),
        None => problem,
    }
}

impl Checker<'_> {
    /// A call that gives a value, or nothing.
    pub(super) fn call(
        &mut self,
        at: Position,
        name: &str,
        arguments: &[Expression],
    ) -> Checked<Value> {
        if let Some(index) = self.function_names.get(name) {
            return self.call_own(at, name, *index, arguments);
        }
        if matches!(name, "print" | "printf" | "formats" | "test_statement") {
            return Err(Problem::new(at, format!("`{name}` gives no value"))
                .help("make it a statement of its own"));
        }
        if matches!(name, "reference" | "ref") {
            let [variable] = arguments else {
                return Err(wrong_count(at, name, 1, arguments.len()));
            };
            return self.address_of(at, variable);
        }
        if let Some((_, op)) = OPERATIONS.iter().find(|(known, _)| *known == name) {
            return self.operation(at, name, *op, arguments);
        }
        let Some(routine) = Routine::from_name(name) else {
            let own = self.function_names.keys().map(String::as_str);
            let what = format!("there is no function `{name}`");
            return Err(unknown(at, &what, name, own.chain(known())));
        };
        let values = self.arguments(at, name, usize::from(routine.arguments()), arguments)?;
        if atomic(routine)
            && let Some(first) = values.first()
            && let Type::Pointer(target) = &first.of
            && self.complete(target).size().is_some_and(|size| size != 8)
        {
            return Err(Problem::new(
                first.at,
                format!("`{name}` works on 8 bytes, and this points at `{target}`"),
            )
            .help("declare the variable `long`, or leave it untyped"));
        }
        let of = match routine {
            Routine::Memcmp
            | Routine::Strcmp
            | Routine::Strncmp
            | Routine::Wcscmp
            | Routine::Wcsncmp => LONG,
            _ => Type::Untyped,
        };
        Ok(Value::new(at, of, ValueKind::Routine(routine, values)))
    }

    fn call_own(
        &mut self,
        at: Position,
        name: &str,
        index: usize,
        arguments: &[Expression],
    ) -> Checked<Value> {
        let Some(signature) = self.functions.get(index).cloned() else {
            return Err(Problem::new(at, format!("there is no function `{name}`")));
        };
        if arguments.len() != signature.parameters.len() {
            let wanted = signature.parameters.len();
            return Err(wrong_count(at, name, wanted, arguments.len()));
        }
        let mut values = Vec::new();
        for (argument, of) in arguments.iter().zip(&signature.parameters) {
            let value = self.value(argument)?;
            values.push(self.convert_to_store(value, of)?);
        }
        let kind = ValueKind::Call(index, values);
        Ok(Value::new(at, signature.returns, kind))
    }

    /// The values of exactly so many arguments, each a number.
    fn arguments(
        &mut self,
        at: Position,
        name: &str,
        wanted: usize,
        arguments: &[Expression],
    ) -> Checked<Vec<Value>> {
        if arguments.len() != wanted {
            return Err(wrong_count(at, name, wanted, arguments.len()));
        }
        let mut values = Vec::new();
        for argument in arguments {
            let value = self.value(argument)?;
            self.need_value(&value)?;
            if value.of.is_floating() {
                return Err(not_a(value.at, "a whole number", &value.of));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn operation(
        &mut self,
        at: Position,
        name: &str,
        op: Op,
        arguments: &[Expression],
    ) -> Checked<Value> {
        let wanted = usize::from(op.effect().0);
        let mut values = self.arguments(at, name, wanted, arguments)?.into_iter();
        let (first, second) = (values.next(), values.next());
        let mut value = match (first, second) {
            (Some(first), None) if matches!(name, "hi" | "hi_pa") => {
                let two = Value::number(at, 2);
                let address = Value::binary(
                    at,
                    Op::Add,
                    first.retyped(Type::Untyped),
                    two,
                    Type::Untyped,
                );
                Value::unary(op, address, Type::Untyped)
            }
            (Some(first), None) if matches!(name, "not" | "neg") => {
                let sign = if name == "not" {
                    Unary::Complement
                } else {
                    Unary::Negate
                };
                self.unary(at, sign, first)?
            }
            (Some(first), None) => Value::unary(op, first, Type::Untyped),
            (Some(first), Some(second)) => Value::binary(at, op, first, second, Type::Untyped),
            (None, _) => return Err(wrong_count(at, name, wanted, 0)),
        };
        value.at = at;
        Ok(value)
    }
}

fn atomic(routine: Routine) -> bool {
    matches!(
        routine,
        Routine::SpinlockLock
            | Routine::SpinlockUnlock
            | Routine::SpinlockLockCustomWait
            | Routine::InterlockedIncrement
            | Routine::InterlockedDecrement
            | Routine::InterlockedExchange
            | Routine::InterlockedExchangeAdd
            | Routine::InterlockedCompareExchange
    )
}

pub(super) fn wrong_count(at: Position, name: &str, wanted: usize, found: usize) -> Problem {
    let plural = if wanted == 1 { "" } else { "s" };
    Problem::new(
        at,
        format!("`{name}` takes {wanted} argument{plural}, not {found}"),
    )
}
