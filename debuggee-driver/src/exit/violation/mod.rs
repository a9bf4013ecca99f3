//! Accesses that the EPT views forbid: what they touch, who is served, and what runs then.
//!
//! Called by [`super::handle`], in VMX-root, by every core for itself.

pub(super) mod access;
pub mod decoded;
pub mod handle;
mod unwatched;
