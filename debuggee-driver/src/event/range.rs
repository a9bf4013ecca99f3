//! The range that a monitor watches, cut into the pieces that [`crate::ept::monitor`] keeps.
//!
//! A virtual range is looked up page by page when the command comes; what the guest maps there later, only events in the
//! memory of a process follow ([`super::follow`]).

use super::installed::Installed;
use crate::ept::entry::Level;
use crate::ept::monitor::{PIECES_MAX, Span};
use crate::ept::table::View;
use crate::guest::walk;
use crate::pool::Pools;
use crate::port::{Hidden, PhysicalMemory};
use wire_protocol::address::{Extent, GuestPhysical, GuestVirtual};
use wire_protocol::event::{Access, PoolClass};
use wire_protocol::refusal::Refusal;

/// What a monitor watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte, virtual if there are tables to look it up in.
    pub from: u64,
    /// At least one.
    pub len_bytes: u64,
    /// Which accesses.
    pub access: Access,
    /// CR3 and CR4 of the address space, if `from` is virtual.
    pub tables: Option<(u64, u64)>,
}

impl Range {
    /// Its pieces, in order, until one is not present.
    pub fn spans<'a>(
        &'a self,
        mem: &'a impl PhysicalMemory,
    ) -> impl Iterator<Item = Result<Span, Refusal>> + 'a {
        let mut done_bytes = 0;
        core::iter::from_fn(move || {
            let left_bytes = self.len_bytes.checked_sub(done_bytes)?;
            if left_bytes == 0 {
                return None;
            }
            let from = self.from.wrapping_add(done_bytes);
            match self.span(mem, from, left_bytes) {
                Ok(span) => {
                    done_bytes += span.len_bytes;
                    Some(Ok(span))
                }
                Err(refusal) => {
                    done_bytes = self.len_bytes;
                    Some(Err(refusal))
                }
            }
        })
    }

    /// The refusal that says that there are not objects enough for all pieces.
    pub fn exhausted(&self, mem: &impl PhysicalMemory, pools: &Pools) -> Refusal {
        // More than there can be are not counted.
        let needed = self.spans(mem).take(PIECES_MAX + 1).count();
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        pools.exhausted(PoolClass::Monitor, needed)
    }

    /// The piece that starts at `from`.
    fn span(&self, mem: &impl PhysicalMemory, from: u64, left_bytes: u64) -> Result<Span, Refusal> {
        let (at, together_bytes) = match self.tables {
            None => (GuestPhysical(from), left_bytes),
            Some((cr3, cr4)) => {
                let found = walk::translate(mem, cr3, cr4, GuestVirtual(from))?;
                let behind = found.page_bytes - (from & (found.page_bytes - 1));
                (found.address, behind.min(left_bytes))
            }
        };
        let large_bytes = Level::Page2M.bytes();
        let span = if at.0.is_multiple_of(large_bytes) && together_bytes >= large_bytes {
            Span {
                at,
                len_bytes: large_bytes,
                unit: Level::Page2M,
            }
        } else {
            let in_page = Level::Page4K.bytes() - at.offset() as u64;
            Span {
                at,
                len_bytes: together_bytes.min(in_page),
                unit: Level::Page4K,
            }
        };
        Ok(span)
    }
}

/// Checks that a piece may be watched.
///
/// # Errors
/// It is not mapped, or some of it is the debugger's.
pub(super) fn check(
    span: &Span,
    installed: &Installed,
    mem: &impl PhysicalMemory,
) -> Result<(), Refusal> {
    let views = installed.views();
    let limit = GuestPhysical(views.limit);
    // A unit may be larger than what is mapped at the end of memory.
    if span
        .at
        .0
        .checked_add(span.len_bytes)
        .is_none_or(|end| end > limit.0)
    {
        return Err(Refusal::PhysicalOutOfRange {
            address: span.at,
            limit,
        });
    }
    if installed.hides(span.at.page()) {
        return Err(Refusal::DebuggerMemory { address: span.at });
    }
    let watched = Extent::new(span.at, span.len_bytes).unwrap_or_default();
    if let Some(owned) = installed.owned().find(|piece| watched.overlaps(piece)) {
        let address = owned.start();
        return Err(Refusal::DebuggerMemory { address });
    }
    match first_unwatchable(mem, &views.hooked, span) {
        Some(address) => Err(Refusal::DebuggerMemory { address }),
        None => Ok(()),
    }
}

/// The first page of a piece's unit that cannot be watched, see [`View::plan_split`].
fn first_unwatchable(mem: &impl PhysicalMemory, view: &View, span: &Span) -> Option<GuestPhysical> {
    let mut at = span.unit_start();
    while at - span.unit_start() < span.unit.bytes() {
        let Some(plan) = view.plan_split(mem, at, span.unit) else {
            return Some(GuestPhysical(at));
        };
        at += plan.leaf().level.bytes().min(span.unit.bytes());
    }
    None
}
