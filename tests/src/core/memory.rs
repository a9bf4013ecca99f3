//! Memory of a machine whose guest's memory is somewhere else until the core looks at it first.

use debuggee_driver::fake::FlatMemory;
use debuggee_driver::pool::arena::CHUNK_BYTES;
use debuggee_driver::port::PhysicalMemory;
use debugger_host::recording::input::LINE_BYTES;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire_protocol::address::PAGE_BYTES;

const LINE: u64 = LINE_BYTES as u64;

/// A piece of memory.
pub(super) struct Piece {
    /// Where it begins, and its length.
    pub(super) at: u64,
    pub(super) len_bytes: usize,
    /// What it holds; what is not said of it is zero.
    pub(super) bytes: Vec<u8>,
}

/// Where the guest's memory comes from.
pub(super) trait GuestMemory: Send {
    /// What is at a line: a piece that covers it. Asked once for each.
    fn first(&mut self, line: u64) -> Piece;
    /// What a line holds now, if that is not what it held when it was looked at before.
    fn again(&mut self, _line: u64, _then: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// See the module. All copies are the same memory.
#[derive(Clone)]
pub struct Observed {
    inner: Arc<Mutex<Inner>>,
    /// One past the highest address.
    limit: u64,
    skims: Skims,
}

/// Set while the core reads all of memory, for a digest: it finds what it has written itself, and zeros else, so that it
/// does not take in all of it.
#[derive(Clone, Default)]
pub(super) struct Skims(Arc<AtomicBool>);

impl Skims {
    pub(super) fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct Inner {
    here: FlatMemory,
    /// Pieces that are the driver's own, each with its length.
    own: Vec<(u64, u64)>,
    /// Lines of the guest's that were looked at.
    seen: HashSet<u64>,
    /// Lines that the core wrote since the guest ran.
    written: HashSet<u64>,
    /// Lines of the guest's that it ever wrote.
    changed: BTreeSet<u64>,
    guest: Box<dyn GuestMemory>,
}

impl Inner {
    /// Brings the guest's lines here that an access touches.
    fn touch(&mut self, at: u64, len_bytes: usize) {
        let Some(end) = at.checked_add(len_bytes as u64) else {
            return;
        };
        if end > self.here.limit() {
            return;
        }
        for line in (at & !(LINE - 1)..end).step_by(LINE_BYTES) {
            if self.is_own(line) {
                continue;
            }
            if !self.seen.contains(&line) {
                let Piece {
                    at,
                    len_bytes,
                    bytes,
                } = self.guest.first(line);
                self.place(at, len_bytes, &bytes);
            } else if !self.written.contains(&line) {
                let then = self.here.bytes(line, LINE_BYTES);
                if let Some(now) = self.guest.again(line, &then) {
                    self.place(line, LINE_BYTES, &now);
                }
            }
        }
    }

    fn is_own(&self, at: u64) -> bool {
        let is_in = |(from, len_bytes): &(u64, u64)| at.wrapping_sub(*from) < *len_bytes;
        self.own.iter().any(is_in)
    }

    /// What a whole page is while the core skims.
    fn skim(&self, at: u64, out: &mut [u8]) {
        out.fill(0);
        let end = at.saturating_add(out.len() as u64);
        for line in self.changed.range(at..end) {
            let offset = (line - at) as usize;
            if let Some(out) = out.get_mut(offset..offset + LINE_BYTES) {
                self.here.read(*line, out);
            }
        }
    }

    fn place(&mut self, at: u64, len_bytes: usize, bytes: &[u8]) {
        let mut whole = vec![0; len_bytes];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.seen
            .extend((at..at + len_bytes as u64).step_by(LINE_BYTES));
        self.here.write(at, &whole);
    }
}

impl Observed {
    /// `chunks` of the arena and `others`, each with its length, are the driver's own.
    pub(super) fn new(
        here: FlatMemory,
        chunks: &[u64],
        others: &[(u64, u64)],
        skims: Skims,
        guest: impl GuestMemory + 'static,
    ) -> Self {
        let chunks = chunks.iter().map(|chunk| (*chunk, CHUNK_BYTES));
        let limit = here.limit();
        let inner = Inner {
            here,
            own: chunks.chain(others.iter().copied()).collect(),
            seen: HashSet::new(),
            written: HashSet::new(),
            changed: BTreeSet::new(),
            guest: Box::new(guest),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            limit,
            skims,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest changed a page or a line.
    pub(super) fn replace(&self, at: u64, len_bytes: usize, bytes: &[u8]) {
        self.inner().place(at, len_bytes, bytes);
    }

    /// The guest runs: what it writes from now on is looked for.
    pub(super) fn guest_runs(&self) {
        self.inner().written.clear();
    }

    /// The memory, with all that an access touches.
    fn with<R>(&self, at: u64, len_bytes: usize, work: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner();
        inner.touch(at, len_bytes);
        work(&mut inner)
    }

    fn change(&self, at: u64, len_bytes: usize, work: impl FnOnce(&mut FlatMemory)) {
        self.with(at, len_bytes, |inner| {
            let end = at.saturating_add(len_bytes as u64);
            for line in (at & !(LINE - 1)..end).step_by(LINE_BYTES) {
                if !inner.is_own(line) {
                    inner.written.insert(line);
                    inner.changed.insert(line);
                }
            }
            work(&mut inner.here);
        });
    }
}

impl PhysicalMemory for Observed {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        if self.skims.is_on() && out.len() == PAGE_BYTES as usize {
            return self.inner().skim(at, out);
        }
        self.with(at, out.len(), |inner| inner.here.read(at, out));
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.change(at, bytes.len(), |here| here.write(at, bytes));
    }

    fn read_u64(&self, at: u64) -> u64 {
        self.with(at, 8, |inner| inner.here.read_u64(at))
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        self.change(at, 8, |here| here.write_u64(at, value));
    }

    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        // A copy, so that whoever looks may use the rest of memory.
        let bytes = self.with(at, len_bytes, |inner| inner.here.bytes(at, len_bytes));
        look(&bytes)
    }

    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = self.with(at, len_bytes, |inner| inner.here.bytes(at, len_bytes));
        let result = change(&mut bytes);
        self.write(at, &bytes);
        result
    }
}
