//! What the loader says of the network: `net=HOST:PORT`, `key=...`, and addresses where nobody gives them away. Pure; at load.

use super::card::Mac;
use core::fmt;
use core::net::{AddrParseError, Ipv4Addr, SocketAddrV4};
use nom::bytes::complete::take;
use nom::character::complete::one_of;
use nom::combinator::{all_consuming, map_res};
use nom::sequence::preceded;
use nom::{IResult, Parser};
use wire_protocol::secure::{Key, KeyError};

/// As the loader wrote them; empty for what he did not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'w> {
    /// Where the host listens.
    pub net: &'w str,
    /// The key that both ends have.
    pub key: &'w str,
    /// The debuggee's own address, with the length of its network's prefix.
    pub ip: &'w str,
    /// Who passes on what is for other networks.
    pub gateway: &'w str,
    /// The card's address, if it is to have another.
    pub mac: &'w str,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// The key.
    pub key: Key,
    /// The debuggee's.
    pub addresses: Addresses,
    /// The card's, unless it is to keep its own.
    pub mac: Option<Mac>,
}

/// Where the debuggee's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The network gives them.
    Dhcp,
    /// The loader did.
    Given {
        /// The debuggee's own.
        own: Ipv4Addr,
        /// How much of it names the network.
        prefix_bits: u8,
        /// Who passes on what is for other networks.
        gateway: Option<Ipv4Addr>,
    },
}

/// Why there is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// `net=`
    Host,
    /// No `key=`
    NoKey,
    /// `key=`
    Key(KeyError),
    /// `ip=`
    Address,
    /// `gateway=`
    Gateway,
    /// `gateway=` without `ip=`
    GatewayAlone,
    /// The host is in another network.
    NoWay(SocketAddrV4),
    /// `mac=`
    Mac,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str(
                "net= wants the IPv4 address and the port at which the host listens, as in net=192.0.2.1:50000",
            ),
            Self::NoKey => f.write_str(
                "net= wants key=, as `standstill key new` makes it on the host; key=@FILE keeps it off the command line",
            ),
            Self::Key(why) => write!(f, "key=: {why}"),
            Self::Address => f.write_str(
                "ip= wants an address and the length of its network's prefix, as in ip=192.0.2.7/24",
            ),
            Self::Gateway => f.write_str("gateway= wants an address, as in gateway=192.0.2.254"),
            Self::GatewayAlone => {
                f.write_str("gateway= goes with ip=; without it the network says both (DHCP)")
            }
            Self::NoWay(host) => write!(
                f,
                "the host {host} is in another network than ip=; gateway= names who passes datagrams on"
            ),
            Self::Mac => f.write_str(
                "mac= wants six bytes, the first of them even, as in mac=02:00:00:00:00:01",
            ),
        }
    }
}

impl Wish<'_> {
    /// What of it is to be done; nothing without `net=`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn settings(&self) -> Result<Option<Settings>, SettingsError> {
        if self.net.is_empty() {
            return Ok(None);
        }
        let host: SocketAddrV4 = parsed(self.net, SettingsError::Host)?;
        if host.port() == 0 || host.ip().is_unspecified() || host.ip().is_multicast() {
            return Err(SettingsError::Host);
        }
        if self.key.is_empty() {
            return Err(SettingsError::NoKey);
        }
        let key = self.key.trim().parse().map_err(SettingsError::Key)?;
        let mac = match self.mac {
            "" => None,
            text => Some(mac(text).ok_or(SettingsError::Mac)?),
        };
        Ok(Some(Settings {
            host,
            key,
            addresses: self.addresses(host)?,
            mac,
        }))
    }

    fn addresses(&self, host: SocketAddrV4) -> Result<Addresses, SettingsError> {
        if self.ip.is_empty() {
            return match self.gateway {
                "" => Ok(Addresses::Dhcp),
                _ => Err(SettingsError::GatewayAlone),
            };
        }
        let (own, prefix_bits) = self.ip.split_once('/').ok_or(SettingsError::Address)?;
        let own: Ipv4Addr = parsed(own, SettingsError::Address)?;
        let prefix_bits = prefix_bits.parse().map_err(|_| SettingsError::Address)?;
        if !(1..=30).contains(&prefix_bits) || own.is_unspecified() || own.is_multicast() {
            return Err(SettingsError::Address);
        }
        let gateway = match self.gateway {
            "" => None,
            text => Some(parsed(text, SettingsError::Gateway)?),
        };
        let network = |address: Ipv4Addr| address.to_bits() >> (32 - u32::from(prefix_bits));
        if gateway.is_none() && network(own) != network(*host.ip()) {
            return Err(SettingsError::NoWay(host));
        }
        Ok(Addresses::Given {
            own,
            prefix_bits,
            gateway,
        })
    }
}

