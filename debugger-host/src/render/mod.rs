//! Values to what users see: the only place that decides it, and the only one but [`crate::repl`]
//! that prints. [`text`] is for people, [`json`] for programs. Called by `main` and
//! [`crate::repl`]; [`refusal`] has the words of refusals, which errors are made of, too.

pub mod json;
mod output;
mod refusal;
mod size;
pub mod text;

pub use output::{Output, Screen};
pub use refusal::refusal;
pub use size::{bytes, count};
