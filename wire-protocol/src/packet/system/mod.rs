//! The handshake: versions, abilities, and what the host has to know of the machine.

mod linux;

pub use linux::LinuxLayout;

use crate::address::{Extent, GuestPhysical, GuestVirtual};
use crate::codec::{
    self, EncodeError, Parsed, Writer, boolean, byte, difference, fixed_u64, narrow, reject, run,
    take, when, whole,
};
use crate::digest::DigestKey;
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::run::{Stop, parse_stop, write_stop};
use bitflags::bitflags;

/// Version of the protocol, the form of programs included. Both ends name theirs in the handshake.
pub const PROTOCOL_VERSION: u16 = 4;

bitflags! {
    /// Optional abilities. Each end uses only what both have.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Memory replies may be compressed.
        const COMPRESSED_MEMORY = 1;
        /// A memory read may name the content that is expected by digest.
        const EXPECTED_MEMORY = 2;
        /// Of the debuggee alone: it has a network, of which the counts of messages tell.
        const NETWORK = 8;
        /// Steps of a thread, not of a core alone.
        const THREAD_STEPS = 16;
        /// Stops say what runs where the machine stopped, and there are lists of processes and threads.
        const TASKS = 32;
        /// In the place of compressed memory, for a line on which a byte costs less than packing it so: memory of 64 bytes or
        /// more that is one byte over and over is told by that byte, and what looks like code is packed quickly.
        const QUICK_MEMORY = 64;
    }
}

impl Features {
    /// What a debuggee that can do it says only to hosts that can, too.
    pub const OF_BOTH: Self = Self::COMPRESSED_MEMORY
        .union(Self::QUICK_MEMORY)
        .union(Self::THREAD_STEPS)
        .union(Self::TASKS);
}

/// What the host has to know of the guest's operating system. Its tag and its length come first,
/// so that a host which does not know a system can still read the rest, and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestSystem<'a> {
    /// Linux.
    Linux(LinuxLayout),
    /// A system that this version does not know.
    Unknown {
        /// Its number.
        tag: u8,
        /// What stands there.
        layout: &'a [u8],
    },
}

/// Numbers of operating systems.
mod tag {
    pub(super) const LINUX: u8 = 1;
}

/// Design constants in force, for `.status` and error messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    /// Arena in all.
    pub arena_bytes: u64,
    /// Part of the arena that only `prealloc` may take.
    pub prealloc_only_bytes: u64,
    /// Halted time is taken out of the guest's time-stamp counter.
    pub hide_time: bool,
    /// Polls of the line per second while the guest runs.
    pub poll_hz: u32,
}

/// The debuggee introduces itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hello<'a> {
    /// What it can do.
    pub features: Features,
    /// Drawn at load; a change means the driver was loaded anew.
    pub session: u64,
    /// Of the digests that stand for memory in this session. None without
    /// [`Features::EXPECTED_MEMORY`].
    pub key: Option<DigestKey>,
    /// Cores under the hypervisor.
    pub cores: u16,
    /// Where the kernel image starts in virtual memory (`_text` on Linux).
    pub kernel_base: GuestVirtual,
    /// Where all physical memory is mapped in the kernel; 0 if nowhere.
    pub direct_map_base: GuestVirtual,
    /// The driver's own image in guest virtual memory.
    pub driver_image: Extent<GuestVirtual>,
    /// Ticks of the time-stamp counter in a millisecond.
    pub tsc_khz: u32,
    /// See [`GuestSystem`].
    pub system: GuestSystem<'a>,
    /// See [`Constants`].
    pub constants: Constants,
    /// The kernel's own version line, UTF-8.
    pub banner: &'a str,
    /// RAM of the machine, in ascending order.
    pub ram: RamRanges<'a>,
    /// The halt the debuggee is in, if it is.
    pub stop: Option<Stop<'a>>,
}

/// Ranges of RAM, still encoded.
pub type RamRanges<'a> = List<'a, Extent<GuestPhysical>>;

impl<'a> Item<'a> for Extent<GuestPhysical> {
    const LIMIT: usize = limits::RAM_RANGES;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, start) = codec::size(input)?;
        let (rest, len_bytes) = codec::size(rest)?;
        match Self::new(GuestPhysical(start), len_bytes) {
            Some(range) => Ok((rest, range)),
            None => reject(input),
        }
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.size(self.start().0)?;
        out.size(self.len_bytes())
    }
}

