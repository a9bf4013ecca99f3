//! Expressions, with the precedence of C, by precedence climbing.

use super::super::problem::{Position, Problem};
use super::super::token::Kind;
use super::super::tree::{Binary, Expression, ExpressionKind as E, Unary};
use super::foreign::foreign_name;
use super::{Parsed, Parser, is_keyword};

/// Levels of a tree, so that walking it takes bounded stack.
const DEPTH_LIMIT: u16 = 128;

impl Parser<'_> {
    /// One expression.
    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        let expression = self.conditional_value()?;
        if matches!(self.peek(), Kind::Sign("++" | "--"))
            || matches!(self.peek(), Kind::Sign(sign) if assignment(sign).is_some())
        {
            return Err(self.no_operator());
        }
        Ok(expression)
    }

    pub(super) fn no_operator(&self) -> Problem {
        let Kind::Sign(sign) = self.peek() else {
            return self.unexpected("an operator");
        };
        let problem = Problem::new(
            self.at(),
            format!("`{sign}` cannot stand inside an expression"),
        );
        match *sign {
            "=" => problem.help("`==` compares; an assignment is a statement of its own"),
            "?" => problem.help("`x ? y : z` is a value; assign it to something"),
            _ => problem.help("make it a statement of its own"),
        }
    }

    /// An expression up to an operator of a statement: `x ? y : z` is the outermost that it can be.
    pub(super) fn conditional_value(&mut self) -> Parsed<Expression> {
        self.nested(|p| {
            let condition = p.binary(1)?;
            let at = p.at();
            if !p.accept("?") {
                return Ok(condition);
            }
            let holds = p.expression()?;
            p.expect(":")?;
            let fails = p.conditional_value()?;
            let depth = condition.depth.max(holds.depth).max(fails.depth);
            let [condition, holds, fails] = [condition, holds, fails].map(Box::new);
            make(at, depth, E::Conditional(condition, holds, fails))
        })
    }

    /// `try x else y`; what may be tried binds as a sign does.
    fn tried(&mut self, at: Position) -> Parsed<Expression> {
        self.step();
        let value = self.nested(Self::unary)?;
        if !self.accept_word("else") {
            return Err(self
                .unexpected("`else`")
                .help("`try poi(x) else 0`: what it is if that cannot be read"));
        }
        let otherwise = self.nested(Self::unary)?;
        let depth = value.depth.max(otherwise.depth);
        make(at, depth, E::Try(Box::new(value), Box::new(otherwise)))
    }

    /// Operators that bind at least as tightly as `floor`.
    pub(super) fn binary(&mut self, floor: u8) -> Parsed<Expression> {
        let mut left = self.unary()?;
        while let Kind::Sign(sign) = self.peek()
            && let Some((operator, level)) = Binary::of(sign)
            && level >= floor
        {
            let at = self.at();
            self.step();
            let right = self.binary(level + 1)?;
            left = make(
                at,
                left.depth.max(right.depth),
                E::Binary(operator, Box::new(left), Box::new(right)),
            )?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let at = self.at();
        let operator = match self.peek() {
            Kind::Sign("-") => Unary::Negate,
            Kind::Sign("~") => Unary::Complement,
            Kind::Sign("+") => Unary::Plus,
            Kind::Sign("!") => Unary::Not,
            Kind::Sign("*") => Unary::Target,
            Kind::Sign("&") => Unary::Address,
            Kind::Sign("++" | "--") => return Err(self.no_operator()),
            Kind::Word(word) if word == "sizeof" => return self.size_of(at),
            Kind::Word(word) if word == "try" => return self.tried(at),
            Kind::Sign("(") if self.type_follows(1) => {
                self.step();
                let type_name = self.type_name()?;
                self.expect(")")?;
                let operand = self.nested(Self::unary)?;
                return make(at, operand.depth, E::Cast(type_name, Box::new(operand)));
            }
            _ => return self.postfix(),
        };
        self.step();
        let operand = self.nested(Self::unary)?;
        make(at, operand.depth, E::Unary(operator, Box::new(operand)))
    }

    fn size_of(&mut self, at: Position) -> Parsed<Expression> {
        self.step();
        if self.is_sign("(") && self.type_follows(1) {
            self.step();
            let type_name = self.type_name()?;
            self.expect(")")?;
            return make(at, 0, E::SizeOfType(type_name));
        }
        let operand = self.nested(Self::unary)?;
        make(at, operand.depth, E::SizeOf(Box::new(operand)))
    }

    /// A value with what may follow it: `[…]`, `.name`, `->name`.
    fn postfix(&mut self) -> Parsed<Expression> {
        let mut value = self.primary()?;
        loop {
            let at = self.at();
            let depth = value.depth;
            let inner = Box::new(value);
            value = match self.peek() {
                Kind::Sign("[") => {
                    self.step();
                    let index = self.expression()?;
                    self.expect("]")?;
                    make(at, depth.max(index.depth), E::Index(inner, Box::new(index)))?
                }
                Kind::Dotted(name) => {
                    self.step();
                    make(at, depth, E::Member(inner, name.clone()))?
                }
                Kind::Sign(".") => {
                    self.step();
                    let (_, name) = self.name("the name of a member")?;
                    make(at, depth, E::Member(inner, name))?
                }
                Kind::Sign("->") => {
                    self.step();
                    let (_, name) = self.name("the name of a member")?;
                    make(at, depth, E::Arrow(inner, name))?
                }
                _ => return Ok(*inner),
            };
        }
    }

    fn primary(&mut self) -> Parsed<Expression> {
        let at = self.at();
        let kind = match self.peek() {
            Kind::Number(value) => E::Number(*value),
            Kind::Float(value) => E::Float(*value),
            Kind::Text(bytes) => E::Text(self.joined(bytes, false)),
            Kind::Wide(bytes) => E::Wide(self.joined(bytes, true)),
            Kind::Dotted(name) => E::Global(name.clone()),
            Kind::Register(name) => E::Register(name.clone()),
            Kind::Pseudo(name) => E::Pseudo(name.clone()),
            Kind::Symbol(name) => E::Symbol(name.clone()),
            Kind::Word(name) if is_keyword(name) => return Err(self.unexpected("a value")),
            Kind::Word(name) if matches!(self.ahead(1).kind, Kind::Sign("(")) => {
                self.step();
                return self.call(at, name.clone());
            }
            Kind::Word(name) => E::Name(name.clone()),
            Kind::Sign("(") => {
                self.step();
                let inner = self.expression()?;
                self.expect(")")?;
                // A cast to a type that there is not.
                if let Some(problem) = foreign_name(&inner)
                    && matches!(
                        self.peek(),
                        Kind::Word(_) | Kind::Register(_) | Kind::Number(_)
                    )
                {
                    return Err(problem);
                }
                return Ok(inner);
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.step();
        make(at, 0, kind)
    }

    /// Strings that follow each other are one; the last of them remains to be stepped over.
    fn joined(&mut self, first: &[u8], wide: bool) -> Vec<u8> {
        let mut all = first.to_vec();
        loop {
            match (&self.ahead(1).kind, wide) {
                (Kind::Text(more), false) | (Kind::Wide(more), true) => {
                    all.extend_from_slice(more);
                    self.step();
                }
                _ => return all,
            }
        }
    }

    fn call(&mut self, at: Position, name: String) -> Parsed<Expression> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        let mut depth = 0;
        while !self.is_sign(")") {
            let argument = self.expression()?;
            depth = depth.max(argument.depth);
            arguments.push(argument);
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        make(at, depth, E::Call(name, arguments))
    }
}

/// An expression around others that are `inner` levels deep.
fn make(at: Position, inner: u16, kind: E) -> Parsed<Expression> {
    if inner >= DEPTH_LIMIT {
        return Err(
            Problem::new(at, format!("more than {DEPTH_LIMIT} operators in a row"))
                .help("put a part of it into a variable"),
        );
    }
    Ok(Expression {
        at,
        depth: inner + 1,
        kind,
    })
}

/// The operator of an assignment: `None` for `=`, which has none.
pub(super) fn assignment(sign: &str) -> Option<Option<Binary>> {
    if sign == "=" {
        return Some(None);
    }
    let operator = sign.strip_suffix('=')?;
    let known = matches!(
        operator,
        "+" | "-" | "*" | "/" | "%" | "<<" | ">>" | "&" | "^" | "|"
    );
    known.then(|| Binary::of(operator).map(|(operator, _)| operator))
}
