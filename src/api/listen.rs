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
    Api, KeyRing,
    server::{self, Door},
};

/// Connections of a listener at a time; further ones wait in the kernel's queue. Each worker of an activity
/// holds one, and all together are half of the files that a process may commonly have open.
const CONNECTIONS_MAX: usize = 512;

/// How long a request's header may take, and a connection may idle.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a header. A signed one has less than a kilobyte.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// Lines of a header; SDKs send about fifteen.
const HEADERS_MAX: usize = 64;

/// Serves on a Unix socket until it is dropped, which removes the socket. A socket file that a former
/// process left is replaced: the caller owns the state directory.
pub async fn serve_unix(path: &Path, api: Api, keys: KeyRing) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let _socket = SocketFile(path);
    let router = server::router(api, keys, Door::Socket);
    serve(listener, router).await;
    Ok(())
}

/// Serves on a TCP address until it is dropped; `address` is the one that `listener` is bound to.
pub async fn serve_tcp(listener: TcpListener, address: SocketAddr, api: Api, keys: KeyRing) {
    let router = server::router(api, keys, Door::Tcp(address.ip()));
    serve(listener, router).await;
}

/// Takes connections for ever.
async fn serve<L: Listener>(mut listener: L, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
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
