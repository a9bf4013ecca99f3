//! Accesses to a watched page that touch nothing which is watched: by far the most frequent ones where few bytes of a
//! busy page are watched.
//!
//! What is found here is what `ept_violation` would find. It asks for less: how far the access goes
//! at most, which the decoder need not say anew for the same bytes of code.

use super::access::Violation;
use super::native::Native;
use super::step::Step;
use super::{Core, access, ept_violation, step};
use crate::ept::step_view::How;
use crate::guest::instruction;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::Shared;
use crate::vmx::guest;
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};
use wire_protocol::event::Access;

/// The bytes of code that were decoded last.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    code: u128,
    memory_bytes: u16,
}

impl Decoded {
    /// Zeroes are an instruction, too: ADD to the byte at RAX.
    pub const ZEROES: Self = Self {
        code: 0,
        memory_bytes: 1,
    };
}

/// Opens the page for the instruction if what it touches is not watched. False: there is more to it, and nothing
/// was done.
#[inline]
pub(super) fn pass<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    violation: &Violation,
) -> bool {
    let Violation {
        at,
        mut access,
        linear,
        in_delivery,
    } = *violation;
    let is_first = core.step == Step::None && core.native == Native::None;
    if !is_first || in_delivery || linear.is_none() || access.contains(Access::EXECUTE) {
        return false;
    }
    let granted = ept_violation::granted_for(access);
    if access.contains(Access::WRITE) {
        // Some processors do not tell a write from a read that is followed by a write.
        access |= Access::READ;
    }
    let distance = shared
        .installed
        .read(|installed| installed.watches().monitors().distance(at, access));
    let Some(distance_bytes) = distance.filter(|bytes| *bytes != 0) else {
        return false;
    };
    if distance_bytes < PAGE_BYTES
        && most_bytes(core, shared).is_none_or(|bytes| u64::from(bytes) > distance_bytes)
    {
        return false;
    }
    let how = How {
        granted,
        original: true,
    };
    step::open(core, shared, at.page(), how);
    true
}

/// How many bytes of memory the instruction at RIP touches at most in one access.
#[inline]
fn most_bytes<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Option<u16> {
    if !access::is_in_64_bit_mode(&core.cpu) {
        return None;
    }
    let GuestPhysical(at) = shared.translate(&core.cpu, core.cpu.vmread(guest::RIP))?;
    let mut bytes = [0; size_of::<u128>()];
    if at % PAGE_BYTES > PAGE_BYTES - bytes.len() as u64 {
        return None;
    }
    shared.memory.read(at, &mut bytes);
    let code = u128::from_le_bytes(bytes);
    if core.decoded.code == code {
        return Some(core.decoded.memory_bytes);
    }
    decode(core, code)
}

#[inline(never)]
fn decode<C>(core: &mut Core<C>, code: u128) -> Option<u16> {
    let bytes = code.to_le_bytes();
    let it = instruction::decode(bytes.first_chunk::<{ instruction::LENGTH_MAX }>()?)?;
    let memory_bytes = it.memory_bytes();
    core.decoded = Decoded { code, memory_bytes };
    Some(memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_are_remembered_as_the_decoder_sees_them() {
        let it = instruction::decode(&Decoded::ZEROES.code.to_le_bytes()).unwrap();
        assert_eq!(it.memory_bytes(), Decoded::ZEROES.memory_bytes);
    }
}
