//! What the processor must be told for the installed events: controls that every core loads, and
//! the bitmaps that all cores share. Derived from what is installed, never changed by hand.

use super::installed::Installed;
use super::registry::Record;
use crate::port::{PhysicalMemory, PortRange};
use crate::vmx::msr;
use wire_protocol::address::PAGE_BYTES;
use wire_protocol::event::{ControlRegister, Trigger};
use x86::vmx::vmcs::control::PrimaryControls;

/// #BP in the exception bitmap.
const BREAKPOINT_BIT: u32 = 1 << 3;
/// #UD in the exception bitmap.
const UNDEFINED_OPCODE_BIT: u32 = 1 << 6;
/// NMIs always leave the guest; their bit means nothing.
const NMI_BIT: u32 = 1 << 2;

/// What every core's VMCS must say for the installed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Exceptions that leave the guest, one bit per vector. SDM "Exception Bitmap" 25.6.3.
    pub exception_bitmap: u32,
    /// Primary processor-based controls that are set besides those that always are.
    pub primary: u32,
    /// External interrupts leave the guest.
    pub takes_interrupts: bool,
    /// Bits of CR0 whose change leaves the guest.
    pub cr0_mask: u64,
    /// Bits of CR4 whose change leaves the guest.
    pub cr4_mask: u64,
    /// EFER.SCE is off, so that SYSCALL and SYSRET leave the guest.
    pub hides_sce: bool,
    /// Cores that leave the guest after every instruction, one bit each.
    pub traced_cores: u64,
    /// Cores that leave the guest at every change of mode, one bit each.
    pub mode_cores: u64,
}

/// All primary controls that events may ask for, or that one instruction that is watched goes without.
pub const PRIMARY_OF_EVENTS: u32 = PrimaryControls::RDTSC_EXITING
    .union(PrimaryControls::RDPMC_EXITING)
    .union(PrimaryControls::MOV_DR_EXITING)
    .union(PrimaryControls::USE_IO_BITMAPS)
    .bits();

impl Controls {
    /// With no event. The I/O bitmaps are in use at all times: they have the line's ports.
    const NO_EVENT: Self = Self {
        exception_bitmap: 0,
        primary: PrimaryControls::USE_IO_BITMAPS.bits(),
        takes_interrupts: false,
        cr0_mask: 0,
        cr4_mask: 0,
        hides_sce: false,
        traced_cores: 0,
        mode_cores: 0,
    };

    /// With what one enabled event asks for.
    fn with(mut self, record: &Record) -> Self {
        match record.settings.trigger {
            Trigger::EptHook { .. } | Trigger::EptHook2 { .. } | Trigger::SyscallEntry { .. } => {
                self.exception_bitmap |= BREAKPOINT_BIT;
            }
            Trigger::Exception { vector } => {
                self.exception_bitmap |= match vector {
                    Some(vector) => 1_u32.checked_shl(u32::from(vector)).unwrap_or(0) & !NMI_BIT,
                    None => !NMI_BIT,
                };
            }
            Trigger::Syscall { .. } | Trigger::Sysret { .. } => {
                self.hides_sce = true;
                self.exception_bitmap |= UNDEFINED_OPCODE_BIT;
            }
            Trigger::Interrupt { .. } => self.takes_interrupts = true,
            Trigger::Tsc => self.primary |= PrimaryControls::RDTSC_EXITING.bits(),
            Trigger::Pmc => self.primary |= PrimaryControls::RDPMC_EXITING.bits(),
            Trigger::Dr => self.primary |= PrimaryControls::MOV_DR_EXITING.bits(),
            Trigger::CrWrite { register, mask } => match register {
                ControlRegister::Cr0 => self.cr0_mask |= mask,
                ControlRegister::Cr4 => self.cr4_mask |= mask,
            },
            Trigger::Trace { .. } => self.traced_cores |= cores(record),
            Trigger::Mode { .. } => self.mode_cores |= cores(record),
            // Bitmaps, EPT, or an exit that VMX makes unconditional.
            Trigger::Monitor { .. }
            | Trigger::Cpuid { .. }
            | Trigger::IoIn { .. }
            | Trigger::IoOut { .. }
            | Trigger::MsrRead { .. }
            | Trigger::MsrWrite { .. }
            | Trigger::Vmcall
            | Trigger::Xsetbv { .. } => {}
        }
        self
    }
}

