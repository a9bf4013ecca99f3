//! What the driver's logic needs from hardware and operating system, split by when it may be
//! called. `hw/` and the platform packages implement these; everything else sees the traits.

use wire_protocol::address::{Extent, GuestPhysical};
use wire_protocol::packet::NetworkCounts;
use wire_protocol::transport::Transport;

/// Physical memory, as it is, guest's and debugger's alike. VMX-root safe.
///
/// Accesses never fault: the implementation maps all that [`PhysicalMemory::limit`] covers.
pub trait PhysicalMemory {
    /// One past the highest address that may be used.
    fn limit(&self) -> u64;
    /// Copies memory out; `at + out.len()` must not exceed the limit (else nothing is read and
    /// `out` is zeroed).
    fn read(&self, at: u64, out: &mut [u8]);
    /// Copies bytes in; beyond the limit nothing is written.
    fn write(&mut self, at: u64, bytes: &[u8]);
    /// One aligned 64-bit load.
    fn read_u64(&self, at: u64) -> u64;
    /// One aligned 64-bit store: another core or a page walker sees the old or the new value.
    fn write_u64(&mut self, at: u64, value: u64);
    /// Looks at memory in place: an object of the debugger's, which nobody writes meanwhile.
    /// Nothing if it is not all below the limit.
    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R;
    /// Changes memory in place: a part of such an object that nobody else uses meanwhile.
    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R;
}

/// An address range the guest may not see: the debugger's own memory.
pub trait Hidden {
    /// Whether any byte of the page at `page` belongs to the debugger.
    fn hides(&self, page: GuestPhysical) -> bool;
}

/// Byte-wide registers of one device, by number. VMX-root safe.
pub trait RegisterIo {
    /// Reads a register.
    fn read(&mut self, register: u8) -> u8;
    /// Writes a register.
    fn write(&mut self, register: u8, value: u8);
    /// Where they are.
    fn owns(&self) -> Owned;
    /// Leads the device's interrupt to the core with this local APIC id, as an NMI, or back to where it went. False if that
    /// cannot be done. In a halt, by the core that serves it.
    fn lead_interrupt(&mut self, _apic_id: Option<u32>) -> bool {
        false
    }
}

/// When a device calls the core that serves a halt, by an NMI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Not at all.
    Never,
    /// At once, to see whether that arrives.
    AtOnce,
    /// When something comes.
    OnData,
}

/// The way to the host: a device of the machine that only the driver uses from now on. VMX-root
/// safe, with the core that has the line.
pub trait HostTransport: Transport {
    /// What belongs to it: no event may watch it.
    fn owns(&self) -> Owned;
    /// Sets the device up anew: from now on nobody else reaches it. What was under way on the line is lost.
    fn begin(&mut self);
    /// Sets it up anew if it is not as [`Self::begin`] left it, whoever did that.
    fn mend(&mut self);
    /// How it stands with the network, if it has one.
    fn network(&self) -> Option<NetworkCounts> {
        None
    }
    /// Leads its calls to the core with this local APIC id, or back to where they went. False if it cannot call.
    fn lead_calls(&mut self, _apic_id: Option<u32>) -> bool {
        false
    }
    /// Whether it calls, once they are led to a core.
    fn set_calls(&mut self, _calls: Calls) {}
    /// Whether something is there to be received.
    fn has_come(&mut self) -> bool {
        true
    }
    /// Nanoseconds for which nobody needs to look while nothing is under way: in half of the time in which all that it keeps
    /// comes in.
    fn patience_ns(&self) -> u64 {
        0
    }
    /// Takes random bits of the operating system, if it needs such.
    fn stir(&mut self, _bits: u64) {}
}

/// What a network needs of the machine besides its card. VMX-root safe.
pub trait Senses {
    /// A number that the processor drew and nobody else knows; `None` if it cannot.
    fn random(&self) -> Option<u64>;
    /// The time-stamp counter.
    fn tsc(&self) -> u64;
    /// Microseconds since 1970, as the machine's clock has them.
    fn clock_us(&mut self) -> u64;
}

/// What the driver's devices take of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// I/O ports.
    pub ports: PortRange,
    /// Registers and buffers in memory, in whole pages; empty ones are unused, and come last.
    pub memory: OwnedMemory,
}

/// Pieces of memory of one owner: the registers of a UART, both windows of a network card's and what that reads and writes by
/// itself.
pub type OwnedMemory = [Extent<GuestPhysical>; 4];

impl Owned {
    /// What both have, without gaps.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let ports = match self.ports.count {
            0 => other.ports,
            _ => self.ports,
        };
        let mut memory = OwnedMemory::default();
        let pieces = self.memory.into_iter().chain(other.memory);
        for (slot, piece) in memory.iter_mut().zip(pieces.filter(|it| !it.is_empty())) {
            *slot = piece;
        }
        Self { ports, memory }
    }
}

/// Consecutive I/O ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// How many; they end with the last port at most.
    pub count: u16,
}

impl PortRange {
    /// The port is one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        port.wrapping_sub(self.first) < self.count
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (self.first..=u16::MAX).take(usize::from(self.count))
    }
}

/// The guest's general registers in instruction-encoding order: RAX, RCX, RDX, RBX, RSP, RBP, RSI,
/// RDI, R8 to R15. The slot of RSP is unused, as the VMCS holds it.
pub type Gprs = [u64; 16];

/// Positions in [`Gprs`].
pub mod gpr {
    #![allow(missing_docs, reason = "the names are the processor's")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
}

