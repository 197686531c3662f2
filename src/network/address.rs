//! Which addresses outside a request of ours may talk to.
//!
//! A [`Grant`] is what an entry of a manifest's `network`, or of a connection's `hosts`, means. Who is given nothing
//! by default asks the grants themselves; requests of ours ask a [`Guard`]: for those
//! the public Internet is open; everything that is reached from this machine alone (itself, its
//! networks, the metadata service of a cloud) is closed unless the manifest's `network` grants it. An
//! address is judged where it is written and again as it was resolved, by the one who connects: a name
//! that changes its mind in between gains nothing.
//!
//! Invariant: what is public is listed, not what is private: an address of a kind unknown here is closed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// One entry of `network`: addresses or a name, on one port or on all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    target: Target,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Target {
    /// A network: its address, and how many bits of it count.
    Net(IpAddr, u8),
    /// A host by its name, in lower case and without a last dot.
    Name(String),
}

impl Grant {
    /// Reads `10.1.0.0/16`, `192.168.3.4:8080`, `[::1]:80`, `internal.example` or `internal.example:443`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "names {text:?}; write an address, a network or a host: \"192.168.3.4:8080\", \"10.1.0.0/16\", \"internal.example\""
            )
        };
        if let Some(grant) = Self::of_address(text) {
            return Ok(grant);
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port_of(port).ok_or_else(refuse)?)),
            None => (text, None),
        };
        if let Some(grant) = Self::of_address(host) {
            return Ok(Self { port, ..grant });
        }
        let name = plain_name(host);
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // Why not digits at the end: it was meant as an address, and a URL would read it as one.
        let last = name.rsplit('.').next().unwrap_or_default();
        if !name.split('.').all(label) || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        Ok(Self {
            target: Target::Name(name),
            port,
        })
    }

    fn of_address(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = bare.unwrap_or(address).parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        Some(Self {
            target: Target::Net(address, bits),
            port: None,
        })
    }

    /// Whether it names a host.
    #[cfg(feature = "wasm")]
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.target, Target::Name(_))
    }

    /// Whether it opens an address to one that has nothing but its grants; a name stands for those of its
    /// addresses that a granted name may stand for.
    #[cfg(feature = "wasm")]
    pub(crate) fn opens(
        &self,
        address: IpAddr,
        port: u16,
        look_up: impl Fn(&str) -> Vec<IpAddr>,
    ) -> bool {
        let address = unmapped(address);
        self.opens_port(port)
            && match &self.target {
                Target::Net(net, bits) => contains(unmapped(*net), *bits, address),
                Target::Name(name) => {
                    (is_public(address) || is_internal(address))
                        && look_up(name)
                            .into_iter()
                            .map(unmapped)
                            .any(|it| it == address)
                }
            }
    }

    fn opens_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn plain_name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Judges addresses by what is public and what is granted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard(Vec<Grant>);

/// An address that may not be talked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refused {
    host: String,
    address: Option<IpAddr>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.address {
            Some(address) if address.to_string() != *host => write!(
                f,
                "{host} is {address}, which is not on the public Internet"
            ),
            Some(_) | None => write!(f, "{host} is not on the public Internet"),
        }
    }
}

impl Guard {
    pub(crate) fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Judges a host as it is written in a URL, where that is an address; a name is judged by whoever
    /// resolves it.
    pub(crate) fn check(&self, host: &str, port: u16) -> Result<(), Refused> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = bare.parse::<IpAddr>() else {
            return Ok(());
        };
        if self.admits(None, address, port) {
            return Ok(());
        }
        Err(Refused {
            host: address.to_string(),
            address: Some(address),
        })
    }

    /// Keeps of the addresses of a host those that may be talked to; an error where none is left.
    pub(crate) fn filter(
        &self,
        host: &str,
        addresses: impl Iterator<Item = IpAddr>,
        port: u16,
    ) -> Result<Vec<IpAddr>, Refused> {
        let name = plain_name(host);
        let mut refused = None;
        let mut admitted = Vec::new();
        for address in addresses {
            if self.admits(Some(&name), address, port) {
                admitted.push(address);
            } else {
                refused.get_or_insert(address);
            }
        }
        match (admitted.is_empty(), refused) {
            (true, Some(address)) => Err(Refused {
                host: host.to_owned(),
                address: Some(address),
            }),
            _ => Ok(admitted),
        }
    }

    fn admits(&self, name: Option<&str>, address: IpAddr, port: u16) -> bool {
        let address = unmapped(address);
        if is_public(address) {
            return true;
        }
        self.0.iter().any(|grant| {
            grant.opens_port(port)
                && match &grant.target {
                    Target::Net(net, bits) => contains(unmapped(*net), *bits, address),
                    // Why not all: whoever answers for a name could point it at the machine's metadata.
                    Target::Name(own) => name == Some(own) && is_internal(address),
                }
        })
    }
}

