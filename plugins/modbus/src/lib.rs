//! Modbus interface plugin: TCP client with block planning, poll classes and typed registers.
//!
//! The calls of the hub ([`Modbus`]) leave their wishes in the inbox; one task, the driver, talks to the device.
//! The session keeps requests and answers together, the image knows the items and their poll cycles.

mod address;
mod backoff;
mod burst;
mod codec;
mod config;
mod driver;
mod image;
mod inbox;
mod notes;
mod output;
mod pace;
mod planner;
mod point;
mod session;
mod survey;
mod writes;

use std::rc::Rc;
use std::time::Duration;

use twinhub_plugin::{
    Browse, Code, Ctx, Deadline, Epoch, Error, InterfaceState, Item, ItemDef, Plugin, Quality, Result, Role,
    Task, Update, Value, WriteBatch,
};

use crate::codec::{CodecError, Datum};
pub use crate::config::Config;
use crate::config::Settings;
use crate::driver::{Driver, NOT_READ, Survey};
use crate::inbox::Inbox;
use crate::point::Point;
use crate::survey::{Place, Walk, polls_nothing, units};
use crate::writes::{Job, Payload, WRITES_MAX};

/// One Modbus interface: a connection to a device or gateway.
#[derive(Debug)]
pub struct Modbus {
    cx: Ctx,
    settings: Rc<Settings>,
    inbox: Rc<Inbox>,
    driver: Option<Task>,
}

impl Plugin for Modbus {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        let settings = Settings::new(config).map_err(|error| Error::config(error.to_string()))?;
        if settings.config.send_timeout.0 > IN_FLIGHT_MAX {
            let send_timeout_ms =
                u64::try_from(settings.config.send_timeout.0.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                send_timeout_ms,
                "send_timeout is longer than what the manifest declares as in flight, 250 ms"
            );
        }
        Ok(Self { cx, settings: Rc::new(settings), inbox: Rc::new(Inbox::new()), driver: None })
    }

    async fn start(&mut self) -> Result<()> {
        let driver = Driver::new(self.cx.clone(), Rc::clone(&self.settings), Rc::clone(&self.inbox));
        self.driver = Some(self.cx.spawn(driver.run()));
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        let mut refused = Vec::new();
        {
            let mut points = self.inbox.points.borrow_mut();
            let points = Rc::make_mut(&mut points);
            if !remove.is_empty() {
                points.remove(&remove.into_iter().map(|item| item.0).collect());
            }
            for def in add {
                match Point::parse(def.item.0, &def.address, &self.settings) {
                    Ok(mut point) => {
                        // The hub's word on access counts, the row's is where it comes from.
                        point.is_writable &= def.access.is_writable();
                        points.insert(point);
                    }
                    Err(error) => {
                        self.cx.publisher().push(Update::bad(def.item, Quality::BAD_CONFIGURATION));
                        refused.push(format!("item `{}`: {error}", def.column("path").unwrap_or("?")));
                    }
                }
            }
            points.shrink_to_fit();
        }
        self.inbox.points_version.set(self.inbox.points_version.get() + 1);
        self.inbox.changed.notify_one();
        if refused.is_empty() {
            return Ok(());
        }
        let more = refused.len().saturating_sub(ERRORS_SHOWN);
        refused.truncate(ERRORS_SHOWN);
        let mut text = refused.join("; ");
        if more > 0 {
            text = format!("{text}; and {more} more");
        }
        Err(Error::config(text))
    }

    async fn role(&mut self, to: Role, epoch: Epoch, deadline: Deadline) -> Result<()> {
        let inbox = &self.inbox;
        inbox.role.set((to, epoch));
        inbox.role_version.set(inbox.role_version.get() + 1);
        inbox.changed.notify_one();
        if self.driver.is_none() {
            return Ok(());
        }
        if inbox.is_connecting.get() {
            inbox.abort.notify_waiters();
        }
        // A request in flight may end by itself in the first half of the time.
        let grace = deadline.remaining_up_to(GRACE_MAX) / 2;
        if tokio::time::timeout(grace, inbox.role_reached()).await.is_err() {
            inbox.abort.notify_waiters();
            inbox.role_reached().await;
        }
        Ok(())
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let batch = Rc::new(batch);
        let epoch = batch.epoch();
        let mut overflow = 0;
        for entry in batch.iter() {
            let job = self.job(entry.item, &entry.value).map(|(point, payload)| Job {
                batch: Some(Rc::clone(&batch)),
                id: entry.id,
                epoch,
                deadline: entry.deadline,
                point,
                payload,
            });
            let mut writes = self.inbox.writes.borrow_mut();
            match job {
                Ok(job) if writes.len() < WRITES_MAX => writes.push_back(job),
                Ok(_) => {
                    overflow += 1;
                    batch.done(entry.id, Code::Again);
                }
                Err(error) => {
                    tracing::debug!(item = entry.item.0, error = %error, "write refused");
                    batch.done(entry.id, error.code());
                }
            }
        }
        if overflow > 0 {
            self.cx.count("write.overflow", overflow);
        }
        self.inbox.changed.notify_one();
        Ok(())
    }

    fn browse(&mut self, browse: Browse) {
        match self.begin_survey(&browse) {
            Ok(None) => {
                let begin = browse.cursor().parse().unwrap_or(0);
                let page = units(&self.settings, &self.inbox.points.borrow(), begin, browse.limit());
                browse.answer(&page);
            }
            Ok(Some(walk)) => {
                // One that is asked twice is answered to who asked last; the other one is refused as it is dropped.
                self.inbox.survey.replace(Some(Survey::new(browse, walk)));
                self.inbox.changed.notify_one();
            }
            Err(error) => browse.refuse(&error),
        }
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        let waiting = self.inbox.writes.borrow().len();
        Ok(self.inbox.notes.borrow().document(&self.settings, self.cx.role(), waiting))
    }

    async fn stop(&mut self) {
        let deadline = Deadline::after(GRACE_MAX);
        if let Err(error) = self.role(Role::Cold, self.cx.epoch(), deadline).await {
            tracing::debug!(error = %error, "stop");
        }
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
        self.cx.status(InterfaceState::Stopped, "");
    }
}

