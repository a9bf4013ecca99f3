//! The driver's network in a thread of the kernel, without a hypervisor: what the lab's module calls that tries cards on
//! emulators without VT-x. It is not in the driver, whose link keeps only what the shim calls.
//!
//! The thread lends the network what it has in VMX-root: FS leads to memory of a core's own, and what may panic has its stack.
//! It exchanges datagrams, or answers the host program (`served`).

mod served;

use super::{RawNet, Reason, settings};
use core::fmt::Write;
use debuggee_driver::hw::network::{
    CardAccess, MEMORY_BYTES, Machine, NETWORK_BYTES, NetworkLine, NetworkPlace,
};
use debuggee_driver::hw::percore::PerCore;
use debuggee_driver::hw::phys::DirectMap;
use debuggee_driver::hw::{apart, instructions};
use debuggee_driver::port::HostTransport;
use served::{RawServed, Rooms, Served, Wish};
use wire_protocol::limits;
use wire_protocol::link::Storage;
use wire_protocol::secure::{Entropy, ROOM_BYTES};
use wire_protocol::transport::Transport;

const PAGE: usize = 4096;

/// Datagrams that are out at once.
const UNDER_WAY: u64 = 16;
/// When none came back for so long, all that are out are lost.
const LOST_US: u64 = 20_000;
/// Datagrams that are taken in one turn.
const TAKEN_PER_TURN: usize = 32;

/// `struct polled_result` of the module.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    sent: u64,
    answered: u64,
    wrong: u64,
}

/// Datagrams that each have another length and other bytes, and come back with every bit turned over.
#[derive(Default)]
struct Exchange {
    result: Outcome,
    under_way: u64,
    heard_us: u64,
}

/// What there is, from the start of the block on.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one, in a place of its own"
)]
enum Polled {
    Exchanges(NetworkLine, Exchange),
    Serves(Served),
}

/// Where in the block what is, page by page.
const SEAT: usize = size_of::<Polled>().next_multiple_of(PAGE);
const NETWORK: usize = SEAT + size_of::<PerCore>().next_multiple_of(PAGE);
const SOCKETS: usize = NETWORK + (NETWORK_BYTES as usize).next_multiple_of(PAGE);
const STACK: usize = SOCKETS + (MEMORY_BYTES as usize).next_multiple_of(PAGE);
const LINK: usize = STACK + apart::STACK_BYTES as usize;
const MESSAGE: usize = LINK + Storage::BYTES.next_multiple_of(PAGE);
const LISTS: usize = MESSAGE + limits::MESSAGE_BYTES.next_multiple_of(PAGE);
const BLOCK_BYTES: usize = LISTS + limits::MESSAGE_BYTES.next_multiple_of(PAGE);

impl Exchange {
    /// Which byte a datagram has at a place.
    const fn byte(number: u64, at: usize) -> u8 {
        (number as u8).wrapping_mul(31).wrapping_add(at as u8)
    }

    const fn len(number: u64) -> usize {
        8 + (number as usize).wrapping_mul(67) % (ROOM_BYTES - 7)
    }

    /// Writes the next one, and says how long it is.
    fn next(&mut self, into: &mut [u8; ROOM_BYTES]) -> usize {
        let number = self.result.sent;
        let len = Self::len(number);
        for (at, byte) in into.iter_mut().enumerate() {
            *byte = Self::byte(number, at);
        }
        for (byte, number) in into.iter_mut().zip(number.to_le_bytes()) {
            *byte = number;
        }
        self.result.sent += 1;
        self.under_way += 1;
        len
    }

    fn take(&mut self, came: &[u8], now_us: u64) {
        self.heard_us = now_us;
        self.under_way = self.under_way.saturating_sub(1);
        let number = came.first_chunk().map(|it| !u64::from_le_bytes(*it));
        let is_right = number.is_some_and(|number| {
            let mut bytes = came.iter().enumerate().skip(8);
            number < self.result.sent
                && came.len() == Self::len(number)
                && bytes.all(|(at, byte)| !*byte == Self::byte(number, at))
        });
        match is_right {
            true => self.result.answered += 1,
            false => self.result.wrong += 1,
        }
    }

    fn may_send(&mut self, now_us: u64) -> bool {
        if now_us.saturating_sub(self.heard_us) > LOST_US {
            self.heard_us = now_us;
            self.under_way = 0;
        }
        self.under_way < UNDER_WAY
    }
}

/// Bytes of the block that [`standstill_polled_build`] wants.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_polled_bytes() -> u64 {
    BLOCK_BYTES as u64
}

/// What FS has to lead to at each turn, in the block that begins there.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_polled_seat(block: u64) -> u64 {
    block + SEAT as u64
}

