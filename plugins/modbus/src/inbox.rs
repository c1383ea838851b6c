//! What the calls of the hub leave for the driver, which runs as a task beside them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;
use std::rc::Rc;

use tokio::sync::Notify;
use twinhub_plugin::{Epoch, Role};

use crate::driver::Survey;
use crate::notes::Notes;
use crate::point::Point;
use crate::writes::Job;

/// Shared by the plugin's calls and its driver, on one thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Role and epoch to be in.
    pub(crate) role: Cell<(Role, Epoch)>,
    /// Grows with each role call.
    pub(crate) role_version: Cell<u64>,
    /// The role version that the driver has carried out.
    pub(crate) role_reached: Cell<u64>,
    /// Items in the order of their handles; the driver shares them while they stay as they are.
    pub(crate) points: RefCell<Rc<Points>>,
    /// Grows when items come or go.
    pub(crate) points_version: Cell<u64>,
    /// Writes that wait.
    pub(crate) writes: RefCell<VecDeque<Job>>,
    /// A question that is being answered.
    pub(crate) survey: RefCell<Option<Survey>>,
    /// What the driver noted.
    pub(crate) notes: RefCell<Notes>,
    /// The driver is making a connection: nothing is in flight that a role change would have to wait for.
    pub(crate) is_connecting: Cell<bool>,
    /// There is something new.
    pub(crate) changed: Notify,
    /// Give up the request in flight.
    pub(crate) abort: Notify,
    /// `role_reached` has grown.
    pub(crate) reached: Notify,
}

/// Items in the order of their handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points(Vec<Point>);

impl Points {
    /// Adds an item, or puts it in the place of the one with its handle.
    pub(crate) fn insert(&mut self, point: Point) {
        match self.find(point.item) {
            Ok(place) => self.0[place] = point,
            Err(place) => self.0.insert(place, point),
        }
    }

    /// Takes items out.
    pub(crate) fn remove(&mut self, items: &BTreeSet<u32>) {
        self.0.retain(|point| !items.contains(&point.item));
    }

    /// The item with a handle.
    pub(crate) fn get(&self, item: u32) -> Option<&Point> {
        self.find(item).ok().map(|place| &self.0[place])
    }

    /// Gives back room for items that may never come.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    fn find(&self, item: u32) -> Result<usize, usize> {
        // Hubs give items in their order.
        if self.0.last().is_none_or(|last| last.item < item) {
            return Err(self.0.len());
        }
        self.0.binary_search_by_key(&item, |point| point.item)
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<T: IntoIterator<Item = Point>>(points: T) -> Self {
        let mut all = Self::default();
        points.into_iter().for_each(|point| all.insert(point));
        all
    }
}

impl Deref for Points {
    type Target = [Point];

    fn deref(&self) -> &[Point] {
        &self.0
    }
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            role: Cell::new((Role::Cold, Epoch(0))),
            role_version: Cell::new(0),
            role_reached: Cell::new(0),
            points: RefCell::default(),
            points_version: Cell::new(0),
            writes: RefCell::default(),
            survey: RefCell::default(),
            notes: RefCell::default(),
            is_connecting: Cell::new(false),
            changed: Notify::new(),
            abort: Notify::new(),
            reached: Notify::new(),
        }
    }

    /// Waits until the driver is in the role of the last role call.
    pub(crate) async fn role_reached(&self) {
        while self.role_reached.get() < self.role_version.get() {
            self.reached.notified().await;
        }
    }

    /// Whether the role changes: no further request is to be begun.
    pub(crate) fn role_pending(&self) -> bool {
        self.role_reached.get() < self.role_version.get()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn items_stay_in_the_order_of_their_handles() {
        let settings = Settings::new(serde_json::from_value(json!({"address": "plc"})).unwrap()).unwrap();
        let point =
            |item, address: &str| Point::parse(item, &json!({"address": address}), &settings).unwrap();
        let mut points: Points =
            [point(7, "hr:7"), point(3, "hr:3"), point(9, "hr:9"), point(7, "hr:70")].into_iter().collect();
        let seen = |points: &Points| points.iter().map(|point| (point.item, point.start)).collect::<Vec<_>>();
        assert_eq!(seen(&points), [(3, 3), (7, 70), (9, 9)]);
        points.remove(&BTreeSet::from([3, 8]));
        assert_eq!(seen(&points), [(7, 70), (9, 9)]);
        assert_eq!(points.get(9).map(|point| point.start), Some(9));
        assert_eq!((points.get(3), points.get(10)), (None, None));
    }
}
