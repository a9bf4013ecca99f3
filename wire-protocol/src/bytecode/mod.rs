//! Programs of the script language: their format, how they are written and how they are verified.
//!
//! The host's compiler writes them with the [`Assembler`]; the driver verifies them in VMX-root
//! before an event is accepted ([`Verified`]); [`crate::script`] runs them on either side.
//!
//! # Format
//! A program is one run of bytes, at most [`PROGRAM_BYTES`] long:
//!
//! | part | bytes |
//! |---|---|
//! | version | 1, always [`VERSION`] |
//! | header | six numbers (LEB128): depth of the main part, its variables in registers, bytes of locals, functions, labels, bytes of constants |
//! | functions | 8 each: start in the code (3), arguments (1), bytes of frame (2), depth (1), variables in registers (1); ascending by start |
//! | labels | 4 each: place in the code (3), values on the stack there (1); ascending by place |
//! | constants | strings and whatever else has an address; read only; if there are any, the last byte is 0 |
//! | code | all that is left: the main part from offset 0 to the first function's start, then the functions |
//!
//! All numbers of fixed size have their lowest byte first. Every offset in the code, `at` in
//! refusals and records, counts from the start of the code.
//!
//! # The machine
//! A stack of 64-bit values ([`op::Op`] lists what each operation takes and leaves), and three
//! kinds of variables, all bytes and all zero at first: *locals* belong to one event on one core
//! and keep their values between runs; *frames* belong to one call of a function, whose arguments
//! are the first slots of its frame; *globals* are shared by all cores and events. Everything that
//! has an address in a program has a tagged one ([`tag`]) that no guest address can equal.
//!
//! # How it runs
//! The bytes above are how a program travels: short, and easy to verify. To run, it is decoded
//! ([`Decoded`]) into words of eight bytes that work on registers: the first variables of the main
//! part and of each function, and each value on the stack, have one of 256.
//!
//! # What is verified
//! Every operation decodes; every jump lands on a label of the same function; at a label the
//! stack is as deep as the label says, whichever way it is reached; no operation takes more than
//! there is and no function goes deeper than it says; variables lie inside their areas and format
//! strings inside the constants; calls name functions that exist; the last operation of each
//! function leaves it. One pass over the code, a binary search per jump, no memory. Code that
//! cannot be reached is held to the same rules.

pub mod assemble;
pub mod comparison;
pub mod count;
pub mod decode;
pub mod decoded;
pub mod op;
pub mod program;
pub mod routine;
pub mod tag;
mod translate;
pub mod update;
pub mod verify;
pub(crate) mod word;

pub use assemble::Assembler;
pub use comparison::{Compared, Comparison};
pub use count::Count;
pub use decoded::Decoded;
pub use program::{BadProgram, Program, Reason};
pub use verify::Verified;

#[cfg(test)]
mod tests;

/// First byte of every program. A driver refuses programs of another version.
pub const VERSION: u8 = 2;

pub use crate::limits::{PRINT_ARGUMENTS, PROGRAM_BYTES};

/// Strings and other constants of a program.
pub const CONSTANT_BYTES: usize = 1 << 16;

/// An event's locals, on each core.
pub const LOCAL_BYTES: usize = 16 * 1024;

/// A function's frame.
pub const FRAME_BYTES: usize = 4096;

/// Variables of the main part, or of a function, that are registers while it runs. They have no
/// address.
pub const REGISTER_VARIABLES: usize = 96;

/// Values on the stack within one function.
pub const DEPTH: usize = 128;

/// Arguments of a function.
pub const ARGUMENTS: usize = 32;

/// Functions of a program.
pub const FUNCTIONS: usize = 255;

/// The area of globals, shared by all programs.
pub const GLOBAL_BYTES: usize = 64 * 1024;
