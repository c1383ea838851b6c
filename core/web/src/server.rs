//! Accepts connections, within limits, until told to stop.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use twinhub_runtime::Handle;

use crate::access::{Peer, Rules};
use crate::api;
use crate::limits;
use crate::token::{Token, TokenError};
use crate::web::{Web, stopped};

/// How to serve.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Lets clients from other machines in.
    pub token: Token,
    /// Answer of `/matrix`: rows as `twinhub matrix show --output json` prints them.
    pub matrix: serde_json::Value,
}

impl WebOptions {
    /// Options for a node: the token of `[web] token_file`, looked up beside the configuration, or of the state directory.
    ///
    /// # Errors
    /// [`TokenError`] if there is no token and none can be made.
    pub fn new(handle: &Handle, config_dir: &Path, state_dir: &Path) -> Result<WebOptions, TokenError> {
        let token = match &handle.site().web.token {
            Some(path) => Token::load(&config_dir.join(path))?,
            None => Token::load_or_create(&state_dir.join("token"))?,
        };
        Ok(WebOptions { token, matrix: serde_json::Value::Array(Vec::new()) })
    }
}

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The listener is not usable.
    #[error("the web listener is not usable")]
    Listener(#[source] io::Error),
}

/// Serves `handle` on `listener` until `shutdown` ends, then finishes open requests.
///
/// # Errors
/// [`WebError`] if the listener is not usable.
pub async fn serve(
    handle: Handle,
    listener: TcpListener,
    options: WebOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WebError> {
    let address = listener.local_addr().map_err(WebError::Listener)?;
    let (stop, stopping) = watch::channel(false);
    let rules = Rules::new(handle.site(), handle.node_name(), options.token);
    let max_body = usize::try_from(handle.site().web.max_body).unwrap_or(usize::MAX);
    let router = api::router(Web::new(handle, rules, options.matrix, stopping.clone()), max_body);
    let seats = Seats::default();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    tracing::info!(%address, "web interface is listening");
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(seat) = seats.take(peer.ip().to_canonical()) else {
                        tracing::debug!(peer = %peer.ip(), "too many connections");
                        continue;
                    };
                    let router = router.clone().layer(axum::Extension(Peer(peer)));
                    connections.spawn(connection(stream, router, seat, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::DRAIN_TIME_MAX, drained).await.is_err() {
        tracing::info!(connections = connections.len(), "open requests are cut");
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: axum::Router,
    _seat: Seat,
    mut stopping: watch::Receiver<bool>,
) {
    // Small answers are not to wait for the next one.
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(Impatient { stream, blocked: None });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME_MAX)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .serve_connection(io, TowerToHyperService::new(router))
        .with_upgrades();
    let mut served = pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stopped(&mut stopping) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// Counts connections.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One counted connection; gone when dropped.
#[derive(Debug)]
struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or(0);
        let crowded = !address.is_loopback() && own >= limits::CONNECTIONS_PER_ADDRESS_MAX;
        if all >= limits::CONNECTIONS_MAX || crowded {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Seat { seats: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// A connection that gives up a client which takes nothing.
#[derive(Debug)]
struct Impatient {
    stream: TcpStream,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.blocked = None;
            return poll;
        }
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limits::BLOCKED_WRITE_MAX)));
        match blocked.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// After a failed accept, so that a machine out of file descriptors is not kept busy.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_connections() {
        let seats = Seats::default();
        let stranger: IpAddr = "10.0.0.99".parse().unwrap();
        let mut held: Vec<Seat> =
            (0..limits::CONNECTIONS_PER_ADDRESS_MAX).map(|_| seats.take(stranger).unwrap()).collect();
        assert!(seats.take(stranger).is_none());
        assert!(seats.take("10.0.0.98".parse().unwrap()).is_some());
        held.pop();
        assert!(seats.take(stranger).is_some());
        drop(held);
        assert!(seats.0.lock().unwrap().is_empty());
    }

    #[test]
    fn connections_end_at_the_limit() {
        let seats = Seats::default();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let held: Vec<Option<Seat>> = (0..=limits::CONNECTIONS_MAX).map(|_| seats.take(local)).collect();
        assert_eq!(held.iter().filter(|seat| seat.is_none()).count(), 1);
    }
}