/// What an end says about itself: in the words of this version, or of another.
pub(crate) enum Spoken<'a, T> {
    /// It can be read.
    Ours(T),
    /// It cannot.
    Foreign {
        /// The other version.
        version: u16,
        /// All that follows.
        body: &'a [u8],
    },
}

/// Both ends say their version first, whatever it is. What follows is that version's. A request
/// stays so short that the buffer of a serial port takes it whole: the guest may be running, and
/// nobody be there to empty it.
pub(crate) fn write_hello_request(
    features: Features,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(PROTOCOL_VERSION)?;
    out.varint(features.bits())
}

/// Abilities of a newer host are kept as they are; nobody uses what both do not have.
pub(crate) fn parse_hello_request(input: &[u8]) -> Parsed<'_, Spoken<'_, Features>> {
    let (rest, version) = narrow(input)?;
    if version != PROTOCOL_VERSION {
        let (rest, body) = take(rest.len())(rest)?;
        return Ok((rest, Spoken::Foreign { version, body }));
    }
    let (rest, features) = parse_features(rest)?;
    Ok((rest, Spoken::Ours(features)))
}

/// What another version says about itself, as it is.
pub(crate) fn write_foreign_hello(
    version: u16,
    body: &[u8],
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if version == PROTOCOL_VERSION {
        return Err(EncodeError::OverLimit);
    }
    out.varint(version)?;
    out.bytes(body)
}

fn parse_key(input: &[u8]) -> Parsed<'_, DigestKey> {
    let (rest, bytes) = take(DigestKey::BYTES)(input)?;
    match bytes.try_into() {
        Ok(bytes) => Ok((rest, DigestKey(bytes))),
        Err(_) => reject(input),
    }
}

fn parse_features(input: &[u8]) -> Parsed<'_, Features> {
    let (rest, bits) = narrow(input)?;
    Ok((rest, Features::from_bits_retain(bits)))
}

/// Its own context: addresses stand relative to the kernel base that it carries, whatever base
/// the message was given.
pub(crate) fn write_hello(hello: &Hello<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let base = hello.kernel_base.0;
    out.varint(PROTOCOL_VERSION)?;
    out.varint(hello.features.bits())?;
    out.bytes(&hello.session.to_le_bytes())?;
    out.byte(u8::from(hello.key.is_some()))?;
    if let Some(key) = &hello.key {
        out.bytes(&key.0)?;
    }
    out.varint(hello.cores)?;
    out.difference(base, 0)?;
    out.difference(hello.direct_map_base.0, 0)?;
    out.difference(hello.driver_image.start().0, base)?;
    out.size(hello.driver_image.len_bytes())?;
    out.varint(hello.tsc_khz)?;
    write_system(&hello.system, base, out)?;
    write_constants(&hello.constants, out)?;
    out.run(hello.banner.as_bytes(), limits::BANNER_BYTES)?;
    hello.ram.write(base, out)?;
    out.byte(u8::from(hello.stop.is_some()))?;
    match &hello.stop {
        Some(stop) => write_stop(stop, base, out),
        None => Ok(()),
    }
}

pub(crate) fn parse_hello(input: &[u8]) -> Parsed<'_, Spoken<'_, Hello<'_>>> {
    let (rest, version) = narrow(input)?;
    if version != PROTOCOL_VERSION {
        let (rest, body) = take(rest.len())(rest)?;
        return Ok((rest, Spoken::Foreign { version, body }));
    }
    let (rest, features) = parse_features(rest)?;
    let (rest, session) = fixed_u64(rest)?;
    let (rest, is_keyed) = boolean(rest)?;
    let (rest, key) = when(is_keyed, parse_key, rest)?;
    let (rest, cores) = narrow(rest)?;
    let (rest, base) = difference(0)(rest)?;
    let (rest, direct_map_base) = difference(0)(rest)?;
    let (rest, driver_start) = difference(base)(rest)?;
    let (rest, driver_bytes) = codec::size(rest)?;
    let (rest, tsc_khz) = narrow(rest)?;
    let Some(driver_image) = Extent::new(GuestVirtual(driver_start), driver_bytes) else {
        return reject(input);
    };
    let (rest, system) = parse_system(base, rest)?;
    let (rest, constants) = parse_constants(rest)?;
    let (rest, banner) = run(limits::BANNER_BYTES)(rest)?;
    let Ok(banner) = core::str::from_utf8(banner) else {
        return reject(input);
    };
    let (rest, ram) = RamRanges::parse(base)(rest)?;
    let (rest, stopped) = boolean(rest)?;
    let (rest, stop) = when(stopped, |input| parse_stop(base, input), rest)?;
    Ok((
        rest,
        Spoken::Ours(Hello {
            features,
            session,
            key,
            cores,
            kernel_base: GuestVirtual(base),
            direct_map_base: GuestVirtual(direct_map_base),
            driver_image,
            tsc_khz,
            system,
            constants,
            banner,
            ram,
            stop,
        }),
    ))
}

