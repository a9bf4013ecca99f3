//! The handshake.

use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use wire_protocol::digest::DigestKey;
use wire_protocol::packet::{Features, Hello, PROTOCOL_VERSION, RamRanges, Reply, Stop};
use wire_protocol::refusal::Refusal;

/// Introduces the debuggee to a host of the same version. A session begins.
pub fn hello<'s, P: Ports>(
    cpu: &P::Cpu,
    shared: &Shared<P>,
    features: Features,
    stop: Option<Stop<'s>>,
    scratch: &'s mut [u8],
) -> Reply<'s> {
    let key = draw_key(cpu);
    shared.begin_session(features, key);
    let facts = &shared.facts;
    let (for_banner, for_ram) = scratch.split_at_mut(scratch.len().min(facts.banner().len()));
    for_banner.copy_from_slice(facts.banner().as_bytes());
    Reply::Hello(Hello {
        features: offered(features, key.is_some(), shared.fixed.has_network),
        session: facts.session,
        key,
        cores: facts.core_count,
        kernel_base: facts.kernel_base,
        direct_map_base: facts.layout.kernel.direct_map.start(),
        driver_image: facts.driver_image,
        tsc_khz: facts.tsc_khz,
        system: facts.layout.for_host(),
        constants: facts.constants,
        banner: core::str::from_utf8(for_banner).unwrap_or(""),
        ram: RamRanges::encode_into(
            facts.ram(),
            wire_protocol::address::GuestVirtual(0),
            for_ram,
        )
        .unwrap_or(RamRanges::EMPTY),
        stop,
    })
}

/// What this end can do of what a host can.
fn offered(by_host: Features, has_key: bool, has_network: bool) -> Features {
    let mut features = by_host & Features::OF_BOTH;
    features.set(Features::EXPECTED_MEMORY, has_key);
    features.set(Features::NETWORK, has_network);
    features
}

/// The answer to a host of another version.
#[must_use]
pub const fn refuse_version<'s>() -> Reply<'s> {
    Reply::Refused(Refusal::ProtocolVersion {
        ours: PROTOCOL_VERSION,
    })
}

/// A key for the digests of a session, from a source that the guest neither controls nor sees.
/// Without one, memory is sent as it is.
fn draw_key(cpu: &impl Cpu) -> Option<DigestKey> {
    let halves = [cpu.random()?, cpu.random()?];
    let mut key = DigestKey::default();
    for (bytes, half) in key.0.chunks_exact_mut(8).zip(halves) {
        bytes.copy_from_slice(&half.to_le_bytes());
    }
    Some(key)
}
