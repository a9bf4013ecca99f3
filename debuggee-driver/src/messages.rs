//! What programs print, until it is sent: one bounded ring per core.
//!
//! A record is put into the ring of the core that made it, by that core alone, in VMX-root. The
//! core that has the line takes records out. Neither ever waits for the other: the oldest records
//! are kept, and those that find no room are counted and lost.

use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::limits;
use wire_protocol::packet::{Batch, Content, MessageCounts, Messages, Source};

/// Words before the content: length and source, time, records lost so far.
const HEAD_WORDS: usize = 3;
const WORD_BYTES: usize = 8;
const LEN_BITS: u32 = 16;

/// Records of one core, oldest first. Positions count words since the load and never wrap.
#[derive(Debug, Default)]
pub struct Ring<'m> {
    words: &'m [AtomicU64],
    /// Where the next record goes. Written by the core that owns the ring.
    head: AtomicU64,
    /// Where the oldest record is. Written by whoever has the line.
    tail: AtomicU64,
    /// What lies before is thrown away.
    flush_to: AtomicU64,
    /// Records that were lost when that was said.
    flush_lost: AtomicU64,
    /// Lost records that somebody was told of. Written by whoever has the line.
    told: AtomicU64,
    /// A record is not to wait for others.
    urgent: AtomicBool,
    produced: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
    delivered: AtomicU64,
    flushed: AtomicU64,
}

/// What a ring gives out.
#[derive(Clone, Copy, Debug)]
struct RingRecord {
    source: Source,
    tsc: u64,
    /// Records of this core that were lost before it, since the load.
    lost: u64,
    len_bytes: usize,
    /// Where the next record is.
    end: u64,
}

impl<'m> Ring<'m> {
    /// An empty ring that keeps its records in `words`, of which nothing is assumed.
    #[must_use]
    pub fn new(words: &'m [AtomicU64]) -> Self {
        Self {
            words,
            ..Self::default()
        }
    }

