//! Statements.

use super::super::problem::{Position, Problem};
use super::super::token::Kind;
use super::super::tree::{Binary, Case, Expression, ExpressionKind, Statement, StatementKind as S};
use super::expression::assignment;
use super::foreign::{foreign, foreign_name};
use super::{Parsed, Parser};

impl Parser<'_> {
    /// One statement, with its `;`.
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        self.nested(Self::any_statement)
    }

    fn any_statement(&mut self) -> Parsed<Statement> {
        let at = self.at();
        if self.accept(";") {
            return Ok(Statement {
                at,
                kind: S::Nothing,
            });
        }
        if self.is_sign("{") {
            let (block, _) = self.block()?;
            return Ok(Statement {
                at,
                kind: S::Block(block),
            });
        }
        let word = match self.peek() {
            Kind::Word(word) => word.as_str(),
            _ => "",
        };
        let kind = match word {
            "if" => self.conditional()?,
            "while" => {
                self.step();
                let condition = self.condition()?;
                S::While(condition, Box::new(self.statement()?))
            }
            "do" => {
                self.step();
                let body = Box::new(self.statement()?);
                if !self.accept_word("while") {
                    return Err(self.unexpected("`while`"));
                }
                let condition = self.condition()?;
                self.end_of_statement()?;
                S::DoWhile(body, condition)
            }
            "for" => self.counted()?,
            "break" | "continue" => {
                let kind = if word == "break" {
                    S::Break
                } else {
                    S::Continue
                };
                self.step();
                self.end_of_statement()?;
                kind
            }
            "return" => {
                self.step();
                let ends = matches!(self.peek(), Kind::Sign(";" | "}") | Kind::End);
                let value = if ends { None } else { Some(self.expression()?) };
                self.end_of_statement()?;
                S::Return(value)
            }
            "else" | "elsif" => {
                return Err(Problem::new(
                    at,
                    format!("there is no `if` for this `{word}`"),
                ));
            }
            "switch" => self.switch()?,
            "goto" => return Err(foreign(at, word)),
            _ => {
                let statement = self.simple()?;
                self.end_of_statement()?;
                return Ok(statement);
            }
        };
        Ok(Statement { at, kind })
    }

    /// `;`, which may be missing at the very end.
    fn end_of_statement(&mut self) -> Parsed<()> {
        if self.accept(";") || self.at_end() {
            Ok(())
        } else {
            Err(self.unexpected("`;`"))
        }
    }

    /// `{ … }`, with the position of the end.
    pub(super) fn block(&mut self) -> Parsed<(Vec<Statement>, Position)> {
        let open = self.expect("{")?;
        let mut statements = Vec::new();
        while !self.is_sign("}") {
            if self.at_end() {
                return Err(Problem::new(open, "this `{` is not closed").help("add a `}`"));
            }
            statements.push(self.statement()?);
        }
        let end = self.expect("}")?;
        Ok((statements, end))
    }

    fn condition(&mut self) -> Parsed<Expression> {
        self.expect("(")?;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    fn conditional(&mut self) -> Parsed<S> {
        self.step();
        let first = self.condition()?;
        let mut arms = vec![(first, self.statement()?)];
        loop {
            let is_else_if = self.is_word("else")
                && matches!(&self.ahead(1).kind, Kind::Word(word) if word == "if");
            if is_else_if {
                self.step();
            }
            if is_else_if || self.is_word("elsif") {
                self.step();
                let condition = self.condition()?;
                arms.push((condition, self.statement()?));
                continue;
            }
            let otherwise = if self.accept_word("else") {
                Some(Box::new(self.statement()?))
            } else {
                None
            };
            return Ok(S::If(arms, otherwise));
        }
    }

    fn switch(&mut self) -> Parsed<S> {
        self.step();
        let value = self.condition()?;
        let open = self.expect("{")?;
        let mut cases: Vec<Case> = Vec::new();
        let mut has_default = false;
        while !self.accept("}") {
            if self.at_end() {
                return Err(Problem::new(open, "this `{` is not closed").help("add a `}`"));
            }
            let is_default =
                self.is_word("default") && matches!(self.ahead(1).kind, Kind::Sign(":"));
            if !is_default && !self.is_word("case") {
                let Some(case) = cases.last_mut() else {
                    return Err(self.unexpected("`case` or `default`"));
                };
                case.body.push(self.statement()?);
                continue;
            }
            if is_default && has_default {
                return Err(Problem::new(self.at(), "there is a `default` already"));
            }
            has_default |= is_default;
            self.step();
            // What several lead to is one part.
            if cases.last().is_none_or(|case| !case.body.is_empty()) {
                cases.push(Case::default());
            }
            let number = if is_default {
                None
            } else {
                Some(self.nested(|p| p.binary(1))?)
            };
            self.expect(":")?;
            if let Some(case) = cases.last_mut() {
                case.is_default |= is_default;
                case.numbers.extend(number);
            }
        }
        Ok(S::Switch(value, cases))
    }

    fn counted(&mut self) -> Parsed<S> {
        self.step();
        self.expect("(")?;
        let first = self.simple_list(";")?;
        self.expect(";")?;
        let condition = if self.is_sign(";") {
            None
        } else {
            Some(self.expression()?)
        };
        self.expect(";")?;
        let next = self.simple_list(")")?;
        self.expect(")")?;
        let body = Box::new(self.statement()?);
        Ok(S::For {
            first,
            condition,
            next,
            body,
        })
    }

    fn simple_list(&mut self, end: &str) -> Parsed<Vec<Statement>> {
        let mut list = Vec::new();
        while !self.is_sign(end) {
            list.push(self.simple()?);
            if !self.accept(",") {
                break;
            }
        }
        Ok(list)
    }

    /// A declaration, an assignment or a call.
    fn simple(&mut self) -> Parsed<Statement> {
        let at = self.at();
        if self.declaration_follows() {
            let kind = self.declaration()?;
            return Ok(Statement { at, kind });
        }
        if let Kind::Sign(sign @ ("++" | "--")) = *self.peek() {
            self.step();
            let target = self.target()?;
            return Ok(Statement {
                at,
                kind: by_one(sign, target),
            });
        }
        let first = self.target()?;
        let sign_at = self.at();
        let kind = match *self.peek() {
            Kind::Sign(sign @ ("++" | "--")) => {
                self.step();
                by_one(sign, first)
            }
            Kind::Sign(sign) if assignment(sign).is_some() => {
                self.step();
                let operator = assignment(sign).flatten();
                self.assigned(first, operator)?
            }
            _ if matches!(first.kind, ExpressionKind::Call(..)) => S::Evaluate(first),
            Kind::Word(_) if let Some(problem) = foreign_name(&first) => return Err(problem),
            _ => {
                return Err(if self.at_end() || self.is_sign(";") {
                    Problem::new(at, "the value of this expression goes nowhere")
                        .help("assign it to something, or `print` it")
                } else {
                    Problem::new(
                        sign_at,
                        format!(
                            "an operator such as `=` is expected here, not {}",
                            self.peek().describe()
                        ),
                    )
                });
            }
        };
        Ok(Statement { at, kind })
    }

    /// What an assignment begins with; also a whole expression, so that the message for one
    /// that stands alone names the right place.
    fn target(&mut self) -> Parsed<Expression> {
        let target = self.nested(|p| p.binary(1))?;
        if self.is_sign("?") {
            return Err(self.no_operator());
        }
        Ok(target)
    }

    fn assigned(&mut self, first: Expression, operator: Option<Binary>) -> Parsed<S> {
        let mut targets = vec![first];
        let mut value = self.conditional_value()?;
        if matches!(self.peek(), Kind::Sign("++" | "--")) {
            return Err(self.no_operator());
        }
        while operator.is_none() && self.accept("=") {
            targets.push(value);
            value = self.conditional_value()?;
        }
        if matches!(self.peek(), Kind::Sign(sign) if assignment(sign).is_some()) {
            return Err(self.unexpected("`;`").help("only `=` can be chained"));
        }
        Ok(S::Assign(targets, operator, value))
    }
}

fn by_one(sign: &str, target: Expression) -> S {
    let operator = if sign == "++" {
        Binary::Add
    } else {
        Binary::Subtract
    };
    let one = Expression {
        at: target.at,
        depth: 1,
        kind: ExpressionKind::Number(1),
    };
    S::Assign(vec![target], Some(operator), one)
}
