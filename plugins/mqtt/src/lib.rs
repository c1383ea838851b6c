//! MQTT interface plugin: client for v3.1.1 and v5 brokers.
//!
//! The way of a write: [`output`] makes messages of a batch, [`session`] keeps them until the broker has them,
//! [`driver`] writes them under a permit. The way of a message: [`driver`] reads it, [`input`] finds its items and
//! values, and the broker gets its receipt when the hub has accepted them.

use std::rc::Rc;
use std::time::Duration;

use twinhub_plugin::{
    Acceptance, Array, Browse, Code, Ctx, Deadline, Epoch, Error, Flags, InterfaceState, Item, ItemDef,
    Plugin, Quality, Result, Store, Update, ValueRef, WriteBatch, WriteId, boottime_ns, unix_ns,
};

use crate::ids::Ids;
use crate::link::{Host, Link, Role, State};
use crate::output::Batch;
use crate::payload::Value;
use crate::receipts::Accepted;
use crate::session::{Answers, Outcome};
use crate::succession::Kept;

pub mod browse;
pub mod config;
mod diag;
pub mod driver;
pub mod ids;
pub mod input;
pub mod item;
mod items;
pub mod jsonpath;
pub mod link;
pub mod output;
pub mod packet;
mod pauses;
pub mod payload;
pub mod placement;
pub mod receipts;
pub mod session;
pub mod span;
pub mod succession;
pub mod topic;
pub mod transport;

pub use config::Config;

/// One MQTT interface.
#[derive(Debug)]
pub struct Mqtt {
    cx: Ctx,
    link: Rc<Link>,
    heard: browse::Heard,
}

impl Plugin for Mqtt {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        let settings = config.validate(cx.instance()).map_err(|error| Error::config(error.to_string()))?;
        if let Some(files) = &settings.tls {
            transport::Tls::load(files).map_err(|error| Error::config(error.to_string()))?;
        }
        let acceptance = match settings.ack {
            config::Ack::Manual => cx.acceptance(),
            config::Ack::Auto => None,
        };
        // The low bits of the clock differ from start to start, which is all that is asked of them.
        let link = Link::new(
            settings,
            boottime_ns().to_le_bytes().map(u16::from).into_iter().fold(0, u16::wrapping_add) << 7,
        );
        let hub = Hub { cx: cx.clone(), store: cx.store(), acceptance };
        let task = Rc::clone(&link);
        cx.spawn(async move {
            driver::run(task, hub).await;
            Ok(())
        });
        Ok(Self { cx, link, heard: browse::Heard::default() })
    }

    async fn start(&mut self) -> Result<()> {
        self.link.start();
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        self.link.remove_items(remove.into_iter().map(|item| item.0));
        let mut first_error = None;
        let mut specs = Vec::with_capacity(add.len());
        for def in &add {
            match item::Spec::parse(&row(def), &self.link.settings) {
                Ok(spec) => specs.push((def.item.0, spec)),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let refused = add.len() - specs.len();
        self.link.add_items(specs);
        match first_error {
            None => Ok(()),
            Some(error) if refused == 1 => Err(Error::config(error.to_string())),
            Some(error) => Err(Error::config(format!("{error} (and {} more items)", refused - 1))),
        }
    }

    async fn role(&mut self, to: twinhub_plugin::Role, epoch: Epoch, deadline: Deadline) -> Result<()> {
        let to = match to {
            twinhub_plugin::Role::Cold => Role::Cold,
            twinhub_plugin::Role::Warm => Role::Warm,
            twinhub_plugin::Role::Hot => Role::Hot,
            twinhub_plugin::Role::Active => Role::Active,
        };
        let limit = deadline.remaining_up_to(ROLE_CHANGE_MAX) * 3 / 5;
        self.link.change_role(to, epoch.0, limit).await;
        Ok(())
    }

    async fn write(&mut self, writes: WriteBatch) -> Result<()> {
        let epoch = self.link.settings.epoch_property.then_some(writes.epoch().0);
        let writes = Rc::new(writes);
        let batch = Batch { to: Rc::new(Answer(Rc::clone(&writes))), epoch, unix_ms: unix_ns() / 1_000_000 };
        let each = writes.refs().map(|write| {
            let deadline_ns = write.deadline.boottime_ns().unwrap_or(i64::MAX);
            (write.id.0, write.item.0, from_hub(write.value), deadline_ns)
        });
        self.link.write(&batch, each);
        Ok(())
    }

    fn browse(&mut self, browse: Browse) {
        let (link, heard) = (Rc::clone(&self.link), self.heard.clone());
        self.cx.spawn(async move {
            heard.answer(link, browse).await;
            Ok(())
        });
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        Ok(self.link.diagnosis())
    }

    async fn stop(&mut self) {
        self.heard.forget();
        self.link.stop(STOP_MAX).await;
    }
}

twinhub_plugin::export_plugin!(Mqtt);

fn row(def: &ItemDef) -> item::Row<'_> {
    let column = |name| def.column(name).unwrap_or_default();
    item::Row {
        path: column("path"),
        address: column("address"),
        kind: column("type"),
        is_readable: def.access.is_readable(),
        is_writable: def.access.is_writable(),
        qos: column("qos"),
        retain: column("retain"),
        json: column("json"),
        format: column("format"),
        key: column("key"),
        key_path: column("key_path"),
        command_topic: column("command_topic"),
    }
}

