//! What an access that an EPT view forbids touches: the exit names its first byte, the instruction says how
//! far it goes.

use crate::ept::entry::Permissions;
use crate::ept::monitor::Touch;
use crate::exit::core::Core;
use crate::guest::instruction::{self, Instruction, LENGTH_MAX, Registers};
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::VALID;
use crate::vmx::privilege::is_in_64_bit_mode;
use crate::vmx::{guest, ro};
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};
use wire_protocol::event::Access;

/// Exit qualification ("Exit Qualification for EPT Violations", table 28-7).
mod qualification {
    pub(in crate::exit) const READ: u64 = 1;
    pub(in crate::exit) const WRITE: u64 = 1 << 1;
    pub(in crate::exit) const FETCH: u64 = 1 << 2;
    pub(in crate::exit) const LINEAR_VALID: u64 = 1 << 7;
    pub(in crate::exit) const NOT_PAGE_WALK: u64 = 1 << 8;
}

/// Bytes of what the processor itself reads and writes: table entries, and what an event pushes.
const PROCESSORS_OWN_BYTES: u16 = 8;

/// An EPT violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exit) struct Violation {
    /// First byte of the access in the page.
    pub(in crate::exit) at: GuestPhysical,
    /// What was attempted.
    pub(in crate::exit) access: Access,
    /// Its linear address; `None` for the processor's own walk through the guest's page tables.
    pub(in crate::exit) linear: Option<u64>,
    /// The instruction at RIP did not do it: an event was being delivered.
    pub(in crate::exit) in_delivery: bool,
}

impl Violation {
    /// As the exit reports it, with this qualification.
    #[inline]
    pub(in crate::exit) fn read(cpu: &impl Cpu, exit: u64) -> Self {
        let mut access = Access::empty();
        access.set(Access::READ, exit & qualification::READ != 0);
        access.set(Access::WRITE, exit & qualification::WRITE != 0);
        access.set(Access::EXECUTE, exit & qualification::FETCH != 0);
        let is_linear =
            exit & qualification::LINEAR_VALID != 0 && exit & qualification::NOT_PAGE_WALK != 0;
        Self {
            at: GuestPhysical(cpu.vmread(ro::GUEST_PHYSICAL_ADDR_FULL)),
            access,
            linear: is_linear.then(|| cpu.vmread(ro::GUEST_LINEAR_ADDR)),
            in_delivery: cpu.vmread(ro::IDT_VECTORING_INFO) & VALID != 0,
        }
    }

    /// The instruction that did it, if one did and it can be read.
    pub(in crate::exit) fn instruction<P: Ports>(&self, core: &Core<'_, P>) -> Option<Instruction> {
        if self.in_delivery || self.linear.is_none() {
            return None;
        }
        let mut bytes = [0; LENGTH_MAX];
        instruction::decode(code(&core.cpu, core.shared, &mut bytes))
    }

    /// Without a look at the instruction: the rest of the page from the first byte on, of which the access touches
    /// at least that byte.
    pub(in crate::exit) fn most(&self) -> Touch {
        let mut most = *self;
        if most.access.contains(Access::WRITE) {
            // Some processors do not tell a write from a read that is followed by a write.
            most.access |= Access::READ;
        }
        // A fetch is told with any address of the instruction.
        let at = if most.access.contains(Access::EXECUTE) {
            self.at.page()
        } else {
            self.at
        };
        most.part(at, PAGE_BYTES as u16)
    }

