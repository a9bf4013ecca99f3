//! Ethernet, ARP, IPv4, UDP and DHCP over a card: `smoltcp`, with memory of a fixed size, told the time and driven in steps
//! that end.
//!
//! By [`super::network`]. It has a panic path, as a library may: in VMX-root it runs apart (`hw/apart.rs`).

use super::card::{Card, FRAME_BYTES};
use super::settings::{Addresses, Settings};
use core::net::SocketAddrV4;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpCidr, IpProtocol, Ipv4Address, Ipv4Cidr,
    Ipv4Packet, UdpPacket,
};
use wire_protocol::secure::DATAGRAM_BYTES;

/// Frames that are looked at in one turn, so that it ends.
const FRAMES_PER_TURN: usize = 16;
/// Datagrams that wait for their turn.
const WAITING: usize = 16;
const SOCKETS: usize = 2;
/// Of DHCP servers and clients.
const DHCP_SERVER_PORT: u16 = 67;
const DHCP_CLIENT_PORT: u16 = 68;
/// Ports from here on nobody has given away.
const FIRST_PORT: u16 = 49152;

/// Memory of the sockets.
pub struct Memory<'m> {
    storage: [SocketStorage<'m>; SOCKETS],
    received: [udp::PacketMetadata; WAITING],
    received_bytes: [u8; WAITING * DATAGRAM_BYTES],
    sent: [udp::PacketMetadata; WAITING],
    sent_bytes: [u8; WAITING * DATAGRAM_BYTES],
}

impl Memory<'_> {
    /// Nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            storage: [SocketStorage::EMPTY; SOCKETS],
            received: [udp::PacketMetadata::EMPTY; WAITING],
            received_bytes: [0; WAITING * DATAGRAM_BYTES],
            sent: [udp::PacketMetadata::EMPTY; WAITING],
            sent_bytes: [0; WAITING * DATAGRAM_BYTES],
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// See the module.
pub(super) struct Stack<'m, C> {
    port: Port<C>,
    interface: Interface,
    sockets: SocketSet<'m>,
    udp: SocketHandle,
    /// Where addresses come from, if they are not given.
    dhcp: Option<SocketHandle>,
    host: SocketAddrV4,
}

impl<'m, C: Card> Stack<'m, C> {
    /// One without an address yet, unless one is given.
    pub(super) fn new(
        memory: &'m mut Memory<'m>,
        card: C,
        settings: &Settings,
        seed: u64,
        now_us: u64,
    ) -> Self {
        let local_port = FIRST_PORT + (seed % u64::from(u16::MAX - FIRST_PORT)) as u16;
        let mut config = Config::new(EthernetAddress(card.mac()).into());
        config.random_seed = seed;
        let mut port = Port {
            card,
            local_port,
            has_dhcp: settings.addresses == Addresses::Dhcp,
            frame: [0; FRAME_BYTES],
            received: 0,
            panic_every: 0,
        };
        let mut interface = Interface::new(config, &mut port, instant(now_us));
        let received =
            udp::PacketBuffer::new(&mut memory.received[..], &mut memory.received_bytes[..]);
        let sent = udp::PacketBuffer::new(&mut memory.sent[..], &mut memory.sent_bytes[..]);
        let mut socket = udp::Socket::new(received, sent);
        // The port is none that a socket refuses.
        let _ = socket.bind(local_port);
        let mut sockets = SocketSet::new(&mut memory.storage[..]);
        let udp = sockets.add(socket);
        let dhcp = match settings.addresses {
            Addresses::Given {
                own,
                prefix_bits,
                gateway,
            } => {
                set_addresses(&mut interface, Ipv4Cidr::new(own, prefix_bits), gateway);
                None
            }
            Addresses::Dhcp => Some(sockets.add(dhcpv4::Socket::new())),
        };
        Self {
            port,
            interface,
            sockets,
            udp,
            dhcp,
            host: settings.host,
        }
    }

    /// The same, but it panics at each so many-th frame; 0: never.
    pub(super) fn panicking(mut self, panic_every: u32) -> Self {
        self.port.panic_every = panic_every;
        self
    }