/// Makes a network in the block; 0 with a reason if it cannot be. It does nothing before the first turn. With `served` it is
/// for the host program, which is told that.
///
/// # Safety
/// The block has [`standstill_polled_bytes`] zeroed bytes from a page's start on, which are nobody else's. The card of `net` was
/// taken, and is nobody else's; all physical memory below `limit` is mapped from `direct_map` on. `served` is null or there as
/// long as the block is. `reason` has `reason_bytes` zeroed bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_polled_build(
    block: u64,
    net: *const RawNet,
    direct_map: u64,
    limit: u64,
    tsc_khz: u64,
    served: *const RawServed,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the module passes what lives until this returns.
    let net = unsafe { &*net };
    // SAFETY: the module passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let mut reason = Reason {
        buffer,
        len_bytes: 0,
    };
    // SAFETY: the module's texts can be read.
    let settings = match unsafe { settings(net) } {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            let _ = reason.write_str("there is no network without net=");
            return 0;
        }
        Err(error) => {
            let _ = write!(reason, "{error}");
            return 0;
        }
    };
    let plan = match net.card.for_core() {
        Ok(plan) => plan,
        Err(error) => {
            let _ = write!(reason, "{error}");
            return 0;
        }
    };
    let [network, sockets, stack] = [NETWORK, SOCKETS, STACK].map(|at| block + at as u64);
    // SAFETY: pieces of the block, which is nobody else's by contract, as large as is asked for.
    let place = unsafe { NetworkPlace::new(network, sockets, stack) };
    // SAFETY: the module says how the kernel maps physical memory, by contract.
    let memory = unsafe { DirectMap::new(direct_map, limit) };
    // SAFETY: at CPL 0; the card was taken by contract, and mapped as its plan says.
    let access = unsafe { CardAccess::new(plan, memory) };
    // SAFETY: at CPL 0, in a module of the kernel's.
    let machine = unsafe {
        Machine::new(
            instructions::has_rdrand(),
            tsc_khz as u32,
            net.epoch_us,
            None,
        )
    };
    let line = NetworkLine::new(place, access, machine, settings, Entropy::new(net.seed));
    // SAFETY: null, or there as long as the block is, by contract.
    let polled = match unsafe { served.as_ref() } {
        None => Polled::Exchanges(line, Exchange::default()),
        Some(raw) => {
            // SAFETY: the block is nobody else's by contract.
            let rooms = unsafe { rooms(block) };
            // SAFETY: what `raw` leads to is there as long as the block is, by contract.
            let Some(served) = (unsafe { Served::new(line, raw, rooms) }) else {
                let _ = reason.write_str("there is too little room for a link");
                return 0;
            };
            Polled::Serves(served)
        }
    };
    // SAFETY: the block's start, which is nobody else's by contract, has room for it.
    unsafe { (block as *mut Polled).write(polled) };
    1
}

/// The pieces of a block in which a link and messages are.
///
/// # Safety
/// The block is nobody else's.
unsafe fn rooms(block: u64) -> Rooms {
    let [link, message, lists] = [LINK, MESSAGE, LISTS].map(|at| block + at as u64);
    Rooms {
        // SAFETY: a piece of the block of that length, which is nobody else's by contract.
        link: unsafe { core::slice::from_raw_parts_mut(link as *mut u8, Storage::BYTES) },
        // SAFETY: another piece of the block, as long as that, which is nobody else's by contract.
        message: unsafe { &mut *(message as *mut [u8; limits::MESSAGE_BYTES]) },
        // SAFETY: another piece of the block, as long as that, which is nobody else's by contract.
        lists: unsafe { &mut *(lists as *mut [u8; limits::MESSAGE_BYTES]) },
    }
}

/// Sets the card up.
///
/// # Safety
/// As [`standstill_polled_turn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_polled_begin(block: u64) {
    // SAFETY: made by `standstill_polled_build`, and nobody else's meanwhile, by contract.
    match unsafe { &mut *(block as *mut Polled) } {
        Polled::Exchanges(line, _) => line.begin(),
        Polled::Serves(served) => served.begin(),
    }
}

/// Takes what has come, sends what may be sent, and says how far it is.
///
/// # Safety
/// A network was made in the block, which nobody else uses meanwhile; FS leads to its seat, and the core cannot be left.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_polled_turn(block: u64, now_us: u64, result: *mut Outcome) {
    // SAFETY: made by `standstill_polled_build`, and nobody else's meanwhile, by contract.
    let Polled::Exchanges(line, exchange) = (unsafe { &mut *(block as *mut Polled) }) else {
        return;
    };
    let mut datagram = [0; ROOM_BYTES];
    line.turn(now_us);
    for _ in 0..TAKEN_PER_TURN {
        let len = line.receive(&mut datagram);
        if len == 0 {
            break;
        }
        exchange.take(datagram.get(..len).unwrap_or_default(), now_us);
        line.turn(now_us);
    }
    while exchange.may_send(now_us) && line.room() != 0 {
        let len = exchange.next(&mut datagram);
        line.send(datagram.get(..len).unwrap_or_default());
    }
    // SAFETY: the module passes a place for it that nobody else uses.
    unsafe { result.write(exchange.result) };
}

/// Looks at the line once, and says what the host wants: `enum served_wish` of the module. `is_halted`: all cores are held.
///
/// # Safety
/// As [`standstill_polled_turn`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_served_turn(block: u64, now_us: u64, is_halted: u64) -> u64 {
    // SAFETY: made by `standstill_polled_build`, and nobody else's meanwhile, by contract.
    let wish = match unsafe { &mut *(block as *mut Polled) } {
        Polled::Exchanges(..) => Wish::Nothing,
        Polled::Serves(served) => served.turn(now_us, is_halted != 0),
    };
    wish as u64
}
