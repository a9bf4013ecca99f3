//! How a made-up machine ends: its guest dies, its driver is unloaded, or the hypervisor itself meets a fault. Used where
//! it runs by itself, and where it is played again.

use super::Made;
use super::guest::ask_to_leave;
use super::line::Host;
use super::recording::Log;
use debuggee_driver::exit::{Death, Flow, hypercall};
use debuggee_driver::fake::machine::Machine;
use debuggee_driver::port::{Cpu, gpr};
use debuggee_driver::vmx::{reason, ro};
use debugger_host::recording::input::Input;
use wire_protocol::address::CoreId;

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The driver is unloaded.
    Unload,
    /// The guest's core meets a triple fault.
    TripleFault,
    /// A general-protection fault in the hypervisor.
    HostFault,
}

/// By the words of transcripts.
pub const ENDINGS: [(&str, Ending); 3] = [
    ("unload", Ending::Unload),
    ("triple-fault", Ending::TripleFault),
    ("host-fault", Ending::HostFault),
];

/// Where the hypervisor met its fault, the vector, and the error code.
const FAULT: (u64, u16, u64) = (0xffff_c900_0000_1234, 13, 0x10);

/// How far a machine's end has come.
#[derive(Default)]
pub(super) struct End {
    death: Option<Death>,
    /// All cores have left the hypervisor.
    pub(super) has_left: bool,
}

impl End {
    /// Handles the exit of a core, which may be its last.
    pub(super) fn handle<H: Host + 'static>(
        &mut self,
        machine: &mut Machine<Made<H>>,
        core: usize,
    ) {
        let cpu = &machine.cores[core].cpu;
        let is_call = cpu.vmread(ro::EXIT_REASON) == u64::from(reason::VMCALL);
        if is_call && cpu.registers()[gpr::RCX] == hypercall::LEAVE {
            // All cores make this call at once.
            machine.shared.departure.join(CoreId(1));
        }
        match machine.handle(core) {
            Flow::Enter => {}
            Flow::Leave => self.has_left = true,
            Flow::Dead(fault) => self.death = Some(Death::new(&machine.cores[core], fault)),
        }
    }

    /// A look at the line, by the core that looks.
    pub(super) fn look<H: Host + 'static>(&mut self, machine: &mut Machine<Made<H>>) {
        if let Some(death) = &mut self.death {
            machine.turn(0, death);
        }
        let is_second = machine.shared.poll.is_by(CoreId(1));
        machine.look_at_line(usize::from(is_second));
    }

    /// It ends so.
    pub(super) fn begin<H: Host + 'static>(
        &mut self,
        ending: Ending,
        machine: &mut Machine<Made<H>>,
        log: &Log,
    ) {
        match ending {
            Ending::Unload => {
                ask_to_leave(machine);
                self.handle(machine, 0);
            }
            Ending::TripleFault => {
                machine.leave(0, reason::TRIPLE_FAULT);
                self.handle(machine, 0);
            }
            Ending::HostFault => {
                let (rip, vector, detail) = FAULT;
                log.took(Input::Fault {
                    core: 0,
                    vector,
                    rip,
                    detail,
                });
                machine.fault(0, vector, rip, detail);
            }
        }
    }
}