/// The cores that an event is for, one bit each.
fn cores(record: &Record) -> u64 {
    match record.settings.filter.core {
        Some(core) => 1_u64.checked_shl(u32::from(core.0)).unwrap_or(0),
        None => u64::MAX,
    }
}

/// Pages with bitmaps, by physical address.
#[derive(Clone, Copy, Debug)]
pub struct Bitmaps {
    /// MSRs: what events watch, and what is the hypervisor's.
    pub msr: u64,
    /// MSRs: what is the hypervisor's, and nothing else.
    pub own_msr: u64,
    /// Two pages with a bit for every I/O port.
    pub io: u64,
    /// Ports of the line, which always leave the guest: it meets no device there.
    pub owned_ports: PortRange,
    /// Ports of the real-time clock, if they leave the guest, too: see [`crate::rtc`].
    pub clock_ports: PortRange,
}

impl Bitmaps {
    /// Lets every access to the line's ports, and the clock's, leave the guest. At boot that is all there is in the bitmaps.
    pub fn keep_own_ports(&self, mem: &mut impl PhysicalMemory) {
        for port in self.owned_ports.iter().chain(self.clock_ports.iter()) {
            set_bit(mem, self.io, u64::from(port), true);
        }
    }

    /// Lets reads and writes of an MSR leave the guest for the hypervisor's own sake, or not.
    pub fn own(&self, mem: &mut impl PhysicalMemory, number: u32, on: bool) {
        for write in [false, true] {
            for page in [self.msr, self.own_msr] {
                set_msr(mem, page, number, write, on);
            }
        }
    }
}

/// Changes the bit for an MSR; those that no bitmap covers always leave the guest.
fn set_msr(mem: &mut impl PhysicalMemory, page: u64, number: u32, write: bool, on: bool) {
    if let Some(bit) = msr::bitmap_bit(number, write) {
        set_bit(mem, page, bit, on);
    }
}

fn set_bit(mem: &mut impl PhysicalMemory, start: u64, bit: u64, on: bool) {
    let at = start + bit / 64 * 8;
    let bits = mem.read_u64(at);
    let mask = 1 << (bit % 64);
    mem.write_u64(at, if on { bits | mask } else { bits & !mask });
}

impl Installed {
    /// What every core has to load before it resumes.
    #[must_use]
    pub fn controls(&self) -> Controls {
        self.enabled()
            .fold(Controls::NO_EVENT, |controls, record| controls.with(record))
    }

    /// Those with an effect on the guest: of one that acts no more by itself the hook stands there until somebody has taken it
    /// away.
    fn enabled(&self) -> impl Iterator<Item = &Record> {
        self.registry()
            .records()
            .filter(|record| record.is_enabled() || record.is_wanted_otherwise())
    }

    /// Makes the bitmaps say what the enabled events ask for. With every core halted.
    pub fn write_bitmaps(&self, mem: &mut impl PhysicalMemory, bitmaps: &Bitmaps) {
        bitmaps.own(mem, msr::EFER, self.controls().hides_sce);
        for offset in (0..PAGE_BYTES).step_by(8) {
            let own = mem.read_u64(bitmaps.own_msr + offset);
            mem.write_u64(bitmaps.msr + offset, own);
            mem.write_u64(bitmaps.io + offset, 0);
            mem.write_u64(bitmaps.io + PAGE_BYTES + offset, 0);
        }
        for record in self.enabled() {
            match record.settings.trigger {
                Trigger::MsrRead { msr } => watch_msrs(mem, bitmaps, msr, false),
                Trigger::MsrWrite { msr } => watch_msrs(mem, bitmaps, msr, true),
                Trigger::IoIn { port: Some(port) } | Trigger::IoOut { port: Some(port) } => {
                    set_bit(mem, bitmaps.io, u64::from(port), true);
                }
                Trigger::IoIn { port: None } | Trigger::IoOut { port: None } => {
                    for offset in (0..2 * PAGE_BYTES).step_by(8) {
                        mem.write_u64(bitmaps.io + offset, u64::MAX);
                    }
                }
                _ => {}
            }
        }
        bitmaps.keep_own_ports(mem);
    }
}

fn watch_msrs(mem: &mut impl PhysicalMemory, bitmaps: &Bitmaps, number: Option<u32>, write: bool) {
    match number {
        Some(number) => set_msr(mem, bitmaps.msr, number, write, true),
        None => {
            for number in msr::covered().filter(|number| !msr::is_hypervisors(*number)) {
                set_msr(mem, bitmaps.msr, number, write, true);
            }
        }
    }
}
