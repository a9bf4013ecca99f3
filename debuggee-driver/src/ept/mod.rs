//! Extended page tables: what the guest's physical addresses lead to.
//!
//! Two views, shared by all cores, map memory one to one: the *hooked* view, in which pages with
//! hooks lead to shadow pages, and the *clean* view, in which a core executes the one instruction
//! that has to see through a hook. Built at boot; edited in VMX-root with every core halted.
//!
//! [`entry`] is the format, [`mtrr`] says which memory type a range has, [`table`] walks, splits
//! and merges, [`view`] builds the views, [`mode`] those for one mode alone, and [`watch`] knows which page carries which hooks.

pub mod entry;
pub mod mode;
pub mod monitor;
pub mod mtrr;
pub mod step_view;
pub mod table;
pub mod view;
pub mod watch;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
