//! At what the machine halts by itself, and how it is ended on purpose.

use super::{Context, too_long};
use crate::port::Ports;
use wire_protocol::packet::{OccasionRules, Reply};
use wire_protocol::refusal::Refusal;

/// Changes what is to be otherwise, and says all.
///
/// # Errors
/// None that the limits leave.
pub fn change<'s, P: Ports>(
    context: &Context<'_, '_, P>,
    changes: &OccasionRules<'_>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let shared = context.shared;
    shared.occasions.change(changes.iter());
    let room = scratch.len();
    OccasionRules::encode_into(shared.occasions.rules(), shared.facts.kernel_base, scratch)
        .map(Reply::Occasions)
        .map_err(|_| too_long(room))
}
