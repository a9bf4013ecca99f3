//! What the host program finds at the other end of a network card that is tried: the driver's own line, link and secure channel,
//! and a core of few requests behind them, which says what is true of the kernel that it is in.
//!
//! A break-in makes the module hold all cores, and from then on memory is read. All that takes a hypervisor is refused.

use super::super::{RawText, table};
use debuggee_driver::hw::network::NetworkLine;
use debuggee_driver::line::{Buffers, Line};
use wire_protocol::address::{CoreId, Extent, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Storage};
use wire_protocol::packet::{
    Constants, Features, GuestSystem, Hello, Hits, LinuxLayout, MemoryAt, MessageCounts,
    NetworkCounts, Notice, RamRanges, Reply, Request, Stop, StopCause,
};
use wire_protocol::refusal::Refusal;

/// Bytes of the kernel that a halt is told with.
const CODE_BYTES: usize = 16;

/// Copies bytes of the kernel that can be read; how many that were.
type Reader = unsafe extern "C" fn(address: u64, to: *mut u8, len_bytes: usize) -> usize;

/// `struct served` of the module.
#[repr(C)]
pub(super) struct RawServed {
    cores: u64,
    kernel_base: u64,
    direct_map: u64,
    tsc_khz: u64,
    session: u64,
    stands_at: u64,
    banner: RawText,
    read: Option<Reader>,
}

/// What the module is to do: `enum served_wish` of it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Wish {
    Nothing = 0,
    Halt = 1,
    Go = 2,
}

/// What is true of the kernel.
struct About {
    cores: u16,
    kernel_base: GuestVirtual,
    direct_map: GuestVirtual,
    tsc_khz: u32,
    session: u64,
    /// Where the core stands that serves a halt.
    stands_at: GuestVirtual,
    banner: &'static str,
    read: Option<Reader>,
}

/// See the module.
pub(super) struct Served {
    line: Line<NetworkLine>,
    about: About,
    halts: u32,
    is_halted: bool,
    is_told: bool,
}

/// Memory of a link and of messages.
pub(super) struct Rooms {
    pub(super) link: &'static mut [u8],
    pub(super) message: &'static mut [u8; limits::MESSAGE_BYTES],
    pub(super) lists: &'static mut [u8; limits::MESSAGE_BYTES],
}

impl About {
    /// As many bytes as can be read.
    fn read(&self, address: GuestVirtual, into: &mut [u8]) -> usize {
        let Some(read) = self.read else {
            return 0;
        };
        // SAFETY: the module's function reads what can be read, and writes at most as many bytes as there is room for.
        unsafe { read(address.0, into.as_mut_ptr(), into.len()) }.min(into.len())
    }

    fn stop<'s>(&self, halts: u32, code: &'s mut [u8]) -> Stop<'s> {
        let len = self.read(self.stands_at, code);
        Stop {
            halt: halts,
            cause: StopCause::BreakIn,
            core: CoreId(0),
            rip: self.stands_at,
            code: code.get(..len).unwrap_or_default(),
            missing_cores: 0,
            hits: Hits::EMPTY,
            task: None,
        }
    }

    fn hello<'s>(&'s self, stop: Option<Stop<'s>>) -> Reply<'s> {
        Reply::Hello(Hello {
            features: Features::NETWORK,
            session: self.session,
            key: None,
            cores: self.cores,
            kernel_base: self.kernel_base,
            direct_map_base: self.direct_map,
            driver_image: Extent::default(),
            tsc_khz: self.tsc_khz,
            // It knows of no structure of the kernel's.
            system: GuestSystem::Linux(LinuxLayout::default()),
            constants: Constants::default(),
            banner: self.banner,
            ram: RamRanges::EMPTY,
            stop,
        })
    }

    fn memory<'s>(&self, at: MemoryAt, len_bytes: u32, lists: &'s mut [u8]) -> Reply<'s> {
        let MemoryAt::Virtual { address, .. } = at else {
            return Reply::Refused(Refusal::Malformed);
        };
        let Some(room) = lists.get_mut(..len_bytes as usize) else {
            return Reply::Refused(Refusal::Malformed);
        };
        let present = self.read(address, room);
        match room.get(..present) {
            Some(bytes) if present > 0 => Reply::Memory {
                len_bytes: present as u32,
                packing: None,
                bytes,
            },
            _ => Reply::Refused(Refusal::NotPresent { address }),
        }
    }
}

