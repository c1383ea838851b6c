//! The connection task: connects, reads, writes, keeps alive, reconnects.
//!
//! # The fence
//! A process that was frozen and woken must not publish. Outputs are therefore encoded only when the write buffer is
//! empty and a permit is held, and every attempt to write a buffer with outputs in it asks for the permit again, in
//! the same poll as the system call. If the permit is gone, the connection is cut with a reset, which also discards
//! what the kernel has not sent. The same happens when the lease ends while outputs wait for their receipts. What
//! remains: one system call between check and write; and, if the process is frozen and the network cut at the same
//! time, bytes that the kernel repeats on its own, for at most `TCP_USER_TIMEOUT` (`send_timeout`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::input::Update;
use crate::link::{Barrier, Host, Link, Role, State};
use crate::packet::{self, Codec, Outgoing, Publish, Qos, RECEIVE_MAX};
use crate::pauses::Pauses;
use crate::receipts::Receipts;
use crate::session::Event;
use crate::succession::{self, Beginning};
use crate::transport::{Cutter, Stream, Tls};

mod opening;
mod report;

use report::Reported;

/// Runs until it is dropped.
pub async fn run<H: Host>(link: Rc<Link>, host: H) {
    let mut driver = Driver {
        pauses: Pauses::new(link.settings.reconnect_min, link.settings.reconnect_max, host.boottime_ns()),
        cause: String::new(),
        name: succession::name(&link.settings),
        link,
        host,
        is_first: true,
        reported: Reported::default(),
        receipts: Receipts::default(),
        received_in: 0,
        kept_in: None,
    };
    loop {
        if !driver.link.wants_connection() {
            driver.host.state(State::Stopped, "");
            driver.link.wake.notified().await;
            continue;
        }
        driver.reported.state = None;
        let acted_last = driver.has_acted_last();
        driver.link.notes.borrow_mut().acted_last = acted_last;
        let beginning = driver.link.beginning(acted_last);
        if beginning == Beginning::Later {
            driver.host.state(State::Suppressed, KEEPS_AWAY);
            driver.link.notes.borrow_mut().waits();
            // Nobody tells when another node acts.
            let _still_waiting = timeout(REPORT_EVERY, driver.link.wake.notified()).await;
            continue;
        }
        driver.report_inputs(false, &[]);
        driver.host.state(State::Connecting, &driver.cause);
        driver.link.notes.borrow_mut().attempt(beginning);
        let end = driver.connect_and_run(beginning).await;
        driver.link.notes.borrow_mut().ended(end.error());
        match end {
            End::Left => driver.pauses.reset(),
            End::Refused(cause) => {
                driver.report_inputs(false, &[]);
                driver.host.state(State::Fault, &cause);
                driver.pause(cause).await;
            }
            End::Lost(cause) => driver.pause(cause).await,
        }
    }
}

/// Why a connection ended.
enum End {
    /// The role or the stop wanted it.
    Left,
    /// The broker, or a file, says no; trying again without a change will not help.
    Refused(String),
    /// It broke, or never stood.
    Lost(String),
}

impl End {
    fn error(&self) -> Option<&str> {
        match self {
            Self::Left => None,
            Self::Refused(cause) | Self::Lost(cause) => Some(cause),
        }
    }
}

struct Driver<H> {
    link: Rc<Link>,
    host: H,
    pauses: Pauses,
    cause: String,
    is_first: bool,
    reported: Reported,
    /// Messages that wait for their receipts, and the epoch in which they came.
    receipts: Receipts,
    received_in: u64,
    /// What is kept of this node while it acts, and the epoch in which it was kept last.
    name: Vec<u8>,
    kept_in: Option<u64>,
}

