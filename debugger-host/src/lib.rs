//! The host side of Standstill: everything of the `standstill` program but its `main`.
//!
//! Reading order: [`transport`] (ways to reach the debuggee), [`recording`] (conversations in
//! files), [`session`] (the conversation with it), [`symbol`] and [`expression`] (names and numbers), [`disasm`], [`command`] (what users
//! type), [`answer`] (what comes of it, as values), [`render`] (what users see), [`repl`] (lines
//! in, lines out).
#![forbid(unsafe_code)]

pub mod answer;
pub mod assembler;
mod clock;
pub mod command;
pub mod disasm;
pub mod doctor;
pub mod dropped;
pub mod expression;
pub mod private;
pub mod recording;
pub mod refusal;
pub mod render;
pub mod repl;
pub mod saved;
pub mod script;
pub mod session;
pub mod sink;
mod size;
pub mod symbol;
pub mod timeout;
pub mod transport;
pub mod types;
mod unpacked;
