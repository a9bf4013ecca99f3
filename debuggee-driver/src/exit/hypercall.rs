//! VMCALL. The driver's part in the guest uses it, since it cannot reach the hypervisor's memory
//! once it runs as a guest; for everybody else it does not exist.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::watchers::watched;
use crate::halt::silent::{self, NotEdited};
use crate::port::{Cpu, Ports, gpr};
use crate::shared::Shared;
use crate::vmx::guest;
use crate::vmx::interruption::UNDEFINED_OPCODE;
use crate::vmx::privilege::is_kernel;
use wire_protocol::event::EventChange;

/// RAX of the driver's calls.
pub const MAGIC: u64 = 0x5374_616e_6473_7469;

/// RCX: leave VMX operation on this core.
pub const LEAVE: u64 = 1;

/// RCX: begin to poll the line.
pub const ARM: u64 = 2;

/// RCX: poll the line no more, so that no halt begins while cores leave.
pub const DISARM: u64 = 3;

/// RCX: how many chunks of memory the arena wants, answered in RAX. First what the arena itself
/// can give is given to the pools that are below their levels.
pub const WANTED_CHUNKS: u64 = 4;

/// RCX: take the chunk at the physical address in RDX. RAX is 1 if it was taken: then it is the
/// hypervisor's for good.
pub const TAKE_CHUNK: u64 = 5;

/// RCX: take a core out of a detour; see `exit::detour`. RDX is an encoded `hit::detour::StubRequest`.
pub const FINISH_DETOUR: u64 = 6;

/// RCX: how many exits this core took since it was started, answered in RAX.
pub const EXITS: u64 = 9;

/// RCX: clear all events, as the driver is about to be unloaded. RAX is 1 if there were detours, which
/// threads may still be in.
pub const CLEAR: u64 = 10;

/// Carries out a call that comes from the driver's own image at CPL 0.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let rip = core.cpu.vmread(guest::RIP);
    let registers = core.cpu.registers();
    if !is_kernel(&core.cpu) || !shared.is_driver_code(rip) || registers[gpr::RAX] != MAGIC {
        let trigger = TriggerInstance::new(TriggerKind::Vmcall, 0);
        return watched(core, shared, trigger, |_| Outcome::Inject(UNDEFINED_OPCODE));
    }
    match registers[gpr::RCX] {
        LEAVE => Outcome::Leave,
        number @ (ARM | DISARM) => {
            shared.poll.set_on(number == ARM);
            Outcome::Advance
        }
        WANTED_CHUNKS => {
            if core
                .seat
                .read(|installed| installed.pools().can_replenish())
            {
                let filled = silent::edit(&mut core.seat, &mut core.cpu, shared, |installed, _| {
                    installed.pools_mut().replenish()
                });
                if filled == Err(NotEdited::OtherCoreHalts) {
                    return Outcome::Stay;
                }
            }
            let wanted = core
                .seat
                .read(|installed| installed.pools().wanted_chunks());
            core.cpu.registers_mut()[gpr::RAX] = u64::from(wanted);
            Outcome::Advance
        }
        TAKE_CHUNK => {
            let base = core.cpu.registers()[gpr::RDX];
            let taken = silent::edit(
                &mut core.seat,
                &mut core.cpu,
                shared,
                |installed, memory| installed.grow(memory, base).is_ok(),
            );
            if taken == Err(NotEdited::OtherCoreHalts) {
                // The call is made again after that halt.
                return Outcome::Stay;
            }
            core.cpu.registers_mut()[gpr::RAX] = u64::from(taken == Ok(true));
            Outcome::Advance
        }
        EXITS => {
            core.cpu.registers_mut()[gpr::RAX] = core.exits;
            Outcome::Advance
        }
        CLEAR => {
            let cleared = silent::edit(
                &mut core.seat,
                &mut core.cpu,
                shared,
                |installed, memory| {
                    let _ = installed.change(memory, EventChange::Clear, None);
                },
            );
            if cleared == Err(NotEdited::OtherCoreHalts) {
                return Outcome::Stay;
            }
            let any_detour = core.seat.read(|installed| installed.detours().were_any());
            core.cpu.registers_mut()[gpr::RAX] = u64::from(any_detour);
            Outcome::Advance
        }
        _ => Outcome::Inject(UNDEFINED_OPCODE),
    }
}
