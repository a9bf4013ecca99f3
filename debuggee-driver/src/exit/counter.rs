//! RDTSC, RDTSCP and RDPMC that are watched. The guest reads the counters itself: hidden time is
//! taken out as ever, and what is forbidden faults as ever.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::port::Ports;
use x86::vmx::vmcs::control::PrimaryControls;

/// `$context` of RDTSC.
pub const RDTSC: u64 = 0;
/// `$context` of RDTSCP.
pub const RDTSCP: u64 = 1;

/// RDTSC or RDTSCP.
pub fn on_tsc<P: Ports>(core: &mut Core<'_, P>, which: u64) -> Outcome {
    let off = Intercept::Primary(PrimaryControls::RDTSC_EXITING.bits());
    passthrough::watched(core, TriggerInstance::new(TriggerKind::Tsc, which), off)
}

/// RDPMC.
pub fn on_pmc<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let off = Intercept::Primary(PrimaryControls::RDPMC_EXITING.bits());
    passthrough::watched(core, TriggerInstance::new(TriggerKind::Pmc, 0), off)
}
