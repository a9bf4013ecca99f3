//! Memory of a machine whose guest's pages are somewhere else until the core looks at them first.

use debuggee_driver::fake::FlatMemory;
use debuggee_driver::fake::machine::BITMAPS;
use debuggee_driver::fake::world::CHUNKS;
use debuggee_driver::pool::arena::CHUNK_BYTES;
use debuggee_driver::port::PhysicalMemory;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use wire_protocol::address::PAGE_BYTES;

/// Where the guest's pages come from.
pub(super) trait GuestMemory {
    /// What a page holds; what it does not say of it is zero. Asked once for each.
    fn page(&mut self, at: u64) -> Vec<u8>;
}

/// See the module. All copies are the same memory.
#[derive(Clone)]
pub struct Observed(Rc<RefCell<Inner>>);

struct Inner {
    here: FlatMemory,
    /// Pages of the guest's that were looked at.
    seen: BTreeSet<u64>,
    pages: Box<dyn GuestMemory>,
}

/// Whether a page is the driver's own.
fn is_own(page: u64) -> bool {
    let is_in = |from: u64, len_bytes: u64| page.wrapping_sub(from) < len_bytes;
    let bitmaps = [
        BITMAPS.msr,
        BITMAPS.own_msr,
        BITMAPS.io,
        BITMAPS.io + PAGE_BYTES,
    ];
    CHUNKS.iter().any(|chunk| is_in(*chunk, CHUNK_BYTES))
        || bitmaps.iter().any(|bitmap| is_in(*bitmap, PAGE_BYTES))
}

impl Inner {
    /// Brings the guest's pages here that an access touches.
    fn touch(&mut self, at: u64, len_bytes: usize) {
        let Some(end) = at.checked_add(len_bytes as u64) else {
            return;
        };
        if end > self.here.limit() {
            return;
        }
        for page in (at & !(PAGE_BYTES - 1)..end).step_by(PAGE_BYTES as usize) {
            if !is_own(page) && self.seen.insert(page) {
                let bytes = self.pages.page(page);
                self.here.write(page, &bytes);
            }
        }
    }
}

impl Observed {
    pub(super) fn new(own: FlatMemory, pages: impl GuestMemory + 'static) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            here: own,
            seen: BTreeSet::new(),
            pages: Box::new(pages),
        })))
    }

    /// The guest changed a page.
    pub(super) fn replace(&self, page: u64, bytes: &[u8]) {
        let mut whole = [0; PAGE_BYTES as usize];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        let mut inner = self.0.borrow_mut();
        inner.seen.insert(page);
        inner.here.write(page, &whole);
    }

    /// The memory, with all that an access touches.
    fn with<R>(&self, at: u64, len_bytes: usize, work: impl FnOnce(&mut FlatMemory) -> R) -> R {
        let mut inner = self.0.borrow_mut();
        inner.touch(at, len_bytes);
        work(&mut inner.here)
    }
}

impl PhysicalMemory for Observed {
    fn limit(&self) -> u64 {
        self.0.borrow().here.limit()
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        self.with(at, out.len(), |here| here.read(at, out));
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.with(at, bytes.len(), |here| here.write(at, bytes));
    }

    fn read_u64(&self, at: u64) -> u64 {
        self.with(at, 8, |here| here.read_u64(at))
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        self.with(at, 8, |here| here.write_u64(at, value));
    }

    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        // A copy, so that whoever looks may use the rest of memory.
        let bytes = self.with(at, len_bytes, |here| here.bytes(at, len_bytes));
        look(&bytes)
    }

    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = self.with(at, len_bytes, |here| here.bytes(at, len_bytes));
        let result = change(&mut bytes);
        self.write(at, &bytes);
        result
    }
}