/// Answers the writes of one batch.
struct Answer(Rc<WriteBatch>);

impl Answers for Answer {
    fn answer(&self, ids: &Ids, outcome: Outcome) {
        let code = match outcome {
            Outcome::Done => Code::Ok,
            Outcome::InDoubt => Code::Timeout,
            Outcome::Expired => Code::Expired,
            Outcome::NotActive => Code::NotActive,
            Outcome::Busy => Code::Again,
            Outcome::Invalid => Code::Invalid,
            Outcome::Refused => Code::Device,
        };
        if ids.len() == self.0.unanswered() {
            self.0.done_all(code);
        } else {
            self.0.done_many(ids.iter().map(WriteId), code);
        }
    }
}

/// The hub behind the SDK.
struct Hub {
    cx: Ctx,
    /// What the nodes share by key, if the hub has that.
    store: Option<Store>,
    /// If messages get their receipts when the hub has accepted their values, and the hub says when.
    acceptance: Option<Acceptance>,
}

impl Host for Hub {
    fn publish(&self, updates: &mut Vec<input::Update>) {
        let publisher = self.cx.publisher();
        for update in updates.drain(..) {
            publisher.push(to_hub(update));
        }
        publisher.flush();
    }

    fn requalify(&self, items: &[u32], is_good: bool) {
        let quality = if is_good { Quality::GOOD } else { Quality::UNCERTAIN_LAST_USABLE };
        let (publisher, now) = (self.cx.publisher(), unix_ns());
        for item in items {
            publisher.push(Update::requalify(Item(*item), quality).source_ns(now));
        }
        publisher.flush();
    }

    fn mark(&self) -> u64 {
        self.acceptance.as_ref().map_or(0, |acceptance| acceptance.mark().0)
    }

    fn look(&self, mark: u64) -> Accepted {
        let Some(acceptance) = &self.acceptance else {
            // A hub that does not say more than that it has taken them.
            let publisher = self.cx.publisher();
            publisher.flush();
            return if publisher.waiting() == 0 { Accepted::Yes } else { Accepted::NotYet };
        };
        match acceptance.look(twinhub_plugin::Mark(mark)) {
            twinhub_plugin::Accepted::Yes => Accepted::Yes,
            twinhub_plugin::Accepted::NotYet => Accepted::NotYet,
            twinhub_plugin::Accepted::Lost => Accepted::Lost,
        }
    }

    async fn accepted_more(&self) {
        match &self.acceptance {
            Some(acceptance) => acceptance.changed().await,
            None => std::future::pending().await,
        }
    }

    fn acted(&self) -> Option<Vec<u8>> {
        self.store.as_ref()?.get(succession::KEY).ok().flatten()
    }

