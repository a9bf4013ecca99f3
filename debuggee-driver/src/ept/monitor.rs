//! Which bytes of the guest's memory are watched for reads, writes and fetches, and by whom.
//!
//! A watched range is kept in pieces that each lie in one *unit*: a page of 4 KiB, or 2 MiB where the range covers
//! all of them. Every piece brings the page object that its unit needs. Changed with every core
//! halted; looked up by all cores while the guest runs.

use super::entry::{Level, Permissions};
use crate::pool::list::FixedList;
use crate::pool::slab::{CAPACITY, Reserved};
use wire_protocol::address::{EventId, GuestPhysical};
use wire_protocol::event::{Access, PoolClass};

/// Pieces there can be: one page object each.
pub const PIECES_MAX: usize = *CAPACITY.get(PoolClass::Monitor) as usize;

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub at: GuestPhysical,
    /// At least one byte; within the unit.
    pub len_bytes: u64,
    /// The unit: [`Level::Page4K`] or [`Level::Page2M`].
    pub unit: Level,
}

impl Span {
    /// First byte of the unit.
    #[must_use]
    pub const fn unit_start(&self) -> u64 {
        self.at.0 & !(self.unit.bytes() - 1)
    }
}

/// One piece of what an event watches.
#[derive(Debug)]
pub struct Piece {
    /// Where it lies.
    pub span: Span,
    /// Which accesses.
    pub access: Access,
    /// The event.
    pub event: EventId,
    /// A disabled piece takes no permission away.
    pub enabled: bool,
    /// Its page object.
    pub object: Reserved,
}

/// Bytes that an instruction touches, within one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// First byte.
    pub at: GuestPhysical,
    /// Bytes, up to the end of the page at most.
    pub len_bytes: u16,
    /// What is done with them.
    pub access: Access,
}

impl Touch {
    fn meets(&self, piece: &Piece) -> bool {
        let (start, end) = (piece.span.at.0, piece.span.at.0 + piece.span.len_bytes);
        piece.enabled
            && piece.access.intersects(self.access)
            && start < self.at.0 + u64::from(self.len_bytes)
            && self.at.0 < end
    }
}

/// All pieces, by the size of their unit, in ascending order of address.
#[derive(Debug)]
pub struct Monitors {
    small: FixedList<Piece, PIECES_MAX>,
    large: FixedList<Piece, PIECES_MAX>,
}

