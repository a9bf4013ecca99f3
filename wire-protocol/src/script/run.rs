//! The interpreter's loop.

use super::memory::Space;
use super::record::RecordMemory;
use super::{
    CALLS, Call, End, FRAMES_BYTES, Fault, FaultKind, Machine, Outcome, STACK_VALUES, Workspace,
};
use crate::bytecode::op::{Op, SHORT_NUMBER, SHORT_REGISTER};
use crate::bytecode::routine::{Pseudo, Routine};
use crate::bytecode::tag::{self, Area, Marker};
use crate::bytecode::{Program, Verified};
use crate::packet::Register;
use core::sync::atomic::Ordering;

/// Everything of a run that is not in the loop's own variables.
pub(super) struct Run<'r, 'p, M> {
    pub(super) program: &'r Program<'p>,
    pub(super) locals: &'r mut [u8],
    pub(super) stack: &'r mut [u64; STACK_VALUES],
    pub(super) frames: &'r mut [u8; FRAMES_BYTES],
    calls: &'r mut [Call; CALLS],
    /// For the record that is being made.
    pub(super) record: Option<&'r mut RecordMemory>,
    pub(super) machine: &'r mut M,
    /// Where the running function's frame begins and ends.
    pub(super) frame: (usize, usize),
    call_count: usize,
    /// The operation that runs, for faults and records.
    pub(super) at: u32,
    /// Budget, while an operation that may take more than one from it has it.
    left: u64,
    over: bool,
    faults: u32,
    first_fault: Option<Fault>,
}

impl<M> Run<'_, '_, M> {
    #[cold]
    pub(super) fn fault(&mut self, kind: FaultKind) {
        self.faults = self.faults.saturating_add(1);
        self.first_fault.get_or_insert(Fault { at: self.at, kind });
    }

    /// Takes from the budget; false if that was too much.
    pub(super) fn charge(&mut self, cost: u64) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                self.over = true;
                false
            }
        }
    }
}

