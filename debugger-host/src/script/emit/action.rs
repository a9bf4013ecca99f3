//! Actions. Between them the stack is empty.

use super::super::value::{Action, Case, Line, Value};
use super::{Done, Emitter, Round};
use wire_protocol::bytecode::assemble::AssembleError;
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::routine::Routine;

impl Emitter<'_> {
    /// Actions one after the other, up to one that nothing runs on from.
    pub(super) fn actions(&mut self, lines: &[Line]) -> Done {
        for line in lines {
            if self.assembler.depth().is_none() {
                return Ok(());
            }
            self.at = line.at;
            self.lines.add(self.assembler.here(), line.at);
            self.action(&line.action)?;
        }
        Ok(())
    }

    fn action(&mut self, action: &Action) -> Done {
        match action {
            Action::Write(of, targets, value) => self.write(of, targets, value),
            Action::Update(update, place, value) => {
                self.address(place)?;
                self.value(value)?;
                self.assembler.update(*update)
            }
            Action::Rewrite(of, place, value) => {
                self.address(place)?;
                self.value(value)?;
                self.store(of)
            }
            Action::Copy(to, from, bytes) => {
                self.address(to)?;
                self.value(from)?;
                self.assembler.number(u64::from(*bytes))?;
                self.assembler.routine(Routine::Memcpy)?;
                self.assembler.op(Op::Drop)
            }
            Action::Evaluate(value) => {
                if value.constant().is_some() {
                    return Ok(());
                }
                self.value(value)?;
                self.assembler.op(Op::Drop)
            }
            Action::Show(show, value) => {
                self.value(value)?;
                self.assembler.show(*show)
            }
            Action::Printf(format, values, kinds) => {
                for value in values {
                    self.value(value)?;
                }
                let count = u8::try_from(values.len());
                let count = count.map_err(|_| AssembleError::TooManyArguments)?;
                self.assembler.printf(format, count, *kinds)
            }
            Action::If(arms, otherwise) => self.conditional(arms, otherwise),
            Action::Switch(cases) => self.selected(cases),
            Action::Loop {
                before,
                body,
                next,
                after,
            } => self.repeated(before.as_ref(), body, next, after.as_ref()),
            Action::Break => {
                let round = self.loops.last_mut().ok_or(AssembleError::Missing)?;
                round.is_left = true;
                let leave = round.leave;
                self.assembler.jump(Op::Jump, leave)
            }
            Action::Continue => {
                let next = self.loops.iter().rev().find_map(|round| round.next);
                let next = next.ok_or(AssembleError::Missing)?;
                self.assembler.jump(Op::Jump, next)
            }
            Action::Return(Some(value)) => {
                self.value(value)?;
                self.assembler.op(Op::Return)
            }
            Action::Return(None) => self.leave(),
        }
    }

    /// Ends the function or the run without a value.
    pub(super) fn leave(&mut self) -> Done {
        if self.in_function() {
            self.assembler.number(0)?;
            self.assembler.op(Op::Return)
        } else {
            self.assembler.op(Op::Exit)
        }
    }

    fn conditional(&mut self, arms: &[(Value, Vec<Line>)], otherwise: &[Line]) -> Done {
        let end = self.assembler.label()?;
        let mut is_ended = false;
        for (index, (condition, body)) in arms.iter().enumerate() {
            if condition.constant() == Some(0) {
                continue;
            }
            let always = condition.constant().is_some();
            let is_last = always || index + 1 == arms.len() && otherwise.is_empty();
            let next = self.assembler.label()?;
            self.lines.add(self.assembler.here(), condition.at);
            self.branch(condition, if is_last { end } else { next }, false)?;
            is_ended |= is_last && !always;
            self.actions(body)?;
            if is_last {
                if is_ended {
                    self.assembler.place(end)?;
                }
                return Ok(());
            }
            if self.assembler.depth().is_some() {
                self.assembler.jump(Op::Jump, end)?;
                is_ended = true;
            }
            self.assembler.place(next)?;
        }
        self.actions(otherwise)?;
        if is_ended {
            self.assembler.place(end)?;
        }
        Ok(())
    }

    /// All conditions, then what they lead to.
    fn selected(&mut self, cases: &[Case]) -> Done {
        let leave = self.assembler.label()?;
        let mut labels = Vec::new();
        let mut otherwise = None;
        for case in cases {
            let label = self.assembler.label()?;
            labels.push(label);
            for condition in &case.conditions {
                self.lines.add(self.assembler.here(), condition.at);
                self.branch(condition, label, true)?;
            }
            otherwise = otherwise.or(case.is_default.then_some(label));
        }
        self.assembler.jump(Op::Jump, otherwise.unwrap_or(leave))?;
        self.loops.push(Round {
            leave,
            next: None,
            is_left: otherwise.is_none(),
        });
        for (case, label) in cases.iter().zip(labels) {
            self.assembler.place(label)?;
            self.actions(&case.body)?;
        }
        let is_left = self.loops.pop().is_some_and(|round| round.is_left);
        if is_left {
            self.assembler.place(leave)?;
        }
        Ok(())
    }

    /// The condition stands behind the round, so that each round has one jump.
    fn repeated(
        &mut self,
        before: Option<&Value>,
        body: &[Line],
        next: &[Line],
        after: Option<&Value>,
    ) -> Done {
        let before = match before.map(|condition| (condition, condition.constant())) {
            Some((_, Some(0))) => return Ok(()),
            Some((_, Some(_))) | None => None,
            Some((condition, None)) => Some(condition),
        };
        let (top, test) = (self.assembler.label()?, self.assembler.label()?);
        let (leave, step) = (self.assembler.label()?, self.assembler.label()?);
        if before.is_some() {
            self.assembler.jump(Op::Jump, test)?;
        }
        self.assembler.place(top)?;
        self.loops.push(Round {
            leave,
            next: Some(step),
            is_left: false,
        });
        self.actions(body)?;
        let is_left = self.loops.pop().is_some_and(|round| round.is_left);
        self.assembler.place(step)?;
        self.actions(next)?;
        self.assembler.place(test)?;
        match before.or(after) {
            Some(condition) => {
                self.lines.add(self.assembler.here(), condition.at);
                self.branch(condition, top, true)?;
            }
            None => self.assembler.jump(Op::Jump, top)?,
        }
        if is_left {
            self.assembler.place(leave)?;
        }
        Ok(())
    }
}
