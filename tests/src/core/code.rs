//! Machine code of events, on a processor that executes nothing else: the usual instructions for whole numbers, one by one,
//! over the memory of the machine. Any other is, here, one that the processor does not know.

use debuggee_driver::port::{CodeCall, CodeEnd, Gprs, PhysicalMemory, gpr};
use iced_x86::{ConditionCode, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// Where the code finds the guest's general registers; no memory of a machine is there.
const REGISTERS: u64 = 0xffff_fc00_0000_0000;
/// The code's own stack, and where it ends.
const STACK: u64 = 0xffff_fc10_0000_0000;
const STACK_BYTES: usize = 0x1000;
/// Where the code returns to.
const CALLER: u64 = 0xffff_fc20_0000_0000;

const UNKNOWN_INSTRUCTION: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const BREAKPOINT: u8 = 3;

/// An exception's vector.
type Raised<T> = Result<T, u8>;

/// What instructions leave for conditions.
#[derive(Clone, Copy, Default)]
struct Flags {
    carry: bool,
    zero: bool,
    sign: bool,
    overflow: bool,
    parity: bool,
}

/// See the module.
pub(super) struct Code<M> {
    pub(super) memory: M,
    /// Where all of it is mapped.
    pub(super) direct_map: u64,
}

/// One run of it.
struct Run<'r, M> {
    code: &'r mut Code<M>,
    guest: &'r mut Gprs,
    own: Gprs,
    flags: Flags,
    stack: Vec<u8>,
}

impl<M: PhysicalMemory> Code<M> {
    /// As the driver runs it.
    pub(super) fn run(
        &mut self,
        bytes: &[u8],
        call: &CodeCall,
        instructions: u64,
        guest: &mut Gprs,
    ) -> CodeEnd {
        let mut run = Run {
            code: self,
            guest,
            own: Gprs::default(),
            flags: Flags::default(),
            stack: vec![0; STACK_BYTES],
        };
        [run.own[gpr::RCX], run.own[gpr::RDX], run.own[8]] = match *call {
            CodeCall::Condition { context } => [REGISTERS, context, 0],
            CodeCall::Action { buffer, context } => [buffer, REGISTERS, context],
        };
        run.own[gpr::RSP] = STACK + STACK_BYTES as u64;
        let mut at = 0;
        let exception = |vector, at| CodeEnd::Exception {
            vector,
            at: at as u32,
        };
        if let Err(vector) = run.push(CALLER) {
            return exception(vector, at);
        }
        for _ in 0..instructions.max(1) {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let instruction = Decoder::with_ip(64, rest, at, DecoderOptions::NONE).decode();
            match run.step(&instruction) {
                Ok(CALLER) => {
                    let value = run.own[gpr::RAX];
                    return CodeEnd::Returned { value };
                }
                Ok(next) => at = next,
                // The processor is behind it then.
                Err(BREAKPOINT) => return exception(BREAKPOINT, instruction.next_ip()),
                Err(vector) => return exception(vector, at),
            }
        }
        CodeEnd::OverBudget { at: at as u32 }
    }
}

/// The lowest bits set.
const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// With the highest of so many bits in all above.
const fn extend(value: u64, bits: u32) -> u64 {
    ((value << (64 - bits)) as i64 >> (64 - bits)) as u64
}

const fn is_negative(value: u64, bits: u32) -> bool {
    value >> (bits - 1) & 1 != 0
}

