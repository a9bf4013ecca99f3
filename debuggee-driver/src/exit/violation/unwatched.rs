//! Accesses to a watched page that touch nothing which is watched: by far the most frequent ones where few bytes of a
//! busy page are watched.
//!
//! What is found here is what `ept_violation` would find. It asks for less: how far the access goes
//! at most, which the decoder need not say anew for the same bytes of code. Called by it, in VMX-root.

use crate::ept::step_view::Opening;
use crate::exit::core::{Core, Outcome};
use crate::exit::emulate::advance::advance_by;
use crate::exit::emulate::load;
use crate::exit::single::step;
use crate::exit::violation::access;
use crate::exit::violation::access::Violation;
use crate::exit::violation::decoded::Decoded;
use crate::guest::instruction;
use crate::guest::instruction::load::PlainLoad;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::Shared;
use crate::vmx::guest;
use crate::vmx::privilege::is_in_64_bit_mode;
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};
use wire_protocol::event::Access;

/// Carries the instruction out, or opens the page for it, if what it touches is not watched. `None`: there is more to
/// it, and nothing was done.
#[inline]
pub(in crate::exit) fn pass<P: Ports>(
    core: &mut Core<'_, P>,
    violation: &Violation,
) -> Option<Outcome> {
    let Violation {
        at,
        mut access,
        linear,
        in_delivery,
    } = *violation;
    if core.single.is_busy() || in_delivery || linear.is_none() || access.contains(Access::EXECUTE)
    {
        return None;
    }
    let granted = access::granted_for(access);
    if access.contains(Access::WRITE) {
        // Some processors do not tell a write from a read that is followed by a write.
        access |= Access::READ;
    }
    let distance_bytes = core
        .seat
        .read(|installed| installed.watches().monitors().distance(at, access))?;
    if distance_bytes == 0 || !is_decoded(core) {
        return None;
    }
    let Decoded {
        memory_bytes, load, ..
    } = core.decoded;
    if u64::from(memory_bytes) > distance_bytes {
        return None;
    }
    if let Some(load) = load
        && is_ram(core, at.page())
        && let Some(len_bytes) = load::carry_out(&load, core, violation)
    {
        advance_by(core, len_bytes);
        return Some(Outcome::Moved);
    }
    let how = Opening {
        granted,
        original: true,
    };
    step::open(core, at.page(), how);
    Some(Outcome::Stay)
}

/// Whether `core.decoded` is what stands at RIP.
#[inline]
fn is_decoded<P: Ports>(core: &mut Core<'_, P>) -> bool {
    if !is_in_64_bit_mode(&core.cpu) {
        return false;
    }
    let rip = core.cpu.vmread(guest::RIP);
    let Some(GuestPhysical(at)) = core.shared.translate(&core.cpu, rip) else {
        return false;
    };
    let mut bytes = [0; size_of::<u128>()];
    if at % PAGE_BYTES > PAGE_BYTES - bytes.len() as u64 {
        return false;
    }
    core.shared.memory.read(at, &mut bytes);
    let code = u128::from_le_bytes(bytes);
    core.decoded.code == code || decode(&mut core.decoded, code)
}

#[inline(never)]
fn decode(decoded: &mut Decoded, code: u128) -> bool {
    let bytes = code.to_le_bytes();
    let longest = bytes.first_chunk::<{ instruction::LENGTH_MAX }>();
    let Some(it) = longest.and_then(|bytes| instruction::decode(bytes)) else {
        return false;
    };
    *decoded = Decoded {
        code,
        memory_bytes: it.memory_bytes(),
        load: PlainLoad::of(&it),
        ..*decoded
    };
    true
}

/// Whether reading the page has no effect but that.
#[inline]
fn is_ram<P: Ports>(core: &mut Core<'_, P>, page: GuestPhysical) -> bool {
    core.decoded.ram_page == Some(page) || find_ram(&mut core.decoded, core.shared, page)
}

#[inline(never)]
fn find_ram<P: Ports>(decoded: &mut Decoded, shared: &Shared<P>, page: GuestPhysical) -> bool {
    let whole = Extent::new(page, PAGE_BYTES);
    let is_ram =
        whole.is_some_and(|page| shared.facts.ram().any(|range| range.contains_all(&page)));
    if is_ram {
        decoded.ram_page = Some(page);
    }
    is_ram
}