impl Served {
    /// One that does nothing before its line begins. None if there is too little room.
    ///
    /// # Safety
    /// The texts of `raw` are there as long as this is.
    pub(super) unsafe fn new(network: NetworkLine, raw: &RawServed, rooms: Rooms) -> Option<Self> {
        // SAFETY: there are as many bytes of text as the module says, by contract.
        let banner = unsafe { table(raw.banner.bytes, raw.banner.len_bytes) };
        let storage = Storage::carve(rooms.link)?;
        let buffers = Buffers {
            message: rooms.message,
            lists: rooms.lists,
        };
        Some(Self {
            line: Line::new(network, storage, buffers),
            about: About {
                cores: raw.cores as u16,
                kernel_base: GuestVirtual(raw.kernel_base),
                direct_map: GuestVirtual(raw.direct_map),
                tsc_khz: raw.tsc_khz as u32,
                session: raw.session,
                stands_at: GuestVirtual(raw.stands_at),
                banner: core::str::from_utf8(banner).unwrap_or_default(),
                read: raw.read,
            },
            halts: 0,
            is_halted: false,
            is_told: true,
        })
    }

    pub(super) fn begin(&mut self) {
        self.line.begin();
    }

    /// One look at the line. `is_halted`: all cores are held, and this one does nothing else.
    pub(super) fn turn(&mut self, now_us: u64, is_halted: bool) -> Wish {
        if is_halted != self.is_halted {
            self.is_halted = is_halted;
            self.is_told = !is_halted;
            self.halts += u32::from(is_halted);
        }
        if !self.is_told {
            self.is_told = self.announce();
        }
        match self.line.turn(now_us) {
            Some(Incoming::Message) => self.answer(),
            Some(Incoming::BreakIn) if !is_halted && self.line.is_in_session() => Wish::Halt,
            Some(
                Incoming::BreakIn | Incoming::Connected | Incoming::Busy | Incoming::TakenOver,
            )
            | None => Wish::Nothing,
        }
    }

    fn announce(&mut self) -> bool {
        let Self {
            line, about, halts, ..
        } = self;
        !line.is_in_session()
            || line.send_notice(|lists| {
                let code = lists.get_mut(..CODE_BYTES).unwrap_or_default();
                Notice::Stopped(about.stop(*halts, code))
            })
    }

    fn answer(&mut self) -> Wish {
        let base = self.line.base;
        let network = self.line.network();
        let Self {
            line,
            about,
            halts,
            is_halted,
            is_told,
        } = self;
        let (mut base_after, mut wish) = (base, Wish::Nothing);
        let (
            message,
            Buffers {
                message: out,
                lists,
            },
        ) = line.received();
        let kind = message.first().copied().unwrap_or_default();
        let (id, reply) = match Request::decode(message, base) {
            Ok((id, Request::Hello { .. })) => {
                base_after = about.kernel_base;
                // A host that comes in a halt is told so with this.
                *is_told = true;
                let code = lists.get_mut(..CODE_BYTES).unwrap_or_default();
                let stop = is_halted.then(|| about.stop(*halts, code));
                (id, about.hello(stop))
            }
            Ok((id, Request::Flush | Request::MessageCounts)) => (id, counts(network)),
            Ok((id, _)) if !*is_halted => (id, Reply::Refused(Refusal::NotHalted)),
            Ok((id, Request::ReadMemory { at, len_bytes, .. })) => {
                (id, about.memory(at, len_bytes, lists))
            }
            Ok((id, Request::Go)) => {
                wish = Wish::Go;
                (id, Reply::Done)
            }
            Ok((id, _)) => (id, Reply::Refused(Refusal::UnknownRequest { kind })),
            Err(error) => {
                let (id, refusal) = error.answer();
                (id, Reply::Refused(refusal))
            }
        };
        let len_bytes = reply.encode_or_refuse(id, base, out);
        line.release();
        line.base = base_after;
        // A host that is gone needs no answer.
        let _ = line.send_reply(len_bytes);
        wish
    }
}

fn counts<'s>(network: Option<NetworkCounts>) -> Reply<'s> {
    Reply::MessageCounts(MessageCounts {
        network,
        ..MessageCounts::default()
    })
}
