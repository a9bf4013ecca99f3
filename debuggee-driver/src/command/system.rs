//! The handshake.

use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::packet::{Features, Hello, PROTOCOL_VERSION, RamRanges, Reply, Stop};
use wire_protocol::refusal::Refusal;

/// Introduces the debuggee to a host of the same version.
pub fn hello<'s, P: Ports>(
    shared: &Shared<P>,
    version: u16,
    features: Features,
    stop: Option<Stop<'s>>,
    scratch: &'s mut [u8],
) -> Reply<'s> {
    if version != PROTOCOL_VERSION {
        return Reply::Refused(Refusal::ProtocolVersion {
            ours: PROTOCOL_VERSION,
        });
    }
    shared.set_host_features(features);
    let facts = &shared.facts;
    let (for_banner, for_ram) = scratch.split_at_mut(scratch.len().min(facts.banner().len()));
    for_banner.copy_from_slice(facts.banner().as_bytes());
    Reply::Hello(Hello {
        version: PROTOCOL_VERSION,
        features: Features::EXPECTED_MEMORY | Features::COMPRESSED_MEMORY,
        session: facts.session,
        cores: facts.core_count,
        kernel_base: facts.kernel_base,
        direct_map_base: wire_protocol::address::GuestVirtual(facts.layout.direct_map_base),
        driver_image: facts.driver_image,
        tsc_khz: facts.tsc_khz,
        modules: facts.modules,
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
