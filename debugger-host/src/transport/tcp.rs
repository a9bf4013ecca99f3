//! TCP, as emulators offer for their serial ports, and servers of serial ports; the bytes alone, no telnet. Called by the
//! link thread through [`Transport`].

use super::{Line, PATIENCE, Transport, senseless};
use socket2::{SockRef, TcpKeepalive};
use std::io::{Error, Result};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest wait for one address. A machine that is not there does not even refuse.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A peer from which nothing came for so long is asked whether it is there: one that lost its power says nothing.
const QUIET: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(5);

/// See [`super::Endpoint::Tcp`].
pub(super) struct Tcp {
    pub(super) address: String,
}

impl Transport for Tcp {
    fn open(&mut self) -> Result<Line> {
        let writer = connect(&addresses(&self.address)?)?;
        // A request is one small write, and its answer is waited for.
        writer.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(QUIET)
            .with_interval(ASK_EVERY);
        SockRef::from(&writer).set_tcp_keepalive(&keepalive)?;
        let reader = writer.try_clone()?;
        reader.set_read_timeout(Some(PATIENCE))?;
        writer.set_write_timeout(Some(PATIENCE))?;
        Ok(Line::without_rate(reader, writer))
    }
}

/// What `HOST:PORT` stands for today.
fn addresses(text: &str) -> Result<Vec<SocketAddr>> {
    let (host, port) = split(text).ok_or_else(|| {
        senseless("HOST:PORT is wanted, as in 192.0.2.1:4444 or [2001:db8::1]:4444")
    })?;
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|why| senseless(format!("no host `{host}` can be found: {why}")))?;
    Ok(found.collect())
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

/// The first of the addresses at which somebody listens.
fn connect(addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut last = senseless("the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(why) => last = Error::new(why.kind(), format!("{address}: {why}")),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_told_apart() {
        assert_eq!(split("vm-1:5000"), Some(("vm-1", 5000)));
        assert_eq!(split("127.0.0.1:1"), Some(("127.0.0.1", 1)));
        assert_eq!(split("[::1]:65535"), Some(("::1", 65535)));
        for wrong in [
            "",
            "host",
            ":5000",
            "host:",
            "host:0",
            "host:65536",
            "host:telnet",
            "::1:5000",
            "[::1]",
            "[::1:5000",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