    /// The bytes touched on the page, and those that the same access touched on the page before.
    pub(in crate::exit) fn touches<P: Ports>(
        &self,
        core: &Core<'_, P>,
        instruction: Option<&Instruction>,
    ) -> (Touch, Option<Touch>) {
        let rip = core.cpu.vmread(guest::RIP);
        let (Some(linear), Some(it)) = (self.linear, instruction) else {
            return (self.part(self.at, PROCESSORS_OWN_BYTES), None);
        };
        let is_fetch = self.access.contains(Access::EXECUTE);
        let (start, len_bytes) = if is_fetch {
            (rip, u16::from(it.len))
        } else {
            (self.start(&core.cpu, it, linear), it.memory_bytes())
        };
        let mut touch = *self;
        if touch.access == Access::WRITE && it.reads_what_it_writes() {
            touch.access |= Access::READ;
        }
        let is_on_this_page = start & !(PAGE_BYTES - 1) == linear & !(PAGE_BYTES - 1);
        if is_on_this_page {
            let at = GuestPhysical(self.at.page().0 | start & (PAGE_BYTES - 1));
            return (touch.part(at, len_bytes), None);
        }
        let before_bytes = (PAGE_BYTES - start % PAGE_BYTES) as u16;
        let before = core.shared.translate(&core.cpu, start);
        let before = before.map(|at| touch.part(at, before_bytes));
        let rest_bytes = len_bytes.saturating_sub(before_bytes).max(1);
        (touch.part(self.at.page(), rest_bytes), before)
    }

    fn start(&self, cpu: &impl Cpu, it: &Instruction, linear: u64) -> u64 {
        if !linear.is_multiple_of(PAGE_BYTES) {
            return linear;
        }
        let registers = Registers {
            general: cpu.registers(),
            rsp: cpu.vmread(guest::RSP),
            rip: cpu.vmread(guest::RIP),
            fs_base: cpu.vmread(guest::FS_BASE),
            gs_base: cpu.vmread(guest::GS_BASE),
        };
        it.start_of_access(&registers, linear)
    }

    fn part(&self, at: GuestPhysical, len_bytes: u16) -> Touch {
        let rest_bytes = (PAGE_BYTES - at.offset() as u64) as u16;
        Touch {
            at,
            len_bytes: len_bytes.clamp(1, rest_bytes),
            access: self.access,
        }
    }
}

/// The code at RIP, as far as it is present; nothing outside 64-bit mode.
pub(in crate::exit) fn code<'b, P: Ports>(
    cpu: &P::Cpu,
    shared: &Shared<P>,
    bytes: &'b mut [u8; LENGTH_MAX],
) -> &'b [u8] {
    code_at(cpu, shared, cpu.vmread(guest::RIP), bytes)
}

/// The same, elsewhere.
pub(in crate::exit) fn code_at<'b, P: Ports>(
    cpu: &P::Cpu,
    shared: &Shared<P>,
    rip: u64,
    bytes: &'b mut [u8; LENGTH_MAX],
) -> &'b [u8] {
    if !is_in_64_bit_mode(cpu) {
        return &[];
    }
    bytes_at::<P>(cpu, shared, rip, bytes)
}

/// The bytes at a linear address, as far as they are present.
pub(in crate::exit) fn bytes_at<'b, P: Ports>(
    cpu: &P::Cpu,
    shared: &Shared<P>,
    linear: u64,
    bytes: &'b mut [u8; LENGTH_MAX],
) -> &'b [u8] {
    let Some(at) = shared.translate(cpu, linear) else {
        return &[];
    };
    let here_bytes = (PAGE_BYTES as usize - at.offset()).min(LENGTH_MAX);
    let (here, behind) = bytes.split_at_mut(here_bytes);
    shared.memory.read(at.0, here);
    let mut present_bytes = here_bytes;
    if !behind.is_empty()
        && let Some(next) = shared.translate(cpu, linear.wrapping_add(here_bytes as u64))
    {
        shared.memory.read(next.0, behind);
        present_bytes = LENGTH_MAX;
    }
    bytes.get(..present_bytes).unwrap_or_default()
}

/// What an access needs. A page that is written must be readable.
pub(in crate::exit) fn granted_for(access: Access) -> Permissions {
    let mut granted = Permissions::empty();
    granted.set(
        Permissions::READ,
        access.intersects(Access::READ | Access::WRITE),
    );
    granted.set(Permissions::WRITE, access.contains(Access::WRITE));
    granted.set(Permissions::EXECUTE, access.contains(Access::EXECUTE));
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let both = Permissions::READ | Permissions::WRITE;
        assert_eq!(granted_for(Access::WRITE), both);
        assert_eq!(granted_for(Access::READ), Permissions::READ);
        assert_eq!(granted_for(Access::EXECUTE), Permissions::EXECUTE);
    }
}