    fn keep_acted(&self, name: &[u8]) -> Kept {
        let Some(store) = &self.store else { return Kept::Never };
        match store.put(succession::KEY, name) {
            Ok(()) => Kept::Yes,
            Err(error) if matches!(error.code(), Code::Again | Code::StaleEpoch | Code::Stopped) => {
                Kept::NotYet
            }
            Err(_) => Kept::Never,
        }
    }

    fn may_send(&self, epoch: u64) -> bool {
        self.cx.epoch() == Epoch(epoch) && self.cx.gate().is_open()
    }

    fn state(&self, state: State, cause: &str) {
        let state = match state {
            State::Stopped => InterfaceState::Stopped,
            State::Connecting => InterfaceState::Connecting,
            State::Ok => InterfaceState::Ok,
            State::Degraded => InterfaceState::Degraded,
            State::Fault => InterfaceState::Fault,
            State::Suppressed => InterfaceState::Suppressed,
        };
        self.cx.status(state, cause);
    }

    fn count(&self, name: &'static str, add: u64) {
        self.cx.count(name, add);
    }

    fn boottime_ns(&self) -> i64 {
        boottime_ns()
    }
}

fn to_hub(update: input::Update) -> Update {
    let item = Item(update.item);
    let mut flags = Flags::NONE;
    if update.is_snapshot {
        flags = flags | Flags::SNAPSHOT;
    }
    if update.is_event {
        flags = flags | Flags::EVENT;
    }
    if update.is_mirror {
        flags = flags | Flags::MIRROR;
    }
    let value = match update.value {
        Ok(value) => value,
        Err(payload::Error::Range) => return Update::bad(item, Quality::BAD_OUT_OF_RANGE).flags(flags),
        Err(payload::Error::Format | payload::Error::Type) => {
            return Update::bad(item, Quality::BAD_TYPE_MISMATCH).flags(flags);
        }
    };
    let value = match value {
        Value::Null => twinhub_plugin::Value::Null,
        Value::Bool(value) => twinhub_plugin::Value::Bool(value),
        Value::I64(value) => twinhub_plugin::Value::I64(value),
        Value::U64(value) => twinhub_plugin::Value::U64(value),
        Value::F64(value) => twinhub_plugin::Value::F64(value),
        Value::Str(text) => twinhub_plugin::Value::Str(text.into()),
        Value::Bytes(bytes) => twinhub_plugin::Value::Bytes(bytes.into()),
        Value::Json(text) => twinhub_plugin::Value::Json(text.into()),
    };
    Update::new(item, value).flags(flags)
}

#[inline]
fn from_hub(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Bool(value) => Value::Bool(value),
        ValueRef::I64(value) => Value::I64(value),
        ValueRef::U64(value) => i64::try_from(value).map_or(Value::U64(value), Value::I64),
        ValueRef::F64(value) => Value::F64(value),
        ValueRef::Str(text) => Value::Str(text.into()),
        ValueRef::Bytes(bytes) => Value::Bytes(bytes.into()),
        // Milliseconds since 1970 UTC are what receivers of JSON expect of a time.
        ValueRef::Time(ns) => Value::I64(ns.div_euclid(1_000_000)),
        ValueRef::Json(text) => Value::Json(text.into()),
        ValueRef::Array { elem, bytes } => Value::Json(json_array(&Array::from_bytes(elem, bytes)).into()),
    }
}

fn json_array(array: &Array) -> String {
    let list = match array {
        Array::Bool(list) => serde_json::Value::from(list.as_slice()),
        Array::I64(list) | Array::Time(list) => list.as_slice().into(),
        Array::U64(list) => list.as_slice().into(),
        Array::F64(list) => list.as_slice().into(),
    };
    list.to_string()
}

/// Role changes have a deadline of their own; this is for hubs that set none.
const ROLE_CHANGE_MAX: Duration = Duration::from_secs(2);
/// Within the two seconds that a hub grants a stop.
const STOP_MAX: Duration = Duration::from_secs(1);
