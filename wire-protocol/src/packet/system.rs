//! The handshake: versions, abilities, and what the host has to know of the machine.

use crate::address::GuestVirtual;
use crate::codec::{
    self, EncodeError, Parsed, Writer, boolean, difference, fixed_u64, narrow, reject, run, when,
};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::run::{Stop, parse_stop, write_stop};
use bitflags::bitflags;

/// Version of the protocol. Both ends name theirs in the handshake.
pub const PROTOCOL_VERSION: u16 = 2;

bitflags! {
    /// Optional abilities. Each end uses only what both have.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Memory replies may be compressed.
        const COMPRESSED_MEMORY = 1;
        /// A memory read may name the content that is expected by digest.
        const EXPECTED_MEMORY = 2;
    }
}

/// A stretch of guest memory that is RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RamRange {
    /// First byte.
    pub start: u64,
    /// Length.
    pub len_bytes: u64,
}

/// Where things stand in the guest kernel's structures. Zero where the system has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModuleLayout {
    /// Address of the list head of loaded modules.
    pub list_head: u64,
    /// Offset of the list node in `struct module`.
    pub list: u32,
    /// Offset of the name (NUL-terminated, in place).
    pub name: u32,
    /// Offset of the pointer to the first byte of the core text.
    pub base: u32,
    /// Offset of the 32-bit size of the core image.
    pub size: u32,
    /// Offset of the pointer to the symbol table descriptor (`struct mod_kallsyms *`).
    pub kallsyms: u32,
    /// In `struct mod_kallsyms`: offsets of the symbol array pointer, the symbol count, the string table pointer.
    pub kallsyms_symtab: u32,
    /// See [`Self::kallsyms_symtab`].
    pub kallsyms_count: u32,
    /// See [`Self::kallsyms_symtab`].
    pub kallsyms_strtab: u32,
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
    /// [`PROTOCOL_VERSION`] of the debuggee.
    pub version: u16,
    /// What it can do.
    pub features: Features,
    /// Drawn at load; a change means the driver was loaded anew.
    pub session: u64,
    /// Cores under the hypervisor.
    pub cores: u16,
    /// Where the kernel image starts in virtual memory (`_text` on Linux).
    pub kernel_base: GuestVirtual,
    /// Where all physical memory is mapped in the kernel; 0 if nowhere.
    pub direct_map_base: GuestVirtual,
    /// The driver's own image in guest virtual memory: first byte and length.
    pub driver_image: (GuestVirtual, u64),
    /// Ticks of the time-stamp counter in a millisecond.
    pub tsc_khz: u32,
    /// See [`ModuleLayout`].
    pub modules: ModuleLayout,
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
pub type RamRanges<'a> = List<'a, RamRange>;

impl<'a> Item<'a> for RamRange {
    const LIMIT: usize = limits::RAM_RANGES;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, start) = codec::size(input)?;
        let (rest, len_bytes) = codec::size(rest)?;
        Ok((rest, Self { start, len_bytes }))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.size(self.start)?;
        out.size(self.len_bytes)
    }
}

/// The layout of this request never changes, whatever the version.
pub(crate) fn write_hello_request(
    version: u16,
    features: Features,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(version)?;
    out.varint(features.bits())
}

/// Abilities of a newer host are kept as they are; nobody uses what both do not have.
pub(crate) fn parse_hello_request(input: &[u8]) -> Parsed<'_, (u16, Features)> {
    let (rest, version) = narrow(input)?;
    let (rest, features) = parse_features(rest)?;
    Ok((rest, (version, features)))
}

fn parse_features(input: &[u8]) -> Parsed<'_, Features> {
    let (rest, bits) = narrow(input)?;
    Ok((rest, Features::from_bits_retain(bits)))
}

/// Its own context: addresses stand relative to the kernel base that it carries, whatever base
/// the message was given.
pub(crate) fn write_hello(hello: &Hello<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let base = hello.kernel_base.0;
    out.varint(hello.version)?;
    out.varint(hello.features.bits())?;
    out.bytes(&hello.session.to_le_bytes())?;
    out.varint(hello.cores)?;
    out.difference(base, 0)?;
    out.difference(hello.direct_map_base.0, 0)?;
    out.difference(hello.driver_image.0.0, base)?;
    out.size(hello.driver_image.1)?;
    out.varint(hello.tsc_khz)?;
    write_modules(&hello.modules, base, out)?;
    write_constants(&hello.constants, out)?;
    out.run(hello.banner.as_bytes(), limits::BANNER_BYTES)?;
    hello.ram.write(base, out)?;
    out.byte(u8::from(hello.stop.is_some()))?;
    match &hello.stop {
        Some(stop) => write_stop(stop, base, out),
        None => Ok(()),
    }
}

