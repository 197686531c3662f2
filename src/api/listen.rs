//! Takes connections, over the Unix socket and over TCP, and holds every one of them to its bounds.
//!
//! Owns how many there may be, how long a header may take and how long it may be; what a request
//! means is the server's business. Invariant: whoever opens connections and says nothing, or speaks
//! without end, costs bounded memory for a bounded time, and others are answered meanwhile.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

use super::{
    Api, Key,
    server::{self, Door},
};

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_field_names,
    reason = "a bound says so at its end, everywhere"
)]
pub(super) struct Bounds {
    /// Connections at a time; further ones wait in the kernel's queue. People and their programs
    /// need a handful.
    pub(super) connections_max: usize,
    /// How long a request's header may take, and a connection may idle.
    pub(super) header_time_max: Duration,
    /// Bytes of a header. A signed one has less than a kilobyte.
    pub(super) header_bytes_max: usize,
    /// Lines of a header; SDKs send about fifteen.
    pub(super) headers_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 128,
            header_time_max: Duration::from_secs(10),
            header_bytes_max: 16 << 10,
            headers_max: 64,
        }
    }
}

/// Serves on a Unix socket until it is dropped, which removes the socket. A socket file that a former
/// process left is replaced: the caller owns the state directory.
pub async fn serve_unix(path: &Path, api: Api, keys: Vec<Key>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let _socket = SocketFile(path);
    let router = server::router(api, keys, Door::Socket);
    serve(listener, router, Bounds::default()).await;
    Ok(())
}

/// Serves on a TCP address until it is dropped; `address` is the one that `listener` is bound to.
pub async fn serve_tcp(listener: TcpListener, address: SocketAddr, api: Api, keys: Vec<Key>) {
    let router = server::router(api, keys, Door::Tcp(address.ip()));
    serve(listener, router, Bounds::default()).await;
}

/// Takes connections for ever.
pub(super) async fn serve<L: Listener>(mut listener: L, router: Router, bounds: Bounds) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time_max)
        .max_header_size(bounds.header_bytes_max)
        .max_headers(bounds.headers_max);
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= bounds.connections_max {
            // Why the outcome is dropped: how a connection ended is its peer's business.
            drop(connections.join_next().await);
        }
        while connections.try_join_next().is_some() {}
        let (io, _) = listener.accept().await;
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(io), service);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
}

/// A socket file that goes when nobody listens any more.
struct SocketFile<'a>(&'a Path);

impl Drop for SocketFile<'_> {
    fn drop(&mut self) {
        // Why ok: a file that stays is replaced by the next process, and refuses connections till then.
        std::fs::remove_file(self.0).ok();
    }
}
