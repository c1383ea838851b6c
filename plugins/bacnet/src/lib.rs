//! BACnet/IP interface plugin: a client that subscribes to changes, reads what is not notified, and commands by priority.
//!
//! The calls of the hub ([`Bacnet`]) leave their wishes in the inbox; one task, the driver, owns the socket and the state
//! machines of `twinhub-bacnet-protocol`: transactions, bindings, subscriptions, the registration at a BBMD.

mod commands;
mod config;
mod device;
mod driver;
mod inbox;
mod item;
mod values;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twinhub_plugin::{
    Browse, Code, Ctx, Deadline, Epoch, Error, InterfaceState, Item, ItemDef, Plugin, Quality, Result, Role,
    Task, Update, WriteBatch,
};

pub use crate::config::Config;
use crate::config::Settings;
use crate::driver::Driver;
use crate::inbox::{Inbox, Job, QUESTIONS_MAX, WRITES_MAX};
use crate::item::Point;

/// One BACnet interface: a client of the devices of an internetwork.
#[derive(Debug)]
pub struct Bacnet {
    cx: Ctx,
    settings: Rc<Settings>,
    inbox: Rc<Inbox>,
    driver: Option<(Task, Rc<RefCell<Driver>>)>,
}

impl Plugin for Bacnet {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        let settings = Settings::new(config).map_err(|error| Error::config(error.to_string()))?;
        Ok(Self { cx, settings: Rc::new(settings), inbox: Rc::new(Inbox::new()), driver: None })
    }

    async fn start(&mut self) -> Result<()> {
        let driver = Driver::new(self.cx.clone(), Rc::clone(&self.settings), Rc::clone(&self.inbox));
        let driver = Rc::new(RefCell::new(driver));
        self.driver = Some((self.cx.spawn(Driver::run(Rc::clone(&driver))), driver));
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        let mut refused = Vec::new();
        {
            let mut points = self.inbox.points.borrow_mut();
            let points = Rc::make_mut(&mut points);
            for item in remove {
                points.remove(&item.0);
            }
            for def in add {
                match Point::parse(def.item.0, &def.address, &self.settings) {
                    Ok(mut point) => {
                        // The hub's word on access counts, the row's is where it comes from.
                        point.is_writable &= def.access.is_writable();
                        points.insert(def.item.0, point);
                    }
                    Err(error) => {
                        self.cx.publisher().push(Update::bad(def.item, Quality::BAD_CONFIGURATION));
                        refused.push(format!("item `{}`: {error}", def.column("path").unwrap_or("?")));
                    }
                }
            }
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
        inbox.is_hurried.set(false);
        inbox.role_version.set(inbox.role_version.get() + 1);
        inbox.changed.notify_one();
        if self.driver.is_none() {
            return Ok(());
        }
        // Writes in flight may be answered in the first half of the time.
        let grace = deadline.remaining_up_to(GRACE_MAX) / 2;
        if tokio::time::timeout(grace, inbox.role_reached()).await.is_err() {
            inbox.is_hurried.set(true);
            inbox.changed.notify_one();
            inbox.role_reached().await;
        }
        Ok(())
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let batch = Rc::new(batch);
        let epoch = batch.epoch();
        let mut overflow = 0;
        for entry in batch.iter() {
            let points = self.inbox.points.borrow();
            let job = match points.get(&entry.item.0) {
                None => Err("no such item".to_owned()),
                Some(point) => match point.kind.filter(|_| point.is_writable) {
                    None => Err("the item is read only".to_owned()),
                    Some(kind) => kind.encode(&entry.value).map(|value| Job {
                        batch: Rc::clone(&batch),
                        id: entry.id,
                        epoch,
                        deadline: entry.deadline,
                        point: point.clone(),
                        value,
                    }),
                },
            };
            let mut writes = self.inbox.writes.borrow_mut();
            match job {
                Ok(job) if writes.len() < WRITES_MAX => writes.push_back(job),
                Ok(_) => {
                    overflow += 1;
                    batch.done(entry.id, Code::Again);
                }
                Err(error) => {
                    tracing::debug!(item = entry.item.0, error, "write refused");
                    batch.done(entry.id, Code::Invalid);
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
        if self.driver.is_none() || self.cx.role() != Role::Active {
            let text = "a standby does not ask the devices; ask the active node";
            return browse.refuse(&Error::new(Code::NotActive, text));
        }
        let mut questions = self.inbox.questions.borrow_mut();
        if questions.len() >= QUESTIONS_MAX {
            return browse.refuse(&Error::new(Code::Again, "other questions are being answered"));
        }
        questions.push_back(browse);
        self.inbox.changed.notify_one();
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        match &self.driver {
            Some((_, driver)) => Ok(driver.borrow().diagnosis()),
            None => Ok(serde_json::json!({ "devices": {} })),
        }
    }

    async fn stop(&mut self) {
        let deadline = Deadline::after(GRACE_MAX);
        if let Err(error) = self.role(Role::Cold, self.cx.epoch(), deadline).await {
            tracing::debug!(error = %error, "stop");
        }
        if let Some((task, _)) = self.driver.take() {
            task.abort();
        }
        self.cx.status(InterfaceState::Stopped, "");
    }
}

twinhub_plugin::export_plugin!(Bacnet);

/// Longest wait for writes in flight when the role changes without a deadline.
const GRACE_MAX: Duration = Duration::from_secs(2);
/// Item errors that one message lists.
const ERRORS_SHOWN: usize = 5;
