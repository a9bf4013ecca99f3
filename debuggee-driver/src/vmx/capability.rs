//! Whether this processor can carry the hypervisor, and with which control values.
//!
//! Called by `boot` with raw register values, before anything is changed.

use super::branch::{CLEAR_ON_EXIT, LOAD_ON_ENTRY, Layout, RawBranches};
use wire_protocol::refusal::BranchObstacle;
use x86::vmx::vmcs::control::{
    EntryControls, ExitControls, PinbasedControls, PrimaryControls, SecondaryControls,
};

/// Registers that decide, as read.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawCapabilities {
    /// ECX of CPUID leaf 1.
    pub cpuid_1_ecx: u32,
    /// CR4 as the operating system has it.
    pub cr4: u64,
    /// IA32_FEATURE_CONTROL (0x3a).
    pub feature_control: u64,
    /// IA32_VMX_BASIC (0x480).
    pub basic: u64,
    /// Pin-based controls; the TRUE register if there is one, as the next three.
    pub pin: u64,
    /// Primary processor-based controls.
    pub primary: u64,
    /// IA32_VMX_PROCBASED_CTLS2 (0x48b), 0 if absent.
    pub secondary: u64,
    /// VM-exit controls.
    pub exit: u64,
    /// VM-entry controls.
    pub entry: u64,
    /// IA32_VMX_EPT_VPID_CAP (0x48c), 0 if absent.
    pub ept_vpid: u64,
    /// IA32_VMX_MISC (0x485).
    pub misc: u64,
    /// IA32_VMX_CR4_FIXED1 (0x489).
    pub cr4_fixed1: u64,
    /// What is announced of last-branch records.
    pub branches: RawBranches,
    /// IA32_VMX_VMFUNC (0x491), 0 if absent.
    pub vm_functions: u64,
}

/// Why the hypervisor cannot start. The text goes to the kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// CPUID announces no VMX.
    NoVmx,
    /// IA32_FEATURE_CONTROL is locked with VMX off.
    LockedByFirmware,
    /// CR4.VMXE is set already.
    AnotherHypervisor,
    /// A control that we cannot do without cannot be set.
    Control(&'static str),
    /// An EPT or VPID capability is missing.
    Ept(&'static str),
}

impl Unsupported {
    /// One line for the kernel log.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::NoVmx => {
                "this processor has no VT-x, or the hypervisor below does not offer it (turn on nested virtualization)"
            }
            Self::LockedByFirmware => "VT-x is locked off by the firmware; enable it in the setup",
            Self::AnotherHypervisor => {
                "another hypervisor has VT-x on (CR4.VMXE is set); unload it first, for example kvm_intel"
            }
            Self::Control(what) | Self::Ept(what) => what,
        }
    }
}

/// Values for the VMCS, allowed by the capability registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlValues {
    /// Pin-based controls.
    pub pin: u32,
    /// Primary processor-based controls.
    pub primary: u32,
    /// Secondary processor-based controls.
    pub secondary: u32,
    /// VM-exit controls.
    pub exit: u32,
    /// VM-entry controls.
    pub entry: u32,
    /// The preemption timer counts once in `1 << this` ticks of the time-stamp counter.
    pub preemption_timer_shift: u8,
    /// EPT may use 1 GiB leaves.
    pub ept_1gib_leaves: bool,
    /// Bits that the guest may set in CR4.
    pub cr4_allowed: u64,
    /// Interrupts of the guest can be taken and given back.
    pub interrupts: bool,
    /// EPT tells user from kernel execution.
    pub mode_based_execute: bool,
    /// Last-branch records, if there are any.
    pub branches: Result<Layout, BranchObstacle>,
    /// The guest can change from one EPT view to another with VMFUNC, as detours do.
    pub view_switching: bool,
}

/// IA32_FEATURE_CONTROL: lock bit, and "VMX outside SMX" ("Enabling and Entering VMX Operation", 24.7).
const FEATURE_CONTROL_LOCK: u64 = 1;
const FEATURE_CONTROL_VMX: u64 = 1 << 2;

/// What must be written to IA32_FEATURE_CONTROL, if anything.
#[must_use]
pub const fn feature_control_to_write(raw: u64) -> Option<u64> {
    if raw & FEATURE_CONTROL_LOCK == 0 {
        Some(raw | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX)
    } else {
        None
    }
}

