//! Delivers messages once and in order, over a line that loses, damages, repeats and inserts
//! bytes. Both ends run this code: the driver in VMX-root, the host in its own thread. It does no
//! I/O and reads no clock: bytes and the time come in as arguments.
//!
//! **Session.** The initiator draws a number and proposes it (`Syn`), the responder agrees
//! (`SynAck`), and with the first frame of that session both start from zero. The responder keeps
//! its old session until that frame, so a late copy of an old `Syn` changes nothing. The number is
//! mixed into every checksum, so frames of an older session are damaged ones.
//!
//! **Hosts.** A line may be shared by several hosts. While one has a session and says that it is there when it is asked,
//! others are refused, unless they take over (`claim`).
//!
//! **Data.** Go-back-N with a window of [`crate::limits::WINDOW_FRAMES`], or of as many as can be told apart where datagrams carry them. Every header carries
//! the acknowledgement of the other direction; a frame with nothing else is sent only when no data
//! has gone out for `ack_delay_us`. A gap or a damaged frame is reported once, at once; all else is
//! left to the retry timer, which doubles up to sixteen times its start. There is no giving up:
//! that is for the host to decide.
//!
//! **Parts.** A frame keeps its number and its payload until it is acknowledged. On a line that
//! loses much a long one goes in parts, of which any number may be there: the shorter the worse the
//! line is (`quality`).
//!
//! **Datagrams.** Where the transport moves those, each carries one frame, or a part of one that fits in (`cut`): what is lost
//! is lost whole, so that shorter parts would lose no less. A frame needs no delimiters there, and no checksum of what the
//! datagram authenticates.
//!
//! **Rate.** Where the transport runs at one that can be changed, both ends look for the highest that the line carries
//! (`rate`).

mod claim;
mod cut;
mod part;
mod quality;
mod queue;
mod rate;
mod receiver;
mod sender;

pub use rate::{RateNews, RateState, Rates};

use crate::frame::{BODY_BYTES, BREAK_IN, Completed, Decoder, Flags, Header, Kind, WIRE_BYTES};
use crate::limits::MESSAGE_BYTES;
use claim::Ownership;
use cut::Cut;
use quality::Quality;
use rate::Pace;
use receiver::{Ahead, Receiver, Reception};
use sender::Sender;

/// Who starts sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host.
    Initiator,
    /// The debuggee.
    Responder,
}

/// How patient a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the last byte of a frame to its first repetition, beyond the time that unacknowledged
    /// bytes take on the line. Doubles up to sixteen times with every repetition.
    pub retry_us: u64,
    /// Wait for data to carry an acknowledgement before one is sent by itself.
    pub ack_delay_us: u64,
    /// Responder: a host that does not say for so long, three times, that it is there, is not, and another one may come.
    pub answer_us: u64,
    /// Time that one byte takes on the line: 86,806 at 115,200 baud, 0 on a network.
    pub byte_time_ns: u32,
}

impl Timing {
    /// Of datagrams on a network: most are there and back within a few milliseconds, and some are lost.
    pub const NETWORK: Self = Self {
        retry_us: 60_000,
        ack_delay_us: 3_000,
        answer_us: 500_000,
        byte_time_ns: 0,
    };
}

/// Memory of a link.
#[derive(Debug)]
pub struct Storage<'b> {
    /// The message that is being received: longer ones are thrown away.
    pub message: &'b mut [u8],
    /// The frame that is being received.
    pub receive: &'b mut [u8; BODY_BYTES],
    /// The frame that is being sent.
    pub transmit: &'b mut [u8; WIRE_BYTES],
    /// Messages that are not yet acknowledged.
    pub queue: &'b mut [u8],
}

impl<'b> Storage<'b> {
    /// Enough to receive and to queue the longest message.
    pub const BYTES: usize = MESSAGE_BYTES + BODY_BYTES + WIRE_BYTES + MESSAGE_BYTES + 4096;

    /// Cuts one piece of memory into the four buffers; what is left over makes the queue longer.
    /// `None` if there is not even room for a queue of one frame.
    #[must_use]
    pub fn carve(memory: &'b mut [u8]) -> Option<Self> {
        let (receive, memory) = memory.split_first_chunk_mut()?;
        let (transmit, memory) = memory.split_first_chunk_mut()?;
        let (message, queue) = memory.split_at_mut_checked(MESSAGE_BYTES)?;
        if queue.len() < WIRE_BYTES {
            return None;
        }
        Some(Self {
            message,
            receive,
            transmit,
            queue,
        })
    }
}

/// What a byte brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The host wants the debuggee to halt. The other way round: the driver was loaded, and knows of no
    /// session.
    BreakIn,
    /// [`Link::message`] is there, until [`Link::release`].
    Message,
    /// A session has begun. What was queued for the one before is gone, and so is its message.
    Connected,
    /// Initiator: the session that was asked for does not come about, since another host has the debuggee.
    Busy,
    /// Initiator: another host has taken the debuggee, and the session is over.
    TakenOver,
}

/// Why a message was not queued. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no session, and none was asked for.
    NotConnected,
    /// The queue has no room for it now.
    QueueFull {
        /// What it takes, with its share of bookkeeping.
        wanted_bytes: usize,
        /// What there is.
        free_bytes: usize,
    },
    /// No receiver would take it.
    TooLong {
        /// [`MESSAGE_BYTES`].
        limit_bytes: usize,
        /// Its length.
        wanted_bytes: usize,
    },
}

