//! Records of one core, put together by the driver and taken apart by the host.

use super::{Content, MessageRecord, Source};
use crate::address::{CoreId, EventId};
use crate::codec::{self, EncodeError, Parsed, Writer, narrow, reject};
use crate::limits;

/// Records of one core, oldest first; at least one.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    /// Which core.
    pub core: CoreId,
    encoded: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = MessageRecord<'a>> + use<'a> {
        let mut rest = self.encoded;
        let mut tsc = 0;
        core::iter::from_fn(move || {
            let (after, record) = parse_record(tsc, rest).ok()?;
            (rest, tsc) = (after, record.tsc);
            Some(record)
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.varint(self.core.0)?;
        out.bytes(self.encoded)
    }

    pub(crate) fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (encoded, core) = narrow(input)?;
        let (mut rest, mut tsc) = (encoded, 0);
        if rest.is_empty() || rest.len() > limits::BATCH_BYTES {
            return reject(input);
        }
        while !rest.is_empty() {
            let (after, record) = parse_record(tsc, rest)?;
            (rest, tsc) = (after, record.tsc);
        }
        let core = CoreId(core);
        Ok((rest, Self { core, encoded }))
    }
}

impl PartialEq for Messages<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core && self.iter().eq(other.iter())
    }
}

impl core::fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Messages")
            .field("core", &self.core)
            .finish_non_exhaustive()?;
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Source and whether some were lost, how many, ticks since the record before, content.
fn parse_record(previous_tsc: u64, input: &[u8]) -> Parsed<'_, MessageRecord<'_>> {
    let (rest, head) = codec::varint(input)?;
    let (rest, lost) = codec::when(head & 1 != 0, codec::varint, rest)?;
    let source = match (head >> 1).checked_sub(1).map(u32::try_from) {
        None => Source::Request,
        Some(Ok(id)) => Source::Event(EventId(id)),
        Some(Err(_)) => return reject(input),
    };
    if lost == Some(0) {
        return reject(input);
    }
    let (rest, ticks) = codec::varint(rest)?;
    let (rest, content) = Content::parse(rest)?;
    let record = MessageRecord {
        source,
        tsc: previous_tsc.wrapping_add(ticks),
        lost: lost.unwrap_or_default(),
        content,
    };
    Ok((rest, record))
}

/// Puts records together, as many as fit.
#[derive(Debug)]
pub struct Batch<'b> {
    buffer: &'b mut [u8],
    len: usize,
    tsc: u64,
}

impl<'b> Batch<'b> {
    /// An empty batch of at most [`limits::BATCH_BYTES`].
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let most = buffer.len().min(limits::BATCH_BYTES);
        Self {
            buffer: buffer.get_mut(..most).unwrap_or_default(),
            len: 0,
            tsc: 0,
        }
    }

    /// Bytes in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// There is no record in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a record whose content was encoded before.
    ///
    /// # Errors
    /// No room; the batch is as it was.
    pub fn push(
        &mut self,
        source: Source,
        tsc: u64,
        lost: u64,
        content: &[u8],
    ) -> Result<(), EncodeError> {
        let room = self.buffer.get_mut(self.len..).unwrap_or_default();
        let mut out = Writer::new(room);
        let number = match source {
            Source::Request => 0,
            Source::Event(id) => u64::from(id.0) + 1,
        };
        out.varint(number << 1 | u64::from(lost != 0))?;
        if lost != 0 {
            out.varint(lost)?;
        }
        out.varint(tsc.wrapping_sub(self.tsc))?;
        out.bytes(content)?;
        self.len += out.len();
        self.tsc = tsc;
        Ok(())
    }

    /// The batch, as the message of a core; `None` if it is empty.
    #[must_use]
    pub fn finish(self, core: CoreId) -> Option<Messages<'b>> {
        let Self { buffer, len, .. } = self;
        let encoded = buffer.get(..len).unwrap_or_default();
        (len != 0).then_some(Messages { core, encoded })
    }
}
