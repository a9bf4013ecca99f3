//! The operands of an instruction as values.

use crate::answer::{Address, Hex, Operand};
use crate::symbol::resolve::Symbols;
use iced_x86::{Formatter, Instruction, IntelFormatter, OpKind, Register};

/// Name of a register; `None` for none.
pub(super) fn register(register: Register, formatter: &mut IntelFormatter) -> Option<String> {
    (register != Register::None).then(|| formatter.format_register(register).to_owned())
}

/// All operands that are written, in their order.
pub(super) fn operands(
    instruction: &Instruction,
    formatter: &mut IntelFormatter,
    symbols: &Symbols,
) -> Vec<Operand> {
    (0..instruction.op_count())
        .map(|index| operand(instruction, index, formatter, symbols))
        .collect()
}

fn operand(
    instruction: &Instruction,
    index: u32,
    formatter: &mut IntelFormatter,
    symbols: &Symbols,
) -> Operand {
    match instruction.op_kind(index) {
        OpKind::Register => Operand::Register {
            register: register(instruction.op_register(index), formatter).unwrap_or_default(),
        },
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => Operand::Branch {
            target: Address::new(instruction.near_branch_target(), symbols),
        },
        OpKind::FarBranch16 => Operand::FarBranch {
            selector: instruction.far_branch_selector(),
            offset: Hex(instruction.far_branch16().into()),
        },
        OpKind::FarBranch32 => Operand::FarBranch {
            selector: instruction.far_branch_selector(),
            offset: Hex(instruction.far_branch32().into()),
        },
        OpKind::Memory => memory(instruction, formatter, symbols),
        kind => match string(kind) {
            Some(base) => Operand::Memory {
                size_bytes: instruction.memory_size().size() as u32,
                segment: register(instruction.segment_prefix(), formatter),
                base: register(base, formatter),
                index: None,
                scale: 1,
                displacement: Hex(0),
                is_broadcast: false,
                target: None,
            },
            None => Operand::Immediate {
                value: Hex(instruction.immediate(index)),
            },
        },
    }
}

/// The register that a string instruction addresses memory with.
const fn string(kind: OpKind) -> Option<Register> {
    Some(match kind {
        OpKind::MemorySegSI => Register::SI,
        OpKind::MemorySegESI => Register::ESI,
        OpKind::MemorySegRSI => Register::RSI,
        OpKind::MemorySegDI | OpKind::MemoryESDI => Register::DI,
        OpKind::MemorySegEDI | OpKind::MemoryESEDI => Register::EDI,
        OpKind::MemorySegRDI | OpKind::MemoryESRDI => Register::RDI,
        _ => return None,
    })
}

fn memory(instruction: &Instruction, formatter: &mut IntelFormatter, symbols: &Symbols) -> Operand {
    let is_rip_relative = instruction.is_ip_rel_memory_operand();
    Operand::Memory {
        size_bytes: instruction.memory_size().size() as u32,
        segment: register(instruction.segment_prefix(), formatter),
        base: register(instruction.memory_base(), formatter),
        index: register(instruction.memory_index(), formatter),
        scale: instruction.memory_index_scale() as u8,
        // The decoder gives the address instead of the distance to rip.
        displacement: Hex(match is_rip_relative {
            true => instruction
                .memory_displacement64()
                .wrapping_sub(instruction.next_ip()),
            false => instruction.memory_displacement64(),
        }),
        is_broadcast: instruction.is_broadcast(),
        target: is_rip_relative.then(|| Address::new(instruction.ip_rel_memory_address(), symbols)),
    }
}