/// Applies a capability register: the low half holds bits that must be 1, the high half bits that
/// may be 1 ("Algorithms for Determining VMX Capabilities", 32.5.1).
const fn adjust(capability: u64, wanted: u32) -> u32 {
    (wanted | capability as u32) & (capability >> 32) as u32
}

/// "Mode-based execute control for EPT" of the secondary controls (table 25-7).
const MODE_BASED_EXECUTE: u32 = 1 << 22;

/// Bit of IA32_VMX_VMFUNC: EPTP switching ("VM-Function Controls", 25.6.14).
pub const EPTP_SWITCHING: u64 = 1;

const fn can_be_one(capability: u64, control: u32) -> bool {
    (capability >> 32) as u32 & control == control
}

/// One thing that the processor must have.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// What it is, for a list of all.
    name: &'static str,
    is_met: fn(&RawCapabilities) -> bool,
    /// What a user is told without it.
    why_not: Unsupported,
}

const fn need(
    name: &'static str,
    is_met: fn(&RawCapabilities) -> bool,
    why_not: Unsupported,
) -> Need {
    Need {
        name,
        is_met,
        why_not,
    }
}

const PIN: PinbasedControls = PinbasedControls::NMI_EXITING
    .union(PinbasedControls::VIRTUAL_NMIS)
    .union(PinbasedControls::VMX_PREEMPTION_TIMER);
const PRIMARY: PrimaryControls = PrimaryControls::USE_MSR_BITMAPS
    .union(PrimaryControls::USE_IO_BITMAPS)
    .union(PrimaryControls::SECONDARY_CONTROLS)
    .union(PrimaryControls::USE_TSC_OFFSETTING);
const SECONDARY: SecondaryControls =
    SecondaryControls::ENABLE_EPT.union(SecondaryControls::UNRESTRICTED_GUEST);
const EXIT: ExitControls = ExitControls::HOST_ADDRESS_SPACE_SIZE
    .union(ExitControls::SAVE_DEBUG_CONTROLS)
    .union(ExitControls::SAVE_IA32_EFER)
    .union(ExitControls::LOAD_IA32_EFER)
    .union(ExitControls::SAVE_IA32_PAT)
    .union(ExitControls::LOAD_IA32_PAT);
const ENTRY: EntryControls = EntryControls::IA32E_MODE_GUEST
    .union(EntryControls::LOAD_DEBUG_CONTROLS)
    .union(EntryControls::LOAD_IA32_EFER)
    .union(EntryControls::LOAD_IA32_PAT);

const fn has_ept(raw: &RawCapabilities, bit: u32) -> bool {
    raw.ept_vpid >> bit & 1 != 0
}