/// Its tag, its length, and what the file of the system writes.
fn write_system(
    system: &GuestSystem<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    match system {
        GuestSystem::Linux(layout) => {
            let mut scratch = [0; limits::SYSTEM_BYTES];
            let mut inner = Writer::new(&mut scratch);
            linux::write(layout, base, &mut inner)?;
            out.byte(tag::LINUX)?;
            out.run(inner.written(), limits::SYSTEM_BYTES)
        }
        GuestSystem::Unknown {
            tag: tag::LINUX, ..
        } => Err(EncodeError::OverLimit),
        GuestSystem::Unknown { tag, layout } => {
            out.byte(*tag)?;
            out.run(layout, limits::SYSTEM_BYTES)
        }
    }
}

fn parse_system(base: u64, input: &[u8]) -> Parsed<'_, GuestSystem<'_>> {
    let (rest, tag) = byte(input)?;
    let (rest, layout) = run(limits::SYSTEM_BYTES)(rest)?;
    let system = match tag {
        tag::LINUX => match whole(linux::parse(base, layout)) {
            Some(layout) => GuestSystem::Linux(layout),
            None => return reject(input),
        },
        tag => GuestSystem::Unknown { tag, layout },
    };
    Ok((rest, system))
}

fn write_constants(constants: &Constants, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.size(constants.arena_bytes)?;
    out.size(constants.prealloc_only_bytes)?;
    out.byte(u8::from(constants.hide_time))?;
    out.varint(constants.poll_hz)
}

