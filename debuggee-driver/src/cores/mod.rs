//! The cores as a group: who has stopped, what each one's registers are.
//!
//! Called by `exit` and `halt`, in VMX-root. [`rendezvous`] has the tokens, [`roster`] what they
//! rest on.

pub mod branches;
pub mod departure;
pub mod exclusive;
pub mod registers;
pub mod rendezvous;
pub mod roster;