/// All that the processor must have. What comes first is asked for first: without it the rest says nothing. EPT and VPID are
/// bits of IA32_VMX_EPT_VPID_CAP ("VPID and EPT Capabilities", A.10).
const NEEDS: &[Need] = &[
    need(
        "VT-x",
        |raw| raw.cpuid_1_ecx & 1 << 5 != 0,
        Unsupported::NoVmx,
    ),
    need(
        "VT-x is nobody else's",
        |raw| raw.cr4 & super::control::cr4::VMXE == 0,
        Unsupported::AnotherHypervisor,
    ),
    need(
        "VT-x is enabled by the firmware",
        |raw| {
            raw.feature_control & FEATURE_CONTROL_LOCK == 0
                || raw.feature_control & FEATURE_CONTROL_VMX != 0
        },
        Unsupported::LockedByFirmware,
    ),
    need(
        "NMI exiting",
        |raw| can_be_one(raw.pin, PinbasedControls::NMI_EXITING.bits()),
        Unsupported::Control("this processor lacks NMI exiting"),
    ),
    need(
        "virtual NMIs",
        |raw| can_be_one(raw.pin, PinbasedControls::VIRTUAL_NMIS.bits()),
        Unsupported::Control("this processor lacks virtual NMIs"),
    ),
    need(
        "VMX preemption timer",
        |raw| can_be_one(raw.pin, PinbasedControls::VMX_PREEMPTION_TIMER.bits()),
        Unsupported::Control("this processor lacks the VMX preemption timer"),
    ),
    need(
        "MSR and I/O bitmaps",
        |raw| can_be_one(raw.primary, PRIMARY.bits()),
        Unsupported::Control(
            "this processor lacks MSR bitmaps, I/O bitmaps, secondary controls or TSC offsetting",
        ),
    ),
    need(
        "monitor trap flag",
        |raw| can_be_one(raw.primary, PrimaryControls::MONITOR_TRAP_FLAG.bits()),
        Unsupported::Control(
            "this processor has no monitor trap flag, which stepping over hooks needs",
        ),
    ),
    need(
        "EPT",
        |raw| can_be_one(raw.secondary, SecondaryControls::ENABLE_EPT.bits()),
        Unsupported::Control("this processor has no EPT"),
    ),
    need(
        "unrestricted guest",
        |raw| can_be_one(raw.secondary, SecondaryControls::UNRESTRICTED_GUEST.bits()),
        Unsupported::Control("this processor has no unrestricted guest"),
    ),
    need(
        "EFER and PAT on a VM exit",
        |raw| can_be_one(raw.exit, EXIT.bits()),
        Unsupported::Control("this processor cannot switch EFER and PAT on a VM exit"),
    ),
    need(
        "EFER and PAT on a VM entry",
        |raw| can_be_one(raw.entry, ENTRY.bits()),
        Unsupported::Control("this processor cannot switch EFER and PAT on a VM entry"),
    ),
    need(
        "execute-only pages",
        |raw| has_ept(raw, 0),
        Unsupported::Ept("this processor's EPT has no execute-only pages, which hidden hooks need"),
    ),
    need(
        "EPT of 4 levels",
        |raw| has_ept(raw, 6),
        Unsupported::Ept("this processor's EPT has no 4-level walk"),
    ),
    need(
        "EPT in write-back memory",
        |raw| has_ept(raw, 14),
        Unsupported::Ept("this processor's EPT tables cannot be write-back"),
    ),
    need(
        "2 MiB pages of EPT",
        |raw| has_ept(raw, 16),
        Unsupported::Ept("this processor's EPT has no 2 MiB pages"),
    ),
    need(
        "INVEPT for one context",
        |raw| has_ept(raw, 25),
        Unsupported::Ept("this processor cannot invalidate EPT for one context"),
    ),
    need(
        "INVEPT for all contexts",
        |raw| has_ept(raw, 26),
        Unsupported::Ept("this processor cannot invalidate EPT for all contexts"),
    ),
    need(
        "INVVPID for all contexts",
        |raw| has_ept(raw, 42),
        Unsupported::Ept("this processor cannot invalidate VPID for all contexts"),
    ),
];

/// What was found of something that is needed, or that some events need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
}

/// How it stands with something that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Fine,
    /// It is not there, and only what is said is not possible.
    Without(&'static str),
    /// It is not there, and must be.
    Missing(Unsupported),
}

/// What only some events need: its name, whether it is there, and what is not possible without.
type Extra = (&'static str, fn(&RawCapabilities) -> bool, &'static str);

const EXTRAS: &[Extra] = &[
    (
        "VMFUNC",
        switches_views,
        "detours are refused (!epthook2); !epthook does the same at the price of VM exits",
    ),
    (
        "mode-based execute control",
        |raw| can_be_one(raw.secondary, MODE_BASED_EXECUTE),
        "!mode is refused",
    ),
    (
        "acknowledged interrupts",
        takes_interrupts,
        "!interrupt is refused",
    ),
    (
        "last-branch records",
        |raw| Layout::of(&raw.branches, raw.exit, raw.entry).is_ok(),
        "!lbr is refused",
    ),
];

/// How it stands with each need, and with what some events need. Without VT-x the rest cannot be known, and is left out.
pub fn examine(raw: &RawCapabilities) -> impl Iterator<Item = Finding> {
    let has_vmx = unmet(raw).is_none_or(|need| need.why_not != Unsupported::NoVmx);
    let count = if has_vmx { NEEDS.len() } else { 1 };
    let needs = NEEDS.iter().take(count).map(|need| Finding {
        name: need.name,
        state: if (need.is_met)(raw) {
            State::Fine
        } else {
            State::Missing(need.why_not)
        },
    });
    let extras = EXTRAS.iter().take(if has_vmx { EXTRAS.len() } else { 0 });
    needs.chain(extras.map(|&(name, is_there, without)| Finding {
        name,
        state: if is_there(raw) {
            State::Fine
        } else {
            State::Without(without)
        },
    }))
}

