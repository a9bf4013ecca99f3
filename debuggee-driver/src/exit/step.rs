//! Stepping over one instruction in the clean view.
//!
//! Entered when an instruction must see memory without hooks: the hooked instruction itself, or
//! one that reads or writes a hooked page. Only this core changes its view, so no other core ever
//! runs with a hook missing.

use super::{Core, Outcome};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::{control_field, guest, interruptibility};
use wire_protocol::address::GuestPhysical;
use x86::vmx::vmcs::control::PrimaryControls;

/// Whether a core is stepping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It runs in the hooked view.
    None,
    /// It runs one instruction in the clean view.
    Active {
        /// Where the instruction stands.
        rip: u64,
        /// Hooked page that the instruction may write: its shadow is brought up to date afterwards.
        written: Option<GuestPhysical>,
        /// The instruction writes to the debugger's memory: the write is thrown away afterwards.
        discards: bool,
    },
}

const RFLAGS_IF: u64 = 1 << 9;
const RFLAGS_TF: u64 = 1 << 8;
const MTF: u64 = PrimaryControls::MONITOR_TRAP_FLAG.bits() as u64;

/// Lets the next instruction run in the clean view, with interrupts held off for its duration.
///
/// Interrupts are held off by the state that STI leaves for one instruction, not by clearing
/// RFLAGS.IF: an instruction that stores or changes the flags (PUSHF, STI, CLI, POPF) works as it
/// should. With RFLAGS.TF set that state is not allowed at an entry ("Checks on Guest
/// Non-Register State", 27.3.1.5), and the guest's own single step ends the instruction anyway.
pub fn begin<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    written: Option<GuestPhysical>,
    discards: bool,
) {
    if let Step::Active {
        written: pending,
        discards: pending_discard,
        ..
    } = &mut core.step
    {
        // The same instruction touches a second page in the same step.
        *pending = written.or(*pending);
        *pending_discard |= discards;
        return;
    }
    let cpu = &mut core.cpu;
    let rip = cpu.vmread(guest::RIP);
    cpu.vmwrite(control_field::EPTP_FULL, shared.eptp_clean);
    let primary = cpu.vmread(control_field::PRIMARY_PROCBASED_EXEC_CONTROLS);
    cpu.vmwrite(
        control_field::PRIMARY_PROCBASED_EXEC_CONTROLS,
        primary | MTF,
    );
    let rflags = cpu.vmread(guest::RFLAGS);
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let delivering = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD) & 1 << 31 != 0;
    let shadow = interruptibility::STI | interruptibility::MOV_SS;
    if rflags & RFLAGS_IF != 0 && rflags & RFLAGS_TF == 0 && blocking & shadow == 0 && !delivering {
        cpu.vmwrite(
            guest::INTERRUPTIBILITY_STATE,
            blocking | interruptibility::STI,
        );
    }
    core.step = Step::Active {
        rip,
        written,
        discards,
    };
}

/// The monitor trap flag fired: one instruction ran, or one iteration of a repeated one.
pub fn on_trap<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let Step::Active { rip, .. } = core.step else {
        disarm(core, shared);
        return Outcome::Stay;
    };
    // A repeated string instruction traps after each iteration; it is stepped to its end, or its
    // hook would fire once per iteration.
    if core.cpu.vmread(guest::RIP) != rip {
        end(core, shared);
    }
    Outcome::Stay
}

/// Ends the step, if there is one, and goes back to the hooked view.
pub fn end<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let Step::Active {
        written, discards, ..
    } = core.step
    else {
        return;
    };
    if let Some(page) = written {
        shared.refresh_shadow(page);
    }
    if discards {
        shared.clear_sink();
    }
    disarm(core, shared);
}

fn disarm<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let cpu = &mut core.cpu;
    let primary = cpu.vmread(control_field::PRIMARY_PROCBASED_EXEC_CONTROLS);
    cpu.vmwrite(
        control_field::PRIMARY_PROCBASED_EXEC_CONTROLS,
        primary & !MTF,
    );
    cpu.vmwrite(control_field::EPTP_FULL, shared.eptp_hooked);
    core.step = Step::None;
}
