//! What an event watches, and which options make sense for it.

use crate::address::GuestVirtual;
use bitflags::bitflags;

/// What is watched. The comment names the command that users type, then what `$context` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `!epthook`: the instruction at `address` is about to run. Hidden from the guest. The address.
    EptHook {
        /// First byte of the instruction.
        address: GuestVirtual,
    },
    /// `!epthook2`: the same, by a detour in the guest that costs no VM exit. The address.
    EptHook2 {
        /// First byte of the instruction.
        address: GuestVirtual,
    },
    /// `!monitor`: a range is accessed. The address touched.
    Monitor {
        /// What kind of address `from` is.
        space: Space,
        /// Which accesses.
        access: Access,
        /// First byte.
        from: u64,
        /// How many bytes, at least one.
        len_bytes: u64,
    },
    /// `!syscall`, `!syscall2`: SYSCALL is executed. RAX.
    Syscall {
        /// RAX of the instruction; `None` watches all system calls.
        number: Option<u32>,
        /// How the instruction is told from other invalid ones.
        by: SyscallBy,
    },
    /// `!syscall entry`: the kernel is entered by SYSCALL: a hidden breakpoint at its first instruction there. RAX.
    SyscallEntry {
        /// RAX of the instruction; `None` watches all system calls.
        number: Option<u32>,
    },
    /// `!sysret`, `!sysret2`: SYSRET is executed. RIP.
    Sysret {
        /// How the instruction is told from other invalid ones.
        by: SyscallBy,
    },
    /// `!cpuid`: CPUID is executed. The leaf.
    Cpuid {
        /// EAX of the instruction; `None` watches all leaves.
        leaf: Option<u32>,
    },
    /// `!msrread`: RDMSR is executed. The MSR.
    MsrRead {
        /// ECX of the instruction; `None` watches all MSRs.
        msr: Option<u32>,
    },
    /// `!msrwrite`: WRMSR is executed. The MSR.
    MsrWrite {
        /// ECX of the instruction; `None` watches all MSRs.
        msr: Option<u32>,
    },
    /// `!ioin`: IN or INS is executed. The port.
    IoIn {
        /// Which port; `None` watches all.
        port: Option<u16>,
    },
    /// `!ioout`: OUT or OUTS is executed. The port.
    IoOut {
        /// Which port; `None` watches all.
        port: Option<u16>,
    },
    /// `!exception`: an exception or an NMI. The vector.
    Exception {
        /// At most [`Self::LAST_EXCEPTION`]; `None` watches all.
        vector: Option<u8>,
    },
    /// `!interrupt`: an external interrupt. The vector.
    Interrupt {
        /// Above [`Self::LAST_EXCEPTION`].
        vector: u8,
    },
    /// `!tsc`: the time-stamp counter is read. 0 for RDTSC, 1 for RDTSCP.
    Tsc,
    /// `!pmc`: RDPMC is executed. 0.
    Pmc,
    /// `!vmcall`: the guest executes VMCALL. 0.
    Vmcall,
    /// `!dr`: MOV to or from a debug register. 0.
    Dr,
    /// `!crwrite`: a control register is written. The new value.
    CrWrite {
        /// Which.
        register: ControlRegister,
        /// Only writes that change one of these bits.
        mask: u64,
    },
    /// `!xsetbv`: XSETBV is executed. The register's number.
    Xsetbv {
        /// ECX of the instruction; `None` watches all.
        xcr: Option<u32>,
    },
    /// `!mode`: a core goes from kernel to user mode or back. 3 in user mode, 0 in the kernel.
    Mode {
        /// The modes whose beginning is watched.
        to: Modes,
    },
    /// `!trace`: an instruction was executed. 0.
    Trace {
        /// Which instructions.
        kind: TraceKind,
    },
}

impl Trigger {
    /// The highest vector that is an exception's.
    pub const LAST_EXCEPTION: u8 = 0x1f;

    /// The command that adds such an event, without its exclamation mark.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EptHook { .. } => "epthook",
            Self::EptHook2 { .. } => "epthook2",
            Self::Monitor { .. } => "monitor",
            Self::Syscall { by, .. } => by.choose("syscall", "syscall2"),
            Self::SyscallEntry { .. } => "syscall entry",
            Self::Sysret { by } => by.choose("sysret", "sysret2"),
            Self::Cpuid { .. } => "cpuid",
            Self::MsrRead { .. } => "msrread",
            Self::MsrWrite { .. } => "msrwrite",
            Self::IoIn { .. } => "ioin",
            Self::IoOut { .. } => "ioout",
            Self::Exception { .. } => "exception",
            Self::Interrupt { .. } => "interrupt",
            Self::Tsc => "tsc",
            Self::Pmc => "pmc",
            Self::Vmcall => "vmcall",
            Self::Dr => "dr",
            Self::CrWrite { .. } => "crwrite",
            Self::Xsetbv { .. } => "xsetbv",
            Self::Mode { .. } => "mode",
            Self::Trace { .. } => "trace",
        }
    }

    /// Whether there is something to emulate, and so a time before and a time after it.
    #[must_use]
    pub const fn has_stages(&self) -> bool {
        !matches!(
            self,
            Self::EptHook { .. }
                | Self::EptHook2 { .. }
                | Self::SyscallEntry { .. }
                | Self::Mode { .. }
                | Self::Trace { .. }
        )
    }

    /// Whether what is watched can be kept from happening.
    #[must_use]
    pub const fn can_short_circuit(&self) -> bool {
        self.has_stages() || matches!(self, Self::SyscallEntry { .. })
    }
}

/// Addresses of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Of the process that the event is for, or of the user's address space.
    Virtual,
    /// Of the guest's memory.
    Physical,
}

bitflags! {
    /// Accesses to memory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u8 {
        /// Data is read.
        const READ = 1;
        /// Data is written.
        const WRITE = 2;
        /// An instruction is fetched.
        const EXECUTE = 4;
    }
}

/// How SYSCALL and SYSRET are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallBy {
    /// By the bytes at RIP.
    Bytes,
    /// By the mode and the range that RIP is in, without reading memory.
    Range,
}

impl SyscallBy {
    const fn choose(self, bytes: &'static str, range: &'static str) -> &'static str {
        match self {
            Self::Bytes => bytes,
            Self::Range => range,
        }
    }
}

/// A control register whose writes can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRegister {
    /// CR0, also when CLTS or LMSW write it.
    Cr0,
    /// CR4.
    Cr4,
}

bitflags! {
    /// Privilege levels.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Modes: u8 {
        /// Level 3.
        const USER = 1;
        /// Level 0.
        const KERNEL = 2;
    }
}

/// Which instructions a trace follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// Every instruction, into calls and system calls, but none of the handlers of interrupts and
    /// exceptions.
    StepIn,
    /// The first instruction behind each return of the routine that runs to its caller.
    StepOut,
    /// Every instruction of the core, into interrupt handlers and system calls too.
    Instrument,
}
