//! Which addresses a component may connect to: those that the manifest's `network` names.
//!
//! What an entry means is [`Grant`]'s; here is the answer to the one question that sockets ask. Nothing
//! listens, and nothing is granted by default, not even the public Internet: a component is confined.
//!
//! A name is looked up anew for each connection to an address that no other entry grants: runs last
//! for months, and addresses behind names change.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use crate::network::Grant;

/// What is granted.
pub(super) struct Network(Vec<Grant>);

impl Network {
    pub(super) fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Grants it to an instance.
    pub(super) fn grant(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) {
        if self.0.is_empty() {
            return;
        }
        let network = self.clone();
        wasi.allow_tcp(true)
            .allow_udp(true)
            .allow_ip_name_lookup(self.0.iter().any(Grant::is_name))
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
        let opens = |grant: &&Grant| grant.opens(address.ip(), address.port(), &look_up);
        let (named, numbered): (Vec<_>, Vec<_>) = self.0.iter().partition(|grant| grant.is_name());
        // Why in this order: only names cost a question to somebody else.
        numbered.iter().any(opens) || named.iter().any(opens)
    }
}

fn look_up(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map_or_else(
        |_| Vec::new(),
        |found| found.map(|address| address.ip()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(entries: &[&str]) -> Network {
        let grants = entries.iter().map(|entry| Grant::parse(entry).unwrap());
        Network::new(grants.collect())
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
            ["1.1.1.7", "192.168.9.9", "169.254.169.254"]
                .map(|found| found.parse().unwrap())
                .to_vec()
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
            ("1.1.1.7:5432", true),
            ("[::ffff:1.1.1.7]:5432", true),
            ("1.1.1.7:5433", false),
            ("1.1.1.8:5432", false),
            ("192.168.9.9:5432", true),
            ("169.254.169.254:5432", false),
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
}
