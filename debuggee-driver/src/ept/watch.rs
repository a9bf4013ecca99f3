//! Which pages of the guest are watched, and what the guest finds in their place.
//!
//! A page with hidden breakpoints keeps its content in memory: reads and writes of the guest
//! and of the debugger go there. What the guest executes is the *shadow* page, a copy with
//! a breakpoint instruction at every hook that is enabled, or with a jump where each detour begins; in the hooked view the page leads to
//! the shadow. Monitors take permissions away. Hooks and monitors may share a page: the hooked view leaves
//! what all of them leave. A page that nobody enabled watches is mapped as ever.
//!
//! After each write to such a page, every hook on it is judged: it is shown only while an instruction starts there
//! ([`super::reference`]), and a detour only while that is the instruction that was moved.
//!
//! Changed with every core halted; looked up by all cores while the guest runs. How hooks stand to the code also
//! changes then, by the core that copies pages into their shadows.
//!
//! Table pages. Each page object brings two table pages into the pools' stock. A hooked page has
//! one, and so has every unit that a monitor watches. Each needs at most two tables that were not there at boot, and
//! tables are merged away as soon as nothing below them is watched. So tables in the view are
//! never more than twice the page objects, and the stock never runs dry.

use super::entry::{Entry, Level, MemoryType, Permissions};
use super::hook::{Hook, JUMP_BYTES, NewHook};
use super::links::Links;
use super::monitor::{self, Monitors, Piece};
use super::reference::Reference;
use super::table::{Leaf, Split, View};
use crate::pool::Pools;
use crate::pool::list::FixedList;
use crate::pool::slab::{CAPACITY, EVENTS_MAX, Reserved};
use crate::port::PhysicalMemory;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, Ordering};
use wire_protocol::address::{EventId, GuestPhysical, PAGE_BYTES};
use wire_protocol::event::{Access, PoolClass, Standing};
use wire_protocol::refusal::{EventRefusal, Refusal};

/// Hooks that one page can carry.
pub const HOOKS_PER_PAGE: u32 = 40;

/// Pages that can be hooked: one page object each.
pub const PAGES_MAX: usize = (*CAPACITY.get(PoolClass::EptHook)
    + *CAPACITY.get(PoolClass::EptHook2)
    + *CAPACITY.get(PoolClass::ThreadInterception)) as usize;

/// What a page needs that carries no hook yet.
#[derive(Debug)]
pub struct NewPage {
    /// Its page object.
    pub object: Reserved,
    /// Physical address of the object's first page.
    pub shadow: u64,
    /// What leads to a 4 KiB leaf.
    pub split: Split,
}

#[derive(Debug)]
struct Page {
    page: GuestPhysical,
    object: Reserved,
    shadow: u64,
    /// What stood in the hooked view before.
    original: Entry,
}

/// Everything that is watched; the lists are in ascending order of address.
#[derive(Debug)]
pub struct Watches {
    /// One event has at most one. Of those at the same address, the oldest first.
    hooks: FixedList<Hook, EVENTS_MAX>,
    pages: FixedList<Page, PAGES_MAX>,
    monitors: Monitors,
    links: Links,
}

impl Default for Watches {
    fn default() -> Self {
        Self::new()
    }
}

