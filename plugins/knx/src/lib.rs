//! KNX interface plugin: `KNXnet/IP` tunnelling and routing, group addresses as items.
//!
//! The calls of the hub ([`Knx`]) leave their wishes in the inbox; one task, the driver, talks to the bus through the
//! state machines of the protocol crate. The carrier holds the socket, the image the items, the monitor what was seen.

mod backoff;
mod browse;
mod carrier;
mod config;
mod diag;
mod driver;
mod image;
mod inbox;
mod inquiry;
mod link;
mod machine;
mod monitor;
mod point;
mod queue;
mod reads;
mod succession;
mod value;

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use twinhub_knx_protocol::Apdu;
use twinhub_plugin::{
    Browse, Code, Ctx, Deadline, Discover, Epoch, Error, InterfaceState, Item, ItemDef, Monitor, Plugin,
    Quality, Result, Role, Task, Test, Update, Value, WriteBatch,
};

pub use crate::config::Config;
use crate::config::Settings;
use crate::driver::Driver;
use crate::inbox::Inbox;
use crate::point::Point;
use crate::queue::{Job, Write};
use crate::value::from_hub;

/// One KNX interface: a tunnel, or routing.
#[derive(Debug)]
pub struct Knx {
    cx: Ctx,
    settings: Rc<Settings>,
    inbox: Rc<Inbox>,
    driver: Option<Task>,
}

impl Plugin for Knx {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        let settings = Settings::new(config).map_err(|error| Error::config(error.to_string()))?;
        let inbox = Rc::new(Inbox::new(cx.publisher(), settings.config.queue));
        Ok(Self { cx, settings: Rc::new(settings), inbox, driver: None })
    }

    async fn start(&mut self) -> Result<()> {
        let driver = Driver::new(self.cx.clone(), Rc::clone(&self.settings), Rc::clone(&self.inbox));
        self.driver = Some(self.cx.spawn(driver.run()));
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        let (mut points, mut refused) = (Vec::with_capacity(add.len()), Vec::new());
        for def in add {
            let access = (def.access.is_readable(), def.access.is_writable());
            match Point::parse(def.item.0, &def.address, access, &self.settings) {
                Ok(point) => points.push(point),
                Err(error) => {
                    self.cx.publisher().push(Update::bad(def.item, Quality::BAD_CONFIGURATION));
                    refused.push(format!("item `{}`: {error}", def.column("path").unwrap_or("?")));
                }
            }
        }
        let remove: Vec<u32> = remove.into_iter().map(|item| item.0).collect();
        self.inbox.image.borrow_mut().change(points, &remove);
        self.inbox.items_version.set(self.inbox.items_version.get() + 1);
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
        inbox.is_cut.set(false);
        inbox.changed.notify_one();
        if self.driver.is_none() {
            return Ok(());
        }
        // A telegram under way may be confirmed, and a gateway say good-bye, in the first half of the time.
        let grace = deadline.remaining_up_to(GRACE_MAX) / 2;
        if tokio::time::timeout(grace, inbox.role_reached()).await.is_err() {
            inbox.is_cut.set(true);
            inbox.changed.notify_one();
            inbox.role_reached().await;
        }
        Ok(())
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let batch = Rc::new(batch);
        let mut overflow = 0;
        for entry in batch.iter() {
            let write = Write {
                batch: Rc::clone(&batch),
                id: entry.id,
                epoch: batch.epoch(),
                deadline: entry.deadline,
            };
            match self.job(entry.item, &entry.value, write) {
                Ok(job) => {
                    if let Err(job) = self.inbox.queue.borrow_mut().push(job) {
                        overflow += 1;
                        job.done(Code::Again);
                    }
                }
                Err(error) => {
                    tracing::debug!(item = entry.item.0, error = %error, "write refused");
                    batch.done(entry.id, error.code());
                }
            }
        }
        if overflow > 0 {
            self.inbox.monitor.borrow_mut().counts.overflow += overflow;
            self.cx.count("knx.queue_overflow", overflow);
        }
        self.inbox.changed.notify_one();
        Ok(())
    }

    fn browse(&mut self, browse: Browse) {
        browse::answer(&self.inbox, &self.settings, browse);
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        Ok(diag::document(&self.inbox, &self.settings, self.cx.role()))
    }

    fn test(&mut self, test: Test) {
        inquiry::test(&self.cx, &self.inbox, &self.settings, test);
    }

    fn discover(&mut self, discover: Discover) {
        inquiry::discover(&self.cx, &self.settings, discover);
    }

    fn monitor(&mut self, monitor: Monitor) {
        inquiry::monitor(&self.inbox, &self.settings, monitor);
    }

    async fn stop(&mut self) {
        if let Err(error) = self.role(Role::Cold, self.cx.epoch(), Deadline::after(STOP_MAX)).await {
            tracing::debug!(error = %error, "stop");
        }
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
        self.cx.status(InterfaceState::Stopped, "");
    }
}

impl Knx {
    fn job(&self, item: Item, value: &Value, write: Write) -> Result<Job> {
        let image = self.inbox.image.borrow();
        let point = image.get(item.0).ok_or_else(|| Error::invalid("no such item"))?;
        if !point.is_writable {
            return Err(Error::invalid("the item is read only"));
        }
        let datum = from_hub(value, point.shape).map_err(Error::invalid)?;
        let payload = point.dpt.encode(&datum).map_err(|error| Error::invalid(error.to_string()))?;
        Ok(Job {
            group: point.command,
            priority: point.priority,
            apdu: Apdu::GroupValueWrite(payload),
            since: Instant::now(),
            write: Some(write),
        })
    }
}

twinhub_plugin::export_plugin!(Knx);

/// Longest wait for what is under way when the role changes without a deadline.
const GRACE_MAX: Duration = Duration::from_secs(2);
/// Within the two seconds that a hub grants a stop.
const STOP_MAX: Duration = Duration::from_millis(1_500);
/// Item errors that one message lists.
const ERRORS_SHOWN: usize = 5;
