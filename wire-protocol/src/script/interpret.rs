//! The interpreter's loop: one arm per code, in the order of the table.
//!
//! What it reads of a word was verified: a register's number can be nothing but one of 256, of
//! which there are that many. What is looked at while it runs is data: divisors, amounts of shifts,
//! addresses.

use super::memory::Space;
use super::run::{Run, address};
use super::value::{flag, float, mask, shift, sign_extended};
use super::{Call, End, FaultKind, Machine, STACK_VALUES};
use crate::bytecode::routine::Routine;
use crate::bytecode::tag::Area;
use crate::bytecode::word::{REGISTERS, Word, code};
use core::convert::identity;

/// The registers of what runs: a window of the stack.
type Window = [u64; REGISTERS];

/// The registers that begin at `base`.
#[inline(always)]
fn window(stack: &mut [u64; STACK_VALUES], base: usize) -> Option<&mut Window> {
    stack.get_mut(base..)?.first_chunk_mut()
}

#[inline(always)]
fn get(registers: &Window, number: u8) -> u64 {
    // The number is below the length: nothing is checked.
    registers.get(usize::from(number)).copied().unwrap_or(0)
}

#[inline(always)]
fn set(registers: &mut Window, number: u8, value: u64) {
    if let Some(register) = registers.get_mut(usize::from(number)) {
        *register = value;
    }
}