impl Watches {
    /// Nothing is watched.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hooks: FixedList::new(),
            pages: FixedList::new(),
            monitors: Monitors::new(),
            links: Links::new(),
        }
    }

    /// Hooks at `at`, enabled or not, the oldest event first.
    fn hooks_at(&self, at: GuestPhysical) -> impl Iterator<Item = &Hook> {
        let place = self.hooks.place_where_not(|hook| hook.new.at < at);
        self.hooks
            .iter_from(place)
            .take_while(move |hook| hook.new.at == at)
    }

    /// Whether the byte at `at` is a breakpoint in the hooked view.
    #[must_use]
    pub fn is_hooked(&self, at: GuestPhysical) -> bool {
        self.hooks_at(at)
            .any(|hook| hook.patch().is_some() && hook.is_breakpoint())
    }

    /// Whether the page of `gpa` carries hooks, enabled or not.
    #[must_use]
    pub fn has_page(&self, gpa: GuestPhysical) -> bool {
        self.page_place(gpa.page()).is_ok()
    }

    /// What is watched for reads, writes and fetches.
    #[must_use]
    pub const fn monitors(&self) -> &Monitors {
        &self.monitors
    }

    /// Entries of page tables that are followed.
    #[must_use]
    #[inline]
    pub const fn links(&self) -> &Links {
        &self.links
    }

    /// Whether a hook may be added at `at`, or a detour.
    ///
    /// # Errors
    /// The page has [`HOOKS_PER_PAGE`], or hooks of the other kind; or a detour is over the same bytes.
    pub fn check(&self, at: GuestPhysical, is_detour: bool) -> Result<(), Refusal> {
        let is_in_the_way = |other: &&Hook| {
            other.new.jump.is_some() != is_detour
                || is_detour && other.new.at.0.abs_diff(at.0) < JUMP_BYTES as u64
        };
        if let Some(other) = self.hooks_on(at.page()).find(is_in_the_way) {
            return Err(Refusal::Event(EventRefusal::PageTaken {
                event: other.new.event,
            }));
        }
        if self.hooks_on(at.page()).count() >= HOOKS_PER_PAGE as usize {
            return Err(Refusal::Event(EventRefusal::TooManyHooksOnPage {
                limit: HOOKS_PER_PAGE,
            }));
        }
        Ok(())
    }

    /// Adds an enabled hook that [`Self::check`] accepted. `new_page` is given exactly if
    /// [`Self::has_page`] is false.
    pub fn add_hook(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        new: NewHook,
        new_page: Option<NewPage>,
    ) {
        let page = new.at.page();
        if let (Some(added), Err(place)) = (new_page, self.page_place(page)) {
            let leaf = view.split(mem, added.split);
            let made = Page {
                page,
                object: added.object,
                shadow: added.shadow,
                original: leaf.entry.unwatched(),
            };
            let inserted = self.pages.insert(place, made);
            debug_assert!(inserted.is_ok(), "as many pages as page objects");
        }
        if let Err(place) = self.hook_place(new.at, new.event) {
            let hook = Hook {
                new,
                enabled: true,
                standing: AtomicU8::new(Standing::Active.to_wire()),
            };
            let inserted = self.hooks.insert(place, hook);
            debug_assert!(inserted.is_ok(), "as many hooks as events");
        }
        self.show(mem, view, page, Level::Page4K);
    }

    /// Removes an event's hook at `at`. With the last one, the page is mapped as ever, tables that are
    /// not needed any more return to `pools`, and so does the page object.
    pub fn remove_hook(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        at: GuestPhysical,
        event: EventId,
    ) {
        let Ok(place) = self.hook_place(at, event) else {
            return;
        };
        self.hooks.remove(place);
        let page = at.page();
        self.show(mem, view, page, Level::Page4K);
        if self.hooks_on(page).next().is_some() {
            return;
        }
        let Ok(place) = self.page_place(page) else {
            return;
        };
        let gone = self.pages.remove(place);
        self.merge(mem, view, pools, page);
        if let Some(gone) = gone {
            pools.release(gone.object);
        }
    }

    /// Enables or disables an event's hook at `at`.
    pub fn enable_hook(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        at: GuestPhysical,
        event: EventId,
        enabled: bool,
    ) {
        if let Ok(place) = self.hook_place(at, event) {
            if let Some(hook) = self.hooks.get_mut(place) {
                hook.enabled = enabled;
            }
            self.show(mem, view, at.page(), Level::Page4K);
        }
    }

    /// Adds a piece that is watched. It has no effect until [`Self::enable_monitor`].
    pub fn add_piece(&mut self, piece: Piece) {
        self.monitors.add(piece);
    }

    /// Takes back a piece of an event that had no effect yet, and its object.
    pub fn take_back_piece(&mut self, event: EventId) -> Option<Reserved> {
        self.monitors.take(event).map(|piece| piece.object)
    }

    /// Enables or disables all pieces of an event. Tables come from `pools`.
    pub fn enable_monitor(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        event: EventId,
        enabled: bool,
    ) {
        self.monitors.set_enabled(event, enabled);
        for span in self.monitors.spans(event) {
            // There are tables enough, see the module.
            let plan = view.plan_split(mem, span.at.0, span.unit);
            let split = plan.and_then(|plan| plan.take_tables(pools));
            debug_assert!(split.is_some(), "checked, and two tables per page object");
            if let Some(split) = split {
                view.split(mem, split);
            }
            self.show(mem, view, GuestPhysical(span.unit_start()), span.unit);
        }
    }

    /// Removes all pieces of an event, as [`Self::remove_hook`] does with a hook.
    pub fn remove_monitor(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        event: EventId,
    ) {
        while let Some(Piece { span, object, .. }) = self.monitors.take(event) {
            let start = GuestPhysical(span.unit_start());
            self.show(mem, view, start, span.unit);
            self.merge(mem, view, pools, start);
            pools.release(object);
        }
    }

    /// Watches a page for the entries of a page table on it.
    pub fn add_table(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        page: GuestPhysical,
        split: Split,
        object: Reserved,
    ) {
        view.split(mem, split);
        self.links.add_table(page, object);
        self.show(mem, view, page, Level::Page4K);
    }

    /// Follows an entry on such a page for an event.
    pub fn add_link(&mut self, mem: &impl PhysicalMemory, at: GuestPhysical, event: EventId) {
        self.links.add(mem, at, event);
    }

    /// Lets an event follow nothing any more, as [`Self::remove_hook`] does with a hook.
    pub fn remove_links(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        event: EventId,
    ) {
        while let Some(taken) = self.links.take(event) {
            if let Some((page, object)) = taken {
                self.show(mem, view, page, Level::Page4K);
                self.merge(mem, view, pools, page);
                pools.release(object);
            }
        }
    }

    /// Looks at the code of each hook on `gpa`'s page after it was written, and tells what changed. `leads_there`
    /// says whether the event's address still leads to the hook. By one core at a time; [`Self::refresh`] shows it.
    pub fn judge(
        &self,
        mem: &impl PhysicalMemory,
        gpa: GuestPhysical,
        leads_there: impl Fn(EventId, GuestPhysical) -> bool,
        mut tell: impl FnMut(EventId, Standing),
    ) {
        for hook in self.hooks_on(gpa.page()) {
            let NewHook { at, event, .. } = hook.new;
            let standing = if leads_there(event, at) {
                Reference::load(mem, hook.new.reference_at).standing(mem, at)
            } else {
                Standing::Unmapped
            };
            if hook.standing.swap(standing.to_wire(), Ordering::Relaxed) != standing.to_wire() {
                tell(event, standing);
            }
        }
    }

    /// Brings the shadow of `gpa`'s page up to date after the page was written, by the guest in a
    /// stepped instruction or by the debugger. Bytes that are right stay untouched, so it may run
    /// while other cores execute there.
    pub fn refresh(&self, mem: &mut impl PhysicalMemory, gpa: GuestPhysical) {
        let Some(page) = self.page(gpa.page()) else {
            return;
        };
        // What is not shown any more goes first: a jump may be about to come over it.
        for hook in self
            .hooks_on(page.page)
            .filter(|hook| hook.patch().is_none())
        {
            let offset = hook.new.at.offset();
            self.refresh_words(mem, page, offset..offset + JUMP_BYTES);
        }
        self.refresh_words(mem, page, 0..PAGE_BYTES as usize);
    }

    /// The same for the words that have bytes of a part of the page.
    fn refresh_words(&self, mem: &mut impl PhysicalMemory, page: &Page, part: Range<usize>) {
        // In order of address, and none over another one.
        let mut patches = self.hooks_on(page.page).filter_map(Hook::patch);
        let mut patch = patches.next();
        let end = part.end.min(PAGE_BYTES as usize);
        for word_at in (part.start & !7..end).step_by(8) {
            let address = page.page.0 + word_at as u64;
            let mut word = mem.read_u64(address).to_le_bytes();
            while let Some(here) = patch.filter(|patch| patch.offset < word_at + word.len()) {
                here.put(word_at, &mut word);
                if here.end() > word_at + word.len() {
                    break;
                }
                patch = patches.next();
            }
            let wanted = u64::from_le_bytes(word);
            let shadow = page.shadow + word_at as u64;
            if mem.read_u64(shadow) != wanted {
                mem.write_u64(shadow, wanted);
            }
        }
    }

    /// Pages that carry hooks, enabled or not.
    pub fn pages(&self) -> impl Iterator<Item = GuestPhysical> {
        self.pages.iter().map(|page| page.page)
    }

    /// The leaf for the page of `gpa` as monitors leave it, without hooks: what an instruction
    /// sees that looks at the page itself. `closed` is its leaf in the hooked view.
    #[must_use]
    pub fn unhooked(&self, closed: Entry, gpa: GuestPhysical) -> Entry {
        let original = self
            .page(gpa.page())
            .map_or(closed.unwatched(), |page| page.original);
        let left = monitor::left_to(self.watched_on(gpa));
        original.with_permissions(left)
    }

    /// Whether the page of `gpa` leads to a shadow.
    pub fn is_shadowed(&self, gpa: GuestPhysical) -> bool {
        self.hooks_on(gpa.page()).any(|hook| hook.enabled)
    }

    /// Makes the leaves of a unit show what is watched there.
    fn show(&self, mem: &mut impl PhysicalMemory, view: &View, start: GuestPhysical, unit: Level) {
        let mut at = start;
        while at.0 - start.0 < unit.bytes() {
            let leaf = view.walk(mem, at.0);
            if leaf.level > Level::Page2M {
                return;
            }
            let wanted = self.wanted(mem, at, &leaf);
            view.set_leaf(mem, leaf.entry_phys, wanted);
            at.0 += leaf.level.bytes();
        }
    }

    fn wanted(&self, mem: &mut impl PhysicalMemory, at: GuestPhysical, leaf: &Leaf) -> Entry {
        let all = Permissions::all();
        if leaf.level != Level::Page4K {
            let left = monitor::left_to(self.monitors.on_large_page(at));
            let whole = leaf.entry.unwatched();
            return if left == all {
                whole
            } else {
                whole.with_permissions(left).watched()
            };
        }
        let left = monitor::left_to(self.watched_on(at));
        let page = self.page(at.page());
        let original = page.map_or(leaf.entry.unwatched(), |page| page.original);
        match page.filter(|_| self.is_shadowed(at)) {
            Some(page) => {
                self.refresh(mem, at);
                let execute = Permissions::EXECUTE & left;
                Entry::leaf(page.shadow, Level::Page4K, MemoryType::WriteBack, execute).watched()
            }
            None if left == all => original,
            None => original.with_permissions(left).watched(),
        }
    }

    /// Accesses to the page of `gpa` that exit, but for hooks.
    fn watched_on(&self, gpa: GuestPhysical) -> Access {
        let mut watched = self.monitors.on_page(gpa);
        watched.set(
            Access::WRITE,
            watched.contains(Access::WRITE) || self.links.has_table(gpa.page()),
        );
        watched
    }

    /// Gives tables back that nothing needs any more above the unit at `start`.
    fn merge(
        &self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        start: GuestPhysical,
    ) {
        for level in [Level::Page2M, Level::Page1G] {
            if self.any_below(start, level) {
                break;
            }
            if let Some(table) = view.merge(mem, start.0, level) {
                pools.give_table(table);
            }
        }
    }

    fn hooks_on(&self, page: GuestPhysical) -> impl Iterator<Item = &Hook> {
        let place = self.hooks.place_where_not(|hook| hook.new.at < page);
        self.hooks
            .iter_from(place)
            .take_while(move |hook| hook.new.at.page() == page)
    }

    fn hook_place(&self, at: GuestPhysical, event: EventId) -> Result<usize, usize> {
        self.hooks
            .find(&(at, event), |hook| (hook.new.at, hook.new.event))
    }

    fn page_place(&self, page: GuestPhysical) -> Result<usize, usize> {
        self.pages.find(&page, |found| found.page)
    }

    fn page(&self, page: GuestPhysical) -> Option<&Page> {
        let place = self.page_place(page).ok()?;
        self.pages.get(place)
    }

    /// Whether something smaller than the entry of `level` around `start` is watched.
    fn any_below(&self, start: GuestPhysical, level: Level) -> bool {
        let start = GuestPhysical(start.0 & !(level.bytes() - 1));
        let (Ok(place) | Err(place)) = self.page_place(start);
        let next = self.pages.get(place);
        next.is_some_and(|next| next.page.0 - start.0 < level.bytes())
            || self.monitors.has_small_in(start, level.bytes())
            || self.links.has_table_in(start, level.bytes())
            || level > Level::Page2M && self.monitors.has_large_in(start, level.bytes())
    }
}
