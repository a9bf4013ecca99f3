//! What comes to the driver's network card.

use super::net::pieces;
use debuggee_driver::fake::lan::{
    FakeCard, NoSenses, answer_who_has, datagram_in, frame_with, given, network,
};
use debuggee_driver::transport::net::Memory;
use debuggee_driver::transport::net::network::Network;
use debuggee_driver::transport::net::settings::Addresses;
use wire_protocol::secure::{DATAGRAM_BYTES, Heard, Key, Listener, OlderClock, Timing};

const KEY: [u8; 32] = [0x4b; 32];
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
/// Where in a frame with a datagram of IPv4 the ports are, and what the datagram carries.
const PORTS_AT: usize = 34;
const PAYLOAD_AT: usize = 42;

struct Debuggee<'m> {
    card: FakeCard,
    network: Network<'m, FakeCard, NoSenses>,
    now_us: u64,
    /// The last that it sent with a port of its own.
    sent: Vec<u8>,
}

impl<'m> Debuggee<'m> {
    fn new(memory: &'m mut Memory<'m>, addresses: Addresses) -> Self {
        let card = FakeCard::default();
        Self {
            network: network(memory, &card, Key::new(KEY), addresses),
            card,
            now_us: 0,
            sent: Vec::new(),
        }
    }

    /// A turn; what was sent, but for questions of address resolution, which are answered.
    fn turn(&mut self) -> Vec<Vec<u8>> {
        self.now_us += Timing::USUAL.call_us;
        self.network.turn(self.now_us);
        let mut sent = Vec::new();
        while let Some(frame) = self.card.sent() {
            if !answer_who_has(&self.card, &frame) {
                self.sent.clone_from(&frame);
                sent.push(frame);
            }
        }
        sent
    }

    fn port(&self) -> u16 {
        datagram_in(&self.sent).map_or(0, |(port, _)| port)
    }

    /// Of what it asked a DHCP server last, an answer: the same, sent back, until that is changed.
    fn echoed(&self) -> Vec<u8> {
        let mut frame = self.sent.clone();
        if let Some(ports) = frame.get_mut(PORTS_AT..PORTS_AT + 4) {
            ports.rotate_left(2);
        }
        if let Some(operation) = frame.get_mut(PAYLOAD_AT) {
            *operation ^= 3;
        }
        frame
    }
}

/// Bytes as frames: as they are, or as changes of such as come to a debuggee. It may stand still for none, and one with an
/// address finds its host afterwards.
pub fn net_frame(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let is_given = first & 1 != 0;
    let addresses = if is_given { given() } else { Addresses::Dhcp };
    let mut memory = Memory::new();
    let mut debuggee = Debuggee::new(&mut memory, addresses);
    debuggee.turn();
    debuggee.turn();
    for (choices, piece) in pieces(rest) {
        let mut frame = match choices & 3 {
            0 => piece.to_vec(),
            1 => frame_with(debuggee.port(), piece),
            2 => frame_with(DHCP_CLIENT, piece),
            _ => debuggee.echoed(),
        };
        if choices & 3 == 2 && choices & 4 != 0 {
            let [high, low] = DHCP_SERVER.to_be_bytes();
            frame[PORTS_AT..PORTS_AT + 2].copy_from_slice(&[high, low]);
        }
        if choices & 3 == 3 {
            // From the front, or of what is carried.
            let at = usize::from(choices >> 2) * 8;
            for (byte, change) in frame.iter_mut().skip(at).zip(piece) {
                *byte ^= change;
            }
        }
        debuggee.card.arrive(&frame);
        let sent = debuggee.turn();
        assert!(sent.len() <= 8, "{} frames for one", sent.len());
    }
    if is_given {
        connect(&mut debuggee);
    }
}

fn connect(debuggee: &mut Debuggee<'_>) {
    let mut listener = Listener::new(Key::new(KEY), None, OlderClock::Accepted);
    for drawn in 0..40 {
        for frame in debuggee.turn() {
            let Some((port, mut datagram)) = datagram_in(&frame) else {
                continue;
            };
            let mut out = [0; DATAGRAM_BYTES];
            let heard = listener.take(&mut datagram, &[drawn; 32], &mut out);
            if let Heard::Call { answer_bytes, .. } = heard {
                debuggee
                    .card
                    .arrive(&frame_with(port, &out[..answer_bytes]));
            }
        }
        if debuggee.network.is_answered() {
            return;
        }
    }
    panic!("no session");
}