fn parsed<T: core::str::FromStr<Err = AddrParseError>>(
    text: &str,
    error: SettingsError,
) -> Result<T, SettingsError> {
    text.parse().map_err(|_| error)
}

/// A card's address: no group's.
fn mac(text: &str) -> Option<Mac> {
    fn byte(text: &str) -> IResult<&str, u8> {
        map_res(take(2_usize), |digits| u8::from_str_radix(digits, 16)).parse(text)
    }
    fn behind(text: &str) -> IResult<&str, u8> {
        preceded(one_of(":-"), byte).parse(text)
    }
    let bytes = (byte, behind, behind, behind, behind, behind);
    let (_, (a, b, c, d, e, f)) = all_consuming(bytes).parse(text).ok()?;
    (a & 1 == 0).then_some([a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const WISH: Wish<'static> = Wish {
        net: "192.0.2.1:50000",
        key: "",
        ip: "",
        gateway: "",
        mac: "",
    };
    fn key() -> std::string::String {
        Key::new([0x5a; 32]).reveal().to_string()
    }

    fn given<'w>(wish: Wish<'w>, key: &'w str) -> Result<Option<Settings>, SettingsError> {
        Wish { key, ..wish }.settings()
    }

    #[test]
    fn what_is_not_said_the_network_and_the_card_say() {
        assert!(Wish::default().settings().unwrap().is_none());
        let settings = given(WISH, &std::format!(" {}\n", key())).unwrap().unwrap();
        assert_eq!(settings.host, "192.0.2.1:50000".parse().unwrap());
        assert_eq!(settings.addresses, Addresses::Dhcp);
        assert_eq!(settings.mac, None);
    }

    #[test]
    fn addresses_are_taken_as_they_are_said() {
        let key = key();
        let wish = Wish {
            ip: "192.0.2.7/24",
            mac: "02-00:5e-0A:00:ff",
            ..WISH
        };
        let settings = given(wish, &key).unwrap().unwrap();
        assert_eq!(settings.mac, Some([2, 0, 0x5e, 0x0a, 0, 0xff]));
        let own = Ipv4Addr::new(192, 0, 2, 7);
        let mut expected = Addresses::Given {
            own,
            prefix_bits: 24,
            gateway: None,
        };
        assert_eq!(settings.addresses, expected);
        let wish = Wish {
            gateway: "192.0.2.254",
            net: "198.51.100.1:1",
            ..wish
        };
        if let Addresses::Given { gateway, .. } = &mut expected {
            *gateway = Some(Ipv4Addr::new(192, 0, 2, 254));
        }
        let settings = given(wish, &key).unwrap().unwrap();
        assert_eq!(settings.addresses, expected);
    }

    #[test]
    fn each_mistake_is_named() {
        let key = key();
        for net in [
            "192.0.2.1",
            "host:50000",
            "192.0.2.1:0",
            "0.0.0.0:1",
            "[::1]:5",
        ] {
            let error = given(Wish { net, ..WISH }, &key).unwrap_err();
            assert_eq!(error, SettingsError::Host, "{net}");
        }
        assert_eq!(WISH.settings().unwrap_err(), SettingsError::NoKey);
        let error = given(WISH, "1.2.3").unwrap_err();
        assert!(error.to_string().starts_with("key=: a key has 4 groups"));
        for ip in [
            "192.0.2.7",
            "192.0.2.7/31",
            "192.0.2/24",
            "0.0.0.0/8",
            "1.2.3.4/",
        ] {
            let error = given(Wish { ip, ..WISH }, &key).unwrap_err();
            assert_eq!(error, SettingsError::Address, "{ip}");
        }
        let ip = "198.51.100.7/24";
        let error = given(Wish { ip, ..WISH }, &key).unwrap_err();
        assert_eq!(
            error,
            SettingsError::NoWay("192.0.2.1:50000".parse().unwrap())
        );
        let gateway = "nobody";
        let wish = Wish {
            ip,
            gateway,
            ..WISH
        };
        assert_eq!(given(wish, &key).unwrap_err(), SettingsError::Gateway);
        let wish = Wish { gateway, ..WISH };
        assert_eq!(given(wish, &key).unwrap_err(), SettingsError::GatewayAlone);
        for mac in [
            "02:00",
            "01:00:00:00:00:01",
            "02:00:00:00:00:0g",
            "02:00:00:00:00:01:",
            "é2:00",
        ] {
            let error = given(Wish { mac, ..WISH }, &key).unwrap_err();
            assert_eq!(error, SettingsError::Mac, "{mac}");
        }
    }
}
