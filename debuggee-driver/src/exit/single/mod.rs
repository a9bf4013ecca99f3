//! One instruction at a time: steps over watched pages, instructions that the guest carries out by itself,
//! traces, and the mode that a core may execute in.
//!
//! Called by the handlers of `exit`, in VMX-root, by every core for itself.

mod asked;
pub(in crate::exit) mod host;
pub mod mode;
pub mod passthrough;
pub mod state;
pub mod step;
pub mod trace;
pub mod trap;
