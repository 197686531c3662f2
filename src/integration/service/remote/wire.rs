//! Sends a request and reads its response to the end, within bounds.
//!
//! Follows no redirect, keeps no cookie, asks no proxy, decompresses nothing. Invariant: whatever a server
//! does, a call ends within its time and holds no more than its bounds; an error names no header and no
//! query, where secrets would be.

use std::{error::Error, io, sync::Arc, time::Duration};

use hyper::{body::Bytes, http};
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector},
};
use reqwest::{Client, redirect::Policy};
use rustls::{ClientConfig, RootCertStore};

use super::answer::Response;
use crate::network::{Guard, Resolver};

/// Most bytes of the body of an answer to a task. A result is 256 KiB at the most; its XML, or its JSON with
/// much that is escaped, is a few times that.
pub(super) const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most bytes of all headers of an answer together; AWS's are below two thousand.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may take to be made. Spec: ten seconds, as AWS's SDK for Java has it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A connection without an answer is probed after this long.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// A connection that nothing was sent over for this long is closed. Chosen short: a server closes idle ones
/// in a time of its own, and a request that crosses that is lost.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Of the answer to something that was handed over, so much is read; the rest is nobody's interest.
const WORDS_BYTES_MAX: usize = 4096;

/// An object that nothing comes of for so long is asked for again.
const STALLED: Duration = Duration::from_secs(30);

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::integration) enum Lost {
    /// It has more bytes than were to be read.
    TooLarge,
    /// Nobody was reached, so that nothing was sent; the cause in a line.
    Unreached(String),
    /// It did not come, or not to its end; the cause in a line.
    Broken(String),
}

/// A client with its connections; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::integration) struct Wire {
    client: Client,
    trusts: bool,
    /// Judges addresses; `None`: where it goes, the settings say.
    guard: Option<Guard>,
}

impl Wire {
    /// Trusts whom this system trusts.
    pub(in crate::integration) fn new(connect_patience: Option<Duration>) -> io::Result<Self> {
        let client = Self::client(connect_patience, None, None)?;
        Ok(Self {
            client: client.0,
            trusts: client.1,
            guard: None,
        })
    }

    /// The same, which goes to addresses that a guard admits, and to no others: where to, somebody else says
    /// than the settings. What it grants holds for all ports.
    pub(in crate::integration) fn guarded(guard: Guard) -> io::Result<Self> {
        let (client, trusts) = Self::client(None, None, Some(guard.clone()))?;
        Ok(Self {
            client,
            trusts,
            guard: Some(guard),
        })
    }

    /// A client, which trusts whom this system trusts, and whether it trusts anybody. An answer that nothing
    /// comes of for `stalled` is lost.
    fn client(
        connect_patience: Option<Duration>,
        stalled: Option<Duration>,
        guard: Option<Guard>,
    ) -> io::Result<(Client, bool)> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let trusts = !roots.is_empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = Client::builder();
        if let Some(stalled) = stalled {
            client = client.read_timeout(stalled);
        }
        if let Some(guard) = guard {
            client = client.dns_resolver(Arc::new(Resolver::new(guard, 0)));
        }
        let client = client
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(connect_patience.unwrap_or(CONNECT_PATIENCE))
            .pool_idle_timeout(IDLE_MAX)
            .tcp_keepalive(PROBE_AFTER)
            .build()
            .map_err(io::Error::other)?;
        Ok((client, trusts))
    }

    /// Sends a request; waits no longer than `patience` for the end of its response, whose body has
    /// [`ANSWER_BYTES_MAX`] at the most.
    pub(in crate::integration) async fn send(
        &self,
        request: http::Request<Bytes>,
        patience: Duration,
    ) -> Result<Response, Lost> {
        self.send_for(request, patience, ANSWER_BYTES_MAX).await
    }

    /// The same for a body of another size.
    pub(super) async fn send_for(
        &self,
        request: http::Request<Bytes>,
        patience: Duration,
        bytes_max: usize,
    ) -> Result<Response, Lost> {
        let host = host_of(&request);
        let sending = async {
            let response = self.begin(request).await?;
            read(response, bytes_max, |error| broken(error, &host)).await
        };
        within(sending, patience, &host).await
    }

    /// The same for something that is handed over: the status, and the beginning of what is answered,
    /// however long it is.
    pub(in crate::integration) async fn hand_over(
        &self,
        request: http::Request<Bytes>,
        patience: Duration,
    ) -> Result<(u16, String), Lost> {
        let host = host_of(&request);
        let sending = async {
            let mut response = self.begin(request).await?;
            let mut said = Vec::new();
            // Why ok: the status says whether it was taken, whatever becomes of the rest.
            while said.len() < WORDS_BYTES_MAX
                && let Ok(Some(chunk)) = response.chunk().await
            {
                said.extend_from_slice(&chunk);
            }
            said.truncate(WORDS_BYTES_MAX);
            let said = String::from_utf8_lossy(&said).into_owned();
            Ok((response.status().as_u16(), said))
        };
        within(sending, patience, &host).await
    }

    /// Sends a request, until the head of its response is there.
    async fn begin(&self, request: http::Request<Bytes>) -> Result<reqwest::Response, Lost> {
        if request.uri().scheme_str() == Some("https") && !self.trusts {
            return Err(Lost::Broken(
                "this machine has no certificates of authorities; install ca-certificates"
                    .to_owned(),
            ));
        }
        let host = host_of(&request);
        let request = reqwest::Request::try_from(request).map_err(|error| broken(error, &host))?;
        let port = request.url().port_or_known_default().unwrap_or_default();
        if let (Some(guard), Some(host)) = (&self.guard, request.url().host_str()) {
            let judged = guard.check(host, port);
            judged.map_err(|refused| Lost::Unreached(refused.to_string()))?;
        }
        let response = self.client.execute(request).await;
        response.map_err(|error| broken(error, &host))
    }
}

