//! Values to what users see: the only place that decides it, and the only one but [`crate::repl`]
//! that prints. [`text`] is for people, [`json`] for programs. Called by `main` and
//! [`crate::repl`].

pub mod json;
mod output;
pub mod text;

pub use output::{Output, Screen};
