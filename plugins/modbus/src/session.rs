//! One connection to a device, with the guard that keeps answers and requests together.
//!
//! The client library matches an answer to its request by the transaction identifier only and has no timeout: after a
//! request was abandoned, its late answer would meet the next request. Hence a connection is used again only after an
//! answer that fits in full. A timeout, an abandoned call, a closed or garbled stream, bytes that nobody asked for: each
//! drops the socket.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Waker, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::SlaveContext as _;
use tokio_modbus::{Error as WireError, ExceptionCode, Request, Response, Slave};
use twinhub_plugin::{Permit, Suppressed};

use crate::address::Span;
use crate::backoff::Backoff;
use crate::burst::{Answer, Burst};
use crate::config::Settings;
use crate::pace::Heard;

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// Nothing was sent: there is no connection and it is too early to try again.
    #[error("not connected")]
    Waiting,
    /// Nothing was sent: the connection could not be made.
    #[error("{0}")]
    Connect(io::Error),
    /// Nothing was sent: not permitted.
    #[error("{0}")]
    Suppressed(Suppressed),
    /// Sent, and no answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Perhaps sent; the connection broke.
    #[error("connection lost: {0}")]
    Closed(io::Error),
    /// Sent; the answer does not belong to it or makes no sense.
    #[error("answer does not fit the request: {0}")]
    Garbled(String),
    /// Sent, and the device refused it.
    #[error("{0}")]
    Refused(ExceptionCode),
    /// Perhaps sent; given up because the role changes.
    #[error("given up because the role changes")]
    Aborted,
}

/// What allows a request.
#[derive(Debug)]
pub(crate) enum Pass {
    /// The active node; checked again at the system call.
    Permit(Permit),
    /// A read of a standby that is configured to read.
    Standby,
}

/// What became of reads that were sent together.
#[derive(Debug)]
pub(crate) struct Reads {
    /// Answers in the order of the requests, up to the first that has none.
    pub(crate) answers: Vec<Answer>,
    /// Why the next one has none.
    pub(crate) fault: Option<Fault>,
}

impl Reads {
    /// What this says of a device that was sent several together.
    pub(crate) fn heard(&self) -> Heard {
        match self.fault {
            None => Heard::All,
            Some(Fault::Timeout(_) | Fault::Closed(_) | Fault::Garbled(_)) => Heard::Broken,
            Some(
                Fault::Waiting
                | Fault::Connect(_)
                | Fault::Suppressed(_)
                | Fault::Refused(_)
                | Fault::Aborted,
            ) => Heard::Nothing,
        }
    }
}

impl From<Fault> for Reads {
    fn from(fault: Fault) -> Self {
        Self { answers: Vec::new(), fault: Some(fault) }
    }
}

/// The connection of one interface.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: String,
    timeout: Duration,
    connect_timeout: Duration,
    keepalive: Duration,
    send_timeout: Duration,
    request_delay: Duration,
    link: Option<Link>,
    backoff: Backoff,
    last_answer: Option<Instant>,
    /// Transaction identifier of the next read.
    transaction: u16,
}

struct Link {
    context: Context,
    stream: Arc<TcpStream>,
    permit: Arc<Mutex<Option<Permit>>>,
    is_proven: bool,
    input: Vec<u8>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Link {
    /// Whether the peer has neither closed the connection nor sent something unasked.
    fn is_quiet(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends the requests of a burst and takes its answers; true if nothing came behind them.
    async fn exchange(
        &mut self,
        burst: &mut Burst<'_>,
        permit: Option<&Permit>,
        limit: Duration,
    ) -> Result<bool, Fault> {
        let mut until = Instant::now() + limit;
        let requests = burst.requests();
        let mut rest = &requests[..];
        while !rest.is_empty() {
            if let Some(permit) = permit {
                permit.recheck().map_err(Fault::Suppressed)?;
            }
            match self.stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = timeout_at(until, self.stream.writable()).await;
                    writable.map_err(|_| Fault::Timeout(limit))?.map_err(Fault::Closed)?;
                }
                Err(error) => return Err(Fault::Closed(error)),
            }
        }
        self.input.clear();
        loop {
            self.input.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(Fault::Closed(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {
                    let used = burst.take(&self.input).map_err(Fault::Garbled)?;
                    self.input.drain(..used);
                    if burst.is_complete() {
                        return Ok(self.input.is_empty());
                    }
                    if used > 0 {
                        until = Instant::now() + limit;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let readable = timeout_at(until, self.stream.readable()).await;
                    readable.map_err(|_| Fault::Timeout(limit))?.map_err(Fault::Closed)?;
                }
                Err(error) => return Err(Fault::Closed(error)),
            }
        }
    }
}

impl Session {
    pub(crate) fn new(settings: &Settings) -> Self {
        let config = &settings.config;
        Self {
            endpoint: settings.endpoint.clone(),
            timeout: config.timeout.0,
            connect_timeout: config.connect_timeout.0,
            keepalive: config.keepalive.0,
            send_timeout: config.send_timeout.0,
            request_delay: config.request_delay.0,
            link: None,
            backoff: Backoff::new(config.backoff_min.0, config.backoff_max.0),
            last_answer: None,
            transaction: 0,
        }
    }

    /// When a connection may be tried again; `None` if there is one or it may be tried at once.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        if self.link.is_some() { None } else { self.backoff.waits_until() }
    }

    /// Whether there is a connection.
    pub(crate) fn is_open(&self) -> bool {
        self.link.is_some()
    }

    /// Whether the connection has carried an answer.
    pub(crate) fn is_proven(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_proven)
    }

