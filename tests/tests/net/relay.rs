//! A network between a core and its host: passes datagrams on, and does to them what networks do. Keeps a copy of all that
//! came.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for a datagram, before it is looked whether the relay is wanted.
const LOOK: Duration = Duration::from_millis(20);

/// A relay that ends when it is dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Where a core finds its host.
    pub(crate) address: SocketAddr,
}

struct Shared {
    host: SocketAddr,
    /// The core's side.
    front: UdpSocket,
    /// The host's side, which may get another address.
    back: Mutex<Arc<UdpSocket>>,
    core: Mutex<Option<SocketAddr>>,
    captured: Mutex<Vec<Vec<u8>>>,
    is_bad: AtomicBool,
    is_cut: AtomicBool,
    ends: AtomicBool,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LOOK)).unwrap();
    socket
}

impl Relay {
    /// To a host at this port of this machine.
    pub(crate) fn to(port: u16, is_bad: bool) -> Self {
        let front = socket();
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            host: ([127, 0, 0, 1], port).into(),
            front,
            back: Mutex::new(Arc::new(socket())),
            core: Mutex::new(None),
            captured: Mutex::default(),
            is_bad: AtomicBool::new(is_bad),
            is_cut: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let directions: [fn(&Shared); 2] = [Shared::to_host, Shared::to_core];
        let threads = directions.map(|pass| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || pass(&shared))
        });
        Self {
            shared,
            threads: threads.into(),
            address,
        }
    }

    /// Begins to do what bad networks do, or ends.
    pub(crate) fn set_bad(&self, is_bad: bool) {
        self.shared.is_bad.store(is_bad, Ordering::Relaxed);
    }

    /// Passes nothing on, or does again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// All that came so far, from either end.
    pub(crate) fn captured(&self) -> Vec<Vec<u8>> {
        self.shared.captured.lock().unwrap().clone()
    }

    /// Bytes of the link that datagrams of sessions had, both directions.
    pub(crate) fn link_bytes(&self) -> u64 {
        // Kind, length, session and nonce before, the content's kind, and the tag behind.
        const SEALS: usize = 3 + 4 + 24 + 1 + 16;
        let captured = self.shared.captured.lock().unwrap();
        let sealed = captured
            .iter()
            .filter(|it| matches!(it.first(), Some(0x93 | 0x94)));
        let bytes: usize = sealed.map(|it| it.len().saturating_sub(SEALS)).sum();
        bytes as u64
    }

    /// The core reaches its host from another address from now on, as behind a router that has forgotten it.
    pub(crate) fn move_core(&self) {
        *self.shared.back.lock().unwrap() = Arc::new(socket());
    }

    /// Something comes to the core, as if from its host.
    pub(crate) fn bring_to_core(&self, datagram: &[u8]) {
        let core = self.shared.core.lock().unwrap().expect("it has called");
        self.shared.front.send_to(datagram, core).unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn pass(&self, seed: u64, from: impl Fn(&mut [u8]) -> Option<usize>, to: impl Fn(&[u8])) {
        let mut mishaps = Mishaps { seed, held: None };
        let mut bytes = [0; 2048];
        while !self.ends.load(Ordering::Relaxed) {
            let Some(len) = from(&mut bytes) else {
                continue;
            };
            let datagram = bytes[..len].to_vec();
            if self.is_cut.load(Ordering::Relaxed) {
                continue;
            }
            self.captured.lock().unwrap().push(datagram.clone());
            if self.is_bad.load(Ordering::Relaxed) {
                mishaps
                    .happen(datagram)
                    .iter()
                    .for_each(|datagram| to(datagram));
            } else {
                to(&datagram);
            }
        }
    }

    fn to_host(&self) {
        let receive = |bytes: &mut [u8]| {
            let (len, from) = self.front.recv_from(bytes).ok()?;
            *self.core.lock().unwrap() = Some(from);
            Some(len)
        };
        // Where nobody listens yet, a datagram is lost.
        let send = |datagram: &[u8]| {
            let back = Arc::clone(&self.back.lock().unwrap());
            let _ = back.send_to(datagram, self.host);
        };
        self.pass(1, receive, send);
    }

    fn to_core(&self) {
        let receive = |bytes: &mut [u8]| {
            let back = Arc::clone(&self.back.lock().unwrap());
            Some(back.recv_from(bytes).ok()?.0)
        };
        let send = |datagram: &[u8]| {
            if let Some(core) = *self.core.lock().unwrap() {
                let _ = self.front.send_to(datagram, core);
            }
        };
        self.pass(2, receive, send);
    }
}

/// What happens in one direction: of a hundred datagrams five are lost, and one each is damaged, doubled and overtaken.
struct Mishaps {
    seed: u64,
    /// It comes behind the next one.
    held: Option<Vec<u8>>,
}

impl Mishaps {
    /// xorshift64*, over and over.
    fn draw(&mut self) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn happen(&mut self, mut datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let held = self.held.take();
        let mut passed = match self.draw() % 100 {
            0..5 => Vec::new(),
            5 => {
                let bit = self.draw() as usize % (8 * datagram.len());
                datagram[bit / 8] ^= 1 << (bit % 8);
                vec![datagram]
            }
            6 => vec![datagram.clone(), datagram],
            7 if held.is_none() => {
                self.held = Some(datagram);
                Vec::new()
            }
            _ => vec![datagram],
        };
        passed.extend(held);
        passed
    }
}

/// Whether the bytes of `part` are somewhere in `whole`.
pub(crate) fn has(part: &[u8], whole: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// No public key of a handshake is there twice, and no nonce in the same session and direction.
pub(crate) fn assert_differ(captured: &[Vec<u8>]) {
    let uses: Vec<_> = captured
        .iter()
        .map(|datagram| match datagram[0] {
            0x91 | 0x92 => &datagram[7..39],
            _ => &datagram[..31],
        })
        .collect();
    let different: BTreeSet<_> = uses.iter().collect();
    assert_eq!(different.len(), uses.len());
}
