//! Statements: what is done.

use super::super::problem::{Position, Problem};
use super::super::tree::{Binary, Expression, ExpressionKind as E, Statement, StatementKind as S};
use super::super::types::Type;
use super::super::value::{Action, Base, Line, Place, Target, Value, ValueKind};
use super::memory::Operand;
use super::{Checked, Checker, update};
use crate::types::{number, register};
use std::collections::HashMap;

impl Checker<'_> {
    /// Statements one after the other.
    pub(super) fn statements(&mut self, statements: &[Statement]) -> Checked<Vec<Line>> {
        let mut lines = Vec::new();
        for statement in statements {
            self.statement(statement, &mut lines)?;
        }
        Ok(lines)
    }

    /// A statement with a block of its own around it.
    fn body(&mut self, statement: &Statement) -> Checked<Vec<Line>> {
        let mut lines = Vec::new();
        self.frame.scopes.push(HashMap::new());
        let result = self.statement(statement, &mut lines);
        self.frame.scopes.pop();
        result.map(|()| lines)
    }

    fn looped(&mut self, statement: &Statement) -> Checked<Vec<Line>> {
        self.frame.loops += 1;
        self.frame.breakable += 1;
        let lines = self.body(statement);
        self.frame.loops -= 1;
        self.frame.breakable -= 1;
        lines
    }

    fn holds(&mut self, condition: &Expression) -> Checked<Value> {
        let value = self.value(condition)?;
        self.condition(value)
    }

    fn statement(&mut self, statement: &Statement, lines: &mut Vec<Line>) -> Checked<()> {
        let at = statement.at;
        let mut push = |action| lines.push(Line { at, action });
        match &statement.kind {
            S::Nothing => {}
            S::Block(block) => {
                self.frame.scopes.push(HashMap::new());
                let inner = self.statements(block);
                self.frame.scopes.pop();
                lines.extend(inner?);
            }
            S::If(arms, otherwise) => {
                let mut checked = Vec::new();
                for (condition, body) in arms {
                    checked.push((self.holds(condition)?, self.body(body)?));
                }
                let otherwise = match otherwise {
                    Some(otherwise) => self.body(otherwise)?,
                    None => Vec::new(),
                };
                push(Action::If(checked, otherwise));
            }
            S::While(condition, body) => {
                let before = Some(self.holds(condition)?);
                let body = self.looped(body)?;
                push(Action::Loop {
                    before,
                    body,
                    next: Vec::new(),
                    after: None,
                });
            }
            S::DoWhile(body, condition) => {
                let body = self.looped(body)?;
                let after = Some(self.holds(condition)?);
                push(Action::Loop {
                    before: None,
                    body,
                    next: Vec::new(),
                    after,
                });
            }
            S::For {
                first,
                condition,
                next,
                body,
            } => {
                self.frame.scopes.push(HashMap::new());
                let result = self.counted(first, condition.as_ref(), next, body, at, lines);
                self.frame.scopes.pop();
                result?;
            }
            S::Switch(value, cases) => self.switch(at, value, cases, lines)?,
            S::Break if self.frame.breakable == 0 => {
                return Err(Problem::new(at, "there is no loop around this statement"));
            }
            S::Continue if self.frame.loops == 0 => {
                return Err(Problem::new(at, "there is no loop around this statement"));
            }
            S::Break => push(Action::Break),
            S::Continue => push(Action::Continue),
            S::Return(value) => push(self.returned(at, value.as_ref())?),
            S::Assign(targets, operator, value) => {
                let action = self.assigned(at, targets, *operator, value)?;
                push(action);
            }
            S::Evaluate(call) => {
                let shown = match &call.kind {
                    E::Call(name, arguments) if !self.function_names.contains_key(name) => {
                        self.shown(call.at, name, arguments)?
                    }
                    _ => None,
                };
                push(match shown {
                    Some(action) => action,
                    None => match self.operand(call)? {
                        Operand::Value(value) => Action::Evaluate(value),
                        Operand::Place(..) => return Ok(()),
                    },
                });
            }
            S::Declare(variables) => {
                for variable in variables {
                    for action in self.declaration(variable)? {
                        lines.push(Line {
                            at: variable.at,
                            action,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn counted(
        &mut self,
        first: &[Statement],
        condition: Option<&Expression>,
        next: &[Statement],
        body: &Statement,
        at: Position,
        lines: &mut Vec<Line>,
    ) -> Checked<()> {
        for statement in first {
            self.statement(statement, lines)?;
        }
        let before = match condition {
            Some(condition) => Some(self.holds(condition)?),
            None => None,
        };
        let body = self.looped(body)?;
        let next = self.statements(next)?;
        lines.push(Line {
            at,
            action: Action::Loop {
                before,
                body,
                next,
                after: None,
            },
        });
        Ok(())
    }

    fn returned(&mut self, at: Position, value: Option<&Expression>) -> Checked<Action> {
        let value = match value {
            Some(value) => Some(self.value(value)?),
            None => None,
        };
        let value = match (self.frame.returns.clone(), value) {
            (None, Some(value)) => {
                self.need_value(&value)?;
                Some(value)
            }
            (Some(Type::Void), Some(_)) => {
                return Err(Problem::new(
                    at,
                    "this function is `void` and returns no value",
                ));
            }
            (Some(Type::Void) | None, None) => None,
            (Some(of), Some(value)) => Some(self.convert_to_store(value, &of)?),
            (Some(of), None) => {
                return Err(Problem::new(at, format!("this function returns `{of}`"))
                    .help("name the value, `return 0;`"));
            }
        };
        Ok(Action::Return(value))
    }

    fn assigned(
        &mut self,
        at: Position,
        targets: &[Expression],
        operator: Option<Binary>,
        value: &Expression,
    ) -> Checked<Action> {
        if let (Some(operator), [target]) = (operator, targets) {
            return self.updated(at, target, operator, value);
        }
        let mut checked = Vec::new();
        for target in targets {
            checked.push(self.written(target)?);
        }
        if let [(Target::Place(to), of @ Type::Struct(_))] = &checked[..] {
            return self.copied(at, to.clone(), of, value);
        }
        let mut value = self.value(value)?;
        // Each target gets the value of the one to its right.
        for (index, (_, of)) in checked.iter().rev().enumerate() {
            if !of.is_scalar() {
                return Err(Problem::new(
                    at,
                    format!("`{of}` cannot be assigned as a whole"),
                ));
            }
            if index > 0 && value.of.is_floating() != of.is_floating() {
                return Err(Problem::new(
                    at,
                    "whole numbers and fractions cannot be assigned in one statement",
                )
                .help("use one statement for each"));
            }
            let stored = self.convert_to_store(value.clone(), of)?;
            if index == 0 {
                value = stored;
            }
        }
        let of = value.of.clone();
        let targets = checked.into_iter().map(|(target, of)| (of, target));
        Ok(Action::Write(of, targets.collect(), value))
    }

    /// `target op= value`
    fn updated(
        &mut self,
        at: Position,
        target: &Expression,
        operator: Binary,
        value: &Expression,
    ) -> Checked<Action> {
        let (target, of) = self.written(target)?;
        if !of.is_scalar() {
            return Err(Problem::new(at, format!("`{of}` has no such operator")));
        }
        let kind = match &target {
            Target::Register(part) => ValueKind::Register(*part),
            // The address is computed once, and stands beneath.
            Target::Place(Place {
                base: Base::Memory(_),
                ..
            }) => ValueKind::Old(of.clone()),
            Target::Place(place) => ValueKind::Read(place.clone(), of.clone()),
        };
        let old = Value::new(at, of.clone(), kind);
        let value = self.value(value)?;
        let value = self.binary(at, operator, old.clone(), value)?;
        let value = self.convert(value, &of)?;
        Ok(match target {
            Target::Place(place) if !matches!(place.base, Base::Variable(_)) => {
                match update::of(value, &old) {
                    update::Found::Nothing => Action::Evaluate(Value::number(at, 0)),
                    update::Found::Update(update, value) => Action::Update(update, place, *value),
                    update::Found::Other(value) => {
                        self.look_at_rewritten(at, &place);
                        match place.base {
                            Base::Memory(_) => Action::Rewrite(of, place, *value),
                            _ => {
                                let target = vec![(of.clone(), Target::Place(place))];
                                Action::Write(of, target, *value)
                            }
                        }
                    }
                }
            }
            target => Action::Write(of.clone(), vec![(of, target)], value),
        })
    }

    /// Warns of a global that is read and then written.
    fn look_at_rewritten(&mut self, at: Position, place: &Place) {
        if update::is_global(place) {
            self.warn(
                Problem::new(
                    at,
                    "what another core does to this variable at the same time may be lost",
                )
                .help("take a lock around it, `spinlock_lock(&.lock);`"),
            );
        }
    }

    /// Refuses a variable that is `const`, or a part of one.
    fn may_write(&self, target: &Expression) -> Checked<()> {
        let name = match &target.kind {
            E::Member(whole, _) | E::Index(whole, _) => {
                return match whole.kind {
                    // What a pointer points at is not the pointer.
                    E::Name(_) | E::Global(_) if !self.is_whole(whole) => Ok(()),
                    _ => self.may_write(whole),
                };
            }
            E::Name(name) => self
                .declared(name)
                .filter(|number| self.frame.unwritable.contains(number))
                .map(|_| name.clone()),
            E::Global(name) if self.unwritable.contains(name) => Some(format!(".{name}")),
            _ => None,
        };
        match name {
            None => Ok(()),
            Some(name) => Err(Problem::new(target.at, format!("`{name}` is `const`"))
                .help("leave out `const` where it is declared")),
        }
    }

    /// The variable is a structure or an array.
    fn is_whole(&self, variable: &Expression) -> bool {
        let of = match &variable.kind {
            E::Name(name) => self
                .declared(name)
                .and_then(|number| self.frame.slots.get(number))
                .map(|slot| &slot.of),
            E::Global(name) => self.globals.get(name).map(|global| &global.of),
            _ => None,
        };
        matches!(of, Some(Type::Struct(_) | Type::Array(..)))
    }

    /// What stands to the left of `=`.
    fn written(&mut self, target: &Expression) -> Checked<(Target, Type)> {
        if let E::Name(name) = &target.kind
            && self.declared(name).is_none()
        {
            if number::parse(name).is_ok() && name.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Problem::new(
                    target.at,
                    format!("`{name}` is a number, as it has hexadecimal digits only"),
                )
                .help(format!(
                    "declare it first, `long {name};`, or choose another name"
                )));
            }
            if register::part(&name.to_ascii_lowercase()).is_some() {
                self.warn(
                    Problem::new(target.at, format!("this writes to the register `@{name}`")).help(
                        format!("for a variable of that name, declare it, `long {name};`"),
                    ),
                );
            }
        }
        self.may_write(target)?;
        match self.operand(target)? {
            Operand::Place(place, of) => Ok((Target::Place(place), of)),
            Operand::Value(value) => match value.kind {
                ValueKind::Register(part) => Ok((Target::Register(part), value.of)),
                ValueKind::Pseudo(_) => Err(Problem::new(
                    target.at,
                    "a pseudo-register cannot be written to",
                )),
                _ => Err(
                    Problem::new(target.at, "nothing can be assigned to this value")
                        .help("name a variable, a register, or memory as in `*p`"),
                ),
            },
        }
    }
}
