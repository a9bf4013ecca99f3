//! VMCALL. The driver's part in the guest uses it, since it cannot reach the hypervisor's memory
//! once it runs as a guest; for everybody else it does not exist.
//!
//! Any code of the kernel can jump to the driver's instruction. So a call has to know the token of this load, and what it
//! gives is looked at: a kernel that means to harm the debugger finds the token in its memory.

use crate::cores::departure;
use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::occasion;
use crate::exit::watchers::watched;
use crate::facts::Facts;
use crate::halt;
use crate::halt::silent::{self, NotEdited};
use crate::pool::arena::CHUNK_BYTES;
use crate::port::{Cpu, PhysicalMemory, Ports, gpr};
use crate::vmx::guest;
use crate::vmx::interruption::UNDEFINED_OPCODE;
use crate::vmx::privilege::is_kernel;
use wire_protocol::event::{EventChange, Selection};
use wire_protocol::packet::StopCause;

/// RAX of the driver's calls.
pub const MAGIC: u64 = 0x5374_616e_6473_7469;

/// RCX: leave VMX operation, together with all other cores; RAX is 0 if they did not come in time. All cores
/// ask until they are out. From then on nobody polls the line.
pub const LEAVE: u64 = 1;

/// RCX: begin to poll the line, after a halt if the driver was loaded with `halt=1`.
pub const ARM: u64 = 2;

/// RCX: how many chunks of memory the arena wants, answered in RAX. First what the arena itself
/// can give is given to the pools that are below their levels.
pub const WANTED_CHUNKS: u64 = 4;

/// RCX: take the chunk at the physical address in RDX, which is RAM and holds nothing but the token, as its first word.
/// RAX is 1 if it was taken: then it is the hypervisor's for good.
pub const TAKE_CHUNK: u64 = 5;

/// RCX: take a core out of a detour; see `exit::detour`. RDX is an encoded `hit::detour::StubRequest`.
pub const FINISH_DETOUR: u64 = 6;

/// RCX: how many exits this core took since it was started, answered in RAX.
pub const EXITS: u64 = 9;

/// RCX: clear all events, as the driver is about to be unloaded. RAX is 1 if there were detours, which
/// threads may still be in.
pub const CLEAR: u64 = 10;

/// RCX: RDX is random bits of the operating system, for the network. RAX is 1 if they were taken, and not another core has the line.
pub const STIR: u64 = 11;

/// RCX: the kernel came to something: see `exit::occasion`. RDX is the address of what there is to say.
pub const OCCASION: u64 = 12;

/// RCX: whether the kernel is to panic, in RAX. It is said once.
pub const WANTS_CRASH: u64 = 13;

/// What a call is answered that cannot be served.
const REFUSED: u64 = 0;

/// Part of a second that a core waits for the others to leave, too.
const LEAVE_PART: u64 = 100;
/// Looks at the clock meanwhile, should it stand still.
const LEAVE_LOOKS: u32 = 1 << 20;

