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
    // Most of what is told is not wanted, and comes often.
    let which = read(core, at).and_then(|number| occasion(u64::from_le_bytes(number)));
    if !which.is_some_and(|occasion| may_halt(core, occasion)) {
        return Outcome::Advance;
    }
    match read(core, at).and_then(|block| told(&block)) {
        Some(came) => meet(core, came),
        None => Outcome::Advance,
    }
}

/// Whether the machine may halt at this, whatever its name: somebody is there who may look at it.
fn may_halt<P: Ports>(core: &Core<'_, P>, occasion: Occasion) -> bool {
    let shared = core.shared;
    let has_anybody = shared.has_met_host() || shared.fixed.halts_without_session;
    has_anybody && shared.occasions.stops_at(occasion)
}

/// Halts if that is wanted.
pub(super) fn meet<P: Ports>(core: &mut Core<'_, P>, came: Came) -> Outcome {
    let shared = core.shared;
    if !may_halt(core, came.occasion) || !shared.occasions.wants(&came) {
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

/// Guest memory; `None` if not all of it can be read.
fn read<P: Ports, const LEN: usize>(core: &Core<'_, P>, at: GuestVirtual) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let (cr3, cr4) = (core.cpu.vmread(guest::CR3), core.cpu.vmread(guest::CR4));
    let memory = &core.shared.memory;
    let read = core
        .seat
        .read(|installed| memory::read_virtual(memory, installed, cr3, cr4, at, &mut bytes));
    (read == Ok(LEN)).then_some(bytes)
}

fn occasion(number: u64) -> Option<Occasion> {
    Occasion::from_wire(u8::try_from(number).ok()?)
}

fn told(block: &[u8; BYTES]) -> Option<Came> {
    let (words, text) = block.split_at(8 * HEAD_WORDS);
    let [which, place, number] = *words.as_chunks().0 else {
        return None;
    };
    Some(Came {
        occasion: occasion(u64::from_le_bytes(which))?,
        place: GuestVirtual(u64::from_le_bytes(place)),
        number: u64::from_le_bytes(number),
        text: OccasionText::new(text),
    })
}