/// Whether an operator may mean this address: it is public or internal, and nothing like the metadata
/// service of a cloud.
pub(crate) fn may_be_meant(address: IpAddr) -> bool {
    let address = unmapped(address);
    is_public(address) || is_internal(address)
}

/// An IPv4 address in the clothes of an IPv6 one, as what it is.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn contains(net: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (net, address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            let shift = 32 - u32::from(bits.min(32));
            let part = |address: Ipv4Addr| u64::from(address.to_bits()) >> shift;
            part(net) == part(address)
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(bits.min(128));
            let part = |address: Ipv6Addr| address.to_bits().checked_shr(shift).unwrap_or(0);
            part(net) == part(address)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Networks of IPv4 that are no part of the Internet: IANA's registry of special purposes, multicast and
/// what is reserved.
const CLOSED_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Azure's own host, which has the secrets of its guests; its address looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !CLOSED_V4
            .iter()
            .any(|(net, bits)| contains(IpAddr::V4(*net), *bits, address)),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Of IPv6 only what is handed out as global unicast; an IPv4 address within one is judged itself.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let bits = (u32::from(high) << 16) | u32::from(low);
        is_public(IpAddr::V4(Ipv4Addr::from_bits(bits)))
    };
    match s {
        // NAT64 and 6to4: a gateway would talk to the IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, documentation and other special purposes.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Metadata services of clouds among addresses that are internal else: of AWS, Google and Alibaba.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// What a granted name may stand for: this machine, a private network, or one behind a carrier's NAT.
fn is_internal(address: IpAddr) -> bool {
    if METADATA.contains(&address) {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(grants: &[&str]) -> Guard {
        Guard::new(grants.iter().map(|it| Grant::parse(it).unwrap()).collect())
    }

    fn admits(guard: &Guard, address: &str, port: u16) -> bool {
        guard.check(address, port).is_ok()
    }

    #[test]
    fn only_the_public_internet_is_open() {
        let none = Guard::default();
        for open in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(admits(&none, open, 443), "{open}");
        }
        for closed in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1.1.1.1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!admits(&none, closed, 443), "{closed}");
        }
    }

    #[test]
    fn a_grant_opens_what_it_names_and_no_more() {
        let some = guard(&["10.1.0.0/16", "192.168.3.4:8080", "[::1]:80", "fd00::/8"]);
        for (address, port, open) in [
            ("10.1.2.3", 1, true),
            ("10.2.0.1", 1, false),
            ("192.168.3.4", 8080, true),
            ("192.168.3.4", 80, false),
            ("192.168.3.5", 8080, false),
            ("::1", 80, true),
            ("::1", 81, false),
            ("fd12::1", 443, true),
            ("::ffff:10.1.2.3", 1, true),
            ("127.0.0.1", 80, false),
        ] {
            assert_eq!(admits(&some, address, port), open, "{address}:{port}");
        }
        assert!(admits(&guard(&["0.0.0.0/0"]), "127.0.0.1", 1));
        assert!(admits(&guard(&["::/0"]), "::1", 1));
        assert!(!admits(&guard(&["::/0"]), "127.0.0.1", 1));
        assert!(admits(&guard(&["::ffff:127.0.0.1"]), "127.0.0.1", 1));
    }

    #[test]
    fn a_granted_name_may_be_internal_and_never_the_metadata_service() {
        let some = guard(&["Internal.example.:443", "db.example"]);
        let kept = |host: &str, addresses: &[&str], port| {
            let addresses = addresses.iter().map(|it| it.parse().unwrap());
            some.filter(host, addresses, port).map(|it| it.len())
        };
        assert_eq!(
            kept("INTERNAL.example", &["10.0.0.1", "127.0.0.1"], 443),
            Ok(2)
        );
        assert!(kept("internal.example", &["10.0.0.1"], 80).is_err());
        assert_eq!(kept("db.example.", &["fd00::1"], 80), Ok(1));
        assert_eq!(
            kept("db.example", &["169.254.169.254", "1.1.1.1"], 80),
            Ok(1)
        );
        assert!(kept("db.example", &["169.254.169.254"], 80).is_err());
        for metadata in ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200"] {
            assert!(kept("db.example", &[metadata], 80).is_err(), "{metadata}");
            assert!(!may_be_meant(metadata.parse().unwrap()), "{metadata}");
        }
        assert!(may_be_meant("100.100.100.201".parse().unwrap()));
        assert!(kept("x.db.example", &["10.0.0.1"], 80).is_err());
        assert_eq!(kept("nobody.example", &[], 80), Ok(0));
        let refused = kept("other.example", &["127.0.0.1"], 80).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "other.example is 127.0.0.1, which is not on the public Internet"
        );
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in [
            "",
            "10.1.0.0/33",
            "10.1.0/16",
            "300.1.1.1",
            "http://x",
            "x:0",
            "x:99999",
            "a b",
            "*.example",
            "x.",
            "::1/129",
        ] {
            // A name may end in a dot.
            assert_eq!(Grant::parse(text).is_err(), text != "x.", "{text}");
        }
    }
}
