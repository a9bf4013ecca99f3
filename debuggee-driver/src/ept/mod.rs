//! Extended page tables: what the guest's physical addresses lead to.
//!
//! Views that all cores share map memory one to one: in the *hooked* view pages with hooks lead to
//! shadow pages, in the *clean* view nothing is hooked, and the *trampoline* view is that of detours'
//! stubs. Beside them each core has a [`step_view`] of its own. Built at boot; edited in VMX-root with
//! every core halted.
//!
//! [`entry`] is the format, [`mtrr`] says which memory type a range has, [`table`] walks, splits
//! and merges, [`view`] builds the views, [`mode`] those for one mode alone, [`watch`] knows which page carries
//! which hooks, [`hook`] what each is, and [`reference`](mod@reference) whether an instruction still starts at each.

pub mod entry;
pub mod hook;
pub mod links;
pub mod mode;
pub mod monitor;
pub mod mtrr;
pub mod reference;
pub mod step_view;
pub mod table;
pub mod view;
pub mod watch;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