    /// Adds a record whose content was encoded, or counts it as lost. By the owner only.
    pub fn push(&self, source: Source, tsc: u64, urgent: bool, content: &[u8]) {
        add(&self.produced, 1);
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Acquire);
        let taken_words = HEAD_WORDS + content.len().div_ceil(WORD_BYTES);
        let used_words = head.wrapping_sub(tail);
        let fits = used_words.saturating_add(taken_words as u64) <= self.words.len() as u64;
        if !fits || content.len() > limits::RECORD_BYTES {
            add(&self.dropped, 1);
            return;
        }
        let number = match source {
            Source::Request => 0,
            Source::Event(id) => u64::from(id.0) + 1,
        };
        self.put(head, number << LEN_BITS | content.len() as u64);
        self.put(head + 1, tsc);
        self.put(head + 2, self.dropped.load(Ordering::Relaxed));
        let mut at = head + HEAD_WORDS as u64;
        for chunk in content.chunks(WORD_BYTES) {
            let mut word = [0; WORD_BYTES];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.put(at, u64::from_le_bytes(word));
            at += 1;
        }
        self.head.store(at, Ordering::Release);
        add(&self.kept, 1);
        if urgent {
            self.urgent.store(true, Ordering::Relaxed);
        }
    }

    /// Lets the next look at the ring throw away what it holds now. By any core.
    pub fn flush(&self) {
        let head = self.head.load(Ordering::Acquire);
        let lost = self.dropped.load(Ordering::Relaxed);
        self.flush_to.fetch_max(head, Ordering::Relaxed);
        self.flush_lost.fetch_max(lost, Ordering::Relaxed);
    }

    /// Whether something should be sent now: all of it is wanted at once, or it fills a batch.
    #[must_use]
    pub fn wants_sending(&self) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        let used_words = self.head.load(Ordering::Acquire).wrapping_sub(tail);
        used_words != 0
            && (self.urgent.load(Ordering::Relaxed)
                || used_words * WORD_BYTES as u64 >= limits::BATCH_BYTES as u64)
    }

    /// Sends the oldest records, as many as one batch holds, with `send`, which says whether they
    /// were taken; if not, they stay. Returns whether any went. By whoever has the line.
    pub fn send_batch(
        &self,
        core: CoreId,
        memory: &mut [u8],
        send: impl FnOnce(Messages<'_>) -> bool,
    ) -> bool {
        self.discard_flushed();
        self.urgent.store(false, Ordering::Relaxed);
        let most = memory.len().min(limits::RECORD_BYTES);
        let (content, buffer) = memory.split_at_mut(most);
        let mut batch = Batch::new(buffer);
        let mut at = self.tail.load(Ordering::Relaxed);
        let mut told = self.told.load(Ordering::Relaxed);
        let mut count = 0;
        let mut is_full = false;
        while let Some(record) = self.take(at, content) {
            let content = content.get(..record.len_bytes).unwrap_or_default();
            let RingRecord {
                source, tsc, lost, ..
            } = record;
            let untold = lost.saturating_sub(told);
            if batch.push(source, tsc, untold, content).is_err() {
                is_full = true;
                break;
            }
            told = told.max(lost);
            at = record.end;
            count += 1;
        }
        let Some(messages) = batch.finish(core) else {
            return false;
        };
        if !send(messages) {
            self.urgent.store(true, Ordering::Relaxed);
            return false;
        }
        self.tail.store(at, Ordering::Release);
        self.told.store(told, Ordering::Relaxed);
        add(&self.delivered, count);
        if is_full {
            self.urgent.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Relaxed)
    }

    /// What became of this core's records.
    #[must_use]
    pub fn counts(&self) -> MessageCounts {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let flushed = self.flushed.load(Ordering::Relaxed);
        MessageCounts {
            produced: self.produced.load(Ordering::Relaxed),
            delivered,
            dropped: self.dropped.load(Ordering::Relaxed),
            flushed,
            told: self.told.load(Ordering::Relaxed),
            network: None,
            waiting: self
                .kept
                .load(Ordering::Relaxed)
                .saturating_sub(delivered)
                .saturating_sub(flushed),
        }
    }

    /// Throws away what was flushed. By whoever has the line.
    pub fn discard_flushed(&self) {
        let flush_to = self.flush_to.load(Ordering::Relaxed);
        let mut at = self.tail.load(Ordering::Relaxed);
        let mut count = 0;
        while at < flush_to
            && let Some(record) = self.take(at, &mut [])
        {
            at = record.end;
            count += 1;
        }
        if count != 0 {
            self.tail.store(at, Ordering::Release);
            add(&self.flushed, count);
        }
        // Who flushed was told of these by the counts.
        let lost = self.flush_lost.load(Ordering::Relaxed);
        if lost > self.told.load(Ordering::Relaxed) {
            self.told.store(lost, Ordering::Relaxed);
        }
    }

    /// The record at `at`, its content copied as far as there is room.
    fn take(&self, at: u64, content: &mut [u8]) -> Option<RingRecord> {
        if at == self.head.load(Ordering::Acquire) {
            return None;
        }
        let first = self.get(at);
        let len_bytes = (first & ((1 << LEN_BITS) - 1)) as usize;
        let content_at = at + HEAD_WORDS as u64;
        for (chunk, place) in content.chunks_mut(WORD_BYTES).zip(content_at..) {
            if (place - content_at) as usize * WORD_BYTES >= len_bytes {
                break;
            }
            for (to, from) in chunk.iter_mut().zip(self.get(place).to_le_bytes()) {
                *to = from;
            }
        }
        let source = match (first >> LEN_BITS).checked_sub(1) {
            None => Source::Request,
            Some(id) => Source::Event(EventId(id as u32)),
        };
        Some(RingRecord {
            source,
            tsc: self.get(at + 1),
            lost: self.get(at + 2),
            len_bytes,
            end: content_at + len_bytes.div_ceil(WORD_BYTES) as u64,
        })
    }

    fn cell(&self, at: u64) -> Option<&AtomicU64> {
        let place = at.checked_rem(self.words.len() as u64)?;
        self.words.get(place as usize)
    }

    fn put(&self, at: u64, word: u64) {
        if let Some(cell) = self.cell(at) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    fn get(&self, at: u64) -> u64 {
        self.cell(at).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// Every counter has one writer, so that no locked instruction is needed.
fn add(counter: &AtomicU64, amount: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(amount), Ordering::Relaxed);
}

/// The rings of all cores.
#[derive(Debug)]
pub struct Rings {
    rings: [Ring<'static>; limits::CORES],
    /// Rings that have memory are among the first so many.
    count: usize,
    /// The core that was looked at last for something to send.
    turn: AtomicU16,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            rings: core::array::from_fn(|_| Ring::default()),
            count: 0,
            turn: AtomicU16::new(0),
        }
    }
}

impl Rings {
    /// Gives a core's ring its memory, before the core runs.
    pub fn place(&mut self, core: CoreId, words: &'static [AtomicU64]) {
        if let Some(ring) = self.rings.get_mut(usize::from(core.0)) {
            *ring = Ring::new(words);
            self.count = self.count.max(usize::from(core.0) + 1);
        }
    }

    /// A core's ring.
    #[must_use]
    pub fn of(&self, core: CoreId) -> Option<&Ring<'static>> {
        self.rings.get(usize::from(core.0))
    }

    /// Encodes a record and puts it into the ring of the core that calls; what is too long is
    /// lost like what finds no room.
    pub fn record(&self, core: CoreId, source: Source, tsc: u64, urgent: bool, what: &Content<'_>) {
        let mut encoded = [0; limits::RECORD_BYTES];
        let Some(ring) = self.of(core) else { return };
        let len_bytes = what.encode_into(&mut encoded);
        // One byte more than there can be, to be counted as lost.
        let content = match len_bytes {
            Ok(len_bytes) => encoded.get(..len_bytes).unwrap_or_default(),
            Err(_) => &[0; limits::RECORD_BYTES + 1],
        };
        ring.push(source, tsc, urgent, content);
    }

    /// A ring that has something to send; with `only_wanted`, only if that should not wait. Every
    /// time the search begins behind the ring that it found before.
    pub fn next_to_send(&self, only_wanted: bool) -> Option<(CoreId, &Ring<'static>)> {
        let last = usize::from(self.turn.load(Ordering::Relaxed));
        let rings = self.rings.get(..self.count).unwrap_or_default();
        let all = (0..).map(CoreId).zip(rings);
        let found = all
            .cycle()
            .skip(last + 1)
            .take(rings.len())
            .find(|(_, ring)| {
                if only_wanted {
                    ring.wants_sending()
                } else {
                    !ring.is_empty()
                }
            });
        if let Some((core, _)) = found {
            self.turn.store(core.0, Ordering::Relaxed);
        }
        found
    }

    /// Throws away what every ring holds now. By any core; what is counted as flushed follows
    /// when somebody who has the line looks.
    pub fn flush(&self) {
        self.rings.iter().for_each(Ring::flush);
    }

    /// What became of all records. By whoever has the line.
    #[must_use]
    pub fn counts(&self) -> MessageCounts {
        let mut sum = MessageCounts::default();
        for ring in &self.rings {
            ring.discard_flushed();
            let counts = ring.counts();
            sum.produced = sum.produced.wrapping_add(counts.produced);
            sum.delivered = sum.delivered.wrapping_add(counts.delivered);
            sum.dropped = sum.dropped.wrapping_add(counts.dropped);
            sum.flushed = sum.flushed.wrapping_add(counts.flushed);
            sum.told = sum.told.wrapping_add(counts.told);
            sum.waiting = sum.waiting.wrapping_add(counts.waiting);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