/// Carries out a call that comes from the driver's own code at CPL 0.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let rip = core.cpu.vmread(guest::RIP);
    let registers = core.cpu.registers();
    if !is_kernel(&core.cpu) || !core.shared.is_driver_code(rip) || registers[gpr::RAX] != MAGIC {
        let trigger = TriggerInstance::new(TriggerKind::Vmcall, 0);
        return watched(core, trigger, |_| Outcome::Inject(UNDEFINED_OPCODE));
    }
    let (number, token) = (registers[gpr::RCX], registers[gpr::RSI]);
    if token != core.shared.facts.token {
        return answer(core, REFUSED);
    }
    match number {
        LEAVE if leaves_with_all(core) => {
            core.shared.poll.set_on(false);
            if core.shared.departure.is_first_to_go() {
                halt::say_goodbye(&core.cpu, core.shared);
            }
            core.cpu.registers_mut()[gpr::RAX] = 1;
            Outcome::Leave
        }
        LEAVE => answer(core, REFUSED),
        ARM => arm(core),
        WANTED_CHUNKS => {
            if core
                .seat
                .read(|installed| installed.pools().can_replenish())
            {
                let filled = silent::edit(
                    &mut core.seat,
                    &mut core.cpu,
                    core.shared,
                    |installed, _| installed.pools_mut().replenish(),
                );
                if filled == Err(NotEdited::OtherCoreHalts) {
                    return Outcome::Stay;
                }
            }
            let wanted = core
                .seat
                .read(|installed| installed.pools().wanted_chunks());
            answer(core, u64::from(wanted))
        }
        TAKE_CHUNK => {
            let base = core.cpu.registers()[gpr::RDX];
            let taken = silent::edit(
                &mut core.seat,
                &mut core.cpu,
                core.shared,
                |installed, memory| {
                    let may_grow = installed.pools().wanted_chunks() != 0
                        && is_offered(&core.shared.facts, memory, base);
                    if may_grow {
                        memory.write_u64(base, 0);
                    }
                    may_grow && installed.grow(memory, base).is_ok()
                },
            );
            if taken == Err(NotEdited::OtherCoreHalts) {
                // The call is made again after that halt.
                return Outcome::Stay;
            }
            answer(core, u64::from(taken == Ok(true)))
        }
        EXITS => answer(core, core.exits),
        OCCASION => occasion::handle(core),
        WANTS_CRASH => {
            let wants = core.shared.occasions.take_crash();
            answer(core, u64::from(wants))
        }
        STIR => {
            let bits = core.cpu.registers()[gpr::RDX];
            let taken = core.shared.line.try_with(|line| line.stir(bits));
            answer(core, u64::from(taken.is_some()))
        }
        CLEAR => {
            let cleared = silent::edit(
                &mut core.seat,
                &mut core.cpu,
                core.shared,
                |installed, memory| {
                    for all in [Selection::Events, Selection::Breakpoints] {
                        let _ = installed.change(memory, EventChange::Clear, all);
                    }
                },
            );
            if cleared == Err(NotEdited::OtherCoreHalts) {
                return Outcome::Stay;
            }
            let any_detour = core.seat.read(|installed| installed.detours().were_any());
            answer(core, u64::from(any_detour))
        }
        _ => Outcome::Inject(UNDEFINED_OPCODE),
    }
}

/// Begins to listen to the line. If that is wanted, the machine stands still until a host has let it go: what comes next is
/// seen from its first instruction on.
fn arm<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    // Every core meets no device at the line's ports by now: what they left there before is done with.
    halt::take_line(core.shared);
    halt::greet(core.shared);
    let rip = core.cpu.vmread(guest::RIP);
    if core.shared.fixed.halts_without_session {
        // Nobody else can halt: no core polls yet, and there are no events.
        halt::stop(
            &mut core.seat,
            &mut core.cpu,
            core.shared,
            StopCause::BreakIn,
            None,
        );
    }
    core.shared.poll.set_on(true);
    if core.cpu.vmread(guest::RIP) == rip {
        Outcome::Advance
    } else {
        Outcome::Stay
    }
}

fn answer<P: Ports>(core: &mut Core<'_, P>, value: u64) -> Outcome {
    core.cpu.registers_mut()[gpr::RAX] = value;
    Outcome::Advance
}

/// Waits a moment for all other cores to leave, too. False: they did not come, or a halt wants this one.
fn leaves_with_all<P: Ports>(core: &mut Core<'_, P>) -> bool {
    let present = || core.shared.rendezvous.present().map(departure::bit).sum();
    let limit_ticks = core.shared.clock.timeout_ticks() / LEAVE_PART;
    let start = core.cpu.tsc();
    core.shared.departure.join(core.id);
    for _ in 0..LEAVE_LOOKS {
        if core.shared.departure.is_complete(present()) {
            return true;
        }
        if core.seat.is_wanted() || core.cpu.tsc().wrapping_sub(start) >= limit_ticks {
            break;
        }
        core::hint::spin_loop();
    }
    !core.shared.departure.withdraw(core.id, present())
}

/// Whether the chunk at `base` is RAM that the driver offers: with its token as the first word, and with nothing else in
/// it, so that nobody uses it. Every core is held.
pub(super) fn is_offered(facts: &Facts, memory: &impl PhysicalMemory, base: u64) -> bool {
    let is_ram = facts.ram().any(|range| {
        let offset = base.checked_sub(range.start().0);
        offset.is_some_and(|offset| offset.saturating_add(CHUNK_BYTES) <= range.len_bytes())
    });
    if !is_ram || !base.is_multiple_of(CHUNK_BYTES) || memory.read_u64(base) != facts.token {
        return false;
    }
    let mut words = (base..base + CHUNK_BYTES).step_by(8).skip(1);
    words.all(|at| memory.read_u64(at) == 0)
}
