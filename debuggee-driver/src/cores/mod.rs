//! The cores as a group: who has stopped, what each one's registers are.
//!
//! Called by `exit` and `halt`, in VMX-root.

pub mod cells;
pub mod registers;
pub mod rendezvous;
