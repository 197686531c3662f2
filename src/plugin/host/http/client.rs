//! Sends requests: connections, TLS, and whom they may reach.
//!
//! Follows no redirect, keeps no cookie, asks no proxy. Invariant: the address that was judged is the
//! one that is connected to: an address in a URL is judged before it is sent, and a name by whoever
//! resolves it for the connection.

use std::{
    collections::HashMap,
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Response, Url, redirect::Policy};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::request::{Hop, invalid};
use crate::{
    network::{Guard, Refused, Resolver},
    payload::Failure,
};

/// Clients kept, one for each port; a template that makes up ports starts anew beyond it.
const CLIENTS_MAX: usize = 16;

/// A connection without an answer is probed after this long, so that a server that is gone without a
/// word does not keep a call for ever.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// A connection that nothing was sent over for this long is closed; servers do so after a minute, and
/// then a request would be lost.
const IDLE_MAX: Duration = Duration::from_secs(45);

/// Sends requests.
pub(super) struct Clients {
    guard: Guard,
    tls: ClientConfig,
    /// There is somebody to trust.
    trusts: bool,
    connect_timeout: Duration,
    /// By port: who resolves names is not told it and has to judge by it.
    open: Mutex<HashMap<u16, Client>>,
}

impl Clients {
    /// `certificates` names a file of them, instead of the system's.
    pub(super) fn new(
        guard: Guard,
        connect_timeout: Duration,
        certificates: Option<&str>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = certificates {
            let refuse = |error: &dyn Error| io::Error::other(format!("SSL_CERT_FILE: {error}"));
            let found = CertificateDer::pem_file_iter(file).map_err(|error| refuse(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| refuse(&error))?;
                roots.add(certificate).map_err(|error| refuse(&error))?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let trusts = !roots.is_empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            guard,
            tls,
            trusts,
            connect_timeout,
            open: Mutex::default(),
        })
    }

    /// The head of the response.
    pub(super) async fn send(&self, hop: &Hop) -> Result<Response, Failure> {
        let port = self.check(&hop.url)?;
        let client = self.client(port)?;
        let mut request = client
            .request(hop.method.clone(), hop.url.clone())
            .headers(hop.headers.clone());
        if let Some(body) = &hop.body {
            request = request.body(body.clone());
        }
        request
            .send()
            .await
            .map_err(|error| socket_failure(&error.without_url()))
    }

    /// The port of a URL that may be asked for, as far as it tells the address itself.
    fn check(&self, url: &Url) -> Result<u16, Failure> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(invalid("the URL names no host".to_owned()));
        };
        self.guard
            .check(host, port)
            .map_err(|refused| refused_failure(&refused))?;
        if url.scheme() == "https" && !self.trusts {
            return Err(Failure::new(
                "States.Http.Socket",
                "this machine has no certificates of authorities; install ca-certificates, or name a file in SSL_CERT_FILE",
            ));
        }
        Ok(port)
    }

    fn client(&self, port: u16) -> Result<Client, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = open.get(&port) {
            return Ok(client.clone());
        }
        if open.len() >= CLIENTS_MAX {
            open.clear();
        }
        let resolver = Resolver::new(self.guard.clone(), port);
        let client = Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Arc::new(resolver))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_keepalive(PROBE_AFTER)
            .build()
            .map_err(|error| socket_failure(&error))?;
        open.insert(port, client.clone());
        Ok(client)
    }
}

fn refused_failure(refused: &Refused) -> Failure {
    Failure {
        retry: Some(false),
        ..Failure::new(
            "Iterd.AddressRefused",
            format!("{refused}; grant it with `network` in plugin.toml if it is meant"),
        )
    }
}

/// A request that did not come through, with all that is known of why, in a line.
pub(super) fn socket_failure(error: &reqwest::Error) -> Failure {
    let mut words = Vec::new();
    let mut source: Option<&dyn Error> = Some(error);
    while let Some(error) = source {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return refused_failure(refused);
        }
        let word = error.to_string().replace(['\n', '\r'], " ");
        // Some errors repeat what is beneath them.
        if words.iter().all(|known: &String| !known.contains(&word)) {
            words.push(word);
        }
        source = error.source();
    }
    Failure::new("States.Http.Socket", words.join(": "))
}
