//! What the driver's part in the guest tells of the guest's kernel: a panic, a module that comes, a process that goes. The
//! machine halts if that is wanted.
//!
//! Called by [`super::hypercall`], in VMX-root.

use crate::exit::core::{Core, Outcome};
use crate::guest::memory;
use crate::halt::{self, Stopped};
use crate::port::{Cpu, Ports, gpr};
use crate::vmx::guest;
use wire_protocol::address::GuestVirtual;
use wire_protocol::limits;
use wire_protocol::packet::{Came, Occasion, OccasionText, StopCause};

/// What it tells: which occasion, place, number, and the text.
const HEAD_WORDS: usize = 3;
const BYTES: usize = 8 * HEAD_WORDS + limits::OCCASION_TEXT_BYTES;

/// RDX has the address of what is told.
pub(super) fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let at = GuestVirtual(core.cpu.registers()[gpr::RDX]);
    match read(core, at) {
        Some(came) => meet(core, came),
        None => Outcome::Advance,
    }
}

/// Halts if that is wanted, and somebody is there who may look at it.
pub(super) fn meet<P: Ports>(core: &mut Core<'_, P>, came: Came) -> Outcome {
    let shared = core.shared;
    let has_anybody = shared.has_met_host() || shared.fixed.halts_without_session;
    if !has_anybody || !shared.occasions.wants(&came) {
        return Outcome::Advance;
    }
    let rip = core.cpu.vmread(guest::RIP);
    let cause = StopCause::Occasion(came);
    let stopped = halt::stop(&mut core.seat, &mut core.cpu, shared, cause, None);
    if stopped == Stopped::OtherCoreHalts || core.cpu.vmread(guest::RIP) != rip {
        // It comes once more after that halt, or the user sent the core elsewhere.
        return Outcome::Stay;
    }
    Outcome::Advance
}

fn read<P: Ports>(core: &mut Core<'_, P>, at: GuestVirtual) -> Option<Came> {
    let mut block = [0; BYTES];
    let (cr3, cr4) = (core.cpu.vmread(guest::CR3), core.cpu.vmread(guest::CR4));
    let shared = core.shared;
    let read = core.seat.read(|installed| {
        memory::read_virtual(&shared.memory, installed, cr3, cr4, at, &mut block)
    });
    if read != Ok(BYTES) {
        return None;
    }
    let (words, text) = block.split_at(8 * HEAD_WORDS);
    let [occasion, place, number] = *words.as_chunks().0 else {
        return None;
    };
    Some(Came {
        occasion: u8::try_from(u64::from_le_bytes(occasion))
            .ok()
            .and_then(Occasion::from_wire)?,
        place: GuestVirtual(u64::from_le_bytes(place)),
        number: u64::from_le_bytes(number),
        text: OccasionText::new(text),
    })
}