impl<M: PhysicalMemory> Run<'_, M> {
    fn read(&self, at: u64, len_bytes: usize) -> Raised<u64> {
        let mut bytes = [0; 8];
        let out = &mut bytes[..len_bytes];
        let offset = |from: u64| at.wrapping_sub(from) as usize;
        if let Some(from) = self.stack.get(offset(STACK)..) {
            let from = from.get(..len_bytes).ok_or(PAGE_FAULT)?;
            out.copy_from_slice(from);
        } else if offset(REGISTERS) < size_of::<Gprs>() {
            let all: Vec<u8> = self.guest.iter().flat_map(|it| it.to_le_bytes()).collect();
            let from = all.get(offset(REGISTERS)..).unwrap_or_default();
            out.copy_from_slice(from.get(..len_bytes).ok_or(PAGE_FAULT)?);
        } else {
            self.code.memory.read(self.physical(at, len_bytes)?, out);
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, at: u64, len_bytes: usize, value: u64) -> Raised<()> {
        let bytes = &value.to_le_bytes()[..len_bytes];
        let offset = |from: u64| at.wrapping_sub(from) as usize;
        if let Some(to) = self.stack.get_mut(offset(STACK)..) {
            to.get_mut(..len_bytes)
                .ok_or(PAGE_FAULT)?
                .copy_from_slice(bytes);
        } else if offset(REGISTERS) < size_of::<Gprs>() {
            for (at, byte) in (offset(REGISTERS)..).zip(bytes) {
                let register = self.guest.get_mut(at / 8).ok_or(PAGE_FAULT)?;
                let shift = at % 8 * 8;
                *register = *register & !(0xff << shift) | u64::from(*byte) << shift;
            }
        } else {
            let at = self.physical(at, len_bytes)?;
            self.code.memory.write(at, bytes);
        }
        Ok(())
    }

    /// Where this is in memory.
    fn physical(&self, at: u64, len_bytes: usize) -> Raised<u64> {
        let physical = at.wrapping_sub(self.code.direct_map);
        let limit = self.code.memory.limit();
        match physical.checked_add(len_bytes as u64) {
            Some(end) if end <= limit => Ok(physical),
            _ => Err(PAGE_FAULT),
        }
    }

    fn push(&mut self, value: u64) -> Raised<()> {
        self.own[gpr::RSP] = self.own[gpr::RSP].wrapping_sub(8);
        self.write(self.own[gpr::RSP], 8, value)
    }

    fn pop(&mut self) -> Raised<u64> {
        let value = self.read(self.own[gpr::RSP], 8)?;
        self.own[gpr::RSP] = self.own[gpr::RSP].wrapping_add(8);
        Ok(value)
    }

    /// A general register, and where its part begins that this name means.
    fn place(register: Register) -> Option<(usize, u32)> {
        let is_high = matches!(
            register,
            Register::AH | Register::BH | Register::CH | Register::DH
        );
        let whole = register.full_register();
        whole
            .is_gpr64()
            .then(|| (whole.number(), if is_high { 8 } else { 0 }))
    }

    fn address(&self, instruction: &Instruction, operand: u32) -> Raised<u64> {
        let value = |register: Register, _, _| match Self::place(register) {
            Some((number, _)) => self.own.get(number).copied(),
            None => register.is_segment_register().then_some(0),
        };
        instruction
            .virtual_address(operand, 0, value)
            .ok_or(GENERAL_PROTECTION)
    }

    fn bits(instruction: &Instruction, operand: u32) -> u32 {
        let bytes = match instruction.op_kind(operand) {
            OpKind::Register => instruction.op_register(operand).size(),
            _ => instruction.memory_size().size(),
        };
        (bytes as u32 * 8).clamp(8, 64)
    }

    fn get(&self, instruction: &Instruction, operand: u32) -> Raised<u64> {
        let bits = Self::bits(instruction, operand);
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let place = Self::place(instruction.op_register(operand));
                let (number, shift) = place.ok_or(UNKNOWN_INSTRUCTION)?;
                Ok(self.own[number] >> shift & mask(bits))
            }
            OpKind::Memory => self.read(self.address(instruction, operand)?, bits as usize / 8),
            _ => instruction
                .try_immediate(operand)
                .map_err(|_| UNKNOWN_INSTRUCTION),
        }
    }

    fn set(&mut self, instruction: &Instruction, operand: u32, value: u64) -> Raised<()> {
        let bits = Self::bits(instruction, operand);
        if instruction.op_kind(operand) == OpKind::Memory {
            let at = self.address(instruction, operand)?;
            return self.write(at, bits as usize / 8, value);
        }
        let place = Self::place(instruction.op_register(operand));
        let (number, shift) = place.ok_or(UNKNOWN_INSTRUCTION)?;
        let register = &mut self.own[number];
        *register = match bits {
            // The upper half becomes zero.
            32 | 64 => value & mask(bits),
            _ => *register & !(mask(bits) << shift) | (value & mask(bits)) << shift,
        };
        Ok(())
    }

    /// Flags of a result but for carry and overflow.
    fn note(&mut self, result: u64, bits: u32) -> u64 {
        let result = result & mask(bits);
        self.flags.zero = result == 0;
        self.flags.sign = is_negative(result, bits);
        self.flags.parity = (result as u8).count_ones().is_multiple_of(2);
        result
    }

    fn logic(&mut self, result: u64, bits: u32) -> u64 {
        (self.flags.carry, self.flags.overflow) = (false, false);
        self.note(result, bits)
    }

    fn add(&mut self, one: u64, other: u64, bits: u32) -> u64 {
        let (one, other) = (one & mask(bits), other & mask(bits));
        let result = self.note(one.wrapping_add(other), bits);
        self.flags.carry = result < one;
        self.flags.overflow = is_negative((one ^ result) & (other ^ result), bits);
        result
    }

    fn subtract(&mut self, one: u64, other: u64, bits: u32) -> u64 {
        let (one, other) = (one & mask(bits), other & mask(bits));
        let result = self.note(one.wrapping_sub(other), bits);
        self.flags.carry = one < other;
        self.flags.overflow = is_negative((one ^ other) & (one ^ result), bits);
        result
    }

    fn shift(&mut self, mnemonic: Mnemonic, value: u64, count: u64, bits: u32) -> u64 {
        let count = (count & if bits == 64 { 63 } else { 31 }) as u32;
        if count == 0 {
            return value;
        }
        let out = |at: u32| at < 64 && value >> at & 1 != 0;
        let (result, carry) = match mnemonic {
            Mnemonic::Shl => (value << count, count <= bits && out(bits - count)),
            Mnemonic::Shr => (value >> count, out(count - 1)),
            _ => {
                let whole = extend(value, bits) as i64;
                ((whole >> count) as u64, whole >> (count - 1) & 1 != 0)
            }
        };
        let result = self.note(result, bits);
        self.flags.carry = carry;
        self.flags.overflow = is_negative(result ^ value, bits);
        result
    }

    fn holds(&self, condition: ConditionCode) -> bool {
        let Flags {
            carry,
            zero,
            sign,
            overflow,
            parity,
        } = self.flags;
        match condition {
            ConditionCode::None => true,
            ConditionCode::o => overflow,
            ConditionCode::no => !overflow,
            ConditionCode::b => carry,
            ConditionCode::ae => !carry,
            ConditionCode::e => zero,
            ConditionCode::ne => !zero,
            ConditionCode::be => carry || zero,
            ConditionCode::a => !carry && !zero,
            ConditionCode::s => sign,
            ConditionCode::ns => !sign,
            ConditionCode::p => parity,
            ConditionCode::np => !parity,
            ConditionCode::l => sign != overflow,
            ConditionCode::ge => sign == overflow,
            ConditionCode::le => zero || sign != overflow,
            ConditionCode::g => !zero && sign == overflow,
        }
    }

    /// One instruction; where the next one is.
    fn step(&mut self, instruction: &Instruction) -> Raised<u64> {
        let mnemonic = instruction.mnemonic();
        let next = instruction.next_ip();
        let condition = instruction.condition_code();
        match mnemonic {
            Mnemonic::Nop => {}
            Mnemonic::Int3 => return Err(BREAKPOINT),
            Mnemonic::Ret => return self.pop(),
            Mnemonic::Push => {
                let value = self.get(instruction, 0)?;
                self.push(value)?;
            }
            Mnemonic::Pop => {
                let value = self.pop()?;
                self.set(instruction, 0, value)?;
            }
            Mnemonic::Jmp | Mnemonic::Call if instruction.op_kind(0) == OpKind::NearBranch64 => {
                if mnemonic == Mnemonic::Call {
                    self.push(next)?;
                }
                return Ok(instruction.near_branch_target());
            }
            _ if instruction.is_jcc_short_or_near() => {
                return Ok(match self.holds(condition) {
                    true => instruction.near_branch_target(),
                    false => next,
                });
            }
            Mnemonic::Lea => {
                let address = self.address(instruction, 1)?;
                self.set(instruction, 0, address)?;
            }
            Mnemonic::Mov | Mnemonic::Movzx => {
                let value = self.get(instruction, 1)?;
                self.set(instruction, 0, value)?;
            }
            Mnemonic::Movsx | Mnemonic::Movsxd => {
                let value = self.get(instruction, 1)?;
                let value = extend(value, Self::bits(instruction, 1));
                self.set(instruction, 0, value)?;
            }
            Mnemonic::Inc | Mnemonic::Dec | Mnemonic::Neg | Mnemonic::Not => {
                let value = self.changed(mnemonic, instruction)?;
                self.set(instruction, 0, value)?;
            }
            Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sar => {
                let [value, count] = [self.get(instruction, 0)?, self.get(instruction, 1)?];
                let bits = Self::bits(instruction, 0);
                let value = self.shift(mnemonic, value, count, bits);
                self.set(instruction, 0, value)?;
            }
            _ => self.calculate(mnemonic, instruction)?,
        }
        Ok(next)
    }

    /// What an instruction makes of its one operand.
    fn changed(&mut self, mnemonic: Mnemonic, instruction: &Instruction) -> Raised<u64> {
        let value = self.get(instruction, 0)?;
        let bits = Self::bits(instruction, 0);
        let carry = self.flags.carry;
        Ok(match mnemonic {
            Mnemonic::Not => !value,
            Mnemonic::Neg => self.subtract(0, value, bits),
            _ => {
                let result = match mnemonic {
                    Mnemonic::Inc => self.add(value, 1, bits),
                    _ => self.subtract(value, 1, bits),
                };
                self.flags.carry = carry;
                result
            }
        })
    }

    /// An instruction of two operands, with its result in the first.
    fn calculate(&mut self, mnemonic: Mnemonic, instruction: &Instruction) -> Raised<()> {
        let [one, other] = [self.get(instruction, 0)?, self.get(instruction, 1)?];
        let bits = Self::bits(instruction, 0);
        let result = match mnemonic {
            Mnemonic::Add => self.add(one, other, bits),
            Mnemonic::Or => self.logic(one | other, bits),
            Mnemonic::Xor => self.logic(one ^ other, bits),
            Mnemonic::Cmp | Mnemonic::Sub => self.subtract(one, other, bits),
            Mnemonic::Test | Mnemonic::And => self.logic(one & other, bits),
            _ => return Err(UNKNOWN_INSTRUCTION),
        };
        match mnemonic {
            Mnemonic::Cmp | Mnemonic::Test => Ok(()),
            _ => self.set(instruction, 0, result),
        }
    }
}