    /// Drops the connection.
    pub(crate) fn close(&mut self) {
        self.link = None;
    }

    /// Forgets earlier failures, so that the next request tries at once.
    pub(crate) fn forgive(&mut self) {
        self.backoff.succeed();
    }

    /// Ends when the connection has been closed by the other side; never if there is none.
    pub(crate) async fn lost(&mut self) {
        loop {
            let Some(link) = &self.link else { return std::future::pending().await };
            let is_alive = link.stream.readable().await.is_ok() && link.is_quiet();
            if !is_alive {
                self.link = None;
                return;
            }
        }
    }

    /// Makes a connection unless there is one that can be used.
    pub(crate) async fn open(&mut self) -> Result<(), Fault> {
        if self.link.as_ref().is_some_and(Link::is_quiet) {
            return Ok(());
        }
        self.link = None;
        if self.backoff.waits_until().is_some() {
            return Err(Fault::Waiting);
        }
        let connected = match timeout(self.connect_timeout, TcpStream::connect(&self.endpoint)).await {
            Ok(connected) => connected.and_then(|stream| {
                stream.set_nodelay(true)?;
                let idle =
                    socket2::TcpKeepalive::new().with_time(self.keepalive).with_interval(KEEPALIVE_INTERVAL);
                let socket = socket2::SockRef::from(&stream);
                socket.set_tcp_keepalive(&idle)?;
                // Bounds how long the kernel may still deliver a request, also after this process has died.
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(self.send_timeout))?;
                Ok(stream)
            }),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out")),
        };
        match connected {
            Ok(stream) => {
                let stream = Arc::new(stream);
                let permit = Arc::default();
                let wire = Wire { stream: Arc::clone(&stream), permit: Arc::clone(&permit) };
                let (context, input) = (tcp::attach(wire), Vec::new());
                self.link = Some(Link { context, stream, permit, is_proven: false, input });
                Ok(())
            }
            Err(error) => {
                self.backoff.fail();
                Err(Fault::Connect(error))
            }
        }
    }

    /// Sends reads of one unit together and waits for their answers.
    ///
    /// A call that is dropped before its end takes the connection with it.
    pub(crate) async fn read(&mut self, unit: u8, spans: &[Span], pass: Pass) -> Reads {
        let (mut link, permit) = match self.begin(pass).await {
            Ok(begun) => begun,
            Err(fault) => return fault.into(),
        };
        let mut burst = Burst::new(unit, self.transaction, spans);
        let count = u16::try_from(spans.len()).unwrap_or(u16::MAX);
        self.transaction = self.transaction.wrapping_add(count);
        let exchanged = link.exchange(&mut burst, permit.as_ref(), self.timeout).await;
        let answers = burst.into_answers();
        link.is_proven |= !answers.is_empty();
        match exchanged {
            Ok(is_clean) => {
                self.backoff.succeed();
                self.last_answer = (!self.request_delay.is_zero()).then(Instant::now);
                // Whoever sends what nobody asked for is not asked again on this connection.
                self.link = is_clean.then_some(link);
                Reads { answers, fault: None }
            }
            Err(fault) => {
                self.failed(&link, &fault);
                Reads { answers, fault: Some(fault) }
            }
        }
    }

    /// Takes the connection for a request, with the permit that it needs.
    async fn begin(&mut self, pass: Pass) -> Result<(Link, Option<Permit>), Fault> {
        self.open().await?;
        if let Some(last) = self.last_answer.filter(|_| !self.request_delay.is_zero()) {
            sleep_until(last + self.request_delay).await;
        }
        let permit = match pass {
            Pass::Permit(permit) => {
                permit.recheck().map_err(Fault::Suppressed)?;
                Some(permit)
            }
            Pass::Standby => None,
        };
        let link = self.link.take().ok_or(Fault::Waiting)?;
        Ok((link, permit))
    }

    /// A connection that has worked is made anew at once, one that never did after a pause.
    fn failed(&mut self, link: &Link, fault: &Fault) {
        if !link.is_proven && !matches!(fault, Fault::Suppressed(_)) {
            self.backoff.fail();
        }
    }

    /// Sends one request and waits for its answer.
    ///
    /// A call that is dropped before its end takes the connection with it.
    pub(crate) async fn call(
        &mut self,
        unit: u8,
        request: Request<'_>,
        pass: Pass,
    ) -> Result<Response, Fault> {
        let (mut link, permit) = self.begin(pass).await?;
        link.permit.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&permit);
        link.context.set_slave(Slave(unit));
        let expected = Expected::of(&request);
        let answer = match timeout(self.timeout, link.context.call(request)).await {
            Err(_) => Err(Fault::Timeout(self.timeout)),
            Ok(Err(WireError::Transport(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
                match permit.map(|permit| permit.recheck()) {
                    Some(Err(suppressed)) => Err(Fault::Suppressed(suppressed)),
                    Some(Ok(())) | None => Err(Fault::Closed(error)),
                }
            }
            Ok(Err(WireError::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Fault::Garbled(error.to_string()))
            }
            Ok(Err(WireError::Transport(error))) => Err(Fault::Closed(error)),
            Ok(Err(WireError::Protocol(error))) => Err(Fault::Garbled(shortened(&error.to_string()))),
            Ok(Ok(Err(exception))) => Ok(Err(exception)),
            Ok(Ok(Ok(response))) => match expected.check(&response) {
                Ok(()) => Ok(Ok(response)),
                Err(why) => Err(Fault::Garbled(why)),
            },
        };
        match answer {
            Ok(answer) => {
                link.is_proven = true;
                self.link = Some(link);
                self.backoff.succeed();
                self.last_answer = (!self.request_delay.is_zero()).then(Instant::now);
                answer.map_err(Fault::Refused)
            }
            Err(fault) => {
                self.failed(&link, &fault);
                Err(fault)
            }
        }
    }
}

