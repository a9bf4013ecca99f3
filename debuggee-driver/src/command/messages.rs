//! What programs printed: counting it, and throwing it away; and how it stands with the network. Also while the guest runs, by the
//! core that has the line.

use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::packet::{MessageCounts, NetworkCounts, Reply, Request};

/// `flush`, and the counts.
pub fn answer<'s, P: Ports>(
    shared: &Shared<P>,
    request: &Request<'_>,
    network: Option<NetworkCounts>,
) -> Reply<'s> {
    if *request == Request::Flush {
        shared.messages.flush();
    }
    Reply::MessageCounts(MessageCounts {
        network,
        ..shared.messages.counts()
    })
}