fn unmet(raw: &RawCapabilities) -> Option<&'static Need> {
    NEEDS.iter().find(|need| !(need.is_met)(raw))
}

const fn switches_views(raw: &RawCapabilities) -> bool {
    raw.vm_functions & EPTP_SWITCHING != 0
        && can_be_one(raw.secondary, SecondaryControls::ENABLE_VM_FUNCTIONS.bits())
}

const fn takes_interrupts(raw: &RawCapabilities) -> bool {
    can_be_one(raw.pin, PinbasedControls::EXTERNAL_INTERRUPT_EXITING.bits())
        && can_be_one(raw.exit, ExitControls::ACK_INTERRUPT_ON_EXIT.bits())
        && can_be_one(
            raw.primary,
            PrimaryControls::INTERRUPT_WINDOW_EXITING.bits(),
        )
}

/// Checks everything and chooses the controls.
///
/// # Errors
/// The first thing that is missing.
pub fn check(raw: &RawCapabilities) -> Result<ControlValues, Unsupported> {
    if let Some(need) = unmet(raw) {
        return Err(need.why_not);
    }
    let view_switching = switches_views(raw);
    let secondary = adjust(raw.secondary, SECONDARY.bits());
    let secondary = if view_switching {
        secondary | SecondaryControls::ENABLE_VM_FUNCTIONS.bits()
    } else {
        secondary
    };
    // Entries that are for both modes mean what they mean without it.
    let secondary = secondary | adjust(raw.secondary, MODE_BASED_EXECUTE);
    // The guest keeps every instruction it has.
    let secondary = secondary
        | adjust(
            raw.secondary,
            (SecondaryControls::ENABLE_RDTSCP
                | SecondaryControls::ENABLE_VPID
                | SecondaryControls::ENABLE_INVPCID
                | SecondaryControls::ENABLE_XSAVES_XRSTORS
                | SecondaryControls::ENABLE_USER_WAIT_PAUSE)
                .bits(),
        );
    let exit = adjust(raw.exit, EXIT.bits());
    let entry = adjust(raw.entry, ENTRY.bits());
    let branches = Layout::of(&raw.branches, raw.exit, raw.entry);
    let (exit, entry) = match branches {
        // What runs in VMX-root stays out of the records, whoever wants them.
        Ok(Layout::Architectural { .. }) => (exit | CLEAR_ON_EXIT, entry | LOAD_ON_ENTRY),
        _ => (exit, entry),
    };
    Ok(ControlValues {
        pin: adjust(raw.pin, PIN.bits()),
        primary: adjust(raw.primary, PRIMARY.bits()),
        secondary,
        exit,
        entry,
        preemption_timer_shift: (raw.misc & 0x1f) as u8,
        ept_1gib_leaves: raw.ept_vpid & 1 << 17 != 0,
        cr4_allowed: raw.cr4_fixed1 & !super::control::cr4::VMXE,
        mode_based_execute: can_be_one(raw.secondary, MODE_BASED_EXECUTE),
        branches,
        view_switching,
        interrupts: takes_interrupts(raw),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    fn capable() -> RawCapabilities {
        RawCapabilities {
            cpuid_1_ecx: 1 << 5,
            cr4: 0x6b0,
            feature_control: 5,
            basic: 0,
            pin: 0x0000_007f_0000_0016,
            primary: 0xffff_ffff_0401_e172,
            secondary: 0xffff_ffff_0000_0000,
            exit: 0xffff_ffff_0003_6dff,
            entry: 0xffff_ffff_0000_11ff,
            ept_vpid: u64::MAX,
            misc: 5,
            cr4_fixed1: 0x3727ff,
            branches: RawBranches::default(),
            vm_functions: 0,
        }
    }

    #[test]
    fn a_capable_processor_gets_every_control_that_must_be_one() {
        let values = check(&capable()).unwrap();
        assert_eq!(values.pin & 0x16, 0x16);
        assert_eq!(values.preemption_timer_shift, 5);
        assert!(values.ept_1gib_leaves);
    }

    #[test]
    fn modes_are_told_apart_where_the_processor_can() {
        let bit = u64::from(MODE_BASED_EXECUTE) << 32;
        for secondary in [capable().secondary, capable().secondary & !bit] {
            let raw = RawCapabilities {
                secondary,
                ..capable()
            };
            let values = check(&raw).unwrap();
            let is_on = values.secondary & MODE_BASED_EXECUTE != 0;
            assert_eq!(values.mode_based_execute, is_on);
            assert_eq!(is_on, secondary & bit != 0);
        }
    }

    #[test]
    fn branches_in_root_stay_out_of_architectural_records() {
        let without = check(&capable()).unwrap();
        assert_eq!(without.branches, Err(BranchObstacle::Processor));
        let raw = RawCapabilities {
            branches: RawBranches {
                features: crate::vmx::branch::HAS_ARCHITECTURAL,
                architectural: [1, 7, 7, 0],
                ..RawBranches::default()
            },
            ..capable()
        };
        let with = check(&raw).unwrap();
        assert!(with.branches.is_ok());
        assert_eq!(with.exit & !without.exit, CLEAR_ON_EXIT);
        assert_eq!(with.entry & !without.entry, LOAD_ON_ENTRY);
    }

    #[test]
    fn each_missing_piece_is_named() {
        let without = |change: fn(&mut RawCapabilities)| {
            let mut raw = capable();
            change(&mut raw);
            check(&raw).unwrap_err()
        };
        assert_eq!(without(|r| r.cpuid_1_ecx = 0), Unsupported::NoVmx);
        assert_eq!(
            without(|r| r.cr4 |= 1 << 13),
            Unsupported::AnotherHypervisor
        );
        assert_eq!(
            without(|r| r.feature_control = 1),
            Unsupported::LockedByFirmware
        );
        assert!(
            without(|r| r.primary &= !(1 << 59))
                .text()
                .contains("monitor trap flag")
        );
        assert!(without(|r| r.secondary = 0).text().contains("EPT"));
        assert!(
            without(|r| r.secondary &= !(1 << 39))
                .text()
                .contains("unrestricted guest")
        );
        assert!(
            without(|r| r.ept_vpid &= !1)
                .text()
                .contains("execute-only")
        );
        assert!(
            without(|r| r.pin &= !(1 << 38))
                .text()
                .contains("preemption timer")
        );
    }

    #[test]
    fn what_stops_the_driver_is_what_examining_finds_missing() {
        let all: std::vec::Vec<Finding> = examine(&capable()).collect();
        assert_eq!(all.len(), NEEDS.len() + EXTRAS.len());
        assert!(all[..NEEDS.len()].iter().all(|it| it.state == State::Fine));
        let changes: [fn(&mut RawCapabilities); 5] = [
            |raw| raw.cr4 |= 1 << 13,
            |raw| raw.feature_control = 1,
            |raw| raw.pin &= !(1 << 38),
            |raw| raw.ept_vpid &= !1,
            |raw| raw.primary &= !(1 << 59),
        ];
        for change in changes {
            let mut raw = capable();
            change(&mut raw);
            let mut missing = examine(&raw).filter_map(|it| match it.state {
                State::Missing(why) => Some(why),
                _ => None,
            });
            assert_eq!(missing.next(), check(&raw).err());
            assert_eq!(missing.next(), None, "one line for each");
        }
        let none: std::vec::Vec<Finding> = examine(&RawCapabilities::default()).collect();
        let state = State::Missing(Unsupported::NoVmx);
        assert_eq!(
            none,
            [Finding {
                name: "VT-x",
                state
            }]
        );
    }

    #[test]
    fn views_are_switched_only_where_the_processor_can() {
        let without = check(&capable()).unwrap();
        assert!(!without.view_switching);
        let with = check(&RawCapabilities {
            vm_functions: EPTP_SWITCHING,
            ..capable()
        })
        .unwrap();
        assert!(with.view_switching);
        assert_eq!(with.secondary & !without.secondary, 1 << 13);
    }

    #[test]
    fn an_unlocked_feature_control_is_locked_with_vmx_on() {
        assert_eq!(feature_control_to_write(0), Some(5));
        assert_eq!(feature_control_to_write(5), None);
    }
}
