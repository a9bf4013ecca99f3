//! The interpreter's loop: one arm per operation, in the order of the table.

use super::memory::Space;
use super::run::{Run, address};
use super::{End, FaultKind, Machine, STACK_VALUES};
use crate::bytecode::op::{Op, SHORT_NUMBER, SHORT_REGISTER};
use crate::bytecode::routine::Routine;
use crate::bytecode::tag::Area;

/// The `N` bytes after the operation at `at`.
#[inline(always)]
fn operand<const N: usize>(code: &[u8], at: usize) -> Option<[u8; N]> {
    code.get(at + 1..)?.first_chunk::<N>().copied()
}

#[inline(always)]
fn flag(condition: bool) -> u64 {
    u64::from(condition)
}

#[inline(always)]
fn float(bits: u64) -> f64 {
    f64::from_bits(bits)
}

#[inline(always)]
fn shift(amount: u64, shifted: impl FnOnce(u32) -> u64) -> u64 {
    if amount < 64 {
        shifted(amount as u32)
    } else {
        0
    }
}

impl<M: Machine> Run<'_, '_, M> {
    /// The stack's top is in `top`; the value below it in the slot `depth - 1`, and so on.
    #[allow(
        clippy::too_many_lines,
        reason = "one arm per operation, in the order of the table"
    )]
    pub(super) fn interpret(&mut self, budget: u64) -> End {
        let code = self.program.code();
        let mut at = 0usize;
        let mut depth = 0usize;
        let mut top = 0u64;
        let mut left = budget;

        // Puts the top where code that looks at the stack finds it.
        macro_rules! spill {
            () => {
                if let Some(slot) = self.stack.get_mut(depth % STACK_VALUES) {
                    *slot = top;
                }
            };
        }
        macro_rules! push {
            ($value:expr) => {{
                let value = $value;
                spill!();
                depth = depth.wrapping_add(1);
                top = value;
            }};
        }
        macro_rules! pop {
            () => {{
                let value = top;
                depth = depth.wrapping_sub(1);
                top = self.stack.get(depth % STACK_VALUES).copied().unwrap_or(0);
                value
            }};
        }
        macro_rules! unary {
            (|$a:ident| $value:expr) => {{
                let $a = top;
                top = $value;
                at += 1;
            }};
        }
        macro_rules! binary {
            (|$a:ident, $b:ident| $value:expr) => {{
                let $b = pop!();
                let $a = top;
                top = $value;
                at += 1;
            }};
        }
        // Numbers that follow the operation; the code ends where it must not, or goes on.
        macro_rules! operand {
            ($count:literal) => {
                match operand::<$count>(code, at) {
                    Some(bytes) => bytes,
                    None => break End::Broken { at: at as u32 },
                }
            };
        }
        macro_rules! push_operand {
            ($count:literal, |$bytes:ident| $value:expr) => {{
                let $bytes = operand!($count);
                push!($value);
                at += 1 + $count;
            }};
        }
        macro_rules! divide {
            (|$a:ident, $b:ident| $value:expr) => {{
                let $b = pop!();
                let $a = top;
                top = if $b == 0 {
                    self.at = at as u32;
                    self.fault(FaultKind::DivisionByZero);
                    0
                } else {
                    $value
                };
                at += 1;
            }};
        }
        macro_rules! load {
            ($count:literal, $space:ident) => {{
                self.at = at as u32;
                top = self.load::<$count>(Space::$space, top);
                at += 1;
            }};
        }
        macro_rules! store {
            ($count:literal) => {{
                self.at = at as u32;
                let value = pop!();
                let address = pop!();
                self.store::<$count>(address, value);
                at += 1;
            }};
        }
        macro_rules! put {
            ($count:literal, $space:ident) => {{
                self.at = at as u32;
                let value = pop!();
                top = self.put::<$count>(Space::$space, top, value);
                at += 1;
            }};
        }
        macro_rules! jump_if {
            ($condition:expr) => {{
                let [low, middle, high] = operand!(3);
                if $condition {
                    at = u32::from_le_bytes([low, middle, high, 0]) as usize;
                } else {
                    at += 4;
                }
            }};
        }
        // For operations that take more than one from the budget.
        macro_rules! with_budget {
            ($value:expr) => {{
                self.at = at as u32;
                self.left = left;
                let value = $value;
                left = self.left;
                if self.over {
                    break End::OverBudget { at: at as u32 };
                }
                value
            }};
        }

        macro_rules! print {
            ($count:expr, $kinds:expr) => {{
                spill!();
                with_budget!(self.print($count, $kinds, depth));
                for _ in 0..$count {
                    pop!();
                }
            }};
        }

        let end = loop {
            let Some(&byte) = code.get(at) else {
                break End::Broken { at: at as u32 };
            };
            let Some(rest) = left.checked_sub(1) else {
                break End::OverBudget { at: at as u32 };
            };
            left = rest;
            if byte >= SHORT_NUMBER {
                push!(u64::from(byte - SHORT_NUMBER));
                at += 1;
                continue;
            }
            if byte >= SHORT_REGISTER {
                push!(self.register([byte - SHORT_REGISTER]));
                at += 1;
                continue;
            }
            let Some(op) = Op::from_byte(byte) else {
                break End::Broken { at: at as u32 };
            };
            match op {
                Op::Drop => {
                    pop!();
                    at += 1;
                }
                Op::Dup => {
                    push!(top);
                    at += 1;
                }
                Op::Swap => {
                    let b = pop!();
                    let a = pop!();
                    push!(b);
                    push!(a);
                    at += 1;
                }
                Op::Over => {
                    let b = pop!();
                    let a = top;
                    push!(b);
                    push!(a);
                    at += 1;
                }
                Op::Tuck => {
                    let b = pop!();
                    let a = pop!();
                    push!(b);
                    push!(a);
                    push!(b);
                    at += 1;
                }

                Op::PushU8 => push_operand!(1, |n| u64::from(u8::from_le_bytes(n))),
                Op::PushI8 => push_operand!(1, |n| i64::from(i8::from_le_bytes(n)) as u64),
                Op::PushU16 => push_operand!(2, |n| u64::from(u16::from_le_bytes(n))),
                Op::PushU32 => push_operand!(4, |n| u64::from(u32::from_le_bytes(n))),
                Op::PushI32 => push_operand!(4, |n| i64::from(i32::from_le_bytes(n)) as u64),
                Op::PushU64 => push_operand!(8, |n| u64::from_le_bytes(n)),

                Op::Add => binary!(|a, b| a.wrapping_add(b)),
                Op::Sub => binary!(|a, b| a.wrapping_sub(b)),
                Op::Mul => binary!(|a, b| a.wrapping_mul(b)),
                Op::DivU => divide!(|a, b| a.wrapping_div(b)),
                Op::DivS => divide!(|a, b| (a as i64).wrapping_div(b as i64) as u64),
                Op::RemU => divide!(|a, b| a.wrapping_rem(b)),
                Op::RemS => divide!(|a, b| (a as i64).wrapping_rem(b as i64) as u64),
                Op::And => binary!(|a, b| a & b),
                Op::Or => binary!(|a, b| a | b),
                Op::Xor => binary!(|a, b| a ^ b),
                Op::Shl => binary!(|a, b| shift(b, |b| a << b)),
                Op::ShrU => binary!(|a, b| shift(b, |b| a >> b)),
                Op::ShrS => binary!(|a, b| shift(b, |b| (a as i64 >> b) as u64)),
                Op::Neg => unary!(|a| a.wrapping_neg()),
                Op::Not => unary!(|a| !a),
                Op::IsZero => unary!(|a| flag(a == 0)),
                Op::Bool => unary!(|a| flag(a != 0)),

                Op::Eq => binary!(|a, b| flag(a == b)),
                Op::Ne => binary!(|a, b| flag(a != b)),
                Op::LtU => binary!(|a, b| flag(a < b)),
                Op::LeU => binary!(|a, b| flag(a <= b)),
                Op::GtU => binary!(|a, b| flag(a > b)),
                Op::GeU => binary!(|a, b| flag(a >= b)),
                Op::LtS => binary!(|a, b| flag((a as i64) < b as i64)),
                Op::LeS => binary!(|a, b| flag(a as i64 <= b as i64)),
                Op::GtS => binary!(|a, b| flag(a as i64 > b as i64)),
                Op::GeS => binary!(|a, b| flag(a as i64 >= b as i64)),

                Op::SignExtend8 => unary!(|a| i64::from(a as i8) as u64),
                Op::SignExtend16 => unary!(|a| i64::from(a as i16) as u64),
                Op::SignExtend32 => unary!(|a| i64::from(a as i32) as u64),
                Op::ZeroExtend8 => unary!(|a| a & 0xff),
                Op::ZeroExtend16 => unary!(|a| a & 0xffff),
                Op::ZeroExtend32 => unary!(|a| a & 0xffff_ffff),
                Op::GetBits => {
                    let [low, count] = operand!(2);
                    top = (top >> (low & 63)) & mask(count);
                    at += 3;
                }
                Op::PutBits => {
                    let [low, count] = operand!(2);
                    let field = pop!();
                    let bits = mask(count) << (low & 63);
                    top = top & !bits | field << (low & 63) & bits;
                    at += 3;
                }

                Op::FAdd => binary!(|a, b| (float(a) + float(b)).to_bits()),
                Op::FSub => binary!(|a, b| (float(a) - float(b)).to_bits()),
                Op::FMul => binary!(|a, b| (float(a) * float(b)).to_bits()),
                Op::FDiv => binary!(|a, b| (float(a) / float(b)).to_bits()),
                Op::FNeg => unary!(|a| a ^ 1 << 63),
                Op::FEq => binary!(|a, b| flag(float(a) == float(b))),
                Op::FNe => binary!(|a, b| flag(float(a) != float(b))),
                Op::FLt => binary!(|a, b| flag(float(a) < float(b))),
                Op::FLe => binary!(|a, b| flag(float(a) <= float(b))),
                Op::FGt => binary!(|a, b| flag(float(a) > float(b))),
                Op::FGe => binary!(|a, b| flag(float(a) >= float(b))),
                Op::FFromU => unary!(|a| (a as f64).to_bits()),
                Op::FFromS => unary!(|a| (a as i64 as f64).to_bits()),
                Op::FToU => unary!(|a| float(a) as u64),
                Op::FToS => unary!(|a| float(a) as i64 as u64),
                Op::FWiden => unary!(|a| f64::from(f32::from_bits(a as u32)).to_bits()),
                Op::FNarrow => unary!(|a| u64::from((float(a) as f32).to_bits())),
                Op::FRound => unary!(|a| f64::from(float(a) as f32).to_bits()),

                Op::Load8 => load!(1, Virtual),
                Op::Load16 => load!(2, Virtual),
                Op::Load32 => load!(4, Virtual),
                Op::Load64 => load!(8, Virtual),
                Op::Store8 => store!(1),
                Op::Store16 => store!(2),
                Op::Store32 => store!(4),
                Op::Store64 => store!(8),
                Op::Put8 => put!(1, Virtual),
                Op::Put16 => put!(2, Virtual),
                Op::Put32 => put!(4, Virtual),
                Op::Put64 => put!(8, Virtual),
                Op::LoadPhysical8 => load!(1, Physical),
                Op::LoadPhysical16 => load!(2, Physical),
                Op::LoadPhysical32 => load!(4, Physical),
                Op::LoadPhysical64 => load!(8, Physical),
                Op::PutPhysical8 => put!(1, Physical),
                Op::PutPhysical16 => put!(2, Physical),
                Op::PutPhysical32 => put!(4, Physical),
                Op::PutPhysical64 => put!(8, Physical),

                Op::LoadLocal => push_operand!(1, |slot| self.load_local(slot, at)),
                Op::StoreLocal => {
                    let slot = operand!(1);
                    self.store_local(slot, pop!(), at);
                    at += 2;
                }
                Op::LoadFrame => push_operand!(1, |slot| self.load_frame(slot)),
                Op::StoreFrame => {
                    let slot = operand!(1);
                    self.store_frame(slot, pop!());
                    at += 2;
                }
                Op::LoadGlobal => push_operand!(2, |slot| self.load_global(slot, at)),
                Op::StoreGlobal => {
                    let slot = operand!(2);
                    self.store_global(slot, pop!(), at);
                    at += 3;
                }
                Op::AddressLocal => push_operand!(2, |n| address(Area::Locals, 0, n)),
                Op::AddressFrame => push_operand!(2, |n| address(Area::Frames, self.frame.0, n)),
                Op::AddressGlobal => push_operand!(2, |n| address(Area::Globals, 0, n)),
                Op::AddressConstant => push_operand!(2, |n| address(Area::Constants, 0, n)),

                Op::Register => push_operand!(1, |number| self.register(number)),
                Op::SetRegister => {
                    let number = operand!(1);
                    self.set_register(number, pop!(), at);
                    at += 2;
                }
                Op::Pseudo => push_operand!(1, |number| self.pseudo(number)),

                Op::Jump => jump_if!(true),
                Op::JumpIfZero => jump_if!(pop!() == 0),
                Op::JumpUnlessZero => jump_if!(pop!() != 0),
                Op::Call => {
                    let index = operand!(1);
                    spill!();
                    match self.call(index, at, depth) {
                        Ok((start, below)) => (at, depth) = (start, below),
                        Err(end) => break end,
                    }
                    top = self.stack.get(depth % STACK_VALUES).copied().unwrap_or(0);
                }
                Op::Return => match self.return_to() {
                    // What is below the result is in its slot already.
                    Some((back, below)) => (at, depth) = (back, below + 1),
                    None => break End::Finished { value: top },
                },
                Op::Exit => break End::Finished { value: 0 },
                Op::Do => {
                    let [number] = operand!(1);
                    let Some(routine) = Routine::from_byte(number) else {
                        break End::Broken { at: at as u32 };
                    };
                    let mut arguments = [0; 3];
                    let count = usize::from(routine.arguments());
                    for argument in arguments.iter_mut().take(count).rev() {
                        *argument = pop!();
                    }
                    push!(with_budget!(self.routine(routine, arguments)));
                    at += 2;
                }

                Op::Show => {
                    spill!();
                    with_budget!(self.print(1, 0, depth));
                    pop!();
                    at += 2;
                }
                Op::Printf => {
                    let [count, _, _] = operand!(3);
                    print!(count, 0);
                    at += 4;
                }
                Op::PrintfText => {
                    let [count, _, _, k0, k1, k2, k3] = operand!(7);
                    print!(count, u32::from_le_bytes([k0, k1, k2, k3]));
                    at += 8;
                }
            }
        };
        self.left = left;
        end
    }
}

/// As many ones; the count has been verified to be below 64.
#[inline(always)]
fn mask(count: u8) -> u64 {
    (1 << (count & 63)) - 1
}
