//! The control calls of a child.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use twinhub_contract::code;
use twinhub_contract::constants::{items, role};
use twinhub_loader::{Instance, ItemSpec, PluginError, Role, Status};

use super::Sink;
use crate::message::{ItemRow, Order, Report};

/// Makes the control calls, one after the other.
pub(super) struct Control {
    pub(super) sink: Arc<Sink>,
    pub(super) instance: Arc<Instance>,
}

impl Control {
    pub(super) fn run(self, orders: &mpsc::Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Start { op } => self.call(op, None, Instance::start),
                Order::SetRole { op, role, epoch, deadline_ns } => {
                    self.set_role(op, role, epoch, deadline_ns);
                }
                Order::Items { op, add_or_remove, items } => {
                    self.items(op, add_or_remove, items, Instance::items);
                }
                Order::Watch { op, add_or_remove, items } => {
                    self.items(op, add_or_remove, items, Instance::watch);
                }
                Order::Stop { op } => self.call(op, None, Instance::stop),
                Order::Snapshot { call } => {
                    let answer = self.instance.snapshot();
                    let code = answer.as_ref().map_or_else(|error| error.code, |_| code::OK);
                    let (version, bytes) = answer.unwrap_or_default();
                    self.sink.report(&Report::State1 { call, code, version, bytes });
                }
                Order::Apply { call, version, bytes } => {
                    let code =
                        self.instance.apply(version, &bytes).map_or_else(|error| error.code, |()| code::OK);
                    self.sink.report(&Report::State1 { call, code, version: 0, bytes: Vec::new() });
                }
                Order::Accepted { through } => {
                    self.sink.accepted.store(through, Ordering::Release);
                    self.instance.accepted(through);
                }
                Order::Browse { op, parent, cursor, limit } => {
                    self.call(op, None, |instance, own| instance.browse(own, &parent, &cursor, limit));
                }
                Order::Diagnose { op } => self.call(op, None, Instance::diagnose),
                Order::Inquire { op, question, request } => {
                    self.call(op, None, |instance, own| instance.inquire(own, question, &request));
                }
                Order::Store { entries } => self.sink.kept.fill(entries),
                Order::Ping { number } => self.sink.report(&Report::Pong { number }),
                Order::Destroy => break,
                // One comes once, and first; the others do not come here.
                Order::Create { .. } | Order::Hush { .. } | Order::Taken { .. } => {}
            }
        }
        let sink = self.sink;
        let mut instance = self.instance;
        loop {
            match Arc::try_unwrap(instance) {
                Ok(last) => break last.destroy(),
                // A write call is under way.
                Err(shared) => instance = shared,
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        sink.values.flush(FLUSH_MAX);
        sink.answers.flush(FLUSH_MAX);
        std::process::exit(0);
    }

    fn set_role(&self, op: u64, to: u32, epoch: u64, deadline_ns: i64) {
        let Some(wanted) = Role::from_raw(to) else {
            return self.sink.report(&Report::OpDone { op, code: code::INVALID, detail: String::new() });
        };
        if to == role::ACTIVE {
            self.sink.enter(to, epoch);
        }
        self.call(op, Some((to, epoch)), |instance, own| instance.set_role(own, wanted, epoch, deadline_ns));
    }

    fn items(&self, op: u64, add_or_remove: u32, rows: Vec<ItemRow>, call: ChangeItems) {
        if add_or_remove == items::REMOVE {
            let handles: Vec<u32> = rows.iter().map(|row| row.handle).collect();
            return self.call(op, None, |instance, own| call(instance, own, &[], &handles));
        }
        let spec = |row: ItemRow| ItemSpec {
            handle: row.handle,
            access: row.access,
            address_json: row.address_json,
            type_hint: row.type_hint,
            group: row.group,
        };
        let specs: Vec<ItemSpec> = rows.into_iter().map(spec).collect();
        self.call(op, None, |instance, own| call(instance, own, &specs, &[]));
    }

    fn call(
        &self,
        op: u64,
        role: Option<(u32, u64)>,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError>,
    ) {
        let own = self.sink.begin(op, role);
        self.sink.answered(own, call(&self.instance, own));
    }
}

/// [`Instance::items`] or [`Instance::watch`].
type ChangeItems = fn(&Instance, u64, &[ItemSpec], &[u32]) -> Result<Status, PluginError>;

/// What waits behind the lanes at the end has this time to leave.
const FLUSH_MAX: Duration = Duration::from_millis(500);
