//! Which names are written to: those are variables even where they are read first, as variables
//! keep their values from one run to the next.

use super::super::problem::Position;
use super::super::tree::{
    Expression, ExpressionKind as E, Initial, Statement, StatementKind as S, Unary,
};
use std::collections::HashSet;

/// What a part of a script does with names that may not be declared.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Statements write to them, or take their addresses.
    pub(super) assigned: HashSet<String>,
    /// Statements write to them.
    pub(super) written: HashSet<String>,
    /// Where names are read that nothing above writes to.
    pub(super) early: HashSet<Position>,
}

impl Names {
    /// Names of these statements, which are looked at in the order in which they run.
    pub(super) fn of(statements: &[Statement]) -> Self {
        let mut names = Self::default();
        names.all(statements);
        names
    }

    fn all(&mut self, statements: &[Statement]) {
        statements.iter().for_each(|s| self.statement(s));
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            S::Nothing | S::Break | S::Continue => {}
            S::Block(block) => self.all(block),
            S::If(arms, otherwise) => {
                for (condition, body) in arms {
                    self.expression(condition);
                    self.statement(body);
                }
                otherwise.iter().for_each(|s| self.statement(s));
            }
            S::Switch(value, cases) => {
                self.expression(value);
                cases.iter().for_each(|case| self.all(&case.body));
            }
            S::While(condition, body) => {
                self.expression(condition);
                self.statement(body);
            }
            S::DoWhile(body, condition) => {
                self.statement(body);
                self.expression(condition);
            }
            S::For {
                first,
                condition,
                next,
                body,
            } => {
                self.all(first);
                condition.iter().for_each(|e| self.expression(e));
                self.statement(body);
                self.all(next);
            }
            S::Return(value) => value.iter().for_each(|e| self.expression(e)),
            S::Assign(targets, _, value) => self.assignment(targets, value),
            S::Evaluate(value) => self.expression(value),
            S::Declare(variables) => {
                // An initial value makes no variable of what it takes the address of.
                let assigned = self.assigned.clone();
                let values = variables.iter().filter_map(|it| it.initial.as_ref());
                values.for_each(|initial| self.initial(initial));
                self.assigned = assigned;
            }
        }
    }

    /// A variable that is computed from itself counts something: that is no early use.
    fn assignment(&mut self, targets: &[Expression], value: &Expression) {
        for target in targets {
            if let E::Name(name) = &target.kind {
                self.written.insert(name.clone());
                self.assigned.insert(name.clone());
            }
        }
        self.expression(value);
        targets.iter().for_each(|target| self.expression(target));
    }

    fn initial(&mut self, initial: &Initial) {
        match initial {
            Initial::Value(value) => self.expression(value),
            Initial::List(_, list) => list.iter().for_each(|it| self.initial(it)),
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match &expression.kind {
            E::Unary(Unary::Address, inner) => self.address(inner),
            E::Unary(_, inner)
            | E::Cast(_, inner)
            | E::SizeOf(inner)
            | E::Member(inner, _)
            | E::Arrow(inner, _) => self.expression(inner),
            E::Conditional(condition, holds, fails) => {
                self.expression(condition);
                self.expression(holds);
                self.expression(fails);
            }
            E::Binary(_, left, right) | E::Index(left, right) | E::Try(left, right) => {
                self.expression(left);
                self.expression(right);
            }
            E::Call(function, arguments) => {
                for argument in arguments {
                    match function.as_str() {
                        "reference" | "ref" => self.address(argument),
                        _ => self.expression(argument),
                    }
                }
            }
            E::Name(name) => {
                if !self.assigned.contains(name) {
                    self.early.insert(expression.at);
                }
            }
            E::Number(_)
            | E::Float(_)
            | E::Text(_)
            | E::Wide(_)
            | E::Global(_)
            | E::Register(_)
            | E::Pseudo(_)
            | E::Symbol(_)
            | E::SizeOfType(_) => {}
        }
    }

    /// Whoever gets the address may write there.
    fn address(&mut self, of: &Expression) {
        if let E::Name(name) = &of.kind {
            self.assigned.insert(name.clone());
        }
        self.expression(of);
    }
}
