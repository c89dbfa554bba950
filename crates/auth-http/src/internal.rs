//! Internal addresses: those of this machine and of private networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// A host name that resolves to internal addresses only, although the client is for public hosts.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' resolves to an internal address")]
pub(crate) struct InternalHost(pub(crate) String);

/// Returns true if the host of a URL is `localhost` or an [internal address](is_internal_address). Other names are not
/// resolved: see [`with_public_hosts`](crate::HttpClientBuilder::with_public_hosts).
pub fn is_internal_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => is_internal_v4(address),
        Some(Host::Ipv6(address)) => is_internal_v6(address),
        None => false,
    }
}

/// Returns true for a loopback, private, link-local or unspecified address, in every form in which an IPv6 address contains
/// an IPv4 address.
pub fn is_internal_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => is_internal_v6(address),
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is shared address space (RFC 6598).
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    address.is_loopback() || address.is_private() || address.is_link_local() || first == 0 || is_shared
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    if embedded(address).is_some_and(is_internal_v4) {
        return true;
    }
    // 64:ff9b:1::/48 is for translation within a network (RFC 8215), and fec0::/10 was for sites (RFC 3879).
    let [first, second, third, ..] = address.segments();
    let is_translated = (first, second, third) == (0x64, 0xff9b, 1);
    let is_local = address.is_unique_local() || address.is_unicast_link_local() || first & 0xffc0 == 0xfec0;
    address.is_loopback() || address.is_unspecified() || is_local || is_translated
}

/// Returns the IPv4 address that packets to an IPv6 address may be delivered to: IPv4-mapped and IPv4-compatible (RFC 4291,
/// section 2.5.5), NAT64 (RFC 6052, section 2.1) and 6to4 (RFC 3056, section 2) addresses.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_recognized_in_every_form() {
        let is_internal = |host: &str| is_internal_host(&format!("https://{host}/").parse().unwrap());
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:a9fe:a9fe::1]",
            "[fec0::1]",
        ] {
            assert!(is_internal(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::1]",
        ] {
            assert!(!is_internal(host), "{host}");
        }
    }

    #[test]
    fn addresses_and_literals_are_judged_alike() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_internal_address(address.parse().unwrap()), expected, "{address}");
        }
    }
}
