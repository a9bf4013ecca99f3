//! Values, and jumps that depend on them.

use super::super::check::is_truth;
use super::super::value::{Value, ValueKind};
use super::{Done, Emitter};
use wire_protocol::bytecode::assemble::{AssembleError, LabelId};
use wire_protocol::bytecode::op::Op;

impl Emitter<'_> {
    /// Leaves a value on the stack.
    pub(super) fn value(&mut self, value: &Value) -> Done {
        match &value.kind {
            ValueKind::Constant(number) => self.number(*number),
            ValueKind::Text(bytes) => self.assembler.constant_address(bytes),
            ValueKind::Read(place, of) => self.read(place, of),
            ValueKind::Address(place) => self.address(place),
            ValueKind::Register(part) => self.register(*part),
            ValueKind::Pseudo(pseudo) => self.assembler.pseudo(*pseudo),
            ValueKind::Unary(op, operand) => {
                self.value(operand)?;
                self.assembler.op(*op)
            }
            ValueKind::Binary(op, left, right) => {
                self.value(left)?;
                self.value(right)?;
                self.assembler.op(*op)
            }
            ValueKind::Logical(both, left, right) => {
                let end = self.assembler.label()?;
                self.truth(left)?;
                self.assembler.op(Op::Dup)?;
                let jump = if *both {
                    Op::JumpIfZero
                } else {
                    Op::JumpUnlessZero
                };
                self.assembler.jump(jump, end)?;
                self.assembler.op(Op::Drop)?;
                self.truth(right)?;
                self.assembler.place(end)
            }
            ValueKind::Call(index, arguments) => {
                for argument in arguments {
                    self.value(argument)?;
                }
                let id = *self.functions.get(*index).ok_or(AssembleError::Missing)?;
                self.assembler.call(id)
            }
            ValueKind::Routine(routine, arguments) => {
                for argument in arguments {
                    self.value(argument)?;
                }
                self.assembler.routine(*routine)
            }
            ValueKind::Conditional(condition, holds, fails) => {
                let (otherwise, end) = (self.assembler.label()?, self.assembler.label()?);
                self.branch(condition, otherwise, false)?;
                // Parts of the condition may be known.
                let may_hold = self.assembler.depth().is_some();
                if may_hold {
                    self.value(holds)?;
                }
                if !self.assembler.is_reached(otherwise) {
                    return Ok(());
                }
                if may_hold {
                    self.assembler.jump(Op::Jump, end)?;
                }
                self.assembler.place(otherwise)?;
                self.value(fails)?;
                if may_hold {
                    self.assembler.place(end)?;
                }
                Ok(())
            }
            ValueKind::Try(value, otherwise) => {
                let (instead, end) = (self.assembler.label()?, self.assembler.label()?);
                self.assembler.op(Op::Faults)?;
                self.value(value)?;
                self.assembler.op(Op::Swap)?;
                self.assembler.op(Op::Forgive)?;
                self.assembler.jump(Op::JumpUnlessZero, instead)?;
                self.assembler.jump(Op::Jump, end)?;
                self.assembler.place(instead)?;
                self.assembler.op(Op::Drop)?;
                self.value(otherwise)?;
                self.assembler.place(end)
            }
            ValueKind::Old(of) => {
                self.assembler.op(Op::Dup)?;
                self.load(of)
            }
        }
    }

    /// Leaves a number. Masks with few zeros are shorter the other way round.
    fn number(&mut self, number: u64) -> Done {
        let is_far = i32::try_from(number as i64).is_err();
        if is_far && u32::try_from(!number).is_ok() {
            self.assembler.number(!number)?;
            return self.assembler.op(Op::Not);
        }
        self.assembler.number(number)
    }

    /// Leaves 1 or 0.
    fn truth(&mut self, value: &Value) -> Done {
        self.value(value)?;
        if is_truth(value) {
            return Ok(());
        }
        self.assembler.op(Op::Bool)
    }

    /// Jumps if the value is not zero, or if it is.
    pub(super) fn branch(&mut self, value: &Value, label: LabelId, unless_zero: bool) -> Done {
        if self.assembler.depth().is_none() {
            return Ok(());
        }
        match &value.kind {
            ValueKind::Constant(number) => {
                if (*number != 0) == unless_zero {
                    self.assembler.jump(Op::Jump, label)?;
                }
                Ok(())
            }
            ValueKind::Unary(Op::IsZero, operand) => self.branch(operand, label, !unless_zero),
            ValueKind::Unary(Op::Bool, operand) => self.branch(operand, label, unless_zero),
            ValueKind::Binary(Op::Ne, operand, zero) if zero.constant() == Some(0) => {
                self.branch(operand, label, unless_zero)
            }
            ValueKind::Binary(Op::Eq, operand, zero) if zero.constant() == Some(0) => {
                self.branch(operand, label, !unless_zero)
            }
            ValueKind::Logical(both, left, right) if *both != unless_zero => {
                self.branch(left, label, unless_zero)?;
                self.branch(right, label, unless_zero)
            }
            ValueKind::Logical(_, left, right) => {
                let skip = self.assembler.label()?;
                self.branch(left, skip, !unless_zero)?;
                self.branch(right, label, unless_zero)?;
                if self.assembler.is_reached(skip) {
                    self.assembler.place(skip)?;
                }
                Ok(())
            }
            _ => {
                self.value(value)?;
                let jump = if unless_zero {
                    Op::JumpUnlessZero
                } else {
                    Op::JumpIfZero
                };
                self.assembler.jump(jump, label)
            }
        }
    }
}
