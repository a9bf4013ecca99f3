//! A network of two: a card, and whoever is at the other end of its wire.

extern crate std;

use crate::port::Senses;
use crate::transport::net::Memory;
use crate::transport::net::card::{Card, FRAME_BYTES, Mac};
use crate::transport::net::network::{Network, Parts};
use crate::transport::net::settings::{Addresses, Settings};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;
use wire_protocol::secure::{Entropy, Key};

/// The debuggee's card.
pub const CARD: Mac = [2, 0, 0, 0, 0, 1];
/// The host's.
pub const HOST_CARD: Mac = [2, 0, 0, 0, 0, 2];
/// The debuggee's address.
pub const DEBUGGEE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// Where the host listens.
pub const HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 50_000);

#[derive(Default)]
struct Wire {
    to_card: VecDeque<Vec<u8>>,
    from_card: VecDeque<Vec<u8>>,
    /// It has forgotten what it was told.
    is_lost: bool,
}

/// A card whose wire is a pair of queues.
#[derive(Clone, Default)]
pub struct FakeCard(Rc<RefCell<Wire>>);

impl FakeCard {
    /// A frame comes in.
    pub fn arrive(&self, frame: &[u8]) {
        self.0.borrow_mut().to_card.push_back(frame.to_vec());
    }

    /// It forgets what it was told, and hears nothing until it is set up anew.
    pub fn forget(&self) {
        self.0.borrow_mut().is_lost = true;
    }

    /// The next frame that was sent.
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.0.borrow_mut().from_card.pop_front()
    }
}

impl Card for FakeCard {
    fn begin(&mut self) -> bool {
        let mut wire = self.0.borrow_mut();
        wire.to_card.clear();
        wire.is_lost = false;
        true
    }

    fn end(&mut self) {
        self.0.borrow_mut().to_card.clear();
    }

    fn is_in_order(&mut self) -> bool {
        !self.0.borrow().is_lost
    }

    fn mac(&self) -> Mac {
        CARD
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        let mut wire = self.0.borrow_mut();
        let frame = wire.to_card.pop_front().filter(|_| !wire.is_lost)?;
        let len = frame.len().min(FRAME_BYTES);
        into[..len].copy_from_slice(&frame[..len]);
        Some(len)
    }

    fn can_send(&self) -> bool {
        true
    }

    fn send(&mut self, frame: &[u8]) {
        let mut wire = self.0.borrow_mut();
        if !wire.is_lost {
            wire.from_card.push_back(frame.to_vec());
        }
    }
}

/// A machine without anything that is random.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSenses;

impl Senses for NoSenses {
    fn random(&self) -> Option<u64> {
        None
    }

    fn tsc(&self) -> u64 {
        0
    }

    fn clock_us(&mut self) -> u64 {
        1
    }
}

/// The debuggee's network over that card.
#[must_use]
pub fn network<'m>(
    memory: &'m mut Memory<'m>,
    card: &FakeCard,
    key: Key,
    addresses: Addresses,
) -> Network<'m, FakeCard, NoSenses> {
    Network::new(Parts {
        memory,
        card: card.clone(),
        settings: &Settings {
            host: HOST,
            key,
            addresses,
            mac: None,
        },
        entropy: Entropy::new([9; 32]),
        senses: NoSenses,
        clock_us: 0,
        now_us: 0,
        panic_every: 0,
    })
}

/// Addresses that need no server.
#[must_use]
pub const fn given() -> Addresses {
    Addresses::Given {
        own: DEBUGGEE,
        prefix_bits: 24,
        gateway: None,
    }
}

/// Who asked for the host's card is told.
pub fn answer_who_has(card: &FakeCard, frame: &[u8]) -> bool {
    let Some((head, body)) = frame.split_at_checked(EthernetFrame::<&[u8]>::header_len()) else {
        return false;
    };
    if head[12..14] != [8, 6] {
        return false;
    }
    let asked = ArpPacket::new_checked(body).and_then(|packet| ArpRepr::parse(&packet));
    let Ok(ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = asked
    else {
        return false;
    };
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(HOST_CARD),
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut bytes = ethernet(EthernetProtocol::Arp, answer.buffer_len());
    let start = bytes.len() - answer.buffer_len();
    answer.emit(&mut ArpPacket::new_unchecked(&mut bytes[start..]));
    card.arrive(&bytes);
    true
}

fn ethernet(ethertype: EthernetProtocol, body_bytes: usize) -> Vec<u8> {
    let head = EthernetRepr {
        src_addr: EthernetAddress(HOST_CARD),
        dst_addr: EthernetAddress(CARD),
        ethertype,
    };
    let mut bytes = vec![0; head.buffer_len() + body_bytes];
    head.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes
}

/// The datagram in a frame, and the port that it came from.
#[must_use]
pub fn datagram_in(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    if packet.next_header() != IpProtocol::Udp {
        return None;
    }
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    Some((datagram.src_port(), datagram.payload().to_vec()))
}

/// A frame with a datagram from the host to this port of the debuggee's.
#[must_use]
pub fn frame_with(to_port: u16, payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr {
        src_port: HOST.port(),
        dst_port: to_port,
    };
    let len = udp.header_len() + payload.len();
    let ip = Ipv4Repr {
        src_addr: *HOST.ip(),
        dst_addr: DEBUGGEE,
        next_header: IpProtocol::Udp,
        payload_len: len,
        hop_limit: 64,
    };
    let mut bytes = ethernet(EthernetProtocol::Ipv4, ip.buffer_len() + len);
    let checksums = ChecksumCapabilities::default();
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(*HOST.ip()),
        &IpAddress::Ipv4(DEBUGGEE),
        payload.len(),
        |room| room.copy_from_slice(payload),
        &checksums,
    );
    bytes
}
