//! Takes connections, over the Unix socket and over TCP, and holds every one of them to its bounds.
//!
//! Owns how many there may be, how long a header may take and how long it may be; what a request
//! means is the server's business. Invariant: whoever opens connections and says nothing, or speaks
//! without end, or does not take what it is answered, costs bounded memory for a bounded time, and others are
//! answered meanwhile.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::Sleep,
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

/// How long a peer may take nothing of what it is sent. Clients themselves give up after a silence of a minute.
const WRITE_TIME_MAX: Duration = Duration::from_mins(1);

/// Bytes of a header. A signed one has less than a kilobyte.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// Lines of a header; SDKs send about fifteen.
const HEADERS_MAX: usize = 64;

/// A Unix socket, whose file goes with it. Whoever connects waits until it is served.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: PathBuf,
}

impl Socket {
    /// Makes it. A file that a former process left is replaced: the caller owns the state directory.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(file: PathBuf) -> io::Result<Self> {
        match std::fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&file)?;
        Ok(Self { listener, file })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Why ok: a file that stays is replaced by the next process, and refuses connections till then.
        std::fs::remove_file(&self.file).ok();
    }
}

/// Serves on a Unix socket until it is dropped.
pub async fn serve_unix(mut socket: Socket, api: Api, keys: KeyRing) {
    let router = server::router(api, keys, Door::Socket);
    serve(&mut socket.listener, router).await;
}

/// Serves on a TCP address until it is dropped; `address` is the one that `listener` is bound to.
pub async fn serve_tcp(mut listener: TcpListener, address: SocketAddr, api: Api, keys: KeyRing) {
    let router = server::router(api, keys, Door::Tcp(address.ip()));
    serve(&mut listener, router).await;
}

/// Takes connections for ever.
async fn serve<L: Listener>(listener: &mut L, router: Router) {
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
        let io = Impatient::new(io, WRITE_TIME_MAX);
        let connection = http.serve_connection(TokioIo::new(io), service);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
}

/// A stream that breaks off where its peer takes nothing for long.
struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Since a write had to wait.
    ends: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    const fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            ends: None,
        }
    }

    /// What came of a write, unless it has waited for too long.
    fn unless_late<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.ends = None;
            return written;
        }
        let patience = self.patience;
        let ends = self
            .ends
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        let late = "the peer takes nothing of what it is sent";
        let ended = ends.as_mut().poll(context);
        ended.map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_late(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_late(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_let_go_and_one_that_is_slow_is_not() {
        let (ours, theirs) = tokio::io::duplex(16);
        let mut ours = Impatient::new(ours, Duration::from_millis(50));
        let late = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(theirs);

        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut ours = Impatient::new(ours, Duration::from_secs(2));
        let sent = tokio::spawn(async move { ours.write_all(&[0; 64]).await });
        // Longer in all than it may take nothing.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            theirs.read_exact(&mut [0; 16]).await.unwrap();
        }
        sent.await.unwrap().unwrap();
    }
}