impl<M: Machine> Run<'_, '_, M> {
    /// Takes one from the budget for each word. What was carried out is counted where it goes on
    /// elsewhere, so that the budget ends a run at a jump, a call or a return.
    #[allow(
        clippy::too_many_lines,
        reason = "one arm per code, in the order of the table"
    )]
    pub(super) fn interpret(&mut self, stack: &mut [u64; STACK_VALUES], budget: u64) -> End {
        let words = self.words;
        let mut base = 0;
        let Some(mut registers) = window(stack, base) else {
            return End::Broken { at: 0 };
        };
        // The word behind the one that runs, and the first that has not been counted.
        let mut next = 0usize;
        let mut counted = 0usize;
        let mut left = budget;

        macro_rules! read {
            ($number:expr) => {
                get(registers, $number)
            };
        }
        macro_rules! give {
            ($word:ident, $value:expr) => {{
                let value = $value;
                set(registers, $word.a(), value);
            }};
        }
        macro_rules! two {
            ($word:ident, |$b:ident, $c:ident| $value:expr) => {{
                let ($b, $c) = (read!($word.b()), read!($word.c()));
                give!($word, $value);
            }};
        }
        macro_rules! with_number {
            ($word:ident, |$b:ident, $n:ident| $value:expr) => {{
                let ($b, $n) = (read!($word.b()), $word.n());
                give!($word, $value);
            }};
        }
        macro_rules! one {
            ($word:ident, |$b:ident| $value:expr) => {{
                let $b = read!($word.b());
                give!($word, $value);
            }};
        }
        macro_rules! divide {
            ($word:ident, |$b:ident, $c:ident| $value:expr) => {{
                let ($b, $c) = (read!($word.b()), read!($word.c()));
                let value = if $c == 0 {
                    self.at = next;
                    self.fault(FaultKind::DivisionByZero);
                    0
                } else {
                    $value
                };
                give!($word, value);
            }};
        }
        macro_rules! count {
            () => {{
                let Some(rest) = left.checked_sub((next - counted) as u64) else {
                    left = 0;
                    break End::OverBudget { at: next as u32 };
                };
                left = rest;
            }};
        }
        macro_rules! go_to {
            ($place:expr) => {{
                count!();
                next = $place;
                counted = next;
            }};
        }
        macro_rules! jump_if {
            ($word:ident, |$a:ident, $b:ident| $holds:expr) => {{
                let ($a, $b) = (read!($word.a()), read!($word.b()));
                if $holds {
                    go_to!($word.place());
                }
            }};
        }
        macro_rules! jump_if_short {
            ($word:ident, |$a:ident, $n:ident| $holds:expr) => {{
                let ($a, $n) = (read!($word.a()), $word.short_number());
                if $holds {
                    go_to!($word.short_place());
                }
            }};
        }
        macro_rules! joined {
            ($word:ident, |$b:ident, $n:ident| $first:expr, |$r:ident, $c:ident| $second:expr) => {{
                let ($b, $n, $c) = (read!($word.b()), $word.n(), read!($word.c()));
                let $r = $first;
                give!($word, $second);
            }};
        }
        macro_rules! jump_if_masked {
            ($word:ident, |$a:ident, $n:ident| $holds:expr) => {{
                let ($a, $n) = (read!($word.a()) & $word.mask(), $word.masked_number());
                if $holds {
                    go_to!($word.joined_place());
                }
            }};
        }
        macro_rules! step_below {
            ($word:ident, $made:path, |$a:ident, $b:ident| $holds:expr) => {{
                let $a = $made(read!($word.a()).wrapping_add($word.c() as i8 as u64));
                give!($word, $a);
                let $b = read!($word.b());
                if $holds {
                    go_to!($word.place());
                }
            }};
        }
        macro_rules! step_below_short {
            ($word:ident, $made:path, |$a:ident, $n:ident| $holds:expr) => {{
                let $a = $made(read!($word.a()).wrapping_add($word.step()));
                let $n = $word.short_number();
                give!($word, $a);
                if $holds {
                    go_to!($word.joined_place());
                }
            }};
        }
        macro_rules! load {
            ($word:ident, $count:literal, $space:ident) => {{
                self.at = next;
                let address = read!($word.b()).wrapping_add($word.n());
                give!($word, self.load::<$count>(Space::$space, address));
            }};
        }
        macro_rules! store {
            ($word:ident, $count:literal) => {{
                self.at = next;
                let address = read!($word.a()).wrapping_add($word.n());
                self.store::<$count>(address, read!($word.b()));
            }};
        }
        macro_rules! put {
            ($word:ident, $count:literal, $space:ident) => {{
                self.at = next;
                let (address, value) = (read!($word.b()), read!($word.c()));
                give!($word, self.put::<$count>(Space::$space, address, value));
            }};
        }
        // For what takes more than one from the budget.
        macro_rules! with_budget {
            ($value:expr) => {{
                self.at = next;
                count!();
                counted = next;
                self.left = left;
                let value = $value;
                left = self.left;
                if self.over {
                    break End::OverBudget { at: next as u32 };
                }
                value
            }};
        }

        let end = loop {
            let Some(&bytes) = words.get(next) else {
                break End::Broken { at: next as u32 };
            };
            let word = Word(u64::from_le_bytes(bytes));
            next += 1;
            match word.byte() {
                code::Move => one!(word, |b| b),
                code::Const => give!(word, word.n()),
                code::Wide => {
                    let number = words.get(next).copied().unwrap_or_default();
                    next += 1;
                    give!(word, u64::from_le_bytes(number));
                }

                code::Add => two!(word, |b, c| b.wrapping_add(c)),
                code::Sub => two!(word, |b, c| b.wrapping_sub(c)),
                code::Mul => two!(word, |b, c| b.wrapping_mul(c)),
                code::And => two!(word, |b, c| b & c),
                code::Or => two!(word, |b, c| b | c),
                code::Xor => two!(word, |b, c| b ^ c),
                code::Shl => two!(word, |b, c| shift(c, |c| b << c)),
                code::ShrU => two!(word, |b, c| shift(c, |c| b >> c)),
                code::ShrS => two!(word, |b, c| shift(c, |c| (b as i64 >> c) as u64)),
                code::DivU => divide!(word, |b, c| b.wrapping_div(c)),
                code::DivS => divide!(word, |b, c| (b as i64).wrapping_div(c as i64) as u64),
                code::RemU => divide!(word, |b, c| b.wrapping_rem(c)),
                code::RemS => divide!(word, |b, c| (b as i64).wrapping_rem(c as i64) as u64),
                code::Add32 => two!(word, |b, c| sign_extended(b.wrapping_add(c))),
                code::Sub32 => two!(word, |b, c| sign_extended(b.wrapping_sub(c))),
                code::Mul32 => two!(word, |b, c| sign_extended(b.wrapping_mul(c))),
                code::Eq => two!(word, |b, c| flag(b == c)),
                code::Ne => two!(word, |b, c| flag(b != c)),
                code::LtU => two!(word, |b, c| flag(b < c)),
                code::LeU => two!(word, |b, c| flag(b <= c)),
                code::LtS => two!(word, |b, c| flag((b as i64) < c as i64)),
                code::LeS => two!(word, |b, c| flag(b as i64 <= c as i64)),
                code::FAdd => two!(word, |b, c| (float(b) + float(c)).to_bits()),
                code::FSub => two!(word, |b, c| (float(b) - float(c)).to_bits()),
                code::FMul => two!(word, |b, c| (float(b) * float(c)).to_bits()),
                code::FDiv => two!(word, |b, c| (float(b) / float(c)).to_bits()),
                code::FEq => two!(word, |b, c| flag(float(b) == float(c))),
                code::FNe => two!(word, |b, c| flag(float(b) != float(c))),
                code::FLt => two!(word, |b, c| flag(float(b) < float(c))),
                code::FLe => two!(word, |b, c| flag(float(b) <= float(c))),

                code::AddN => with_number!(word, |b, n| b.wrapping_add(n)),
                code::MulN => with_number!(word, |b, n| b.wrapping_mul(n)),
                code::AndN => with_number!(word, |b, n| b & n),
                code::OrN => with_number!(word, |b, n| b | n),
                code::XorN => with_number!(word, |b, n| b ^ n),
                code::ShlN => with_number!(word, |b, n| b << (n & 63)),
                code::ShrUN => with_number!(word, |b, n| b >> (n & 63)),
                code::ShrSN => with_number!(word, |b, n| (b as i64 >> (n & 63)) as u64),
                code::DivUN => with_number!(word, |b, n| b.checked_div(n).unwrap_or(0)),
                code::DivSN => {
                    with_number!(word, |b, n| match n {
                        0 => 0,
                        n => (b as i64).wrapping_div(n as i64) as u64,
                    });
                }
                code::RemUN => with_number!(word, |b, n| b.checked_rem(n).unwrap_or(0)),
                code::RemSN => {
                    with_number!(word, |b, n| match n {
                        0 => 0,
                        n => (b as i64).wrapping_rem(n as i64) as u64,
                    });
                }
                code::AddN32 => with_number!(word, |b, n| sign_extended(b.wrapping_add(n))),
                code::EqN => with_number!(word, |b, n| flag(b == n)),
                code::NeN => with_number!(word, |b, n| flag(b != n)),
                code::LtUN => with_number!(word, |b, n| flag(b < n)),
                code::LeUN => with_number!(word, |b, n| flag(b <= n)),
                code::GtUN => with_number!(word, |b, n| flag(b > n)),
                code::GeUN => with_number!(word, |b, n| flag(b >= n)),
                code::LtSN => with_number!(word, |b, n| flag((b as i64) < n as i64)),
                code::LeSN => with_number!(word, |b, n| flag(b as i64 <= n as i64)),
                code::GtSN => with_number!(word, |b, n| flag(b as i64 > n as i64)),
                code::GeSN => with_number!(word, |b, n| flag(b as i64 >= n as i64)),

                code::MulNAdd => joined!(word, |b, n| b.wrapping_mul(n), |r, c| r.wrapping_add(c)),
                code::MulNOr => joined!(word, |b, n| b.wrapping_mul(n), |r, c| r | c),
                code::MulNXor => joined!(word, |b, n| b.wrapping_mul(n), |r, c| r ^ c),
                code::AndNAdd => joined!(word, |b, n| b & n, |r, c| r.wrapping_add(c)),
                code::AndNOr => joined!(word, |b, n| b & n, |r, c| r | c),
                code::AndNXor => joined!(word, |b, n| b & n, |r, c| r ^ c),
                code::ShlNAdd => joined!(word, |b, n| b << (n & 63), |r, c| r.wrapping_add(c)),
                code::ShlNOr => joined!(word, |b, n| b << (n & 63), |r, c| r | c),
                code::ShlNXor => joined!(word, |b, n| b << (n & 63), |r, c| r ^ c),
                code::ShrUNAdd => joined!(word, |b, n| b >> (n & 63), |r, c| r.wrapping_add(c)),
                code::ShrUNOr => joined!(word, |b, n| b >> (n & 63), |r, c| r | c),
                code::ShrUNXor => joined!(word, |b, n| b >> (n & 63), |r, c| r ^ c),

                code::Neg => one!(word, |b| b.wrapping_neg()),
                code::Not => one!(word, |b| !b),
                code::IsZero => one!(word, |b| flag(b == 0)),
                code::Bool => one!(word, |b| flag(b != 0)),
                code::SignExtend8 => one!(word, |b| i64::from(b as i8) as u64),
                code::SignExtend16 => one!(word, |b| i64::from(b as i16) as u64),
                code::SignExtend32 => one!(word, |b| sign_extended(b)),
                code::ZeroExtend8 => one!(word, |b| b & 0xff),
                code::ZeroExtend16 => one!(word, |b| b & 0xffff),
                code::ZeroExtend32 => one!(word, |b| b & 0xffff_ffff),
                code::FNeg => one!(word, |b| b ^ 1 << 63),
                code::FFromU => one!(word, |b| (b as f64).to_bits()),
                code::FFromS => one!(word, |b| (b as i64 as f64).to_bits()),
                code::FToU => one!(word, |b| float(b) as u64),
                code::FToS => one!(word, |b| float(b) as i64 as u64),
                code::FWiden => one!(word, |b| f64::from(f32::from_bits(b as u32)).to_bits()),
                code::FNarrow => one!(word, |b| u64::from((float(b) as f32).to_bits())),
                code::FRound => one!(word, |b| f64::from(float(b) as f32).to_bits()),
                code::GetBits => {
                    let [low, count, ..] = (word.n() as u32).to_le_bytes();
                    one!(word, |b| (b >> (low & 63)) & mask(count));
                }
                code::PutBits => {
                    let [low, count, ..] = (word.n() as u32).to_le_bytes();
                    let bits = mask(count) << (low & 63);
                    two!(word, |b, c| b & !bits | c << (low & 63) & bits);
                }

                code::Load8 => load!(word, 1, Virtual),
                code::Load16 => load!(word, 2, Virtual),
                code::Load32 => load!(word, 4, Virtual),
                code::Load64 => load!(word, 8, Virtual),
                code::LoadPhysical8 => load!(word, 1, Physical),
                code::LoadPhysical16 => load!(word, 2, Physical),
                code::LoadPhysical32 => load!(word, 4, Physical),
                code::LoadPhysical64 => load!(word, 8, Physical),
                code::LoadAdd64 => {
                    self.at = next;
                    let address = read!(word.b()).wrapping_add(word.n());
                    let value = self.load::<8>(Space::Virtual, address);
                    give!(word, value.wrapping_add(read!(word.c())));
                }
                code::Store8 => store!(word, 1),
                code::Store16 => store!(word, 2),
                code::Store32 => store!(word, 4),
                code::Store64 => store!(word, 8),
                code::Put8 => put!(word, 1, Virtual),
                code::Put16 => put!(word, 2, Virtual),
                code::Put32 => put!(word, 4, Virtual),
                code::Put64 => put!(word, 8, Virtual),
                code::PutPhysical8 => put!(word, 1, Physical),
                code::PutPhysical16 => put!(word, 2, Physical),
                code::PutPhysical32 => put!(word, 4, Physical),
                code::PutPhysical64 => put!(word, 8, Physical),
                code::LoadLocal => give!(word, self.load_local(word.place(), next)),
                code::StoreLocal => self.store_local(word.place(), read!(word.a()), next),
                code::LoadFrame => give!(word, self.load_frame(word.place())),
                code::StoreFrame => self.store_frame(word.place(), read!(word.a())),
                code::LoadGlobal => give!(word, self.load_global(word.place(), next)),
                code::StoreGlobal => self.store_global(word.place(), read!(word.a()), next),
                code::AddressFrame => {
                    give!(word, address(Area::Frames, self.frame.0, word.place()));
                }
                code::Update => {
                    let (at, value) = (read!(word.a()), read!(word.b()));
                    with_budget!(self.update_coded([word.n() as u8, word.c()], at, value));
                }
                code::AddGlobal => {
                    self.add_global(word.short_place(), word.short_number(), next);
                }

                code::Register => give!(word, self.register(word.b())),
                code::SetRegister => self.set_register(word.b(), read!(word.a()), next),
                code::Pseudo => give!(word, self.pseudo(word.b())),

                code::Jump => go_to!(word.place()),
                code::JumpZero => {
                    if read!(word.a()) == 0 {
                        go_to!(word.place());
                    }
                }
                code::JumpNotZero => {
                    if read!(word.a()) != 0 {
                        go_to!(word.place());
                    }
                }
                code::JumpEq => jump_if!(word, |a, b| a == b),
                code::JumpNe => jump_if!(word, |a, b| a != b),
                code::JumpLtU => jump_if!(word, |a, b| a < b),
                code::JumpLeU => jump_if!(word, |a, b| a <= b),
                code::JumpLtS => jump_if!(word, |a, b| (a as i64) < b as i64),
                code::JumpLeS => jump_if!(word, |a, b| a as i64 <= b as i64),
                code::JumpEqN => jump_if_short!(word, |a, n| a == n),
                code::JumpNeN => jump_if_short!(word, |a, n| a != n),
                code::JumpLtUN => jump_if_short!(word, |a, n| a < n),
                code::JumpGeUN => jump_if_short!(word, |a, n| a >= n),
                code::JumpLtSN => jump_if_short!(word, |a, n| (a as i64) < n as i64),
                code::JumpGeSN => jump_if_short!(word, |a, n| a as i64 >= n as i64),
                code::JumpAndEqN => jump_if_masked!(word, |a, n| a == n),
                code::JumpAndNeN => jump_if_masked!(word, |a, n| a != n),
                code::JumpAndLtUN => jump_if_masked!(word, |a, n| a < n),
                code::JumpAndGeUN => jump_if_masked!(word, |a, n| a >= n),
                code::AddJump => {
                    two!(word, |b, c| b.wrapping_add(c));
                    go_to!(word.place());
                }
                code::AddNJump => {
                    give!(word, read!(word.a()).wrapping_add(word.n()));
                    go_to!(word.joined_place());
                }
                code::StepLtU => step_below!(word, identity, |a, b| a < b),
                code::StepLtS => step_below!(word, identity, |a, b| (a as i64) < b as i64),
                code::Step32LtS => {
                    step_below!(word, sign_extended, |a, b| (a as i64) < b as i64);
                }
                code::StepLtUN => step_below_short!(word, identity, |a, n| a < n),
                code::StepLtSN => step_below_short!(word, identity, |a, n| (a as i64) < n as i64),
                code::Step32LtSN => {
                    step_below_short!(word, sign_extended, |a, n| (a as i64) < n as i64);
                }
                code::Call => {
                    let call = Call {
                        next: next as u32,
                        base: base as u16,
                        result: word.b(),
                        frame: (self.frame.0 as u16, self.frame.1 as u16),
                    };
                    base += usize::from(word.a());
                    let inner = window(stack, base);
                    let (true, Some(inner)) = (self.enter(call), inner) else {
                        break End::StackOverflow { at: next as u32 };
                    };
                    registers = inner;
                    go_to!(word.place());
                }
                code::Enter => {
                    let from = usize::from(word.a());
                    let variables = registers.get_mut(from..usize::from(word.b()));
                    variables.unwrap_or_default().fill(0);
                    if word.place() != 0 && !self.make_frame(word.place()) {
                        break End::StackOverflow {
                            at: self.caller() as u32,
                        };
                    }
                }
                code::Return => {
                    let value = read!(word.a());
                    let Some(call) = self.leave() else {
                        count!();
                        break End::Finished { value };
                    };
                    base = usize::from(call.base);
                    let Some(outer) = window(stack, base) else {
                        break End::Broken { at: next as u32 };
                    };
                    registers = outer;
                    set(registers, call.result, value);
                    go_to!(call.next as usize);
                }
                code::Exit => {
                    count!();
                    break End::Finished { value: 0 };
                }
                code::Do => {
                    let Some(routine) = Routine::from_byte(word.b()) else {
                        break End::Broken { at: next as u32 };
                    };
                    let first = word.a();
                    let arguments = [0, 1, 2].map(|index| read!(first.saturating_add(index)));
                    let value = with_budget!(self.routine(routine, arguments));
                    set(registers, word.c(), value);
                }
                code::Faults => give!(word, self.faults()),
                code::Forgive => give!(word, flag(self.forgive(read!(word.b())))),
                code::Show => {
                    let value = [read!(word.a())];
                    with_budget!(self.print(&value, 0, word.place() as u32));
                }
                code::Print => {
                    let first = usize::from(word.a());
                    let values = registers.get(first..first + usize::from(word.b()));
                    let site = word.place() as u32;
                    let kinds = self.kinds(site);
                    with_budget!(self.print(values.unwrap_or_default(), kinds, site));
                }
                _ => break End::Broken { at: next as u32 },
            }
        };
        self.left = left;
        end
    }
}
