//! Reading one instruction of the guest: how long it is, and which memory it touches.
//!
//! Called in VMX-root when an access to a watched page has to be compared with the bytes that
//! are watched, and when an instruction is skipped or moved. 64-bit code only. [`mod@decode`] splits the bytes
//! into their [`parts`], [`operand`] says what the parts mean for memory.

pub mod decode;
mod form;
pub mod load;
pub mod operand;
pub mod parts;
#[cfg(test)]
mod tests;

pub use decode::{LENGTH_MAX, decode, first_opcode_byte};
pub use operand::Registers;
pub use parts::Instruction;
