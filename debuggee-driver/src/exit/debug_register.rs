//! MOV to and from a debug register that is watched.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::port::Ports;
use x86::vmx::vmcs::control::PrimaryControls;

/// Serves the events, and lets the guest carry the instruction out.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let off = Intercept::Primary(PrimaryControls::MOV_DR_EXITING.bits());
    passthrough::watched(core, TriggerInstance::new(TriggerKind::Dr, 0), off)
}
