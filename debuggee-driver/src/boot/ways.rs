//! The ways to the host: a serial line, a network, or both.
//!
//! Called by [`super::build`], in the kernel's context.

use super::host::DevicePages;
use super::{BootError, PAGE, Plan, UartPlan, carve};
use crate::cores::exclusive::Exclusive;
use crate::hw::apart;
use crate::hw::instructions;
use crate::hw::io::Registers;
use crate::hw::ioapic::PinRegisters;
use crate::hw::launch;
use crate::hw::network::{
    CardAccess, CardPlan, MEMORY_BYTES, Machine, NETWORK_BYTES, NetworkLine, NetworkPlace, RtcHere,
};
use crate::hw::phys::DirectMap;
use crate::pool::arena::Arena;
use crate::port::HostTransport;
use crate::rtc::{self, Rtc};
use crate::transport::net::card::WINDOWS;
use crate::transport::net::settings::Settings;
use crate::transport::place::Place;
use crate::transport::uart16550::{Uart, UartError};
use crate::transport::ways::Ways;
use wire_protocol::secure::Entropy;

/// The network, if there is to be one.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// The card, which is nobody else's from now on.
    pub card: CardPlan,
    /// What the loader said.
    pub settings: Settings,
    /// Random bits of the operating system.
    pub seed: [u8; 32],
    /// Microseconds since 1970 when the time-stamp counter was at 0.
    pub epoch_us: u64,
    /// Whether there is a real-time clock: then, where its century is, or 0.
    pub rtc_century: Option<u8>,
    /// For tests: the network's code panics at each so many-th frame; 0: never.
    pub panic_every: u32,
}

/// The real-time clock, if the network is to know the time from it: the guest's accesses to it are carried out from now on.
pub(super) fn build_rtc(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<Option<&'static RtcHere>, BootError> {
    let century = plan
        .network
        .as_ref()
        .and_then(|network| network.rtc_century);
    let Some(century) = century else {
        return Ok(None);
    };
    let place = Place::Ports {
        first: rtc::PORTS.first,
    };
    // SAFETY: whoever else uses the clock's ports leaves the guest, and comes here. What is in it is nobody's memory.
    let registers = unsafe { Registers::new(place, 0) };
    let block = carve(arena, PAGE, "the real-time clock")?;
    let rtc = Exclusive::new(Rtc::new(registers, century));
    // SAFETY: carved right now, for this alone, page-aligned and longer than the value.
    Ok(Some(unsafe { launch::place(memory, &block, rtc) }))
}

const _: () = assert!(size_of::<RtcHere>() <= PAGE as usize);

pub(super) type WaysHere = Ways<Uart<Registers>, NetworkLine>;

/// # Safety
/// CPL 0. Devices are nobody else's, and mapped where the plan says.
pub(super) unsafe fn build_ways(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
    rtc: Option<&'static RtcHere>,
) -> Result<WaysHere, BootError> {
    // SAFETY: the UART is as promised.
    let serial = plan.uart.map(|uart| unsafe { build_uart(&uart, memory) });
    let network = plan.network.as_ref().map(|network| {
        // SAFETY: the card is as promised, and this is CPL 0.
        unsafe { build_network(network, plan.facts.tsc_khz, arena, memory, rtc) }
    });
    match (serial.transpose()?, network.transpose()?) {
        (Some(serial), Some(network)) => Ok(Ways::Both { serial, network }),
        (Some(serial), None) => Ok(Ways::Serial(serial)),
        (None, Some(network)) => Ok(Ways::Network(network)),
        (None, None) => Err(BootError::NoWay),
    }
}

/// # Safety
/// The UART is nobody else's, and mapped where the plan says.
unsafe fn build_uart(plan: &UartPlan, memory: &DirectMap) -> Result<Uart<Registers>, BootError> {
    // SAFETY: the platform took the UART from its system and mapped it, and `build_host_pages` maps it likewise.
    let io = unsafe { Registers::new(plan.place, plan.linear) };
    // SAFETY: the firmware says that the controller is there; it is below 4 GiB, to where all memory is mapped at least, and
    // used in halts alone.
    let pin = |pin| unsafe { PinRegisters::new(pin, memory) };
    let io = io.with_interrupt(plan.interrupt.map(pin));
    Uart::init(io, plan.speed).map_err(|error| match error {
        UartError::Missing => BootError::NoUart(plan.place),
        UartError::BadSpeed { baud_hz, rates } => BootError::BaudRate(baud_hz, rates),
    })
}

/// # Safety
/// CPL 0. The card is nobody else's, and mapped where the plan says.
unsafe fn build_network(
    plan: &NetworkPlan,
    tsc_khz: u32,
    arena: &mut Arena,
    memory: &DirectMap,
    rtc: Option<&'static RtcHere>,
) -> Result<NetworkLine, BootError> {
    const WHAT: &str = "the network";
    let mut carve = |len_bytes: u32| {
        let block = carve(arena, len_bytes.next_multiple_of(PAGE), WHAT)?;
        Ok(memory.address_of(block.start().0))
    };
    let network = carve(NETWORK_BYTES)?;
    let sockets = carve(MEMORY_BYTES)?;
    let stack = carve(apart::STACK_BYTES)?;
    // SAFETY: carved right now, for this alone, as large as is asked for; the arena is mapped in VMX-root.
    let place = unsafe { NetworkPlace::new(network, sockets, stack) };
    // SAFETY: at CPL 0 by contract; the platform took the card from its system and mapped it, and `build_host_pages` maps it
    // likewise.
    let access = unsafe { CardAccess::new(plan.card, *memory) };
    // SAFETY: at CPL 0 by contract.
    let machine = unsafe { Machine::new(instructions::has_rdrand(), tsc_khz, plan.epoch_us, rtc) };
    let entropy = Entropy::new(plan.seed);
    let settings = plan.settings.clone();
    let line = NetworkLine::new(place, access, machine, settings, entropy);
    Ok(line.panicking(plan.panic_every))
}

/// Registers of the devices that are in memory: the UART's and the card's.
pub(super) fn device_pages(plan: &Plan<'_>, line: &WaysHere) -> [Option<DevicePages>; 1 + WINDOWS] {
    let serial = match line {
        Ways::Serial(serial) | Ways::Both { serial, .. } => {
            let [physical, ..] = serial.owns().memory;
            plan.uart.map(|uart| DevicePages {
                physical,
                linear: uart.linear,
            })
        }
        Ways::Network(_) => None,
    };
    let windows = plan.network.as_ref().map(|network| network.card.windows);
    let [first, second] = windows.unwrap_or_default().map(|window| {
        (!window.physical.is_empty()).then_some(DevicePages {
            physical: window.physical,
            linear: window.linear,
        })
    });
    [serial, first, second]
}