impl<H: Host> Driver<H> {
    async fn pause(&mut self, cause: String) {
        let wait = self.pauses.next();
        if self.cause != cause {
            // Once per cause; the state carries it from here on.
            warn!(error = %cause, retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "no connection to the broker");
            self.cause = cause;
        }
        tokio::select! {
            () = self.unwanted() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn connect_and_run(&mut self, beginning: Beginning) -> End {
        let link = Rc::clone(&self.link);
        let settings = &link.settings;
        let tls = match settings.tls.as_ref().map(Tls::load).transpose() {
            Ok(tls) => tls,
            Err(error) => return End::Refused(error.to_string()),
        };
        let limit = settings.connect_timeout;
        let opened = tokio::select! {
            opened = timeout(limit, self.open(tls.as_ref(), beginning)) => opened,
            () = self.unwanted() => return End::Left,
        };
        let (mut connection, ack) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(end)) => return end,
            Err(_) => {
                return End::Lost(format!(
                    "{}:{}: no connection within {limit:?}",
                    settings.host, settings.port
                ));
            }
        };
        if let Some(keep_alive_s) = ack.keep_alive_s {
            connection.keep_alive = Duration::from_secs(keep_alive_s.into());
        }
        self.link.session.borrow_mut().connected(&ack, self.is_first);
        let epoch = self.link.epoch();
        let is_own = !self.link.settings.is_session_shared || self.received_in == epoch;
        self.receipts.connected(ack.session_present && is_own);
        self.received_in = epoch;
        if std::mem::take(&mut self.is_first) && ack.session_present {
            self.link.assume_subscribed();
        }
        self.link.notes.borrow_mut().connected(&ack);
        self.link.set_connected(true);
        self.link.announce_status(true);
        self.link.subscribe(false);
        self.link.announce_active();
        info!(session_present = ack.session_present, "connected to the broker");
        self.cause.clear();
        let connected_at = Instant::now();
        let end = connection.run(self).await;
        // Two clients with one id throw each other out at once; such connections do not count as success.
        if connected_at.elapsed() >= self.link.settings.reconnect_max {
            self.pauses.reset();
        }
        connection.cutter_if(self.link.is_cut_wanted() || matches!(end, End::Lost(_)));
        drop(connection);
        self.link.session.borrow_mut().disconnected();
        self.link.barrier().set(Barrier::None);
        self.link.set_connected(false);
        self.report_counts();
        end
    }

    async fn unwanted(&self) {
        while self.link.wants_connection() {
            let _still_waiting = timeout(REPORT_EVERY, self.link.wake.notified()).await;
            self.link.session.borrow_mut().expire(self.host.boottime_ns());
        }
    }
}

/// One connection after its handshake.
struct Connection {
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    cutter: Cutter,
    codec: Codec,
    input: BytesMut,
    output: BytesMut,
    /// `output`, or the TLS layer below it, holds bytes of outputs.
    has_outputs: bool,
    /// Outputs went out on this connection and have no receipt yet.
    has_open_outputs: bool,
    needs_flush: bool,
    keep_alive: Duration,
    last_sent: Instant,
    ping_sent: Option<Instant>,
    pings: u32,
    updates: Vec<Update>,
    refused: Vec<String>,
    leaving: Leaving,
}

/// Steps of the good-bye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// Status and end of subscriptions are on their way.
    Closing,
    /// DISCONNECT is in the buffer.
    Bye,
}

