//! What can happen that an event may wait for, and which events wait for it.

use crate::ept::monitor::Touch;
use wire_protocol::address::GuestPhysical;
use wire_protocol::event::{ControlRegister, Modes, Settings, SyscallBy, TraceKind, Trigger};

/// Kinds of triggers; each has values of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TriggerKind {
    /// A hooked instruction is about to run. Guest-physical address.
    Execute,
    /// Watched memory is touched.
    Memory,
    /// SYSCALL. RAX.
    Syscall,
    /// The first instruction of the kernel after SYSCALL is about to run. RAX.
    SyscallEntry,
    /// SYSRET.
    Sysret,
    /// CPUID. The leaf.
    Cpuid,
    /// RDMSR. The MSR.
    MsrRead,
    /// WRMSR. The MSR.
    MsrWrite,
    /// IN and INS. The port.
    IoIn,
    /// OUT and OUTS. The port.
    IoOut,
    /// An exception or an NMI. The vector.
    Exception,
    /// An external interrupt. The vector.
    Interrupt,
    /// RDTSC and RDTSCP.
    Tsc,
    /// RDPMC.
    Pmc,
    /// VMCALL.
    Vmcall,
    /// MOV to or from a debug register.
    Dr,
    /// CR0 is written.
    Cr0Write,
    /// CR4 is written.
    Cr4Write,
    /// XSETBV. The register's number.
    Xsetbv,
    /// The process changes between user mode and the kernel.
    Mode,
    /// An instruction was executed.
    Trace,
}

impl TriggerKind {
    /// How many there are.
    pub const COUNT: usize = Self::Trace as usize + 1;

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Execute,
        Self::Memory,
        Self::Syscall,
        Self::SyscallEntry,
        Self::Sysret,
        Self::Cpuid,
        Self::MsrRead,
        Self::MsrWrite,
        Self::IoIn,
        Self::IoOut,
        Self::Exception,
        Self::Interrupt,
        Self::Tsc,
        Self::Pmc,
        Self::Vmcall,
        Self::Dr,
        Self::Cr0Write,
        Self::Cr4Write,
        Self::Xsetbv,
        Self::Mode,
        Self::Trace,
    ];
}

/// What an event waits for: one value of a kind, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The kind.
    pub kind: TriggerKind,
    /// The value; `None` is any.
    pub value: Option<u64>,
}

impl Key {
    /// What an event with these settings waits for. `hook` is where its hook is, if it has one.
    /// `None`: it is found in another way.
    #[must_use]
    pub fn of(settings: &Settings, hook: Option<GuestPhysical>) -> Option<Self> {
        let (kind, value) = match settings.trigger {
            // A detour is a hidden breakpoint while its instruction is another one.
            Trigger::EptHook { .. } | Trigger::EptHook2 { .. } => {
                (TriggerKind::Execute, Some(hook?.0))
            }
            Trigger::Monitor { .. } => return None,
            Trigger::Syscall { number, .. } => (TriggerKind::Syscall, number.map(u64::from)),
            Trigger::SyscallEntry { number } => (TriggerKind::SyscallEntry, number.map(u64::from)),
            Trigger::Sysret { .. } => (TriggerKind::Sysret, None),
            Trigger::Cpuid { leaf } => (TriggerKind::Cpuid, leaf.map(u64::from)),
            Trigger::MsrRead { msr } => (TriggerKind::MsrRead, msr.map(u64::from)),
            Trigger::MsrWrite { msr } => (TriggerKind::MsrWrite, msr.map(u64::from)),
            Trigger::IoIn { port } => (TriggerKind::IoIn, port.map(u64::from)),
            Trigger::IoOut { port } => (TriggerKind::IoOut, port.map(u64::from)),
            Trigger::Exception { vector } => (TriggerKind::Exception, vector.map(u64::from)),
            Trigger::Interrupt { vector } => (TriggerKind::Interrupt, Some(u64::from(vector))),
            Trigger::Tsc => (TriggerKind::Tsc, None),
            Trigger::Pmc => (TriggerKind::Pmc, None),
            Trigger::Vmcall => (TriggerKind::Vmcall, None),
            Trigger::Dr => (TriggerKind::Dr, None),
            Trigger::CrWrite { register, .. } => match register {
                ControlRegister::Cr0 => (TriggerKind::Cr0Write, None),
                ControlRegister::Cr4 => (TriggerKind::Cr4Write, None),
            },
            Trigger::Xsetbv { xcr } => (TriggerKind::Xsetbv, xcr.map(u64::from)),
            Trigger::Mode { .. } => (TriggerKind::Mode, None),
            Trigger::Trace { .. } => (TriggerKind::Trace, None),
        };
        Some(Self { kind, value })
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerInstance {
    /// What kind of thing.
    pub kind: TriggerKind,
    /// Which of its kind.
    pub value: u64,
    /// `$context` of the events that it concerns.
    pub context: u64,
    /// What some triggers ask for besides: see [`Self::concerns`].
    pub detail: u64,
    /// The memory touched, and what the same access touched on the page before, whose events were
    /// served already.
    pub touched: Option<(Touch, Option<Touch>)>,
}

/// [`TriggerInstance::detail`] of SYSCALL and SYSRET: the bytes at RIP say so.
pub const BY_BYTES: u64 = 1;
/// [`TriggerInstance::detail`] of SYSCALL and SYSRET: mode and range of RIP say so.
pub const BY_RANGE: u64 = 2;

impl TriggerInstance {
    /// An trigger whose `$context` is its value, and which concerns all events that wait for it.
    #[must_use]
    pub const fn new(kind: TriggerKind, value: u64) -> Self {
        Self {
            kind,
            value,
            context: value,
            detail: u64::MAX,
            touched: None,
        }
    }

    /// Memory is touched, by an access to the address `context`.
    #[must_use]
    pub const fn memory(touch: Touch, earlier: Option<Touch>, context: u64) -> Self {
        Self {
            context,
            touched: Some((touch, earlier)),
            ..Self::new(TriggerKind::Memory, 0)
        }
    }

    /// Whether an event that waits for this value asks for nothing else.
    #[must_use]
    pub fn concerns(&self, trigger: &Trigger) -> bool {
        let wanted = match *trigger {
            Trigger::Syscall { by, .. } | Trigger::Sysret { by } => match by {
                SyscallBy::Bytes => BY_BYTES,
                SyscallBy::Range => BY_RANGE,
            },
            Trigger::CrWrite { mask, .. } => mask,
            Trigger::Mode { to } => u64::from(to.bits()),
            Trigger::Trace { kind } => Self::trace_detail(kind),
            _ => return true,
        };
        self.detail & wanted != 0
    }

    /// [`Self::detail`] of an instruction that a trace of this kind follows.
    #[must_use]
    pub const fn trace_detail(kind: TraceKind) -> u64 {
        match kind {
            TraceKind::StepIn => 1,
            TraceKind::StepOut => 2,
            TraceKind::Instrument => 4,
        }
    }

    /// [`Self::detail`] of a change to this mode.
    #[must_use]
    pub const fn mode_detail(to: Modes) -> u64 {
        to.bits() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_the_order_of_their_numbers() {
        for (number, kind) in TriggerKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn a_write_concerns_events_whose_bits_it_changes() {
        let register = ControlRegister::Cr4;
        let write = TriggerInstance {
            detail: 0x80,
            ..TriggerInstance::new(TriggerKind::Cr4Write, 0)
        };
        assert!(write.concerns(&Trigger::CrWrite {
            register,
            mask: 0xf0
        }));
        assert!(!write.concerns(&Trigger::CrWrite { register, mask: 1 }));
    }
}