/// What the answer to a request has to look like.
#[derive(Debug)]
enum Expected {
    Bits(usize),
    Words(usize),
    Echo(Response),
}

impl Expected {
    fn of(request: &Request<'_>) -> Self {
        match request {
            Request::ReadCoils(_, count) | Request::ReadDiscreteInputs(_, count) => {
                // Bits come in whole bytes.
                Self::Bits(usize::from(*count).next_multiple_of(8))
            }
            Request::ReadHoldingRegisters(_, count)
            | Request::ReadInputRegisters(_, count)
            | Request::ReadWriteMultipleRegisters(_, count, _, _) => Self::Words(usize::from(*count)),
            Request::WriteSingleCoil(address, state) => {
                Self::Echo(Response::WriteSingleCoil(*address, *state))
            }
            Request::WriteSingleRegister(address, word) => {
                Self::Echo(Response::WriteSingleRegister(*address, *word))
            }
            Request::WriteMultipleCoils(address, states) => {
                Self::Echo(Response::WriteMultipleCoils(*address, quantity(states.len())))
            }
            Request::WriteMultipleRegisters(address, words) => {
                Self::Echo(Response::WriteMultipleRegisters(*address, quantity(words.len())))
            }
            Request::MaskWriteRegister(address, and, or) => {
                Self::Echo(Response::MaskWriteRegister(*address, *and, *or))
            }
            Request::ReportServerId | Request::ReadDeviceIdentification(..) | Request::Custom(..) => {
                Self::Words(0)
            }
        }
    }

    fn check(&self, response: &Response) -> Result<(), String> {
        let got = match (self, response) {
            (Self::Bits(count), Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits)) => {
                if bits.len() == *count {
                    return Ok(());
                }
                format!("{} bits instead of {count}", bits.len())
            }
            (
                Self::Words(count),
                Response::ReadHoldingRegisters(words)
                | Response::ReadInputRegisters(words)
                | Response::ReadWriteMultipleRegisters(words),
            ) => {
                if words.len() == *count {
                    return Ok(());
                }
                format!("{} registers instead of {count}", words.len())
            }
            (Self::Echo(expected), response) if expected == response => return Ok(()),
            (expected, response) => shortened(&format!("{response:?} instead of {expected:?}")),
        };
        Err(got)
    }
}

fn quantity(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Texts made of what a device sent are bounded.
fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// The socket as the client library sees it. Each write asks for the permit at the system call.
#[derive(Debug)]
struct Wire {
    stream: Arc<TcpStream>,
    permit: Arc<Mutex<Option<Permit>>>,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Waker<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Waker<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            if let Some(permit) = &*self.permit.lock().unwrap_or_else(PoisonError::into_inner)
                && !permit.is_valid()
            {
                return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
            }
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Pause between two unanswered keep-alive packets.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const TEXT_CHARS_MAX: usize = 200;
/// Room for all answers of a burst that come together: 16 of the longest.
const READ_BYTES: usize = 4_160;