/// Registers that a VM exit leaves in the processor, since VMX-root never uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the processor's")]
pub enum LiveRegister {
    Cr2,
    Cr8,
    Dr0,
    Dr1,
    Dr2,
    Dr3,
    Dr6,
    KernelGsBase,
    TscDeadline,
    ApicBase,
    Star,
    Lstar,
    Fmask,
}

/// One core that runs as a guest, for itself: what works there without an exit, and calls.
pub trait GuestCpu {
    /// The time-stamp counter as the guest sees it.
    fn tsc(&self) -> u64;
    /// CR4 as the guest sees it.
    fn cr4(&self) -> u64;
    /// Calls VMX-root.
    fn call(&self, number: u64, argument: u64, value: u64) -> u64;
}

/// One core as its own VM exits see it. VMX-root safe, and only for the core that runs the code.
pub trait Cpu {
    /// Reads a VMCS field.
    fn vmread(&self, field: u32) -> u64;
    /// Writes a VMCS field; a value the processor refuses shows at the next entry.
    fn vmwrite(&mut self, field: u32, value: u64);
    /// The guest's general registers.
    fn registers(&self) -> &Gprs;
    /// The guest's general registers, to change them.
    fn registers_mut(&mut self) -> &mut Gprs;
    /// What CPUID answers here.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4];
    /// Reads a model-specific register of last-branch records, which the processor announces.
    fn read_msr(&self, number: u32) -> u64;
    /// Writes one.
    fn write_msr(&mut self, number: u32, value: u64);
    /// Reads a register that is live.
    fn live(&self, register: LiveRegister) -> u64;
    /// Writes a register that is live; the caller has checked that the value is acceptable.
    fn set_live(&mut self, register: LiveRegister, value: u64);
    /// Writes XCR0 for the guest; the caller has checked the value.
    fn set_xcr0(&mut self, value: u64);
    /// Writes back and invalidates all caches.
    fn write_back_caches(&mut self);
    /// Drops every translation derived from EPT.
    fn invalidate_ept(&mut self);
    /// Drops every translation derived from the EPT view with this EPT pointer.
    fn invalidate_view(&mut self, eptp: u64);
    /// Drops every translation that the guest's paging made, on this core.
    fn invalidate_translations(&mut self);
    /// The vector of this core's own timer, as the guest has set it; of no meaning while it is masked.
    fn timer_vector(&self) -> u8;
    /// Tells the interrupt controller that the interrupt in service is done.
    fn end_of_interrupt(&mut self);
    /// Lets the interrupt controller give this core an interrupt.
    fn raise_interrupt(&mut self, vector: u8);
    /// Ends the NMI blocking that an NMI exit leaves.
    fn end_nmi_blocking(&mut self);
    /// The time-stamp counter, without the guest's offset.
    fn tsc(&self) -> u64;
    /// A number that the processor drew and nobody else knows; `None` if it cannot.
    fn random(&self) -> Option<u64>;
    /// NMIs that arrived in VMX-root since this core started.
    fn root_nmis(&self) -> u64;
    /// Takes a machine check that arrived in VMX-root, if one did.
    fn take_machine_check(&mut self) -> bool;
    /// Whether [`Self::take_machine_check`] would find one.
    fn has_machine_check(&self) -> bool;
    /// Runs machine code of the user's in VMX-root, at most so many instructions of it.
    fn run_code(&mut self, code: &[u8], call: &CodeCall, instructions: u64) -> CodeEnd;
    /// Sends an NMI to the core with this local APIC id, which may run its guest.
    fn send_nmi(&self, apic_id: u32);
    /// The same to a core in VMX-root that is in [`Self::sleep_unless`], or about to be.
    fn wake(&self, apic_id: u32);
    /// Executes nothing until the next NMI arrives here. Not at all if `is_called`, nor if an NMI arrived since that was
    /// asked. It may also end for no reason.
    fn sleep_unless(&self, is_called: impl FnOnce() -> bool);
    /// Starts the machine anew, in every way that a PC has one after the other; it returns if there is none.
    fn reset_machine(&mut self);
    /// Executes little until the time-stamp counter has come so far; it may end before.
    fn pause_until(&self, tsc: u64);
}

/// How machine code of the user's is called; either way it sees the guest's general registers and
/// may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeCall {
    /// RCX: the guest's general registers; RDX: the context of the hit. The result is in RAX.
    Condition {
        /// See `$context`.
        context: u64,
    },
    /// RCX: the safe buffer; RDX: the guest's general registers; R8: the context of the hit.
    Action {
        /// Linear address of the safe buffer, or 0.
        buffer: u64,
        /// See `$context`.
        context: u64,
    },
}

/// How a run of machine code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeEnd {
    /// It returned.
    Returned {
        /// RAX.
        value: u64,
    },
    /// It ran as many instructions as it may.
    OverBudget {
        /// Bytes from its start.
        at: u32,
    },
    /// It raised an exception.
    Exception {
        /// Which.
        vector: u8,
        /// Bytes from its start.
        at: u32,
    },
    /// This core has no room for it.
    TooLong,
}

/// The hardware as one parameter, so that signatures stay short.
pub trait Ports {
    /// One core.
    type Cpu: Cpu;
    /// Physical memory; a handle that every core may copy.
    type Memory: PhysicalMemory + Clone;
    /// The way to the host.
    type Transport: HostTransport;
    /// Index and data of the real-time clock.
    type ClockRegisters: RegisterIo + 'static;
}