/// Why a write attempt ended.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the permit ended with outputs unsent")]
    Fenced,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Connection {
    fn cutter_if(&self, wanted: bool) {
        if wanted {
            self.cutter.cut();
        }
    }

    async fn run<H: Host>(&mut self, driver: &mut Driver<H>) -> End {
        let link = Rc::clone(&driver.link);
        let mut next_report = Instant::now();
        loop {
            let is_kept = driver.keep_acted();
            if is_kept && let Err(end) = self.handle_input(driver) {
                return end;
            }
            if link.is_cut_wanted() {
                return End::Lost("the role was lost with outputs on their way".to_owned());
            }
            self.has_open_outputs &= link.session.borrow().is_output_open();
            if link.role() == Role::Active && self.has_open_outputs && !driver.host.may_send(link.epoch()) {
                // Nobody is told about the end of a lease, so this is looked at while outputs are on their way.
                driver.host.count("outbox.fenced", 1);
                return End::Lost("the lease ended with outputs on their way".to_owned());
            }
            if let Err(end) = self.step_leaving(&link) {
                return end;
            }
            let now = Instant::now();
            if now >= next_report {
                next_report = now + REPORT_EVERY;
                driver.report_counts();
                link.session.borrow_mut().expire(driver.host.boottime_ns());
            }
            link.notes.borrow_mut().owes(driver.receipts.waiting());
            driver.report_state(&self.refused);
            if link.is_settled() {
                driver.report_inputs(true, &self.refused);
            }
            if let Err(end) = self.keep_alive(&link, now) {
                return end;
            }
            if let Err(end) = self.fill(&link, &driver.host) {
                return end;
            }
            link.changed.notify_waiters();
            let wakeup = self.next_wakeup(&link, next_report, driver.receipts.waiting() > 0 || !is_kept);
            let wants_write = !self.output.is_empty() || self.needs_flush;
            let may_read = is_kept && driver.receipts.waiting() < usize::from(RECEIVE_MAX);
            let read_room = &mut self.input;
            read_room.reserve(READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(read_room), if may_read => match read {
                    Ok(0) => return End::Lost("broker closed the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return End::Lost(format!("read: {error}")),
                },
                written = write_some(&mut self.writer, &mut self.output, self.has_outputs, &link, &driver.host), if wants_write => {
                    match written {
                        Ok(is_flushed) => self.written(is_flushed, &link),
                        Err(error) => {
                            driver.host.count("outbox.fenced", u64::from(matches!(error, WriteError::Fenced)));
                            return End::Lost(error.to_string());
                        }
                    }
                },
                () = link.wake.notified() => {
                    if self.leaving == Leaving::No {
                        link.subscribe(false);
                        link.announce_active();
                    }
                },
                () = driver.host.accepted_more() => {},
                () = tokio::time::sleep_until(wakeup) => {},
            }
        }
    }

    fn written(&mut self, is_flushed: bool, link: &Link) {
        self.last_sent = Instant::now();
        self.needs_flush = !is_flushed;
        if is_flushed && self.output.is_empty() {
            self.has_outputs = false;
            link.session.borrow_mut().flushed();
        }
    }

    async fn write_some<H: Host>(&mut self, link: &Link, host: &H) -> Result<(), WriteError> {
        let is_flushed = write_some(&mut self.writer, &mut self.output, self.has_outputs, link, host).await?;
        self.needs_flush = !is_flushed;
        Ok(())
    }

    async fn read_some(&mut self) -> Result<(), End> {
        match self.reader.read_buf(&mut self.input).await {
            Ok(0) => Err(End::Lost("broker closed the connection during the handshake".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(End::Lost(format!("read: {error}"))),
        }
    }

    fn encode(&mut self, packet: Outgoing, link: &Link) -> Result<(), End> {
        self.needs_flush = true;
        Ok(self.codec.encode(packet, &link.settings, &mut self.output)?)
    }

    /// Control packets always; outputs only into an empty buffer, under a permit, to be written at once.
    fn fill<H: Host>(&mut self, link: &Link, host: &H) -> Result<(), End> {
        let mut session = link.session.borrow_mut();
        while self.output.len() < WRITE_BYTES {
            let Some(packet) = session.next_control() else { break };
            self.encode(packet, link)?;
        }
        if self.has_outputs
            || link.role() != Role::Active
            || !session.has_output()
            || !host.may_send(link.epoch())
        {
            return Ok(());
        }
        let now_ns = host.boottime_ns();
        while self.output.len() < WRITE_BYTES {
            let Some(packet) = session.next_output(now_ns) else { break };
            link.notes.borrow_mut().sent();
            self.has_outputs = true;
            self.has_open_outputs = true;
            self.encode(packet, link)?;
        }
        Ok(())
    }

    fn handle_input<H: Host>(&mut self, driver: &mut Driver<H>) -> Result<(), End> {
        let taken = self.take_packets(driver);
        driver.link.session.borrow_mut().answer_confirmed();
        taken?;
        if !self.updates.is_empty() {
            driver.host.publish(&mut self.updates);
        }
        let Driver { receipts, host, link, .. } = driver;
        if receipts.has_unmarked() {
            receipts.mark(host.mark());
        }
        let mut session = link.session.borrow_mut();
        let settled = receipts.settle(|mark| host.look(mark), |qos, id| session.acknowledge(qos, id));
        settled.map_err(|lost| End::Lost(lost.to_string()))
    }

    fn take_packets<H: Host>(&mut self, driver: &mut Driver<H>) -> Result<(), End> {
        let link = Rc::clone(&driver.link);
        loop {
            let packet = match self.codec.decode(&mut self.input) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Lost(error.to_string())),
            };
            let event = link.session.borrow_mut().receive_more(packet);
            match event {
                Event::None => {}
                Event::Message(publish) => self.deliver(&publish, driver),
                Event::Refused(mut filters) => {
                    warn!(filters = ?filters, "broker refused a subscription");
                    link.notes.borrow_mut().refused(&filters);
                    self.refused.append(&mut filters);
                }
                Event::Pong => {
                    self.ping_sent = None;
                    self.pings = self.pings.saturating_sub(1);
                    if self.pings == 0 && link.barrier().get() == Barrier::Sent {
                        link.barrier().set(Barrier::Passed);
                    }
                }
                Event::Closed(cause) => return Err(End::Lost(cause)),
            }
        }
    }

    fn deliver<H: Host>(&mut self, publish: &Publish, driver: &mut Driver<H>) {
        let link = Rc::clone(&driver.link);
        if link.settings.is_session_shared && link.role() != Role::Active {
            // Without a receipt it is for the successor.
            return;
        }
        link.notes.borrow_mut().received();
        if publish.qos != Qos::AtMostOnce {
            match link.settings.ack {
                crate::config::Ack::Auto => link.session.borrow_mut().acknowledge(publish.qos, publish.id),
                crate::config::Ack::Manual => {
                    if !driver.receipts.receive(publish.qos, publish.id, publish.dup) {
                        driver.host.count("session.duplicates", 1);
                        return;
                    }
                }
            }
        }
        link.read(&publish.topic, &publish.payload, publish.retain, &mut self.updates);
        if self.updates.len() >= UPDATES_PER_BATCH {
            driver.host.publish(&mut self.updates);
        }
    }

    fn keep_alive(&mut self, link: &Link, now: Instant) -> Result<(), End> {
        if let Some(sent) = self.ping_sent
            && now >= sent + self.keep_alive
        {
            return Err(End::Lost(format!("broker is silent for {:?}", self.keep_alive)));
        }
        // The proof is asked for only when all outputs are written, because the broker reads in order.
        let wants_proof =
            link.barrier().get() == Barrier::Wanted && self.output.is_empty() && !self.needs_flush;
        let is_idle =
            !self.keep_alive.is_zero() && self.ping_sent.is_none() && now >= self.last_sent + self.keep_alive;
        if wants_proof {
            link.barrier().set(Barrier::Sent);
        }
        if wants_proof || is_idle {
            link.session.borrow_mut().ping();
            self.ping_sent.get_or_insert(now);
            self.pings += 1;
        }
        Ok(())
    }

    /// Says good-bye when the role or the stop wants it.
    fn step_leaving(&mut self, link: &Link) -> Result<(), End> {
        let is_drained = self.output.is_empty() && !self.needs_flush;
        match self.leaving {
            Leaving::No if link.wants_connection() => {}
            Leaving::No => {
                self.leaving = Leaving::Closing;
                link.announce_status(false);
                // A node that stops comes back and wants what it missed, or its successor does; a cold one does not.
                if !link.is_stopping() && !link.settings.is_session_shared {
                    link.subscribe(true);
                }
            }
            Leaving::Closing => {
                let mut session = link.session.borrow_mut();
                if session.is_subscribed() && !session.is_status_open() {
                    self.leaving = Leaving::Bye;
                    session.disconnect();
                }
            }
            Leaving::Bye if is_drained => return Err(End::Left),
            Leaving::Bye => {}
        }
        Ok(())
    }

    fn next_wakeup(&self, link: &Link, next_report: Instant, waits_for_hub: bool) -> Instant {
        let mut wakeup = next_report;
        if !self.keep_alive.is_zero() {
            wakeup = wakeup.min(self.ping_sent.unwrap_or(self.last_sent) + self.keep_alive);
        }
        // The hub has no room, or the lease is late: neither tells when it changes.
        let waits_for_lease =
            link.role() == Role::Active && !self.has_outputs && link.session.borrow().has_output();
        let may_be_fenced = link.role() == Role::Active && self.has_open_outputs;
        if waits_for_hub || waits_for_lease || may_be_fenced || self.leaving != Leaving::No {
            wakeup = wakeup.min(Instant::now() + RETRY_AFTER);
        }
        wakeup
    }
}

/// Writes or flushes once; true when nothing is left below. The permit is asked for in the same poll as the system
/// call, so that a wake-up after a freeze passes the check first.
async fn write_some<H: Host>(
    writer: &mut WriteHalf<Stream>,
    output: &mut BytesMut,
    has_outputs: bool,
    link: &Link,
    host: &H,
) -> Result<bool, WriteError> {
    poll_fn(|cx| {
        while !output.is_empty() {
            if has_outputs && !host.may_send(link.epoch()) {
                return Poll::Ready(Err(WriteError::Fenced));
            }
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, output))?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            output.advance(count);
        }
        if has_outputs && !host.may_send(link.epoch()) {
            return Poll::Ready(Err(WriteError::Fenced));
        }
        ready!(Pin::new(&mut *writer).poll_flush(cx))?;
        Poll::Ready(Ok(true))
    })
    .await
}

impl From<packet::Error> for End {
    fn from(error: packet::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Why a standby is not connected though its role wants it.
const KEEPS_AWAY: &str = "no connection until another node acts: what the broker kept since this one acted is for whoever acts next";
const READ_BYTES: usize = 16 * 1024;
/// High-water mark of the write buffer, which is what a lost permit can throw away at most, beside one message.
const WRITE_BYTES: usize = 64 * 1024;
const UPDATES_PER_BATCH: usize = 1024;
const RETRY_AFTER: Duration = Duration::from_millis(10);
const REPORT_EVERY: Duration = Duration::from_millis(250);
