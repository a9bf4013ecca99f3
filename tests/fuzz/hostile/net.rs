//! What comes to either end of the secure channel over the network.

use wire_protocol::secure::{
    Caller, DATAGRAM_BYTES, Heard, Key, Listener, OlderClock, Random, Taken, Timing,
};

/// Both ends, and how often random bits were drawn.
struct Ends {
    caller: Caller,
    listener: Listener,
    now_us: u64,
    drawn: u64,
}

/// Bytes of an input that belong together: `[choices][length][bytes]`.
pub(super) fn pieces(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [choices, len, after @ ..] = rest else {
            return None;
        };
        let (piece, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        Some((*choices, piece))
    })
}

impl Ends {
    fn new() -> Self {
        let key = Key::new([0x4b; 32]);
        Self {
            caller: Caller::new(key.clone(), Timing::USUAL),
            listener: Listener::new(key, None, OlderClock::Refused),
            now_us: 0,
            drawn: 0,
        }
    }

    fn random(&mut self) -> Random {
        self.drawn += 1;
        let mut random = Random::default();
        random[..8].copy_from_slice(&self.drawn.to_le_bytes());
        random
    }

    /// What the debuggee says by itself after a while.
    fn polled(&mut self) -> Vec<u8> {
        self.now_us += Timing::USUAL.call_us;
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let len = self.caller.poll(self.now_us, 7, &random, &mut out);
        out[..len].to_vec()
    }

    /// The host's answer, and its bytes for the link. What it drops brings none, and no answer is longer than what it
    /// answers.
    fn reach_host(&mut self, datagram: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let mut datagram = datagram.to_vec();
        let len = datagram.len();
        let (answer_bytes, bytes) = match self.listener.take(&mut datagram, &random, &mut out) {
            Heard::Dropped(_) => (0, None),
            Heard::Call { answer_bytes, .. } => (answer_bytes, None),
            Heard::Debuggee {
                bytes,
                answer_bytes,
                ..
            } => (answer_bytes, Some(bytes.to_vec())),
        };
        assert!(answer_bytes <= len);
        (out[..answer_bytes].to_vec(), bytes)
    }

    fn reach_debuggee(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut datagram = datagram.to_vec();
        match self.caller.take(&mut datagram, self.now_us) {
            Taken::Bytes(bytes) => Some(bytes.to_vec()),
            Taken::Dropped(_) | Taken::Done | Taken::Session => None,
        }
    }

    fn said(&mut self, bytes: &[u8], by_host: bool) -> Vec<u8> {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.random();
        let len = match by_host {
            true => self.listener.seal(bytes, &random, &mut out),
            false => self.caller.seal(bytes, self.now_us, &random, &mut out),
        };
        out[..len].to_vec()
    }

    /// Whatever they went through, they find each other.
    fn connect(&mut self) {
        for _ in 0..20 {
            let datagram = self.polled();
            let (answer, _) = self.reach_host(&datagram);
            self.reach_debuggee(&answer);
            if self.caller.is_connected() && self.talk() {
                return;
            }
        }
        panic!("no session");
    }

    /// Bytes get through both ways.
    fn talk(&mut self) -> bool {
        let up = self.said(b"up", false);
        let (_, heard) = self.reach_host(&up);
        let down = self.said(b"down", true);
        let told = self.reach_debuggee(&down);
        heard.as_deref() == Some(b"up") && told.as_deref() == Some(b"down")
    }
}

/// Bytes as datagrams before there is a session: as they are, or as changes of those of a handshake.
pub fn net_handshake(bytes: &[u8]) {
    let mut ends = Ends::new();
    for (choices, piece) in pieces(bytes) {
        let mut datagram = match choices & 3 {
            0 => piece.to_vec(),
            1 => ends.polled(),
            _ => {
                let hello = ends.polled();
                ends.reach_host(&hello).0
            }
        };
        if choices & 3 != 0 {
            let at = usize::from(choices >> 3) % datagram.len().max(1);
            for (byte, change) in datagram.iter_mut().skip(at).zip(piece) {
                *byte ^= change;
            }
        }
        if choices & 4 == 0 {
            let (answer, bytes) = ends.reach_host(&datagram);
            assert!(bytes.is_none_or(|bytes| bytes.is_empty()));
            ends.reach_debuggee(&answer);
        } else {
            assert_eq!(ends.reach_debuggee(&datagram), None);
        }
    }
    ends.connect();
}

/// Bytes as datagrams in a session: as they are, with what begins those of the session before them, or as changes of good
/// ones.
pub fn net_datagram(bytes: &[u8]) {
    /// Bytes that name the kind, the length and the session.
    const HEAD: usize = 7;
    let mut ends = Ends::new();
    ends.connect();
    for (choices, piece) in pieces(bytes) {
        let to_host = choices & 1 == 0;
        let good = ends.said(b"bytes of the link", !to_host);
        let mut datagram = match choices >> 1 & 3 {
            0 => piece.to_vec(),
            1 => [&good[..HEAD], piece].concat(),
            _ => {
                let mut changed = good.clone();
                let at = usize::from(choices >> 3) % changed.len();
                for (byte, change) in changed.iter_mut().skip(at).zip(piece) {
                    *byte ^= change;
                }
                changed
            }
        };
        if choices >> 1 & 3 == 1 {
            let len = u16::try_from(datagram.len()).expect("short");
            datagram[1..3].copy_from_slice(&len.to_le_bytes());
        }
        let heard = match to_host {
            true => ends.reach_host(&datagram).1,
            false => ends.reach_debuggee(&datagram),
        };
        assert_eq!(heard.is_some(), datagram == good, "{datagram:x?}");
    }
    assert!(ends.talk());
}
