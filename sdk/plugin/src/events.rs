//! Events: messages to other interfaces, and from them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use twinhub_contract::extension::{HostEvents, PluginEvents};
use twinhub_contract::{EventRef, abi, code, event_flag};

use crate::entry::{guarded_entry, instance, submit};
use crate::error::{Code, Error, Result};
use crate::mailbox::Command;
use crate::shared::Shared;
use crate::value::{Epoch, Role};

/// Gives events to other interfaces. From [`crate::Ctx::events`].
///
/// An event is a message, not a value: a guest checks in, a door was opened, a mail is to be sent. It goes to a stream that
/// the manifest declares (`events.gives`), and from there to the interfaces that the configuration links to it. The hub
/// journals it, so it arrives also if this node dies, and each interface has to do it once.
///
/// ```no_run
/// # async fn example(cx: twinhub_plugin::Ctx) -> twinhub_plugin::Result<()> {
/// use twinhub_plugin::Event;
/// let Some(events) = cx.events() else { return Ok(()) };
/// // The id is the device's own: what it repeats, or both nodes hear, is one event.
/// let event = Event::new("guest", r#"{"check_in":"12"}"#).id("4711").key("room 12").need_ack();
/// match events.give(&event)?.taken().await {
///     Ok(()) => { /* it is safe: acknowledge it to the device */ }
///     Err(_) => { /* do not: the device gives it again */ }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<Shared>,
    table: HostEvents,
}

/// An event that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    stream: String,
    id: String,
    key: String,
    payload: Vec<u8>,
    needs_ack: bool,
}

impl Event {
    /// An event of a stream.
    pub fn new(stream: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            stream: stream.into(),
            id: String::new(),
            key: String::new(),
            payload: payload.into(),
            needs_ack: false,
        }
    }

    /// What tells it from all others of its stream, by the device's own means: up to 128 bytes. The hub makes one if there
    /// is none; then what is given twice is two events.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// What it is about, up to 128 bytes: events of this interface with the same key are brought in the order in which
    /// they were given, each when the one before is done.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Its source waits for an acknowledgment: [`Given::taken`] ends when the event is safe.
    #[must_use]
    pub fn need_ack(mut self) -> Self {
        self.needs_ack = true;
        self
    }
}

impl Events {
    pub(crate) fn new(shared: &Arc<Shared>) -> Option<Self> {
        shared.host.events.map(|table| Self { shared: Arc::clone(shared), table })
    }

    /// Gives an event. It stands in the journal before what is put or pushed after it.
    ///
    /// # Errors
    /// [`Code::Again`] if an interface that it is for has too many waiting, or the hub has no room at present: give it again
    /// later, or leave it to the device. [`Code::NotActive`] while the instance is not active; one that is hot may give what
    /// has an id and needs no acknowledgment. [`Code::StaleEpoch`] if the role has just changed, [`Code::Invalid`] if the
    /// manifest does not declare the stream or something is too long, [`Code::Stopped`] after the end.
    pub fn give(&self, event: &Event) -> Result<Given> {
        let give = self.table.give.ok_or_else(|| Error::unsupported("the hub takes no events"))?;
        let (number, receiver) = self.shared.givings.open()?;
        let raw = EventRef {
            flags: if event.needs_ack { event_flag::NEED_ACK } else { 0 },
            epoch: self.shared.epoch().0,
            number,
            source: "",
            stream: &event.stream,
            id: &event.id,
            key: &event.key,
            payload: &event.payload,
        };
        if !raw.is_within_limits() {
            self.shared.givings.close(number);
            return Err(said(code::INVALID, &event.stream));
        }
        let raw = raw.raw();
        // SAFETY: the function belongs to this host; the event and what it points to live for the call.
        let answer = unsafe { give(self.shared.host.table(), &raw const raw) };
        let stream = event.stream.clone();
        if answer == code::PENDING {
            return Ok(Given { stream, receiver: Some(receiver) });
        }
        self.shared.givings.close(number);
        if answer == code::OK { Ok(Given { stream, receiver: None }) } else { Err(said(answer, &stream)) }
    }
}

/// An event that is on its way into the hub.
#[derive(Debug)]
pub struct Given {
    stream: String,
    receiver: Option<oneshot::Receiver<i32>>,
}

impl Given {
    /// Waits until the hub has said what became of it: with [`Event::need_ack`] until it is safe, as the interface's
    /// configuration wants it. It goes its way also if nobody waits.
    ///
    /// # Errors
    /// As of [`Events::give`]. Then it is not sure that anybody has it, and its source has to give it again.
    pub async fn taken(self) -> Result<()> {
        let Some(receiver) = self.receiver else { return Ok(()) };
        match receiver.await.unwrap_or(code::STOPPED) {
            code::OK => Ok(()),
            code => Err(said(code, &self.stream)),
        }
    }
}

fn said(code: i32, stream: &str) -> Error {
    let known = match code {
        code::AGAIN => Code::Again,
        code::STALE_EPOCH => Code::StaleEpoch,
        code::NOT_ACTIVE => Code::NotActive,
        code::STOPPED => Code::Stopped,
        code::UNSUPPORTED => Code::Unsupported,
        _ => Code::Invalid,
    };
    Error::new(
        known,
        format!("the hub does not take the event of stream `{stream}`: {}", code::name(known.raw())),
    )
}

/// Events that the hub has yet to say something about.
#[derive(Debug, Default)]
pub(crate) struct Givings {
    last: AtomicU64,
    open: Mutex<BTreeMap<u64, oneshot::Sender<i32>>>,
}