fn host_of(request: &http::Request<Bytes>) -> String {
    request.uri().host().unwrap_or_default().to_owned()
}

fn broken(error: reqwest::Error, host: &str) -> Lost {
    let reached = !error.is_connect();
    let words = words(&error.without_url(), host);
    if reached {
        Lost::Broken(words)
    } else {
        Lost::Unreached(words)
    }
}

async fn within<T>(
    sending: impl Future<Output = Result<T, Lost>>,
    patience: Duration,
    host: &str,
) -> Result<T, Lost> {
    tokio::time::timeout(patience, sending)
        .await
        .unwrap_or_else(|_| Err(Lost::Broken(format!("{host}: Read timed out"))))
}

/// Connections of buckets, whose objects are larger than an answer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections(Client);

impl Connections {
    pub(super) fn new() -> io::Result<Self> {
        Wire::client(None, Some(STALLED), None).map(|(client, _)| Self(client))
    }
}

impl HttpConnector for Connections {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

async fn read(
    mut response: reqwest::Response,
    bytes_max: usize,
    broken: impl Fn(reqwest::Error) -> Lost,
) -> Result<Response, Lost> {
    let status = response.status().as_u16();
    let mut headers = Vec::new();
    let mut bytes = 0;
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        bytes += name.as_str().len() + value.len();
        if bytes > HEADER_BYTES_MAX {
            return Err(Lost::Broken(format!(
                "the answer has headers of more than {HEADER_BYTES_MAX} bytes"
            )));
        }
        headers.push((name.as_str().to_owned(), value));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(&broken)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Lost::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// What an error and all beneath it say, in a line. Spec: a host that is not found is told as Java does.
fn words(error: &reqwest::Error, host: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source: Option<&dyn Error> = Some(error);
    while let Some(error) = source {
        let word = error.to_string().replace(['\n', '\r'], " ");
        if let Some(why) = word.strip_prefix("failed to lookup address information: ") {
            return format!("{host}: {why}");
        }
        // Some errors repeat what is beneath them.
        if words.iter().all(|known| !known.contains(&word)) {
            words.push(word);
        }
        source = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Grant;

    async fn lost(grants: &[&str], url: &str) -> String {
        let grants = grants.iter().map(|it| Grant::parse(it).unwrap()).collect();
        let wire = Wire::guarded(Guard::new(grants)).unwrap();
        let request = http::Request::get(url).body(Bytes::new()).unwrap();
        match wire.send(request, Duration::from_secs(20)).await {
            Err(Lost::Unreached(why)) => why,
            other => panic!("{url}: {other:?}"),
        }
    }

    /// Nobody listens at port 1, so that what is admitted is refused by the machine.
    #[tokio::test]
    async fn a_guarded_client_judges_what_is_written_and_what_a_name_resolves_to() {
        for (grants, url, admitted) in [
            (&[][..], "http://127.0.0.1:1/", false),
            (&[], "http://localhost:1/", false),
            (&[], "http://169.254.169.254/latest/meta-data", false),
            (&["localhost"], "http://169.254.169.254/", false),
            (&[], "http://[fd00:ec2::254]/", false),
            (&["localhost"], "http://localhost:1/", true),
            (&["127.0.0.1"], "http://127.0.0.1:1/", true),
        ] {
            let why = lost(grants, url).await;
            assert_eq!(
                !why.contains("not on the public Internet"),
                admitted,
                "{url}: {why}"
            );
        }
    }
}
