//! IN, OUT, INS and OUTS that are watched, those to the line's own ports, and those to the real-time clock's.

use crate::cores::exclusive::Exclusive;
use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::emulate::port::{PortAccess, meet_nobody};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::exit::watchers;
use crate::port::{Cpu, PortRange, Ports, RegisterIo, gpr};
use crate::rtc::{self, Rtc};
use crate::vmx::ro;
use x86::vmx::vmcs::control::PrimaryControls;

/// Serves the events of the port, and lets the guest carry the instruction out.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let access = PortAccess::decode(core.cpu.vmread(ro::EXIT_QUALIFICATION));
    let owned = core.shared.fixed.bitmaps.owned_ports;
    if access.touches(owned) {
        return handle_owned(core, access, owned);
    }
    if let Some(rtc) = core.shared.rtc
        && access.touches(rtc::PORTS)
    {
        return handle_clock(core, access, rtc);
    }
    serve_watched(core, access)
}

/// Serves the events, and lets the guest carry it out.
fn serve_watched<P: Ports>(core: &mut Core<'_, P>, access: PortAccess) -> Outcome {
    let trigger = watched_by(core, access, PortRange::default());
    let bitmaps = PrimaryControls::USE_IO_BITMAPS.bits();
    passthrough::watched(core, trigger, Intercept::Primary(bitmaps))
}

/// The first of its ports that an event waits for, or else the first, but none of `owned`.
#[inline(always)]
fn watched_by<P: Ports>(
    core: &Core<'_, P>,
    access: PortAccess,
    owned: PortRange,
) -> TriggerInstance {
    let port = access
        .ports()
        .filter(|port| !owned.contains(*port))
        .find(|port| {
            core.seat
                .read(|installed| installed.has_value(access.kind, u64::from(*port)))
        })
        .unwrap_or(access.port);
    TriggerInstance::new(access.kind, u64::from(port))
}

/// The line's ports are nobody's to watch. An access may reach others besides.
#[cold]
#[inline(never)]
fn handle_owned<P: Ports>(core: &mut Core<'_, P>, access: PortAccess, owned: PortRange) -> Outcome {
    if access.ports().all(|port| owned.contains(port)) {
        return meet_nobody(core, access);
    }
    let trigger = watched_by(core, access, owned);
    watchers::watched(core, trigger, |core| meet_nobody(core, access))
}

/// Looks whether the clock is free: another core has it for some accesses of its own at most.
const CLOCK_LOOKS: u32 = 1 << 16;

/// What is done to the clock's ports is done here, so that the index is known: see [`crate::rtc`].
#[cold]
#[inline(never)]
fn handle_clock<P: Ports>(
    core: &mut Core<'_, P>,
    access: PortAccess,
    rtc: &Exclusive<Rtc<P::ClockRegisters>>,
) -> Outcome {
    if access.is_string || !access.ports().all(|port| rtc::PORTS.contains(port)) {
        // No driver of the clock does that. The guest does it by itself.
        return match with_clock(rtc, Rtc::lose_index) {
            Some(()) => serve_watched(core, access),
            None => Outcome::Stay,
        };
    }
    let trigger = watched_by(core, access, PortRange::default());
    watchers::watched(core, trigger, |core| {
        let rax = &mut core.cpu.registers_mut()[gpr::RAX];
        match with_clock(rtc, |rtc| carry_out(rtc, access, rax)) {
            Some(()) => Outcome::Advance,
            None => Outcome::Stay,
        }
    })
}

/// Nothing, should the clock not become free.
fn with_clock<R, T>(rtc: &Exclusive<Rtc<R>>, mut work: impl FnMut(&mut Rtc<R>) -> T) -> Option<T> {
    (0..CLOCK_LOOKS).find_map(|_| {
        let done = rtc.try_with(&mut work);
        if done.is_none() {
            core::hint::spin_loop();
        }
        done
    })
}

/// A wide access is one of bytes, from the lowest port on.
fn carry_out<R: RegisterIo>(rtc: &mut Rtc<R>, access: PortAccess, rax: &mut u64) {
    let mut bytes = rax.to_le_bytes();
    for (byte, port) in bytes.iter_mut().zip(access.ports()) {
        let register = port.wrapping_sub(rtc::PORTS.first) as u8;
        match access.kind {
            TriggerKind::IoIn => *byte = rtc.guest_reads(register),
            _ => rtc.guest_writes(register, *byte),
        }
    }
    *rax = match (access.kind, access.size_bytes) {
        // Only a register of four bytes takes the rest along.
        (TriggerKind::IoIn, 4) => u64::from_le_bytes(bytes) & u64::from(u32::MAX),
        _ => u64::from_le_bytes(bytes),
    };
}