    /// Looks at frames that have come, and does what is due.
    pub(super) fn turn(&mut self, now_us: u64) {
        let Self {
            port,
            interface,
            sockets,
            ..
        } = self;
        let now = instant(now_us);
        interface.poll_maintenance(now);
        for _ in 0..FRAMES_PER_TURN {
            let result = interface.poll_ingress_single(now, port, sockets);
            if result == smoltcp::iface::PollIngressSingleResult::None {
                break;
            }
        }
        interface.poll_egress(now, port, sockets);
        if let Some(handle) = self.dhcp {
            match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
                Some(dhcpv4::Event::Configured(found)) => {
                    set_addresses(interface, found.address, found.router);
                }
                Some(dhcpv4::Event::Deconfigured) => {
                    interface.update_ip_addrs(|addresses| addresses.clear());
                }
                None => {}
            }
        }
    }

    /// Another datagram to the host may be sent.
    pub(super) fn can_send(&self) -> bool {
        let socket = self.sockets.get::<udp::Socket<'_>>(self.udp);
        socket.can_send() && self.port.card.can_send() && self.interface.ipv4_addr().is_some()
    }

    /// Sends a datagram to the host; where [`Self::can_send`] says no it is lost, as datagrams may be.
    pub(super) fn send(&mut self, datagram: &[u8], now_us: u64) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp);
        if socket.send_slice(datagram, self.host).is_ok() {
            let Self {
                port,
                interface,
                sockets,
                ..
            } = self;
            interface.poll_egress(instant(now_us), port, sockets);
        }
    }

    /// Takes the datagram that came first: how many bytes it has. One that does not fit is thrown away.
    pub(super) fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp);
        let (len, _) = socket.recv_slice(into).ok()?;
        Some(len)
    }

    /// The card.
    pub(super) fn card(&mut self) -> &mut C {
        &mut self.port.card
    }
}

fn instant(now_us: u64) -> Instant {
    Instant::from_micros(i64::try_from(now_us).unwrap_or(i64::MAX))
}

fn set_addresses(interface: &mut Interface, own: Ipv4Cidr, gateway: Option<Ipv4Address>) {
    interface.update_ip_addrs(|addresses| {
        addresses.clear();
        // There is room for one.
        let _ = addresses.push(IpCidr::Ipv4(own));
    });
    interface.routes_mut().remove_default_ipv4_route();
    if let Some(gateway) = gateway {
        // There is room for one.
        let _ = interface.routes_mut().add_default_ipv4_route(gateway);
    }
}

/// A card as the library has devices.
struct Port<C> {
    card: C,
    local_port: u16,
    has_dhcp: bool,
    frame: [u8; FRAME_BYTES],
    received: u32,
    panic_every: u32,
}

impl<C: Card> Device for Port<C> {
    type RxToken<'t>
        = Received<'t>
    where
        C: 't;
    type TxToken<'t>
        = Free<'t, C>
    where
        C: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Free<'_, C>)> {
        let len = self.card.receive(&mut self.frame)?;
        self.received = self.received.wrapping_add(1);
        if self.panic_every != 0 && self.received.is_multiple_of(self.panic_every) {
            panic_for_a_test();
        }
        let frame = self.frame.get(..len).unwrap_or_default();
        // What nobody here waits for is not even answered by saying so.
        let frame = match is_wanted(frame, self.local_port, self.has_dhcp) {
            true => frame,
            false => &[],
        };
        Some((Received(frame), Free(&mut self.card)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Free<'_, C>> {
        self.card.can_send().then_some(Free(&mut self.card))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        // IPv4 lets datagrams go without (RFC 768), and what is in them is authenticated.
        capabilities.checksum.udp = Checksum::None;
        capabilities
    }
}

/// As the library could on a frame that it does not bear.
#[cold]
#[allow(clippy::panic, reason = "it is what the test is about")]
fn panic_for_a_test() -> ! {
    panic!("as a test wants");
}

/// Address resolution, and datagrams for one of the sockets here: to any other the library would answer that nobody is there.
fn is_wanted(frame: &[u8], local_port: u16, has_dhcp: bool) -> bool {
    let Ok(frame) = EthernetFrame::new_checked(frame) else {
        return false;
    };
    if frame.ethertype() == EthernetProtocol::Arp {
        return true;
    }
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return false;
    }
    let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else {
        return false;
    };
    if packet.next_header() != IpProtocol::Udp {
        return false;
    }
    UdpPacket::new_checked(packet.payload()).is_ok_and(|datagram| {
        let ports = (datagram.src_port(), datagram.dst_port());
        ports.1 == local_port || has_dhcp && ports == (DHCP_SERVER_PORT, DHCP_CLIENT_PORT)
    })
}

/// A frame that has come.
struct Received<'t>(&'t [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(self.0)
    }
}

/// Room for a frame.
struct Free<'t, C>(&'t mut C);

impl<C: Card> TxToken for Free<'_, C> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = [0; FRAME_BYTES];
        let frame = frame.get_mut(..len).unwrap_or_default();
        let result = fill(frame);
        self.0.send(frame);
        result
    }
}