impl Givings {
    fn open(&self) -> Result<(u64, oneshot::Receiver<i32>)> {
        let mut open = self.lock();
        if open.len() >= GIVINGS_MAX {
            return Err(Error::new(Code::Again, "too many events are on their way into the hub"));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        open.insert(number, sender);
        Ok((number, receiver))
    }

    fn close(&self, number: u64) {
        self.lock().remove(&number);
    }

    fn end(&self, number: u64, code: i32) {
        let waiting = self.lock().remove(&number);
        if let Some(waiting) = waiting {
            // Nobody may wait for it.
            waiting.send(code).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<i32>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event of another interface, for [`crate::Plugin::event`]. Answered once, now or later from a task; one that is dropped
/// comes again.
///
/// ```no_run
/// use twinhub_plugin::{Ctx, Delivery, Error};
///
/// fn event(cx: &Ctx, event: Delivery) {
///     let gate = cx.gate();
///     cx.spawn(async move {
///         let Ok(permit) = gate.permit(event.epoch()) else {
///             event.later();
///             return Ok(());
///         };
///         // Here the device is told, with `event.id()` if it takes one, right after a look at the permit.
///         match permit.is_valid() {
///             true if event.payload().is_empty() => event.refuse(&Error::invalid("it says nothing")),
///             true => event.done(),
///             false => event.later(),
///         }
///         Ok(())
///     });
/// }
/// ```
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    brought: Box<Brought>,
    is_open: bool,
}

/// What the hub brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    flags: u32,
    source: String,
    stream: String,
    id: String,
    key: String,
    payload: Vec<u8>,
}

impl Delivery {
    pub(crate) fn new(shared: Arc<Shared>, brought: Box<Brought>) -> Self {
        Self { shared, brought, is_open: true }
    }

    /// The interface that gave it.
    pub fn source(&self) -> &str {
        &self.brought.source
    }

    /// Its stream.
    pub fn stream(&self) -> &str {
        &self.brought.stream
    }

    /// What tells it from all others of that interface and stream: the same when it comes again.
    pub fn id(&self) -> &str {
        &self.brought.id
    }

    /// What it is about; may be empty.
    pub fn key(&self) -> &str {
        &self.brought.key
    }

    /// What it says.
    pub fn payload(&self) -> &[u8] {
        &self.brought.payload
    }

    /// Whether it may have been delivered before, here or on another node. A device that would do it twice is asked, or
    /// given the id.
    pub fn is_redelivered(&self) -> bool {
        self.brought.flags & event_flag::REDELIVERED != 0
    }

    /// The epoch for [`crate::OutputGate::permit`].
    pub fn epoch(&self) -> Epoch {
        self.brought.epoch
    }

    /// It is done and does not come again.
    pub fn done(self) {
        self.end(code::OK);
    }

    /// Nothing was done; it comes again later. For a device that does not answer.
    pub fn later(self) {
        self.end(code::AGAIN);
    }

    /// It cannot be done and does not come again; operators are told. An error that says "later" ([`Code::Again`] and those
    /// of a role that was lost) is as [`Delivery::later`].
    pub fn refuse(self, error: &Error) {
        tracing::warn!(source = self.source(), stream = self.stream(), id = self.id(), %error, "event is refused");
        let code = if error.code() == Code::Ok { Code::Invalid } else { error.code() };
        self.end(code.raw());
    }

    fn end(mut self, code: i32) {
        self.is_open = false;
        answer(&self.shared, self.brought.number, code);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // One with which the instance ends is told from one that is to come later.
        if self.is_open && !std::thread::panicking() {
            answer(&self.shared, self.brought.number, code::AGAIN);
        }
    }
}

/// Says what became of an event.
pub(crate) fn answer(shared: &Shared, number: u64, code: i32) {
    if let Some(acknowledge) = shared.host.events.and_then(|table| table.acknowledge) {
        // SAFETY: the function belongs to this host. One that it does not know any more is counted there.
        unsafe { acknowledge(shared.host.table(), number, code) };
    }
}

/// Why an event is not shown to the instance, if it is not.
pub(crate) fn refusal(shared: &Shared, brought: &Brought) -> Option<i32> {
    if !shared.is_running() {
        Some(code::STOPPED)
    } else if brought.epoch != shared.epoch() {
        Some(code::STALE_EPOCH)
    } else if shared.role() != Role::Active {
        Some(code::NOT_ACTIVE)
    } else {
        None
    }
}

/// The table of every instance.
pub(crate) static EVENTS: PluginEvents = PluginEvents {
    size: size(size_of::<PluginEvents>()),
    reserved: 0,
    taken: Some(taken),
    deliver: Some(deliver),
};

unsafe extern "C" fn taken(plugin: *const abi::Plugin, number: u64, code: i32) {
    // SAFETY: by the contract `plugin` is a live instance.
    if let Some(instance) = unsafe { instance(plugin) } {
        instance.shared.givings.end(number, code);
    }
}

unsafe extern "C" fn deliver(plugin: *const abi::Plugin, event: *const twinhub_contract::Event) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and the event is readable for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let event = twinhub_contract::Event::read(event).ok_or(Code::Invalid)?;
            let brought = Box::new(Brought {
                number: event.number,
                epoch: Epoch(event.epoch),
                flags: event.flags,
                source: event.source.to_owned(),
                stream: event.stream.to_owned(),
                id: event.id.to_owned(),
                key: event.key.to_owned(),
                payload: event.payload.to_vec(),
            });
            match refusal(&instance.shared, &brought) {
                Some(code) => Ok(code),
                None => submit(instance, Command::Event(brought)),
            }
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct")]
const fn size(size: usize) -> u32 {
    size as u32
}

/// Events on their way into the hub.
const GIVINGS_MAX: usize = 4_096;
