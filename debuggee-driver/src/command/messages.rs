//! What programs printed: counting it, and throwing it away. Also while the guest runs, by the
//! core that has the line.

use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::packet::{Reply, Request};

/// `flush`, and the counts.
pub fn answer<'s, P: Ports>(shared: &Shared<P>, request: &Request<'_>) -> Reply<'s> {
    if *request == Request::Flush {
        shared.messages.flush();
    }
    Reply::MessageCounts(shared.messages.counts())
}
