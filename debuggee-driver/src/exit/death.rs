//! A core whose guest cannot go on: it halts the machine once to tell so, and takes part in every later halt with the
//! registers that its guest had last.
//!
//! Called by `boot`'s core loop, in VMX-root, as long as the driver is there.

use crate::exit::core::{Core, Fault};
use crate::halt::{self, Stopped};
use crate::port::{Cpu, Ports};
use crate::vmx::reason;
use wire_protocol::packet::{Occasion, StopCause};

/// See the module.
#[derive(Debug)]
pub struct Death {
    fault: Fault,
    is_told: bool,
}

impl Death {
    /// The guest of `core` has met this. Another core polls the line, if there is one that runs.
    pub fn new<P: Ports>(core: &Core<'_, P>, fault: Fault) -> Self {
        core.seat.die();
        core.shared.hand_over_polling(core.id);
        let is_triple = fault.reason == reason::TRIPLE_FAULT;
        Self {
            fault,
            is_told: is_triple && !core.shared.occasions.stops_at(Occasion::TripleFault),
        }
    }

    /// One of the turns that the core spends from now on. The last one of a machine polls the line itself.
    pub fn turn<P: Ports>(&mut self, core: &mut Core<'_, P>) {
        let (seat, cpu) = (&mut core.seat, &mut core.cpu);
        if seat.is_wanted() {
            halt::park(seat, cpu, core.shared);
        } else if !self.is_told {
            let cause = StopCause::CoreDied {
                reason: self.fault.reason,
                detail: self.fault.detail,
            };
            // After another core's halt it is this one's turn.
            self.is_told =
                halt::stop(seat, cpu, core.shared, cause, None) != Stopped::OtherCoreHalts;
        } else if core.shared.poll.is_by(core.id) && halt::poll(cpu, core.shared) {
            halt::stop(seat, cpu, core.shared, StopCause::BreakIn, None);
        }
    }

    /// Between two turns: until somebody halts the machine, if nothing else is left to do.
    pub fn rest<P: Ports>(&self, core: &Core<'_, P>) {
        if self.is_told && !core.shared.poll.is_by(core.id) {
            core.cpu.sleep_unless(|| core.seat.is_wanted());
        } else {
            core::hint::spin_loop();
        }
    }
}
