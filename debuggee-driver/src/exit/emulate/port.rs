//! Accesses to I/O ports that leave the guest, and what comes of those to the line's: the guest meets no device there.
//! Reads give all ones, writes go nowhere; of an access that reaches other ports besides, the whole does.
//!
//! Called by [`crate::exit::io`], in VMX-root.

use crate::event::TriggerKind;
use crate::exit::core::{Core, Outcome};
use crate::guest::walk;
use crate::port::{Cpu, PhysicalMemory, PortRange, Ports, gpr};
use crate::shared::Writer;
use crate::vmx::privilege::{is_in_64_bit_mode, is_kernel};
use crate::vmx::{guest, rflags, ro};
use wire_protocol::address::GuestVirtual;

/// Exit qualification ("Exit Qualification for I/O Instructions", table 28-5).
const SIZE: u64 = 7;
const IN: u64 = 1 << 3;
const STRING: u64 = 1 << 4;
const REPEATED: u64 = 1 << 5;
const PORT_SHIFT: u32 = 16;

/// An access to ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exit) struct PortAccess {
    /// Its direction.
    pub(in crate::exit) kind: TriggerKind,
    /// The first port.
    pub(in crate::exit) port: u16,
    /// How many there are.
    pub(in crate::exit) size_bytes: u16,
    /// INS or OUTS.
    pub(in crate::exit) is_string: bool,
    is_repeated: bool,
}

impl PortAccess {
    /// What an exit tells of it.
    pub(in crate::exit) const fn decode(qualification: u64) -> Self {
        Self {
            kind: if qualification & IN != 0 {
                TriggerKind::IoIn
            } else {
                TriggerKind::IoOut
            },
            port: (qualification >> PORT_SHIFT) as u16,
            size_bytes: (qualification & SIZE) as u16 + 1,
            is_string: qualification & STRING != 0,
            is_repeated: qualification & REPEATED != 0,
        }
    }

    /// All its ports: a wide access reaches those behind the one that it names.
    pub(in crate::exit) fn ports(self) -> impl Iterator<Item = u16> {
        (self.port..=u16::MAX).take(usize::from(self.size_bytes))
    }

    /// Whether any of them is one of `range`.
    pub(in crate::exit) const fn touches(self, range: PortRange) -> bool {
        let (first, size) = (self.port as u32, self.size_bytes as u32);
        first < range.first as u32 + range.count as u32 && (range.first as u32) < first + size
    }
}

/// Carries it out as where no device answers.
#[cold]
#[inline(never)]
pub(in crate::exit) fn meet_nobody<P: Ports>(
    core: &mut Core<'_, P>,
    access: PortAccess,
) -> Outcome {
    if access.is_string {
        return meet_nobody_once(core, access);
    }
    if access.kind == TriggerKind::IoIn {
        let rax = &mut core.cpu.registers_mut()[gpr::RAX];
        *rax = match access.size_bytes {
            1 => *rax | u64::from(u8::MAX),
            2 => *rax | u64::from(u16::MAX),
            _ => u64::from(u32::MAX),
        };
    }
    Outcome::Advance
}

/// One iteration of a string instruction, between two of which an interrupt may come.
fn meet_nobody_once<P: Ports>(core: &mut Core<'_, P>, access: PortAccess) -> Outcome {
    let mask = if is_in_64_bit_mode(&core.cpu) {
        u64::MAX
    } else {
        u64::from(u32::MAX)
    };
    let count = core.cpu.registers()[gpr::RCX] & mask;
    if access.is_repeated && count == 0 {
        return Outcome::Advance;
    }
    let index = if access.kind == TriggerKind::IoIn {
        store_ones(core, access.size_bytes);
        gpr::RDI
    } else {
        gpr::RSI
    };
    let size = u64::from(access.size_bytes);
    let goes_down = core.cpu.vmread(guest::RFLAGS) & rflags::DF != 0;
    let step = if goes_down { size.wrapping_neg() } else { size };
    let registers = core.cpu.registers_mut();
    if let Some(address) = registers.get_mut(index) {
        *address = address.wrapping_add(step) & mask;
    }
    if !access.is_repeated {
        return Outcome::Advance;
    }
    registers[gpr::RCX] = count - 1;
    if count == 1 {
        Outcome::Advance
    } else {
        Outcome::Stay
    }
}

/// What is read goes where the guest itself may write; where it may not, nothing is written, and no page is brought in
/// for it: no driver of a serial port reads it so.
fn store_ones<P: Ports>(core: &Core<'_, P>, len_bytes: u16) {
    let (cpu, shared) = (&core.cpu, core.shared);
    let (cr3, cr4) = (cpu.vmread(guest::CR3), cpu.vmread(guest::CR4));
    let start = cpu.vmread(ro::GUEST_LINEAR_ADDR);
    let by = Writer {
        core: core.id,
        tsc: cpu.tsc(),
    };
    for offset in 0..u64::from(len_bytes) {
        let address = GuestVirtual(start.wrapping_add(offset));
        let Ok(found) = walk::translate(&shared.memory, cr3, cr4, address) else {
            continue;
        };
        let may_write = found.writable && (found.user || is_kernel(cpu));
        core.seat.read(|installed| {
            if may_write && !shared.is_guarded(installed, found.address) {
                shared.memory.clone().write(found.address.0, &[u8::MAX]);
                shared.refresh_shadow(installed, found.address.page(), by);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_size_port_and_form_are_told() {
        let access = |kind, port, size_bytes, is_string| PortAccess {
            kind,
            port,
            size_bytes,
            is_string,
            is_repeated: is_string,
        };
        let (reads, writes) = (TriggerKind::IoIn, TriggerKind::IoOut);
        for (qualification, expected) in [
            (0x0060_0008, access(reads, 0x60, 1, false)),
            (0x0cf8_0003, access(writes, 0xcf8, 4, false)),
            (0x01f0_0039, access(reads, 0x1f0, 2, true)),
        ] {
            assert_eq!(PortAccess::decode(qualification), expected);
        }
    }

    #[test]
    fn an_access_touches_what_it_reaches_with_any_of_its_ports() {
        let line = PortRange {
            first: 0x2f8,
            count: 8,
        };
        let touches = |port: u64, size: u64| {
            PortAccess::decode(port << PORT_SHIFT | (size - 1)).touches(line)
        };
        assert!(touches(0x2f8, 1) && touches(0x2ff, 1) && touches(0x2f5, 4));
        assert!(!touches(0x2f7, 1) && !touches(0x300, 4) && !touches(0x2f4, 4));
        assert!(!PortAccess::decode(0).touches(PortRange::default()));
        let last = PortRange {
            first: 0xfff8,
            count: 8,
        };
        assert!(PortAccess::decode(0xffff_0003).touches(last));
    }
}
