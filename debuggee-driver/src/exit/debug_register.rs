//! MOV to and from a debug register that is watched.

use super::native::{self, Off};
use super::{Core, Outcome};
use crate::event::{Kind, Occasion};
use crate::port::Ports;
use crate::shared::Shared;
use x86::vmx::vmcs::control::PrimaryControls;

/// Serves the events, and lets the guest carry the instruction out.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let off = Off::Primary(PrimaryControls::MOV_DR_EXITING.bits());
    native::watched(core, shared, Occasion::new(Kind::Dr, 0), off)
}