impl Default for Monitors {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitors {
    /// Nothing is watched.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            small: FixedList::new(),
            large: FixedList::new(),
        }
    }

    /// Pieces, enabled or not.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// Adds a piece. There is room for every page object there can be.
    pub fn add(&mut self, piece: Piece) {
        let list = self.list_mut(piece.span.unit);
        let key = |piece: &Piece| (piece.span.at, piece.event);
        let (Ok(place) | Err(place)) = list.find(&key(&piece), key);
        let inserted = list.insert(place, piece);
        debug_assert!(inserted.is_ok(), "as many pieces as page objects");
    }

    /// Takes one piece of an event out; `None` if it has no more.
    pub fn take(&mut self, event: EventId) -> Option<Piece> {
        for list in [&mut self.small, &mut self.large] {
            let place = list.iter().position(|piece| piece.event == event);
            if let Some(piece) = place.and_then(|place| list.remove(place)) {
                return Some(piece);
            }
        }
        None
    }

    /// Enables or disables the pieces of an event.
    pub fn set_enabled(&mut self, event: EventId, enabled: bool) {
        let all = self.small.iter_mut().chain(self.large.iter_mut());
        for piece in all.filter(|piece| piece.event == event) {
            piece.enabled = enabled;
        }
    }

    /// Where the pieces of an event lie.
    pub fn spans(&self, event: EventId) -> impl Iterator<Item = Span> {
        let all = self.small.iter().chain(self.large.iter());
        all.filter(move |piece| piece.event == event)
            .map(|piece| piece.span)
    }

    /// Whether an event has a piece that lies just there.
    #[must_use]
    pub fn has(&self, event: EventId, span: &Span) -> bool {
        let list = match span.unit {
            Level::Page4K => &self.small,
            _ => &self.large,
        };
        let place = list.find(&(span.at, event), |piece| (piece.span.at, piece.event));
        let found = place.ok().and_then(|place| list.get(place));
        found.is_some_and(|piece| piece.span == *span)
    }

    /// Accesses that are watched somewhere on the page of `at`.
    #[must_use]
    pub fn on_page(&self, at: GuestPhysical) -> Access {
        let small = self.small_on(at.page()).map(enabled_access);
        small.fold(self.on_large_page(at), |all, one| all | one)
    }

    /// Accesses that are watched in the whole 2 MiB around `at`.
    #[must_use]
    pub fn on_large_page(&self, at: GuestPhysical) -> Access {
        let large = self.large_around(at).map(enabled_access);
        large.fold(Access::empty(), |all, one| all | one)
    }

    /// Whether the page of `at` is a unit of its own, watched or not.
    #[must_use]
    pub fn has_small_in(&self, start: GuestPhysical, len_bytes: u64) -> bool {
        let place = self.small.place_where_not(|piece| piece.span.at < start);
        let next = self.small.get(place);
        next.is_some_and(|next| next.span.at.0 - start.0 < len_bytes)
    }

    /// Whether a unit of 2 MiB lies in a range.
    #[must_use]
    pub fn has_large_in(&self, start: GuestPhysical, len_bytes: u64) -> bool {
        let place = self.large.place_where_not(|piece| piece.span.at < start);
        let next = self.large.get(place);
        next.is_some_and(|next| next.span.at.0 - start.0 < len_bytes)
    }

    /// Whether anything of what may be touched is watched.
    #[must_use]
    pub fn is_any_met(&self, touch: &Touch) -> bool {
        self.meeting(touch).next().is_some()
    }

    /// Bytes from `at` to the first one on its page that is watched for one of these accesses: 0 if that is `at`
    /// itself, all there are if there is none. `None` if nothing is watched on the page for itself, or if pages of
    /// 2 MiB are watched.
    #[must_use]
    pub fn distance(&self, at: GuestPhysical, access: Access) -> Option<u64> {
        if !self.large.is_empty() {
            return None;
        }
        let mut nearest = None;
        for piece in self.small_on(at.page()).filter(|piece| piece.enabled) {
            let Span {
                at: start,
                len_bytes,
                ..
            } = piece.span;
            let is_met = piece.access.intersects(access) && at.0 < start.0 + len_bytes;
            let distance_bytes = if is_met {
                start.0.saturating_sub(at.0)
            } else {
                u64::MAX
            };
            nearest = Some(distance_bytes.min(nearest.unwrap_or(u64::MAX)));
        }
        nearest
    }

    /// Events that watch what is touched, and did not watch what the same instruction touched
    /// `earlier`; in ascending order of number.
    pub fn events(&self, touch: Touch, earlier: Option<Touch>) -> impl Iterator<Item = EventId> {
        let is_new = move |event: EventId| {
            earlier.is_none_or(|earlier| self.meeting(&earlier).all(|piece| piece.event != event))
        };
        let mut last = None;
        core::iter::from_fn(move || {
            let events = self.meeting(&touch).map(|piece| piece.event);
            last = events
                .filter(|event| last.is_none_or(|last| *event > last) && is_new(*event))
                .min();
            last
        })
        .fuse()
    }

    fn meeting(&self, touch: &Touch) -> impl Iterator<Item = &Piece> {
        let touch = *touch;
        self.small_on(touch.at.page())
            .chain(self.large_around(touch.at))
            .filter(move |piece| touch.meets(piece))
    }

    fn small_on(&self, page: GuestPhysical) -> impl Iterator<Item = &Piece> {
        let place = self.small.place_where_not(|piece| piece.span.at < page);
        self.small
            .iter_from(place)
            .take_while(move |piece| piece.span.at.page() == page)
    }

    fn large_around(&self, at: GuestPhysical) -> impl Iterator<Item = &Piece> {
        let start = GuestPhysical(at.0 & !(Level::Page2M.bytes() - 1));
        let place = self.large.place_where_not(|piece| piece.span.at < start);
        self.large
            .iter_from(place)
            .take_while(move |piece| piece.span.at == start)
    }

    const fn list_mut(&mut self, unit: Level) -> &mut FixedList<Piece, PIECES_MAX> {
        match unit {
            Level::Page4K => &mut self.small,
            _ => &mut self.large,
        }
    }
}

fn enabled_access(piece: &Piece) -> Access {
    if piece.enabled {
        piece.access
    } else {
        Access::empty()
    }
}

/// What may still be done with a page on which `watched` accesses shall exit.
#[must_use]
pub fn left_to(watched: Access) -> Permissions {
    let mut left = Permissions::all();
    if watched.contains(Access::READ) {
        // The processor has no writable page that cannot be read.
        left -= Permissions::READ | Permissions::WRITE;
    }
    if watched.contains(Access::WRITE) {
        left -= Permissions::WRITE;
    }
    if watched.contains(Access::EXECUTE) {
        left -= Permissions::EXECUTE;
    }
    left
}
