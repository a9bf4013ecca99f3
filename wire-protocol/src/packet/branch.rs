//! Last-branch records. Requests are made by the host and answered by the driver while the debuggee
//! is halted.

use crate::address::CoreId;
use crate::branch::{BRANCHES_MAX, Branch, BranchOrder, Notes};
use crate::codec::{EncodeError, Parsed, Writer, boolean, difference, narrow, one_of, reject};
use crate::packet::list::{Item, List};

/// What a core recorded, the newest first, still encoded.
pub type Branches<'a> = List<'a, Branch>;

impl<'a> Item<'a> for Branch {
    const LIMIT: usize = BRANCHES_MAX;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, from) = difference(*previous)(input)?;
        let (rest, to) = difference(from)(rest)?;
        let (rest, bits) = narrow(rest)?;
        *previous = from;
        let notes = Notes::from_bits(bits);
        if notes.to_bits() == bits {
            Ok((rest, Self { from, to, notes }))
        } else {
            reject(input)
        }
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        out.difference(self.from, *previous)?;
        out.difference(self.to, self.from)?;
        *previous = self.from;
        out.varint(self.notes.to_bits())
    }
}

pub(crate) fn write_change(
    order: BranchOrder,
    filter: u16,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(order.to_wire())?;
    out.varint(filter)
}

pub(crate) fn parse_change(input: &[u8]) -> Parsed<'_, (BranchOrder, u16)> {
    let (rest, order) = one_of(BranchOrder::from_wire, input)?;
    let (rest, filter) = narrow(rest)?;
    Ok((rest, (order, filter)))
}

pub(crate) fn write_read(core: CoreId, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(core.0)
}

pub(crate) fn parse_read(input: &[u8]) -> Parsed<'_, CoreId> {
    narrow(input).map(|(rest, core)| (rest, CoreId(core)))
}

pub(crate) fn write_branches(
    is_on: bool,
    branches: &Branches<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(u8::from(is_on))?;
    branches.write(base, out)
}

pub(crate) fn parse_branches(base: u64, input: &[u8]) -> Parsed<'_, (bool, Branches<'_>)> {
    let (rest, is_on) = boolean(input)?;
    let (rest, branches) = Branches::parse(base)(rest)?;
    Ok((rest, (is_on, branches)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::BranchKind;
    use crate::packet::Reply;
    use crate::packet::kind::ReplyKind;
    use crate::packet::testing::{BASE, reply_body, reply_is_malformed};

    #[test]
    fn branches_stand_one_behind_the_other() {
        let branch = |from, to, kind| Branch {
            from: BASE.0 + from,
            to: BASE.0 + to,
            notes: Notes {
                kind,
                ..Notes::default()
            },
        };
        let mut scratch = [0; 32];
        let branches = [
            branch(1, 3, None),
            branch(2, 2, Some(BranchKind::Conditional)),
        ];
        let branches = Branches::encode_into(branches, BASE, &mut scratch).unwrap();
        let is_on = true;
        let reply = Reply::Branches { is_on, branches };
        assert_eq!(reply_body(reply), [1, 2, 2, 4, 0, 2, 0, 0x80, 0x80, 4]);
    }

    #[test]
    fn branches_that_are_cut_are_rejected() {
        reply_is_malformed(ReplyKind::Branches, &[1, 1, 2]);
        reply_is_malformed(ReplyKind::Branches, &[2, 0]);
    }
}
