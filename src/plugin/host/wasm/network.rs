//! Which addresses a component may connect to: those that the manifest's `network` names.
//!
//! Owns the meaning of an entry (an address, a network, a name, each with a port or without) and the
//! answer to the one question that sockets ask. Nothing listens, and nothing is granted by default.
//!
//! A name is looked up anew for each connection to an address that no other entry grants: runs last
//! for months, and addresses behind names change.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use super::WasmError;

/// What is granted.
pub(super) struct Network(Vec<Grant>);

#[derive(Debug, PartialEq, Eq)]
struct Grant {
    place: Place,
    /// Without one, all.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The addresses that have these leading bits in common.
    Net(IpAddr, u8),
    Name(String),
}

impl Network {
    /// What the entries of a manifest grant.
    pub(super) fn granted(entries: &[String]) -> Result<Self, WasmError> {
        let grant = |entry: &String| {
            parse(entry).ok_or_else(|| WasmError::Grant {
                key: "network",
                name: entry.clone(),
                problem: "write an address, a network or a name, with a port or without: 10.0.0.0/8, 192.168.3.4:8080, [::1]:80, name.example:443"
                    .to_owned(),
            })
        };
        Ok(Self(entries.iter().map(grant).collect::<Result<_, _>>()?))
    }

    /// Grants it to an instance.
    pub(super) fn grant(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        if self.0.is_empty() {
            return;
        }
        let by_name = |grant: &Grant| matches!(grant.place, Place::Name(_));
        let network = self.clone();
        wasi.allow_tcp(true)
            .allow_udp(true)
            .allow_ip_name_lookup(self.0.iter().any(by_name))
            .socket_addr_check(move |address, purpose| {
                let allowed = network.allows(address, purpose);
                Box::pin(async move { allowed })
            });
    }

    fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            // What the system does before it connects: no address of the component's own choice.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                address.ip().is_unspecified() && address.port() == 0
            }
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => {
                self.reaches(address, look_up)
            }
        }
    }

    fn reaches(&self, address: SocketAddr, look_up: impl Fn(&str) -> Vec<IpAddr>) -> bool {
        let ip = address.ip().to_canonical();
        let port = |grant: &&Grant| grant.port.is_none_or(|port| port == address.port());
        let (named, numbered): (Vec<&Grant>, Vec<&Grant>) = self
            .0
            .iter()
            .filter(port)
            .partition(|grant| matches!(grant.place, Place::Name(_)));
        let within = |grant: &&Grant| match &grant.place {
            Place::Net(net, bits) => contains(*net, *bits, ip),
            Place::Name(name) => look_up(name).iter().any(|found| found.to_canonical() == ip),
        };
        // Why in this order: only names cost a question to somebody else.
        numbered.iter().any(within) || named.iter().any(within)
    }
}

fn look_up(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map_or_else(
        |_| Vec::new(),
        |found| found.map(|address| address.ip()).collect(),
    )
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let differ = u32::from(net) ^ u32::from(ip);
            differ.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let differ = u128::from(net) ^ u128::from(ip);
            differ.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn parse(entry: &str) -> Option<Grant> {
    let whole = |ip: IpAddr| Place::Net(ip, if ip.is_ipv4() { 32 } else { 128 });
    if let Ok(ip) = entry.parse::<IpAddr>() {
        return Some(Grant {
            place: whole(ip),
            port: None,
        });
    }
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return Some(Grant {
            place: whole(address.ip()),
            port: Some(address.port()),
        });
    }
    if let Some((net, bits)) = entry.split_once('/') {
        let net: IpAddr = net.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let most = if net.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Grant {
            place: Place::Net(net, bits),
            port: None,
        });
    }
    let (name, port) = match entry.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.contains(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    is_name.then(|| Grant {
        place: Place::Name(name.to_owned()),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(entries: &[&str]) -> Network {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Network::granted(&entries).unwrap()
    }

    #[test]
    fn what_is_named_can_be_reached_and_nothing_else() {
        let network = network(&[
            "10.0.0.0/8",
            "192.168.3.4:8080",
            "[::1]:80",
            "fd00::/8",
            "db.example:5432",
        ]);
        let look_up = |name: &str| {
            assert_eq!(name, "db.example");
            vec!["203.0.113.7".parse().unwrap()]
        };
        for (address, expected) in [
            ("10.1.2.3:1", true),
            ("11.1.2.3:1", false),
            ("[::ffff:10.1.2.3]:1", true),
            ("192.168.3.4:8080", true),
            ("192.168.3.4:8081", false),
            ("127.0.0.1:80", false),
            ("[::1]:80", true),
            ("[::1]:81", false),
            ("[fd12::1]:9", true),
            ("[fe80::1]:9", false),
            ("203.0.113.7:5432", true),
            ("203.0.113.7:5433", false),
            ("203.0.113.8:5432", false),
        ] {
            let reached = network.reaches(address.parse().unwrap(), look_up);
            assert_eq!(reached, expected, "{address}");
        }
    }

    #[test]
    fn nothing_listens() {
        let network = network(&["0.0.0.0/0"]);
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let chosen: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert!(network.allows(any, SocketAddrUse::TcpBind));
        assert!(!network.allows(chosen, SocketAddrUse::TcpBind));
        assert!(!network.allows(any, SocketAddrUse::TcpListen));
        assert!(network.allows(chosen, SocketAddrUse::TcpConnect));
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for entry in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "a b",
            "name:port",
            "http://name/",
            "10.0.0.1:",
            "999.0.0.1",
            "*",
        ] {
            let entries = [entry.to_owned()];
            let Err(error) = Network::granted(&entries) else {
                panic!("{entry}");
            };
            assert!(error.to_string().contains("10.0.0.0/8"), "{entry}: {error}");
        }
    }
}
