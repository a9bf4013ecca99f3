//! The interpreter's loop: one arm per operation, in the order of the table.

use super::memory::Space;
use super::run::{Run, address};
use super::value::{flag, float, mask, shift};
use super::{End, FaultKind, Machine, STACK_VALUES};
use crate::bytecode::op::{SHORT_NUMBER, SHORT_REGISTER, byte};
use crate::bytecode::routine::Routine;
use crate::bytecode::tag::Area;
use crate::bytecode::update::Update;

/// The `N` bytes after the operation at `at`.
#[inline(always)]
fn operand<const N: usize>(code: &[u8], at: usize) -> Option<[u8; N]> {
    code.get(at + 1..)?.first_chunk::<N>().copied()
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
            let Some(&next) = code.get(at) else {
                break End::Broken { at: at as u32 };
            };
            let Some(rest) = left.checked_sub(1) else {
                break End::OverBudget { at: at as u32 };
            };
            left = rest;
            match next {
                SHORT_NUMBER.. => {
                    push!(u64::from(next - SHORT_NUMBER));
                    at += 1;
                }
                SHORT_REGISTER..SHORT_NUMBER => {
                    push!(self.register([next - SHORT_REGISTER]));
                    at += 1;
                }

                byte::Drop => {
                    pop!();
                    at += 1;
                }
                byte::Dup => {
                    push!(top);
                    at += 1;
                }
                byte::Swap => {
                    let b = pop!();
                    let a = pop!();
                    push!(b);
                    push!(a);
                    at += 1;
                }
                byte::Over => {
                    let b = pop!();
                    let a = top;
                    push!(b);
                    push!(a);
                    at += 1;
                }
                byte::Tuck => {
                    let b = pop!();
                    let a = pop!();
                    push!(b);
                    push!(a);
                    push!(b);
                    at += 1;
                }

                byte::PushU8 => push_operand!(1, |n| u64::from(u8::from_le_bytes(n))),
                byte::PushI8 => push_operand!(1, |n| i64::from(i8::from_le_bytes(n)) as u64),
                byte::PushU16 => push_operand!(2, |n| u64::from(u16::from_le_bytes(n))),
                byte::PushU32 => push_operand!(4, |n| u64::from(u32::from_le_bytes(n))),
                byte::PushI32 => push_operand!(4, |n| i64::from(i32::from_le_bytes(n)) as u64),
                byte::PushU64 => push_operand!(8, |n| u64::from_le_bytes(n)),

                byte::Add => binary!(|a, b| a.wrapping_add(b)),
                byte::Sub => binary!(|a, b| a.wrapping_sub(b)),
                byte::Mul => binary!(|a, b| a.wrapping_mul(b)),
                byte::DivU => divide!(|a, b| a.wrapping_div(b)),
                byte::DivS => divide!(|a, b| (a as i64).wrapping_div(b as i64) as u64),
                byte::RemU => divide!(|a, b| a.wrapping_rem(b)),
                byte::RemS => divide!(|a, b| (a as i64).wrapping_rem(b as i64) as u64),
                byte::And => binary!(|a, b| a & b),
                byte::Or => binary!(|a, b| a | b),
                byte::Xor => binary!(|a, b| a ^ b),
                byte::Shl => binary!(|a, b| shift(b, |b| a << b)),
                byte::ShrU => binary!(|a, b| shift(b, |b| a >> b)),
                byte::ShrS => binary!(|a, b| shift(b, |b| (a as i64 >> b) as u64)),
                byte::Neg => unary!(|a| a.wrapping_neg()),
                byte::Not => unary!(|a| !a),
                byte::IsZero => unary!(|a| flag(a == 0)),
                byte::Bool => unary!(|a| flag(a != 0)),

                byte::Eq => binary!(|a, b| flag(a == b)),
                byte::Ne => binary!(|a, b| flag(a != b)),
                byte::LtU => binary!(|a, b| flag(a < b)),
                byte::LeU => binary!(|a, b| flag(a <= b)),
                byte::GtU => binary!(|a, b| flag(a > b)),
                byte::GeU => binary!(|a, b| flag(a >= b)),
                byte::LtS => binary!(|a, b| flag((a as i64) < b as i64)),
                byte::LeS => binary!(|a, b| flag(a as i64 <= b as i64)),
                byte::GtS => binary!(|a, b| flag(a as i64 > b as i64)),
                byte::GeS => binary!(|a, b| flag(a as i64 >= b as i64)),

                byte::SignExtend8 => unary!(|a| i64::from(a as i8) as u64),
                byte::SignExtend16 => unary!(|a| i64::from(a as i16) as u64),
                byte::SignExtend32 => unary!(|a| i64::from(a as i32) as u64),
                byte::ZeroExtend8 => unary!(|a| a & 0xff),
                byte::ZeroExtend16 => unary!(|a| a & 0xffff),
                byte::ZeroExtend32 => unary!(|a| a & 0xffff_ffff),
                byte::GetBits => {
                    let [low, count] = operand!(2);
                    top = (top >> (low & 63)) & mask(count);
                    at += 3;
                }
                byte::PutBits => {
                    let [low, count] = operand!(2);
                    let field = pop!();
                    let bits = mask(count) << (low & 63);
                    top = top & !bits | field << (low & 63) & bits;
                    at += 3;
                }

                byte::FAdd => binary!(|a, b| (float(a) + float(b)).to_bits()),
                byte::FSub => binary!(|a, b| (float(a) - float(b)).to_bits()),
                byte::FMul => binary!(|a, b| (float(a) * float(b)).to_bits()),
                byte::FDiv => binary!(|a, b| (float(a) / float(b)).to_bits()),
                byte::FNeg => unary!(|a| a ^ 1 << 63),
                byte::FEq => binary!(|a, b| flag(float(a) == float(b))),
                byte::FNe => binary!(|a, b| flag(float(a) != float(b))),
                byte::FLt => binary!(|a, b| flag(float(a) < float(b))),
                byte::FLe => binary!(|a, b| flag(float(a) <= float(b))),
                byte::FGt => binary!(|a, b| flag(float(a) > float(b))),
                byte::FGe => binary!(|a, b| flag(float(a) >= float(b))),
                byte::FFromU => unary!(|a| (a as f64).to_bits()),
                byte::FFromS => unary!(|a| (a as i64 as f64).to_bits()),
                byte::FToU => unary!(|a| float(a) as u64),
                byte::FToS => unary!(|a| float(a) as i64 as u64),
                byte::FWiden => unary!(|a| f64::from(f32::from_bits(a as u32)).to_bits()),
                byte::FNarrow => unary!(|a| u64::from((float(a) as f32).to_bits())),
                byte::FRound => unary!(|a| f64::from(float(a) as f32).to_bits()),

                byte::Load8 => load!(1, Virtual),
                byte::Load16 => load!(2, Virtual),
                byte::Load32 => load!(4, Virtual),
                byte::Load64 => load!(8, Virtual),
                byte::Store8 => store!(1),
                byte::Store16 => store!(2),
                byte::Store32 => store!(4),
                byte::Store64 => store!(8),
                byte::Put8 => put!(1, Virtual),
                byte::Put16 => put!(2, Virtual),
                byte::Put32 => put!(4, Virtual),
                byte::Put64 => put!(8, Virtual),
                byte::LoadPhysical8 => load!(1, Physical),
                byte::LoadPhysical16 => load!(2, Physical),
                byte::LoadPhysical32 => load!(4, Physical),
                byte::LoadPhysical64 => load!(8, Physical),
                byte::PutPhysical8 => put!(1, Physical),
                byte::PutPhysical16 => put!(2, Physical),
                byte::PutPhysical32 => put!(4, Physical),
                byte::PutPhysical64 => put!(8, Physical),

                byte::LoadLocal => push_operand!(1, |slot| self.load_local(slot, at)),
                byte::StoreLocal => {
                    let slot = operand!(1);
                    self.store_local(slot, pop!(), at);
                    at += 2;
                }
                byte::LoadFrame => push_operand!(1, |slot| self.load_frame(slot)),
                byte::StoreFrame => {
                    let slot = operand!(1);
                    self.store_frame(slot, pop!());
                    at += 2;
                }
                byte::LoadGlobal => push_operand!(2, |slot| self.load_global(slot, at)),
                byte::StoreGlobal => {
                    let slot = operand!(2);
                    self.store_global(slot, pop!(), at);
                    at += 3;
                }
                byte::AddressLocal => push_operand!(2, |n| address(Area::Locals, 0, n)),
                byte::AddressFrame => push_operand!(2, |n| address(Area::Frames, self.frame.0, n)),
                byte::AddressGlobal => push_operand!(2, |n| address(Area::Globals, 0, n)),
                byte::AddressConstant => push_operand!(2, |n| address(Area::Constants, 0, n)),

                byte::Register => push_operand!(1, |number| self.register(number)),
                byte::SetRegister => {
                    let number = operand!(1);
                    self.set_register(number, pop!(), at);
                    at += 2;
                }
                byte::Pseudo => push_operand!(1, |number| self.pseudo(number)),

                byte::Jump => jump_if!(true),
                byte::JumpIfZero => jump_if!(pop!() == 0),
                byte::JumpUnlessZero => jump_if!(pop!() != 0),
                byte::Call => {
                    let index = operand!(1);
                    spill!();
                    match self.call(index, at, depth) {
                        Ok((start, below)) => (at, depth) = (start, below),
                        Err(end) => break end,
                    }
                    top = self.stack.get(depth % STACK_VALUES).copied().unwrap_or(0);
                }
                byte::Return => match self.return_to() {
                    // What is below the result is in its slot already.
                    Some((back, below)) => (at, depth) = (back, below + 1),
                    None => break End::Finished { value: top },
                },
                byte::Exit => break End::Finished { value: 0 },
                byte::Do => {
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

                byte::Show => {
                    spill!();
                    with_budget!(self.print(1, 0, depth));
                    pop!();
                    at += 2;
                }
                byte::Printf => {
                    let [count, _, _] = operand!(3);
                    print!(count, 0);
                    at += 4;
                }
                byte::PrintfText => {
                    let [count, _, _, k0, k1, k2, k3] = operand!(7);
                    print!(count, u32::from_le_bytes([k0, k1, k2, k3]));
                    at += 8;
                }
                byte::Update => {
                    let Some(update) = Update::from_bytes(operand!(2)) else {
                        break End::Broken { at: at as u32 };
                    };
                    let value = pop!();
                    let address = pop!();
                    with_budget!(self.update(update, address, value));
                    at += 3;
                }
                _ => break End::Broken { at: at as u32 },
            }
        };
        self.left = left;
        end
    }
}
