//! Which names are written to: those are variables even where they are read first, as variables
//! keep their values from one run to the next.

use super::super::tree::{Expression, ExpressionKind as E, Statement, StatementKind as S, Unary};
use std::collections::HashSet;

/// Names that statements write to, or take the address of.
pub(super) fn assigned(statements: &[Statement]) -> HashSet<String> {
    let mut names = HashSet::new();
    for statement in statements {
        in_statement(statement, &mut names);
    }
    names
}

fn in_statement(statement: &Statement, names: &mut HashSet<String>) {
    match &statement.kind {
        S::Nothing | S::Break | S::Continue => {}
        S::Block(block) => block.iter().for_each(|s| in_statement(s, names)),
        S::If(arms, otherwise) => {
            for (condition, body) in arms {
                in_expression(condition, names);
                in_statement(body, names);
            }
            if let Some(otherwise) = otherwise {
                in_statement(otherwise, names);
            }
        }
        S::While(condition, body) | S::DoWhile(body, condition) => {
            in_expression(condition, names);
            in_statement(body, names);
        }
        S::For {
            first,
            condition,
            next,
            body,
        } => {
            first.iter().for_each(|s| in_statement(s, names));
            condition.iter().for_each(|e| in_expression(e, names));
            next.iter().for_each(|s| in_statement(s, names));
            in_statement(body, names);
        }
        S::Return(value) => value.iter().for_each(|e| in_expression(e, names)),
        S::Assign(targets, _, value) => {
            for target in targets {
                if let E::Name(name) = &target.kind {
                    names.insert(name.clone());
                }
                in_expression(target, names);
            }
            in_expression(value, names);
        }
        S::Evaluate(value) => in_expression(value, names),
        S::Declare(_) => {}
    }
}

fn in_expression(expression: &Expression, names: &mut HashSet<String>) {
    match &expression.kind {
        E::Unary(Unary::Address, inner) => {
            if let E::Name(name) = &inner.kind {
                names.insert(name.clone());
            }
            in_expression(inner, names);
        }
        E::Unary(_, inner)
        | E::Cast(_, inner)
        | E::SizeOf(inner)
        | E::Member(inner, _)
        | E::Arrow(inner, _) => in_expression(inner, names),
        E::Binary(_, left, right) | E::Index(left, right) => {
            in_expression(left, names);
            in_expression(right, names);
        }
        E::Call(function, arguments) => {
            for argument in arguments {
                if let ("reference" | "ref", E::Name(name)) = (function.as_str(), &argument.kind) {
                    names.insert(name.clone());
                }
                in_expression(argument, names);
            }
        }
        E::Number(_)
        | E::Float(_)
        | E::Text(_)
        | E::Wide(_)
        | E::Name(_)
        | E::Global(_)
        | E::Register(_)
        | E::Pseudo(_)
        | E::Symbol(_)
        | E::SizeOfType(_) => {}
    }
}