/// Runs a program. `locals` are those of its event on this core; variables beyond their end are
/// not there. `budget` is in operations.
pub fn run<M: Machine>(
    program: &Verified<'_>,
    locals: &mut [u8],
    workspace: &mut Workspace,
    machine: &mut M,
    budget: u64,
) -> Outcome {
    let Workspace {
        stack,
        frames,
        calls,
        record,
    } = workspace;
    let mut run = Run {
        program: program.program(),
        locals,
        stack,
        frames,
        calls,
        record: Some(record),
        machine,
        frame: (0, 0),
        call_count: 0,
        at: 0,
        left: 0,
        over: false,
        faults: 0,
        first_fault: None,
    };
    let end = run.interpret(budget);
    Outcome {
        end,
        left: run.left,
        faults: run.faults,
        first_fault: run.first_fault,
    }
}

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
    fn interpret(&mut self, budget: u64) -> End {
        let code = self.program.code();
        let mut at = 0usize;
        let mut depth = 0usize;
        let mut top = 0u64;
        let mut left = budget;

        macro_rules! push {
            ($value:expr) => {{
                let value = $value;
                if let Some(slot) = self.stack.get_mut(depth % STACK_VALUES) {
                    *slot = top;
                }
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
                let register = Register::from_u8(byte - SHORT_REGISTER);
                push!(register.map_or(0, |register| self.machine.register(register)));
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

                Op::PushU8 => {
                    let [value] = operand!(1);
                    push!(u64::from(value));
                    at += 2;
                }
                Op::PushI8 => {
                    let [value] = operand!(1);
                    push!(i64::from(value as i8) as u64);
                    at += 2;
                }
                Op::PushU16 => {
                    push!(u64::from(u16::from_le_bytes(operand!(2))));
                    at += 3;
                }
                Op::PushU32 => {
                    push!(u64::from(u32::from_le_bytes(operand!(4))));
                    at += 5;
                }
                Op::PushI32 => {
                    push!(i64::from(i32::from_le_bytes(operand!(4))) as u64);
                    at += 5;
                }
                Op::PushU64 => {
                    push!(u64::from_le_bytes(operand!(8)));
                    at += 9;
                }

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

                Op::LoadLocal => {
                    let [slot] = operand!(1);
                    match slot_of(self.locals, 8 * usize::from(slot)) {
                        Some(&mut value) => push!(u64::from_le_bytes(value)),
                        None => push!(self.no_local(at, slot)),
                    }
                    at += 2;
                }
                Op::StoreLocal => {
                    let [slot] = operand!(1);
                    let value = pop!();
                    match slot_of(self.locals, 8 * usize::from(slot)) {
                        Some(place) => *place = value.to_le_bytes(),
                        None => _ = self.no_local(at, slot),
                    }
                    at += 2;
                }
                Op::LoadFrame => {
                    let [slot] = operand!(1);
                    let offset = self.frame.0 + 8 * usize::from(slot);
                    match slot_of(self.frames, offset) {
                        Some(&mut value) => push!(u64::from_le_bytes(value)),
                        None => break End::Broken { at: at as u32 },
                    }
                    at += 2;
                }
                Op::StoreFrame => {
                    let [slot] = operand!(1);
                    let value = pop!();
                    let offset = self.frame.0 + 8 * usize::from(slot);
                    match slot_of(self.frames, offset) {
                        Some(place) => *place = value.to_le_bytes(),
                        None => break End::Broken { at: at as u32 },
                    }
                    at += 2;
                }
                Op::LoadGlobal => {
                    let slot = u16::from_le_bytes(operand!(2));
                    let word = self.machine.globals().get(usize::from(slot));
                    match word.map(|word| word.load(Ordering::Relaxed)) {
                        Some(value) => push!(value),
                        None => push!(self.no_global(at, slot)),
                    }
                    at += 3;
                }
                Op::StoreGlobal => {
                    let slot = u16::from_le_bytes(operand!(2));
                    let value = pop!();
                    match self.machine.globals().get(usize::from(slot)) {
                        Some(word) => word.store(value, Ordering::Relaxed),
                        None => _ = self.no_global(at, slot),
                    }
                    at += 3;
                }
                Op::AddressLocal => {
                    let offset = u16::from_le_bytes(operand!(2));
                    push!(tag::address(Area::Locals, u32::from(offset)));
                    at += 3;
                }
                Op::AddressFrame => {
                    let offset = u16::from_le_bytes(operand!(2));
                    let offset = self.frame.0 as u32 + u32::from(offset);
                    push!(tag::address(Area::Frames, offset));
                    at += 3;
                }
                Op::AddressGlobal => {
                    let offset = u16::from_le_bytes(operand!(2));
                    push!(tag::address(Area::Globals, u32::from(offset)));
                    at += 3;
                }
                Op::AddressConstant => {
                    let offset = u16::from_le_bytes(operand!(2));
                    push!(tag::address(Area::Constants, u32::from(offset)));
                    at += 3;
                }

                Op::Register => {
                    let [number] = operand!(1);
                    let register = Register::from_u8(number);
                    push!(register.map_or(0, |register| self.machine.register(register)));
                    at += 2;
                }
                Op::SetRegister => {
                    let [number] = operand!(1);
                    let value = pop!();
                    let register = Register::from_u8(number);
                    if !register.is_some_and(|it| self.machine.set_register(it, value)) {
                        self.at = at as u32;
                        self.fault(FaultKind::Register(value));
                    }
                    at += 2;
                }
                Op::Pseudo => {
                    let [number] = operand!(1);
                    push!(match Pseudo::from_byte(number) {
                        Some(Pseudo::Date) => Marker::Date.address(),
                        Some(Pseudo::Time) => Marker::Time.address(),
                        Some(pseudo) => self.machine.pseudo(pseudo),
                        None => 0,
                    });
                    at += 2;
                }

                Op::Jump => jump_if!(true),
                Op::JumpIfZero => jump_if!(pop!() == 0),
                Op::JumpUnlessZero => jump_if!(pop!() != 0),
                Op::Call => {
                    let [index] = operand!(1);
                    let Some(function) = self.program.function(index) else {
                        break End::Broken { at: at as u32 };
                    };
                    let arguments = usize::from(function.arguments);
                    let below = depth.wrapping_sub(arguments);
                    let frame_bytes = usize::from(function.frame_bytes).next_multiple_of(8);
                    let frame = (self.frame.1, self.frame.1 + frame_bytes);
                    let call = Call {
                        at: (at + 2) as u32,
                        depth: below as u16,
                        frame: (self.frame.0 as u16, self.frame.1 as u16),
                    };
                    let fits = below + usize::from(function.depth) < STACK_VALUES;
                    let room = self.frames.get_mut(frame.0..frame.1).filter(|_| fits);
                    let slot = self.calls.get_mut(self.call_count);
                    let (Some(room), Some(slot)) = (room, slot) else {
                        break End::StackOverflow { at: at as u32 };
                    };
                    *slot = call;
                    room.fill(0);
                    self.call_count += 1;
                    self.frame = frame;
                    for index in (0..arguments).rev() {
                        let value = pop!();
                        if let Some(place) = slot_of(self.frames, frame.0 + 8 * index) {
                            *place = value.to_le_bytes();
                        }
                    }
                    at = function.start as usize;
                }
                Op::Return => {
                    let Some(index) = self.call_count.checked_sub(1) else {
                        break End::Finished { value: top };
                    };
                    let Some(call) = self.calls.get(index).copied() else {
                        break End::Broken { at: at as u32 };
                    };
                    self.call_count = index;
                    self.frame = (usize::from(call.frame.0), usize::from(call.frame.1));
                    depth = usize::from(call.depth) + 1;
                    at = call.at as usize;
                }
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
                    let value = with_budget!(self.routine(routine, arguments));
                    push!(value);
                    at += 2;
                }

                Op::Show => {
                    if let Some(slot) = self.stack.get_mut(depth % STACK_VALUES) {
                        *slot = top;
                    }
                    with_budget!(self.print(1, 0, depth));
                    pop!();
                    at += 2;
                }
                Op::Printf | Op::PrintfText => {
                    let [count, _, _] = operand!(3);
                    let mut kinds = 0;
                    let mut len = 4;
                    if op == Op::PrintfText {
                        let [_, _, _, k0, k1, k2, k3] = operand!(7);
                        kinds = u32::from_le_bytes([k0, k1, k2, k3]);
                        len = 8;
                    }
                    if let Some(slot) = self.stack.get_mut(depth % STACK_VALUES) {
                        *slot = top;
                    }
                    with_budget!(self.print(count, kinds, depth));
                    for _ in 0..count {
                        pop!();
                    }
                    at += len;
                }
            }
        };
        self.left = left;
        end
    }

    /// A local that the memory given does not have.
    #[cold]
    fn no_local(&mut self, at: usize, slot: u8) -> u64 {
        self.at = at as u32;
        self.fault(FaultKind::Read(tag::address(
            Area::Locals,
            8 * u32::from(slot),
        )));
        0
    }

    /// A global that the machine does not have.
    #[cold]
    fn no_global(&mut self, at: usize, slot: u16) -> u64 {
        self.at = at as u32;
        self.fault(FaultKind::Read(tag::address(
            Area::Globals,
            8 * u32::from(slot),
        )));
        0
    }
}

/// The eight bytes at `offset`.
#[inline(always)]
fn slot_of(memory: &mut [u8], offset: usize) -> Option<&mut [u8; 8]> {
    memory.get_mut(offset..)?.first_chunk_mut::<8>()
}

/// As many ones; the count has been verified to be below 64.
#[inline(always)]
fn mask(count: u8) -> u64 {
    (1 << (count & 63)) - 1
}