pub(crate) fn parse_hello(input: &[u8]) -> Parsed<'_, Hello<'_>> {
    let (rest, version) = narrow(input)?;
    let (rest, features) = parse_features(rest)?;
    let (rest, session) = fixed_u64(rest)?;
    let (rest, cores) = narrow(rest)?;
    let (rest, base) = difference(0)(rest)?;
    let (rest, direct_map_base) = difference(0)(rest)?;
    let (rest, driver_start) = difference(base)(rest)?;
    let (rest, driver_bytes) = codec::size(rest)?;
    let (rest, tsc_khz) = narrow(rest)?;
    let (rest, modules) = parse_modules(base, rest)?;
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
        Hello {
            version,
            features,
            session,
            cores,
            kernel_base: GuestVirtual(base),
            direct_map_base: GuestVirtual(direct_map_base),
            driver_image: (GuestVirtual(driver_start), driver_bytes),
            tsc_khz,
            modules,
            constants,
            banner,
            ram,
            stop,
        },
    ))
}

fn write_modules(
    modules: &ModuleLayout,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.difference(modules.list_head, base)?;
    out.varint(modules.list)?;
    out.varint(modules.name)?;
    out.varint(modules.base)?;
    out.varint(modules.size)?;
    out.varint(modules.kallsyms)?;
    out.varint(modules.kallsyms_symtab)?;
    out.varint(modules.kallsyms_count)?;
    out.varint(modules.kallsyms_strtab)
}

fn parse_modules(base: u64, input: &[u8]) -> Parsed<'_, ModuleLayout> {
    let (rest, list_head) = difference(base)(input)?;
    let (rest, list) = narrow(rest)?;
    let (rest, name) = narrow(rest)?;
    let (rest, base) = narrow(rest)?;
    let (rest, size) = narrow(rest)?;
    let (rest, kallsyms) = narrow(rest)?;
    let (rest, kallsyms_symtab) = narrow(rest)?;
    let (rest, kallsyms_count) = narrow(rest)?;
    let (rest, kallsyms_strtab) = narrow(rest)?;
    Ok((
        rest,
        ModuleLayout {
            list_head,
            list,
            name,
            base,
            size,
            kallsyms,
            kallsyms_symtab,
            kallsyms_count,
            kallsyms_strtab,
        },
    ))
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
    use crate::packet::kind::ReplyKind;
    use crate::packet::testing::{BASE, ID, reply_body, reply_is_malformed, request_body};
    use crate::packet::{Hits, Message, StopCause};
    use crate::packet::{Reply, Request};
    use std::vec::Vec;

    fn hello(banner: &'static str, stop: Option<Stop<'static>>) -> Hello<'static> {
        Hello {
            version: PROTOCOL_VERSION,
            features: Features::COMPRESSED_MEMORY,
            session: 0x0102_0304_0506_0708,
            cores: 2,
            kernel_base: GuestVirtual(0xffff_ffff_9a00_0000),
            direct_map_base: GuestVirtual(0xffff_8880_0000_0000),
            driver_image: (GuestVirtual(0xffff_ffff_c012_3000), 0x20_0000),
            tsc_khz: 2_400_000,
            modules: ModuleLayout::default(),
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
        let version = 300;
        let features = Features::all();
        assert_eq!(
            request_body(Request::Hello { version, features }),
            [0xac, 2, 3]
        );
    }

    #[test]
    fn abilities_of_a_newer_side_are_kept() {
        let version = 1;
        let features = Features::from_bits_retain(0x41);
        assert_eq!(
            request_body(Request::Hello { version, features }),
            [1, 0x41]
        );
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
        let low = RamRange {
            start: 0x1000,
            len_bytes: 0x9_e000,
        };
        let high = RamRange {
            start: 1 << 32,
            len_bytes: 1 << 31,
        };
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
