//! Networks as people write them.

use std::net::IpAddr;

/// Whether `address` is in `network`, which [`is_network`]. An address that cannot be read is in none.
pub(crate) fn contains(network: &str, address: &str) -> bool {
    let (base, bits) = network.split_once('/').map_or((network, None), |(base, bits)| (base, Some(bits)));
    let (Ok(base), Ok(address)) = (base.parse::<IpAddr>(), address.parse::<IpAddr>()) else { return false };
    let (base, address) = (base.to_canonical(), address.to_canonical());
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((base, most), (address, width)) = (wide(base), wide(address));
    let bits = bits.map_or(Some(most), |bits| bits.parse::<u32>().ok());
    let Some(bits) = bits.filter(|bits| *bits <= most) else { return false };
    let ignored = 128_u32.saturating_sub(bits);
    most == width && base.checked_shr(ignored).unwrap_or_default() == address.checked_shr(ignored).unwrap_or_default()
}

/// Whether `text` is `ADDRESS/BITS` or one address.
pub(crate) fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_and_in_no_other() {
        for (network, address, within) in [
            ("203.0.113.0/24", "203.0.113.200", true),
            ("203.0.113.0/24", "203.0.114.1", false),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "192.0.2.1", false),
            ("203.0.113.0/24", "nobody", false),
        ] {
            assert_eq!(contains(network, address), within, "{network} {address}");
        }
    }
}