/// Counts since the link was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes given to the line.
    pub sent_bytes: u64,
    /// Bytes taken from the line.
    pub received_bytes: u64,
    /// Frames put on the line, of every kind.
    pub sent_frames: u64,
    /// Data frames among them that had been sent before.
    pub repeated_frames: u64,
    /// Frames that came in whole, of every kind.
    pub received_frames: u64,
    /// Runs of bytes between delimiters that were no whole frame of this session.
    pub broken_frames: u64,
    /// Data frames that had been taken before.
    pub duplicate_frames: u64,
    /// Data frames thrown away because one before them was missing.
    pub gap_frames: u64,
    /// Data frames thrown away because the message before was not released.
    pub busy_frames: u64,
    /// Messages thrown away because they did not fit.
    pub discarded_messages: u64,
    /// Break-ins that came in.
    pub break_ins: u64,
    /// Sessions that began.
    pub sessions: u64,
}

/// Damaged frames in a row that are reported.
const DAMAGE_REPORTS: u8 = 4;

/// Doublings of the retry time.
const BACK_OFF_LIMIT: u32 = 4;

/// One end of the line.
#[derive(Debug)]
pub struct Link<'b> {
    role: Role,
    timing: Timing,
    decoder: Decoder<'b>,
    receiver: Receiver<'b>,
    sender: Sender<'b>,
    quality: Quality,
    /// How frames are cut where datagrams carry them.
    datagrams: Option<Cut>,
    ownership: Ownership,
    rate: Pace,

    /// The session whose frames count.
    session: Option<u32>,
    /// Responder: a proposed session that has not shown a frame yet.
    proposed: Option<u32>,
    /// Initiator: the responder has not agreed yet.
    connecting: bool,
    /// A frame of the session has come in.
    confirmed: bool,

    /// The frame on its way out.
    wire: &'b mut [u8; WIRE_BYTES],
    wire_len: usize,
    wire_at: usize,
    /// Its last byte starts the retry timer.
    wire_starts_retry: bool,

    break_in_wanted: bool,
    syn_wanted: bool,
    syn_ack_wanted: Option<u32>,

    ack_due_us: Option<u64>,
    unacknowledged_frames: usize,
    /// The next frame reports a gap.
    again_wanted: bool,
    /// It was reported, and the missing frame has not come yet.
    again_reported: bool,
    /// The last frame that came since, while it does not.
    gap: Option<Ahead>,
    /// Damaged frames that were reported since a good one came.
    damage_reports: u8,
    /// A frame was thrown away for want of [`Self::release`].
    was_busy: bool,

    retry_at_us: Option<u64>,
    back_off: u32,
    last_byte_us: u64,
    statistics: Statistics,
}

impl<'b> Link<'b> {
    /// A link without a session.
    #[must_use]
    pub fn new(role: Role, storage: Storage<'b>, timing: Timing) -> Self {
        Self {
            role,
            timing,
            decoder: Decoder::new(storage.receive),
            receiver: Receiver::new(storage.message),
            sender: Sender::new(storage.queue),
            quality: Quality::default(),
            datagrams: None,
            ownership: Ownership::default(),
            rate: Pace::new(role),
            session: None,
            proposed: None,
            connecting: false,
            confirmed: false,
            wire: storage.transmit,
            wire_len: 0,
            wire_at: 0,
            wire_starts_retry: false,
            break_in_wanted: false,
            syn_wanted: false,
            syn_ack_wanted: None,
            ack_due_us: None,
            unacknowledged_frames: 0,
            again_wanted: false,
            again_reported: false,
            gap: None,
            damage_reports: 0,
            was_busy: false,
            retry_at_us: None,
            back_off: 0,
            last_byte_us: 0,
            statistics: Statistics::default(),
        }
    }

    /// Initiator: starts a session, or starts over. `nonce` must differ from that of every
    /// session of which frames may still be under way. Messages may be queued at once.
    pub fn connect(&mut self, nonce: u32) {
        if self.role == Role::Initiator {
            if self.is_connected() {
                self.ownership.former = self.session;
            }
            self.ownership.takes_over = false;
            self.start_session(nonce);
            self.connecting = true;
            self.confirmed = false;
            self.syn_wanted = true;
        }
    }

    fn start_session(&mut self, nonce: u32) {
        self.session = Some(nonce);
        self.proposed = None;
        self.rate.restart();
        self.sender.reset();
        self.receiver.reset();
        self.ack_due_us = None;
        self.unacknowledged_frames = 0;
        self.again_wanted = false;
        self.again_reported = false;
        self.gap = None;
        self.damage_reports = 0;
        self.was_busy = false;
        self.retry_at_us = None;
        self.back_off = 0;
    }

    /// Both ends have agreed on a session, as far as this end knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.is_some() && !self.connecting
    }

    /// Nothing is unsent or unacknowledged, in either direction.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sender.is_empty()
            && self.wire_at == self.wire_len
            && !self.connecting
            && !self.has_presence()
            && !self.break_in_wanted
            && self.syn_ack_wanted.is_none()
            && self.ack_due_us.is_none()
    }

    /// Bytes of messages that are not acknowledged yet, sent or not.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.sender.queued_bytes()
    }

    /// Counts since the link was made.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The completed message; empty when there is none.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.receiver.message()
    }

    /// The consumer is done with the message. Until then no further one is taken.
    pub fn release(&mut self) {
        self.receiver.release();
        if self.was_busy {
            self.was_busy = false;
            self.again_wanted = true;
            self.ack_due_us = Some(0);
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// There is no session, or no room.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.session.is_none() {
            return Err(SendError::NotConnected);
        }
        self.sender.send(message, self.cut())
    }

    /// Queues a break-in, ahead of all frames that have not begun. It is not repeated: the sender
    /// sees that it arrived by the halt. A responder greets so who may be waiting for it.
    pub fn break_in(&mut self) {
        self.break_in_wanted = true;
    }
}

mod incoming;
mod outgoing;

#[cfg(test)]
mod tests;
