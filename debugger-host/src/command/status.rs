//! The session and the debuggee, as `.status` and a new session tell of them.

use crate::answer::status::{
    Constants, Dropped, Endpoint, KernelSymbols, Line, Network, State, Status,
};
use crate::answer::{Count, Hex};
use crate::session::{Session, SessionError};
use crate::symbol::resolve::Symbols;
use crate::transport;
use wire_protocol::secure::{self, Cause};

fn endpoint(endpoint: transport::Endpoint) -> Endpoint {
    match endpoint {
        transport::Endpoint::Serial {
            device,
            baud,
            baud_fixed,
        } => Endpoint::Serial {
            device,
            baud,
            baud_fixed,
        },
        transport::Endpoint::Socket { path } => Endpoint::Socket {
            path: path.display().to_string(),
        },
        transport::Endpoint::Tcp { address } => Endpoint::Tcp { address },
        transport::Endpoint::Pipe { name } => Endpoint::Pipe { name },
        transport::Endpoint::PipeServer { name } => Endpoint::PipeServer { name },
        transport::Endpoint::Net { address, key } => Endpoint::Net {
            address: address.to_string(),
            key: key.id,
        },
    }
}

fn dropped(counts: &secure::Dropped) -> Vec<Dropped> {
    let all = Cause::ALL.map(|cause| (cause, counts.of(cause)));
    all.into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| Dropped {
            cause: cause.into(),
            count: Count(count),
        })
        .collect()
}

/// What is known of the session and the debuggee.
///
/// # Errors
/// When there is none.
pub(super) fn status(session: &Session, symbols: &Symbols) -> Result<Status, SessionError> {
    let identity = session.identity();
    let constants = &identity.constants;
    let health = session.health();
    let link = health.statistics;
    let some = |baud_hz: u32| (baud_hz != 0).then_some(baud_hz);
    Ok(Status {
        line: Line {
            endpoint: endpoint(
                session
                    .endpoint()
                    .ok_or(SessionError::NotConnected)?
                    .clone(),
            ),
            lost: health.lost,
            baud: some(health.rate.baud_hz),
            failed_baud: some(health.rate.failed_hz),
            sent_bytes: Count(link.sent_bytes),
            received_bytes: Count(link.received_bytes),
            requests: Count(session.request_count()),
            sent_frames: Count(link.sent_frames),
            repeated_frames: Count(link.repeated_frames),
            received_frames: Count(link.received_frames),
            broken_frames: Count(link.broken_frames),
            duplicate_frames: Count(link.duplicate_frames),
            gap_frames: Count(link.gap_frames),
            dropped: dropped(&health.dropped),
        },
        network: session.network().map(|counts| Network {
            dropped: dropped(&counts.dropped),
            sessions: Count(counts.sessions),
            rebuilt: Count(counts.rebuilt),
            card_resets: Count(counts.card_resets),
            heard_ms_ago: counts.heard_ms_ago.map(Count),
        }),
        banner: identity.banner.clone(),
        session: Hex(identity.session),
        cores: identity.cores,
        kernel_base: Hex(identity.kernel_base.0),
        tsc_khz: identity.tsc_khz,
        state: match session.halt() {
            Some(halt) => State::Halted {
                number: halt.number,
                core: session.core().0,
            },
            None if session.is_taken_over() => State::TakenOver {},
            None if session.driver_is_gone() => State::DriverGone {},
            None => State::Running {},
        },
        symbols: symbols.kernel().map(|table| KernelSymbols {
            count: u32::try_from(table.len()).unwrap_or(u32::MAX),
            slide: Hex(table.slide()),
        }),
        constants: Constants {
            arena_bytes: Count(constants.arena_bytes),
            prealloc_only_bytes: Count(constants.prealloc_only_bytes),
            hides_time: constants.hide_time,
            poll_hz: constants.poll_hz,
        },
    })
}
