//! The network card's registers and memory, the machine's clock and random bits, and the network itself, which is run apart
//! and made anew when it panicked.
//!
//! Made by `boot`; then in VMX-root by the core that has the line.

use super::apart;
use super::instructions as ins;
use super::io::Registers;
use super::phys::DirectMap;
use crate::cores::exclusive::Exclusive;
use crate::port::{HostTransport, Owned, PhysicalMemory, Senses};
use crate::rtc::Rtc;
use crate::transport::net::Memory;
use crate::transport::net::card::{Card, CardIo, Mac, Macs, SECOND_WINDOW, WINDOWS};
use crate::transport::net::kinds::{AnyCard, Kind};
use crate::transport::net::network::{Network, Parts};
use crate::transport::net::settings::Settings;
use crate::transport::ways::Answered;
use wire_protocol::address::{Extent, GuestPhysical};
use wire_protocol::packet::NetworkCounts;
use wire_protocol::secure::{Entropy, ROOM_BYTES};
use wire_protocol::transport::Transport;

/// Registers of a card, as the platform found and mapped them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// In whole pages; empty if there is none.
    pub physical: Extent<GuestPhysical>,
    /// Where the kernel maps them, uncached.
    pub linear: u64,
}

/// The card, as the platform found it. All of it is nobody else's from now on.
#[derive(Clone, Copy, Debug)]
pub struct CardPlan {
    /// What it is.
    pub kind: Kind,
    /// Its registers.
    pub windows: [Window; WINDOWS],
    /// The memory that it reads and writes by itself, in whole pages.
    pub memory: Extent<GuestPhysical>,
    /// What the card has to say to reach that: its address on the bus.
    pub memory_address: u64,
    /// The address on the network that it had when it was taken.
    pub own_mac: Mac,
    /// Ticks of the time-stamp counter in a millisecond.
    pub tsc_khz: u32,
}

/// Registers and memory of a card.
#[derive(Clone, Copy)]
pub struct CardAccess {
    plan: CardPlan,
    memory: DirectMap,
}

impl CardAccess {
    /// # Safety
    /// CPL 0. The registers are those of a network card that nobody else drives, mapped where the plan says in the kernel and in
    /// VMX-root. The card's memory is nobody else's, and the only one that the card can be told to use.
    #[must_use]
    pub const unsafe fn new(plan: CardPlan, memory: DirectMap) -> Self {
        Self { plan, memory }
    }

    /// What belongs to the card.
    fn owns(&self) -> Owned {
        let [first, second] = self.plan.windows.map(|window| window.physical);
        let pieces = Owned {
            memory: [first, second, self.plan.memory, Extent::EMPTY],
            ..Owned::default()
        };
        // Without gaps: what is behind an empty one nobody would look at.
        pieces.and(Owned::default())
    }

    /// Where a register of so many bytes is mapped.
    fn register_at(&self, at: u32, len_bytes: u32) -> Option<u64> {
        let window = self.plan.windows.get((at / SECOND_WINDOW) as usize)?;
        let offset = at % SECOND_WINDOW;
        let end = u64::from(offset) + u64::from(len_bytes);
        let is_there = end <= window.physical.len_bytes() && at.is_multiple_of(len_bytes);
        is_there.then(|| window.linear.wrapping_add(u64::from(offset)))
    }

    /// Where bytes of the memory are, if all are.
    fn place(&self, at: usize, len_bytes: usize) -> Option<u64> {
        let end = at.checked_add(len_bytes)? as u64;
        (end <= self.plan.memory.len_bytes()).then(|| self.plan.memory.start().0 + at as u64)
    }
}

/// A register of one width: how it is read and written.
macro_rules! registers {
    ($value:ty, $read:ident, $write:ident) => {
        fn $read(&self, at: u32) -> $value {
            let Some(at) = self.register_at(at, size_of::<$value>() as u32) else {
                return <$value>::MAX;
            };
            // SAFETY: a register of the card, aligned and mapped, by contract of `new`.
            unsafe { (at as *const $value).read_volatile() }
        }

        fn $write(&mut self, at: u32, value: $value) {
            let Some(at) = self.register_at(at, size_of::<$value>() as u32) else {
                return;
            };
            // SAFETY: a register of the card, aligned and mapped, by contract of `new`. All the memory that it can be told to
            // use is the card's.
            unsafe { (at as *mut $value).write_volatile(value) }
        }
    };
}

impl CardIo for CardAccess {
    registers!(u32, register, set_register);
    registers!(u16, register_u16, set_register_u16);
    registers!(u8, register_u8, set_register_u8);

