//! Which pages of the guest carry hidden breakpoints, and what the guest executes in their place.
//!
//! A hooked page keeps its content in memory: reads and writes of the guest (stepped in the clean
//! view) and of the debugger go there. What the guest executes is the *shadow* page, a copy with
//! a breakpoint instruction at every hook that is enabled. In the hooked view the page is
//! execute-only and leads to the shadow. A page whose hooks are all disabled is mapped as ever.
//!
//! Changed with every core halted; looked up by all cores while the guest runs.
//!
//! Table pages. Each hooked page owns one page object, which brings two table pages into the
//! pools' stock. A hooked page needs at most two tables that were not there at boot, and tables
//! are merged away as soon as no hooked page is below them. So tables in the view are never more
//! than twice the hooked pages, and the stock never runs dry.

use super::entry::{Entry, Level, MemoryType, Permissions};
use super::table::{Split, View};
use crate::pool::Pools;
use crate::pool::list::FixedList;
use crate::pool::slab::{CAPACITY, EVENTS_MAX, Reserved};
use crate::port::PhysicalMemory;
use wire_protocol::address::{EventId, GuestPhysical, PAGE_BYTES};
use wire_protocol::event::PoolClass;
use wire_protocol::refusal::Refusal;

/// Hooks that one page can carry.
pub const HOOKS_PER_PAGE: u32 = 40;

/// Pages that can be hooked: one page object each.
pub const PAGES_MAX: usize = *CAPACITY.get(PoolClass::EptHook) as usize;

/// INT3, one byte.
const BREAKPOINT: u8 = 0xcc;

/// One hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Guest-physical address of the byte that is a breakpoint in the shadow.
    pub at: GuestPhysical,
    /// The event that has it.
    pub event: EventId,
    /// A disabled hook has no breakpoint.
    pub enabled: bool,
}

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
    /// Where its leaf stands in the hooked view, and what stood there before.
    entry_phys: u64,
    original: Entry,
}

/// All hooked pages and their hooks, each list in ascending order of address.
#[derive(Debug)]
pub struct HookedPages {
    /// One event has at most one.
    hooks: FixedList<Hook, EVENTS_MAX>,
    pages: FixedList<Page, PAGES_MAX>,
}

impl Default for HookedPages {
    fn default() -> Self {
        Self::new()
    }
}

