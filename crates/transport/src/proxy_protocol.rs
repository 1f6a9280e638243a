//! PROXY protocol version 2: what a load balancer in front says about the client's address.
//!
//! Believed only from addresses that the administrator trusts, and demanded from those. Version 1 is not spoken: text of unknown
//! length before authentication is not worth it. Specification: haproxy, `proxy-protocol.txt`, section 2.2.
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Longest header taken, in bytes behind the first 16: addresses and a few type-length-value fields.
const LIMIT: usize = 1_024;

/// Reads the header. None: the balancer speaks for itself (`LOCAL`), or the address family is not IP.
pub async fn read(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; 16];
    tcp.read_exact(&mut start).await?;
    let length = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if start[..12] != SIGNATURE || length > LIMIT {
        return Err(wrong());
    }
    let mut rest = vec![0; length];
    tcp.read_exact(&mut rest).await?;
    parse(start[12], start[13], &rest)
}

/// Reads the client's address from version-and-command, family-and-protocol and what follows.
fn parse(command: u8, family: u8, rest: &[u8]) -> io::Result<Option<SocketAddr>> {
    match (command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *rest else { return Err(wrong()) };
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))))
        }
        (0x21, 0x21) => {
            let (address, port) = (rest.get(..16), rest.get(32..34));
            let (Some(address), Some(port)) = (address, port) else { return Err(wrong()) };
            let octets: [u8; 16] = address.try_into().map_err(|_| wrong())?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(octets).into(), u16::from_be_bytes([port[0], port[1]]))))
        }
        (0x21, _) => Ok(None),
        _ => Err(wrong()),
    }
}

fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "no PROXY protocol version 2 header")
}

/// A network in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `address/bits` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => same(u32::from(net).into(), u32::from(address).into(), self.bits + 96),
            (IpAddr::V6(net), IpAddr::V6(address)) => same(net.into(), address.into(), self.bits),
            _ => false,
        }
    }
}

fn same(one: u128, other: u128, bits: u8) -> bool {
    bits == 0 || (one ^ other) >> (128 - u32::from(bits)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_read() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x01, 0xbb];
        assert_eq!(parse(0x21, 0x11, &v4).expect("IPv4"), Some("192.0.2.7:8080".parse().expect("an address")));

        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 80;
        assert_eq!(parse(0x21, 0x21, &v6).expect("IPv6"), Some("[::1]:80".parse().expect("an address")));
    }

    #[test]
    fn a_local_header_names_nobody_and_a_short_one_is_refused() {
        assert_eq!(parse(0x20, 0, &[]).expect("LOCAL"), None);
        assert!(parse(0x21, 0x11, &[1, 2, 3]).is_err());
        assert!(parse(0x21, 0x21, &[0; 33]).is_err());
        assert!(parse(0x11, 0x11, &[0; 12]).is_err());
    }

    #[test]
    fn networks_contain_their_addresses() {
        let inside = |net: &str, address: &str| Network::parse(net).expect("a network").contains(address.parse().expect("an address"));

        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(inside("::1", "::1"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1"));
        assert!(!inside("::/0", "127.0.0.1"));
        assert!(Network::parse("10.0.0.0/33").is_none());
    }
}