impl Modbus {
    /// The reads that answer a question; none for what is known anyway.
    fn begin_survey(&self, browse: &Browse) -> Result<Option<Walk>> {
        let place = Place::parse(browse.parent()).map_err(Error::invalid)?;
        let walk = Walk::new(place, browse.cursor(), browse.limit(), &self.settings);
        if place == Place::Top {
            let is_number = |text: &str| text.is_empty() || text.parse::<usize>().is_ok();
            return if is_number(browse.cursor()) {
                Ok(None)
            } else {
                Err(Error::invalid("the cursor is not of an answer before"))
            };
        }
        if self.driver.is_none() || self.cx.role() < Role::Hot {
            return Err(Error::new(Code::NotActive, NOT_READ));
        }
        if place == Place::Units && !polls_nothing(&self.inbox.points.borrow()) {
            let text = "this interface polls items, which a silent unit would hold up: ask an interface of its own, with an \
                        items file that has only its header";
            return Err(Error::new(Code::Busy, text));
        }
        walk.map(Some).map_err(Error::invalid)
    }

    fn job(&self, item: Item, value: &Value) -> Result<(Point, Payload)> {
        let points = self.inbox.points.borrow();
        let point = points.get(item.0).ok_or_else(|| Error::invalid("no such item"))?;
        if !point.is_writable {
            return Err(Error::invalid("the item is read only"));
        }
        let datum = match value {
            Value::Bool(value) => Datum::Bool(*value),
            Value::I64(value) => Datum::I64(*value),
            Value::U64(value) => Datum::U64(*value),
            Value::F64(value) => Datum::F64(*value),
            Value::Str(value) => Datum::Text(value.clone()),
            Value::Null | Value::Bytes(_) | Value::Time(_) | Value::Json(_) | Value::Array(_) => {
                return Err(Error::invalid("neither a number nor a bool nor a text"));
            }
        };
        let refused = |error: CodecError| Error::invalid(error.to_string());
        let payload = if point.area.is_bits() {
            Payload::Coil(point.codec.encode_bit(&datum).map_err(refused)?)
        } else if point.is_register_bit {
            let state = point.codec.encode_bit(&datum).map_err(refused)?;
            Payload::RegisterBit { mask: point.codec.bit_mask(), state }
        } else {
            Payload::Words(point.codec.encode(&datum).map_err(refused)?)
        };
        Ok((point.clone(), payload))
    }
}

twinhub_plugin::export_plugin!(Modbus);

/// `mb.in_flight_max_ms` of the manifest.
const IN_FLIGHT_MAX: Duration = Duration::from_millis(250);
/// Longest wait for a request in flight when the role changes without a deadline.
const GRACE_MAX: Duration = Duration::from_secs(2);
/// Item errors that one message lists.
const ERRORS_SHOWN: usize = 5;
