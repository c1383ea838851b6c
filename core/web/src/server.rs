//! Accepts connections, within limits, until told to stop.

use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
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
use crate::clients::{Cause, Clients, Seat};
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
    let clients = Clients::default();
    let web = Web::new(handle, rules, options.matrix, stopping.clone(), clients.clone());
    let router = api::router(web, max_body);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    tracing::info!(%address, "web interface is listening");
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let seat = match clients.take(peer.ip().to_canonical()) {
                        Ok(seat) => seat,
                        Err(cause) => {
                            tracing::debug!(peer = %peer.ip(), cause = cause.word(), "connection refused");
                            // If there is no room for this much, the client will see the end.
                            stream.try_write(REFUSAL).ok();
                            continue;
                        }
                    };
                    let router = router.clone().layer(axum::Extension(Peer::new(peer)));
                    connections.spawn(connection(stream, router, seat, clients.clone(), stopping.clone()));
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
    seat: Seat,
    clients: Clients,
    mut stopping: watch::Receiver<bool>,
) {
    // Small answers are not to wait for the next one.
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(Impatient { stream, blocked: None, seat });
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
        if error.is_timeout() {
            clients.dropped(Cause::Idle);
        }
        tracing::debug!(%error, "connection ended");
    }
}

/// A connection that gives up a client which takes nothing.
#[derive(Debug)]
struct Impatient {
    stream: TcpStream,
    blocked: Option<Pin<Box<Sleep>>>,
    /// A WebSocket takes it along.
    seat: Seat,
}

impl Impatient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.blocked = None;
            return poll;
        }
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limits::BLOCKED_WRITE_MAX)));
        match blocked.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.blocked = None;
                self.seat.dropped(Cause::Reader);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
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

/// To who finds no seat.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// After a failed accept, so that a machine out of file descriptors is not kept busy.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