impl HookedPages {
    /// No hooks.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hooks: FixedList::new(),
            pages: FixedList::new(),
        }
    }

    /// The hook at `at`, if there is one.
    #[must_use]
    pub fn hook_at(&self, at: GuestPhysical) -> Option<Hook> {
        let place = self.hook_place(at).ok()?;
        self.hooks.get(place).copied()
    }

    /// Whether the page of `gpa` carries hooks, enabled or not.
    #[must_use]
    pub fn has_page(&self, gpa: GuestPhysical) -> bool {
        self.page_place(gpa.page()).is_ok()
    }

    /// Pages that carry hooks.
    #[must_use]
    pub const fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Hooks, enabled or not.
    #[must_use]
    pub const fn hook_count(&self) -> usize {
        self.hooks.len()
    }

    /// Whether any hook is enabled, so that breakpoint exceptions concern the debugger.
    #[must_use]
    pub fn any_enabled(&self) -> bool {
        self.hooks.iter().any(|hook| hook.enabled)
    }

    /// Whether a hook may be added at `at`.
    ///
    /// # Errors
    /// The address has one already, or the page has [`HOOKS_PER_PAGE`].
    pub fn check(&self, at: GuestPhysical) -> Result<(), Refusal> {
        if let Some(hook) = self.hook_at(at) {
            return Err(Refusal::AlreadyHooked { event: hook.event });
        }
        if self.hooks_on(at.page()).count() >= HOOKS_PER_PAGE as usize {
            return Err(Refusal::TooManyHooksOnPage {
                limit: HOOKS_PER_PAGE,
            });
        }
        Ok(())
    }

    /// Adds an enabled hook that [`Self::check`] accepted. `new_page` is given exactly if
    /// [`Self::has_page`] is false.
    pub fn add(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        at: GuestPhysical,
        event: EventId,
        new_page: Option<NewPage>,
    ) {
        let page = at.page();
        if let (Some(new), Err(place)) = (new_page, self.page_place(page)) {
            let leaf = view.split(mem, new.split);
            let made = Page {
                page,
                object: new.object,
                shadow: new.shadow,
                entry_phys: leaf.entry_phys,
                original: leaf.entry,
            };
            let inserted = self.pages.insert(place, made);
            debug_assert!(inserted.is_ok(), "as many pages as page objects");
        }
        if let Err(place) = self.hook_place(at) {
            let hook = Hook {
                at,
                event,
                enabled: true,
            };
            let inserted = self.hooks.insert(place, hook);
            debug_assert!(inserted.is_ok(), "as many hooks as events");
        }
        self.show(mem, view, page);
    }

    /// Removes the hook at `at`. With the last one, the page gets its leaf back, tables that are
    /// not needed any more return to `pools`, and so does the page object.
    pub fn remove(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        pools: &mut Pools,
        at: GuestPhysical,
    ) {
        let Ok(place) = self.hook_place(at) else {
            return;
        };
        self.hooks.remove(place);
        let page = at.page();
        self.show(mem, view, page);
        if self.hooks_on(page).next().is_some() {
            return;
        }
        let Ok(place) = self.page_place(page) else {
            return;
        };
        let gone = self.pages.remove(place);
        for level in [Level::Page2M, Level::Page1G] {
            if self.any_page_below(page, level) {
                break;
            }
            if let Some(table) = view.merge(mem, page.0, level) {
                pools.give_table(table);
            }
        }
        if let Some(gone) = gone {
            pools.release(gone.object);
        }
    }

    /// Enables or disables the hook at `at`.
    pub fn set_enabled(
        &mut self,
        mem: &mut impl PhysicalMemory,
        view: &View,
        at: GuestPhysical,
        enabled: bool,
    ) {
        if let Ok(place) = self.hook_place(at) {
            if let Some(hook) = self.hooks.get_mut(place) {
                hook.enabled = enabled;
            }
            self.show(mem, view, at.page());
        }
    }

    /// Brings the shadow of `gpa`'s page up to date after the page was written, by the guest in a
    /// stepped instruction or by the debugger. Bytes that are right stay untouched, so it may run
    /// while other cores execute there.
    pub fn refresh(&self, mem: &mut impl PhysicalMemory, gpa: GuestPhysical) {
        let Some(page) = self.page(gpa.page()) else {
            return;
        };
        let hooks = self.hooks_on(page.page);
        let mut enabled = hooks.filter(|hook| hook.enabled).peekable();
        for offset in (0..PAGE_BYTES).step_by(8) {
            let mut bytes = mem.read_u64(page.page.0 + offset).to_le_bytes();
            // Hooks are in order of address, so each is met in the word that has it.
            while let Some(hook) = enabled.next_if(|hook| hook.at.offset() as u64 - offset < 8) {
                if let Some(byte) = bytes.get_mut(hook.at.offset() % 8) {
                    *byte = BREAKPOINT;
                }
            }
            let wanted = u64::from_le_bytes(bytes);
            if mem.read_u64(page.shadow + offset) != wanted {
                mem.write_u64(page.shadow + offset, wanted);
            }
        }
    }

    /// Makes the view show what the page's hooks ask for.
    fn show(&self, mem: &mut impl PhysicalMemory, view: &View, page: GuestPhysical) {
        let Some(found) = self.page(page) else {
            return;
        };
        let leaf = if self.hooks_on(page).any(|hook| hook.enabled) {
            self.refresh(mem, page);
            Entry::leaf(
                found.shadow,
                Level::Page4K,
                MemoryType::WriteBack,
                Permissions::EXECUTE,
            )
        } else {
            found.original
        };
        view.set_leaf(mem, found.entry_phys, leaf);
    }

    fn hooks_on(&self, page: GuestPhysical) -> impl Iterator<Item = &Hook> {
        let place = self.hooks.place_where_not(|hook| hook.at < page);
        self.hooks
            .iter_from(place)
            .take_while(move |hook| hook.at.page() == page)
    }

    fn hook_place(&self, at: GuestPhysical) -> Result<usize, usize> {
        self.hooks.find(&at, |hook| hook.at)
    }

    fn page_place(&self, page: GuestPhysical) -> Result<usize, usize> {
        self.pages.find(&page, |found| found.page)
    }

    fn page(&self, page: GuestPhysical) -> Option<&Page> {
        let place = self.page_place(page).ok()?;
        self.pages.get(place)
    }

    /// Whether a hooked page lies in the memory that the entry of `level` for `page` covers.
    fn any_page_below(&self, page: GuestPhysical, level: Level) -> bool {
        let start = page.0 & !(level.bytes() - 1);
        let (Ok(place) | Err(place)) = self.page_place(GuestPhysical(start));
        let next = self.pages.get(place);
        next.is_some_and(|next| next.page.0 - start < level.bytes())
    }
}
