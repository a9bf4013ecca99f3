//! Lines that go over a network: TCP to whoever has the port, and UDP from a debuggee that has a card.

use super::{Finding, change, fine, note, opened};
use crate::transport::Endpoint;
use std::net::{SocketAddr, UdpSocket};

const ADVICE: &str =
    "start the machine or the server of serial ports, and look whether a firewall is in between";

pub(super) fn tcp(endpoint: &Endpoint, address: &str) -> Finding {
    #[cfg(target_os = "linux")]
    if let Some(port) = local_port(address)
        && is_connected(port)
    {
        return change(format!(
            "another program is connected to {address}, and a port has one other end; close that one"
        ));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = address;
    opened(endpoint, ADVICE)
}

/// The port, if it is one of this machine.
#[cfg(target_os = "linux")]
fn local_port(address: &str) -> Option<u16> {
    use std::net::ToSocketAddrs;
    let mut found = address.to_socket_addrs().ok()?;
    let local = found.find(|address| address.ip().is_loopback());
    local.map(|address| address.port())
}

/// Whether anybody is connected to that port of this machine.
#[cfg(target_os = "linux")]
fn is_connected(port: u16) -> bool {
    let end = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|list| {
        let text = std::fs::read_to_string(list).unwrap_or_default();
        // The number of the row, local address, remote address, state; 01 is an open connection.
        text.lines().any(|row| {
            let columns: Vec<&str> = row.split_whitespace().take(4).collect();
            matches!(columns[..], [_, local, _, "01"] if local.ends_with(&end))
        })
    })
}

pub(super) fn udp(endpoint: &Endpoint, address: SocketAddr) -> Vec<Finding> {
    let reached = note(format!(
        "the debuggee has to reach UDP port {} of this machine: net=HOST:{} names it, and a firewall lets it in",
        address.port(),
        address.port()
    ));
    match UdpSocket::bind(address) {
        Ok(_) => vec![fine(format!("{endpoint} is free")), reached],
        Err(why) => {
            let who = match why.kind() {
                std::io::ErrorKind::AddrInUse => format!("{} has it", holder(address.port())),
                _ => why.to_string(),
            };
            vec![change(format!(
                "{endpoint} cannot be listened at: {who}; end that program, or choose another port"
            ))]
        }
    }
}

/// Who has a UDP port.
#[cfg(target_os = "linux")]
fn holder(port: u16) -> String {
    let end = format!(":{port:04X}");
    let lists = ["/proc/net/udp", "/proc/net/udp6"];
    let found = lists.iter().find_map(|list| {
        let text = std::fs::read_to_string(list).ok()?;
        text.lines().find_map(|row| {
            // The tenth column is the socket's number.
            let columns: Vec<&str> = row.split_whitespace().collect();
            let is_it = columns.get(1)?.ends_with(&end);
            let number = columns.get(9)?;
            is_it.then(|| super::holder::of_socket(number))
        })
    });
    let who = found.flatten();
    who.map_or("another program".to_owned(), |who| who.to_string())
}

#[cfg(not(target_os = "linux"))]
fn holder(_: u16) -> String {
    "another program".to_owned()
}
