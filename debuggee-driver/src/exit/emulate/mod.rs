//! Instructions that are carried out for the guest, and going on behind them.
//!
//! Called by the handlers of `exit`, in VMX-root.

pub(super) mod advance;
pub(super) mod load;
pub(super) mod nop;
pub(super) mod port;
pub(super) mod syscall;