    fn wait_us(&self, time_us: u32) {
        let ticks = u64::from(time_us) * u64::from(self.plan.tsc_khz) / 1000;
        let from = tsc();
        while tsc().wrapping_sub(from) < ticks {
            core::hint::spin_loop();
        }
    }

    fn memory_address(&self) -> u64 {
        self.plan.memory_address
    }

    fn physical_address(&self) -> u64 {
        self.plan.memory.start().0
    }

    fn word(&self, at: usize) -> u64 {
        let place = self.place(at, size_of::<u64>());
        place.map_or(0, |place| self.memory.read_u64(place))
    }

    fn set_word(&mut self, at: usize, value: u64) {
        if let Some(place) = self.place(at, size_of::<u64>()) {
            self.memory.write_u64(place, value);
        }
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        match self.place(at, out.len()) {
            Some(place) => self.memory.read(place, out),
            None => out.fill(0),
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.place(at, bytes.len()) {
            self.memory.write(place, bytes);
        }
    }
}

fn tsc() -> u64 {
    // SAFETY: at CPL 0 by contract of `CardAccess::new` and `Machine::new`, where CR4.TSD does not matter.
    unsafe { x86::time::rdtsc() }
}

/// What the machine has besides.
#[derive(Clone, Copy)]
pub struct Machine {
    has_rdrand: bool,
    /// Ticks of the time-stamp counter in a millisecond.
    tsc_khz: u32,
    /// Microseconds since 1970 when the time-stamp counter was at 0, by the operating system's clock at load.
    epoch_us: u64,
    rtc: Option<&'static RtcHere>,
}

/// The machine's real-time clock.
pub type RtcHere = Exclusive<Rtc<Registers>>;

impl Machine {
    /// # Safety
    /// CPL 0. `has_rdrand` is what CPUID says.
    #[must_use]
    pub const unsafe fn new(
        has_rdrand: bool,
        tsc_khz: u32,
        epoch_us: u64,
        rtc: Option<&'static RtcHere>,
    ) -> Self {
        Self {
            has_rdrand,
            tsc_khz,
            epoch_us,
            rtc,
        }
    }
}

impl Senses for Machine {
    fn random(&self) -> Option<u64> {
        if !self.has_rdrand {
            return None;
        }
        // SAFETY: the processor has the instruction, by contract of `new`.
        unsafe { ins::rdrand() }
    }

    fn tsc(&self) -> u64 {
        tsc()
    }

    fn clock_us(&mut self) -> u64 {
        let clock = crate::clock::Clock::new(self.tsc_khz);
        let system_us = self.epoch_us.saturating_add(clock.microseconds(self.tsc()));
        // The time-stamp counter of a machine that was restored is that of then; its real-time clock is not.
        let now_us = self.rtc.and_then(|rtc| {
            let read = rtc.try_with(|rtc| rtc.now_us(system_us));
            read.flatten()
        });
        now_us.map_or(system_us, |now_us| now_us.max(system_us))
    }
}

type Driven = Network<'static, AnyCard<CardAccess>, Machine>;
type SocketMemory = Memory<'static>;

/// Memory of a network, and the stack that it runs on.
#[derive(Clone, Copy, Debug)]
pub struct NetworkPlace {
    /// Room for [`NETWORK_BYTES`].
    network: *mut Driven,
    memory: *mut SocketMemory,
    stack_top: u64,
}

/// See [`NetworkPlace`].
pub const NETWORK_BYTES: u32 = size_of::<Driven>() as u32;
/// See [`NetworkPlace`].
pub const MEMORY_BYTES: u32 = size_of::<SocketMemory>() as u32;

impl NetworkPlace {
    /// # Safety
    /// These are pieces of memory of [`NETWORK_BYTES`], [`MEMORY_BYTES`] and [`apart::STACK_BYTES`], aligned to pages, mapped in
    /// VMX-root, and nobody else's.
    #[must_use]
    pub const unsafe fn new(network: u64, memory: u64, stack: u64) -> Self {
        Self {
            network: network as *mut Driven,
            memory: memory as *mut SocketMemory,
            stack_top: stack + apart::STACK_BYTES as u64,
        }
    }
}

/// See the module.
pub struct NetworkLine {
    place: NetworkPlace,
    access: CardAccess,
    machine: Machine,
    settings: Settings,
    entropy: Entropy,
    /// None before it begins, and if it cannot be made.
    network: Option<&'static mut Driven>,
    /// The time that the last call had.
    clock_us: u64,
    now_us: u64,
    /// Of networks that were lost.
    lost: NetworkCounts,
    /// Of this one, at the end of what was last done with it.
    counts: NetworkCounts,
    /// For tests: at each so many-th frame; 0: never.
    panic_every: u32,
}

impl NetworkLine {
    /// One that does nothing before it begins.
    #[must_use]
    pub const fn new(
        place: NetworkPlace,
        access: CardAccess,
        machine: Machine,
        settings: Settings,
        entropy: Entropy,
    ) -> Self {
        Self {
            place,
            access,
            machine,
            settings,
            entropy,
            network: None,
            clock_us: 0,
            now_us: 0,
            lost: NetworkCounts::NONE,
            counts: NetworkCounts::NONE,
            panic_every: 0,
        }
    }