fn parse_constants(input: &[u8]) -> Parsed<'_, Constants> {
    let (rest, arena_bytes) = codec::size(input)?;
    let (rest, prealloc_only_bytes) = codec::size(rest)?;
    let (rest, hide_time) = boolean(rest)?;
    let (rest, poll_hz) = narrow(rest)?;
    Ok((
        rest,
        Constants {
            arena_bytes,
            prealloc_only_bytes,
            hide_time,
            poll_hz,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, ID, reply_body, reply_is_malformed, request_body, request_is_malformed,
        unencodable_reply,
    };
    use crate::packet::{Hits, Message, StopCause};
    use crate::packet::{Reply, Request};
    use std::vec::Vec;

    fn hello(banner: &'static str, stop: Option<Stop<'static>>) -> Hello<'static> {
        Hello {
            features: Features::COMPRESSED_MEMORY,
            session: 0x0102_0304_0506_0708,
            key: Some(DigestKey([7; 16])),
            cores: 2,
            kernel_base: GuestVirtual(0xffff_ffff_9a00_0000),
            direct_map_base: GuestVirtual(0xffff_8880_0000_0000),
            driver_image: Extent::new(GuestVirtual(0xffff_ffff_c012_3000), 0x20_0000).unwrap(),
            tsc_khz: 2_400_000,
            system: GuestSystem::Linux(LinuxLayout::default()),
            constants: Constants::default(),
            banner,
            ram: RamRanges::EMPTY,
            stop,
        }
    }

    /// The same with one byte changed.
    fn with(mut body: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
        body[at] = byte;
        body
    }

    #[test]
    fn request_is_version_and_features() {
        let features = Features::all();
        assert_eq!(request_body(Request::Hello { features }), [4, 123]);
    }

    #[test]
    fn abilities_of_a_newer_side_are_kept() {
        let features = Features::from_bits_retain(0x81);
        assert_eq!(request_body(Request::Hello { features }), [4, 0x81, 1]);
    }

    #[test]
    fn other_versions_are_read_whatever_they_say_and_nothing_else() {
        for (version, body) in [(2, &[4][..]), (300, &[1, 2, 3, 4]), (0, &[])] {
            request_body(Request::ForeignHello { version, body });
            reply_body(Reply::ForeignHello { version, body });
        }
        request_is_malformed(RequestKind::Hello, &[]);
        request_is_malformed(RequestKind::Hello, &[4, 4, 0]);
        reply_is_malformed(ReplyKind::Hello, &[4]);
        let (version, body) = (PROTOCOL_VERSION, &[][..]);
        assert!(unencodable_reply(Reply::ForeignHello { version, body }).is_some());
    }

    #[test]
    fn a_system_of_which_nothing_is_known_leaves_the_rest_readable() {
        let system = GuestSystem::Unknown {
            tag: 9,
            layout: &[1, 2, 3],
        };
        reply_body(Reply::Hello(Hello {
            system,
            ..hello("Something 1.0", None)
        }));
    }

    #[test]
    fn a_layout_that_is_not_a_whole_one_is_rejected() {
        let body = reply_body(Reply::Hello(hello("", None)));
        let at = body.windows(2).position(|pair| pair == [tag::LINUX, 30]);
        let at = at.expect("the tag, and the length: three addresses of five bytes, 15 zeroes");
        reply_is_malformed(ReplyKind::Hello, &with(body, at + 1, 29));
    }

    #[test]
    fn reply_reads_the_same_with_any_base() {
        let stop = Stop {
            halt: 1,
            cause: StopCause::BreakIn,
            core: crate::address::CoreId(0),
            rip: GuestVirtual(0xffff_ffff_9a00_0040),
            code: &[0x90],
            missing_cores: 0,
            hits: Hits::EMPTY,
            task: None,
        };
        let reply = Reply::Hello(hello("Linux version 6.18.0", Some(stop)));
        let mut message = [0; 256];
        let mut out = Writer::new(&mut message);
        reply.encode(ID, BASE, &mut out).unwrap();
        let read = Message::decode(out.written(), GuestVirtual(0));
        assert_eq!(read, Ok(Message::Reply { id: ID, reply }));
    }

    #[test]
    fn ranges_of_ram_come_back() {
        let low = Extent::new(GuestPhysical(0x1000), 0x9_e000).unwrap();
        let high = Extent::new(GuestPhysical(1 << 32), 1 << 31).unwrap();
        let mut scratch = [0; 64];
        let ram = RamRanges::encode_into([low, high], BASE, &mut scratch).unwrap();
        assert!(ram.iter().eq([low, high]));
        reply_body(Reply::Hello(Hello {
            ram,
            ..hello("", None)
        }));
    }

    #[test]
    fn banner_that_is_no_text_is_rejected() {
        let body = reply_body(Reply::Hello(hello("Z", None)));
        let at = body.iter().rposition(|&byte| byte == b'Z').unwrap();
        reply_is_malformed(ReplyKind::Hello, &with(body, at, 0xff));
    }

    #[test]
    fn banner_above_the_limit_is_not_written() {
        let long = std::string::String::from_utf8(std::vec![b'Z'; 193]).unwrap();
        let hello = Hello {
            banner: &long,
            ..hello("", None)
        };
        let error = write_hello(&hello, &mut Writer::new(&mut [0; 512]));
        assert_eq!(error, Err(EncodeError::OverLimit));
    }

    #[test]
    fn stop_that_is_neither_there_nor_not_is_rejected() {
        let body = reply_body(Reply::Hello(hello("", None)));
        let last = body.len() - 1;
        reply_is_malformed(ReplyKind::Hello, &with(body.clone(), last, 1));
        reply_is_malformed(ReplyKind::Hello, &with(body, last, 2));
    }

    #[test]
    fn reply_that_is_cut_is_rejected() {
        let body = reply_body(Reply::Hello(hello("Linux", None)));
        for len in 0..body.len() {
            reply_is_malformed(ReplyKind::Hello, &body[..len]);
        }
    }
}
