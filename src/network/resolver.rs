//! Resolves names to addresses that may be talked to.
//!
//! Invariant: who connects is handed admitted addresses alone, so a name that changes its mind between a
//! judgement and a connection gains nothing.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Guard;

/// See the module.
pub(crate) struct Resolver {
    guard: Guard,
    port: u16,
}

impl Resolver {
    /// Judges by a guard, for connections to a port.
    pub(crate) fn new(guard: Guard, port: u16) -> Self {
        Self { guard, port }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, port) = (self.guard.clone(), self.port);
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let admitted = guard.filter(host, found.map(|address| address.ip()), port)?;
            // Port 0 is the URL's own.
            let addresses = admitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