    /// The same, with code that panics at each so many-th frame; 0: never.
    #[must_use]
    pub fn panicking(self, panic_every: u32) -> Self {
        Self {
            panic_every,
            ..self
        }
    }

    /// Does something with the network; where it panics, there is a new one afterwards.
    fn with<R>(&mut self, work: impl FnOnce(&mut Driven) -> R) -> Option<R> {
        let network = self.network.take()?;
        // SAFETY: in VMX-root, where transports are used; the stack is free, since only the core that has the line comes here.
        let done = unsafe { apart::run(self.place.stack_top, || (work(network), network)) };
        match done {
            Some((result, network)) => {
                self.clock_us = network.clock_us();
                self.counts = network.counts();
                self.network = Some(network);
                Some(result)
            }
            None => {
                self.lost = self.lost.and(&self.counts);
                self.lost.rebuilt += 1;
                self.counts = NetworkCounts::NONE;
                self.renew();
                None
            }
        }
    }

    /// Sets the card up anew and makes a network, in the place of one that was lost or never was.
    fn renew(&mut self) {
        let seed = self.entropy.draw(&self.machine.tsc().to_le_bytes());
        let Self {
            place,
            access,
            machine,
            settings,
            clock_us,
            now_us,
            panic_every,
            ..
        } = self;
        let make = || {
            let macs = Macs::new(access.plan.own_mac, settings.mac);
            let mut card = AnyCard::new(access.plan.kind, *access, macs);
            card.begin();
            // SAFETY: this memory is nobody else's by contract of `NetworkPlace::new`, and what used it was left for good.
            unsafe { place.memory.write(Memory::new()) };
            // SAFETY: as above; it is written and nobody else has it.
            let memory = unsafe { &mut *place.memory };
            let network = Network::new(Parts {
                memory,
                card,
                settings,
                entropy: Entropy::new(seed),
                senses: *machine,
                clock_us: *clock_us,
                now_us: *now_us,
                panic_every: *panic_every,
            });
            // SAFETY: this memory is nobody else's by contract of `NetworkPlace::new`, and what used it was left for good.
            unsafe { place.network.write(network) };
        };
        // SAFETY: in VMX-root, where transports are used; the stack is free, since only the core that has the line comes here.
        let made = unsafe { apart::run(place.stack_top, make) };
        self.network = made.map(|()| {
            // SAFETY: it was made right now, and nobody else has it.
            unsafe { &mut *self.place.network }
        });
    }
}

impl Transport for NetworkLine {
    fn turn(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.with(|network| network.turn(now_us));
    }

    fn datagram_bytes(&self) -> Option<usize> {
        Some(ROOM_BYTES)
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        let network = self.network.as_mut();
        network.map_or(0, |network| network.receive(into))
    }

    fn room(&mut self) -> usize {
        let network = self.network.as_ref();
        network.map_or(0, |network| network.room())
    }

    fn send(&mut self, from: &[u8]) {
        if !from.is_empty() {
            self.with(|network| network.send(from));
        }
    }

    fn byte_time_ns(&self) -> u32 {
        0
    }
}

impl Answered for NetworkLine {
    fn is_answered(&self) -> bool {
        let network = self.network.as_ref();
        network.is_some_and(|network| network.is_answered())
    }
}

impl HostTransport for NetworkLine {
    fn owns(&self) -> Owned {
        self.access.owns()
    }

    fn begin(&mut self) {
        self.renew();
    }

    fn mend(&mut self) {
        self.with(Network::mend);
    }

    fn network(&self) -> Option<NetworkCounts> {
        Some(self.lost.and(&self.counts))
    }

    fn stir(&mut self, bits: u64) {
        self.entropy.stir(&bits.to_le_bytes());
        self.with(|network| network.stir(bits));
    }
}
