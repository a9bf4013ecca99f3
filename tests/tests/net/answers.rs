//! The host's end of a network for cards that are tried: whatever a debuggee with the key sends for the link goes back to it, with
//! every bit turned over.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire_protocol::secure::{DATAGRAM_BYTES, Heard, Key, Listener, OlderClock, ROOM_BYTES, Random};

/// Longest wait for a datagram, before it is looked whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// One that ends when it is dropped.
pub(crate) struct Answers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where it listens, on this machine.
    pub(crate) port: u16,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    answered: AtomicU64,
    dropped: AtomicU64,
}

impl Answers {
    pub(crate) fn new(key: Key) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        Self {
            shared,
            thread: Some(std::thread::spawn(move || own.answer(&socket, key))),
            port,
        }
    }

    /// How many authenticated datagrams were answered, and how many others came.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let Shared {
            answered, dropped, ..
        } = &*self.shared;
        (
            answered.load(Ordering::Relaxed),
            dropped.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn random() -> Random {
    let mut random = Random::default();
    getrandom::fill(&mut random).unwrap();
    random
}

impl Shared {
    fn answer(&self, socket: &UdpSocket, key: Key) {
        let mut listener = Listener::new(key, None, OlderClock::Refused);
        let mut came = [0; DATAGRAM_BYTES + 1];
        let mut out = [0; DATAGRAM_BYTES];
        while !self.ends.load(Ordering::Relaxed) {
            let Ok((len, from)) = socket.recv_from(&mut came) else {
                continue;
            };
            let mut turned = [0; ROOM_BYTES];
            let bytes = match listener.take(&mut came[..len], &random(), &mut out) {
                Heard::Dropped(_) => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Heard::Call { answer_bytes, .. } => {
                    socket.send_to(&out[..answer_bytes], from).unwrap();
                    continue;
                }
                Heard::Debuggee {
                    bytes,
                    answer_bytes,
                    ..
                } => {
                    if answer_bytes != 0 {
                        socket.send_to(&out[..answer_bytes], from).unwrap();
                    }
                    let turned = &mut turned[..bytes.len()];
                    for (to, from) in turned.iter_mut().zip(bytes) {
                        *to = !from;
                    }
                    turned
                }
            };
            if !bytes.is_empty() {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let len = listener.seal(bytes, &random(), &mut out);
                socket.send_to(&out[..len], from).unwrap();
            }
        }
    }
}
