//! An interface with a hub of glass: everything it says is recorded, lease and room are set by the test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use twinhub_mqtt::config::Config;
use twinhub_mqtt::driver;
use twinhub_mqtt::ids::Ids;
use twinhub_mqtt::input::Update;
use twinhub_mqtt::item::{Row, Spec};
use twinhub_mqtt::link::{Host, Link, Role, State};
use twinhub_mqtt::output::Batch;
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::receipts::Accepted;
use twinhub_mqtt::session::{Answers, Outcome};
use twinhub_mqtt::succession::Kept;

/// Runs a test with local tasks, and a limit that only a hang reaches.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited =
        async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, limited);
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < limit, "not within 15 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Default)]
pub(crate) struct Hub {
    pub(crate) updates: RefCell<Vec<Update>>,
    pub(crate) answers: RefCell<Vec<(u64, Outcome)>>,
    pub(crate) states: RefCell<Vec<(State, String)>>,
    pub(crate) counts: RefCell<BTreeMap<&'static str, u64>>,
    /// What was said about items that read.
    pub(crate) qualities: RefCell<Vec<(u32, bool)>>,
    pub(crate) has_room: Cell<bool>,
    pub(crate) lease_end: Cell<Option<Instant>>,
    /// What nodes share by key; a test that has several makes them one.
    pub(crate) acted: RefCell<Shared>,
    /// Whether it has room for that.
    pub(crate) keeps: Cell<bool>,
}

/// What the nodes of a site share: who acted last.
pub(crate) type Shared = Rc<RefCell<Option<Vec<u8>>>>;

impl Hub {
    pub(crate) fn values(&self, item: u32) -> Vec<Value> {
        let updates = self.updates.borrow();
        updates
            .iter()
            .filter(|update| update.item == item)
            .filter_map(|update| update.value.clone().ok())
            .collect()
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.states.borrow().last().map(|(state, _)| *state)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.borrow().get(name).copied().unwrap_or(0)
    }

    pub(crate) fn outcomes(&self, outcome: Outcome) -> usize {
        self.answers.borrow().iter().filter(|(_, answer)| *answer == outcome).count()
    }
}

impl Answers for Hub {
    fn answer(&self, ids: &Ids, outcome: Outcome) {
        self.answers.borrow_mut().extend(ids.iter().map(|id| (id, outcome)));
    }
}

struct Window(Rc<Hub>);

impl Host for Window {
    fn publish(&self, updates: &mut Vec<Update>) {
        self.0.updates.borrow_mut().append(updates);
    }
    fn requalify(&self, items: &[u32], is_good: bool) {
        self.0.qualities.borrow_mut().extend(items.iter().map(|item| (*item, is_good)));
    }
    fn mark(&self) -> u64 {
        self.0.updates.borrow().len() as u64
    }
    fn look(&self, _mark: u64) -> Accepted {
        if self.0.has_room.get() { Accepted::Yes } else { Accepted::NotYet }
    }
    async fn accepted_more(&self) {
        std::future::pending::<()>().await;
    }
    fn acted(&self) -> Option<Vec<u8>> {
        self.0.acted.borrow().borrow().clone()
    }
    fn keep_acted(&self, name: &[u8]) -> Kept {
        if !self.0.keeps.get() {
            return Kept::NotYet;
        }
        *self.0.acted.borrow().borrow_mut() = Some(name.to_owned());
        Kept::Yes
    }
    fn may_send(&self, _epoch: u64) -> bool {
        self.0.lease_end.get().is_some_and(|end| Instant::now() < end)
    }
    fn state(&self, state: State, cause: &str) {
        let report = (state, cause.to_owned());
        let mut states = self.0.states.borrow_mut();
        if states.last() != Some(&report) {
            states.push(report);
        }
    }
    fn count(&self, name: &'static str, add: u64) {
        *self.0.counts.borrow_mut().entry(name).or_default() += add;
    }
    fn boottime_ns(&self) -> i64 {
        0
    }
}

pub(crate) struct Rig {
    pub(crate) link: Rc<Link>,
    pub(crate) hub: Rc<Hub>,
    task: JoinHandle<()>,
    next_id: Cell<u64>,
}

impl Rig {
    /// `settings` is JSON without braces; `items` are (handle, access, row).
    pub(crate) fn new(port: u16, node: &str, settings: &str, items: &[(u32, &str, Row<'_>)]) -> Self {
        let extra = if settings.is_empty() { String::new() } else { format!(",{settings}") };
        let broker = if settings.contains("ca_file") { "mqtts" } else { "mqtt" };
        let text = format!(
            r#"{{"broker":"{broker}://127.0.0.1:{port}","reconnect_min":"20ms","reconnect_max":"100ms",
                "twinhub":{{"node":"{node}","site":"s","interface":"m","cluster":"c"}}{extra}}}"#
        );
        let config: Config = serde_json::from_str(&text).unwrap();
        let settings = config.validate("m").unwrap();
        let specs: Vec<_> = items
            .iter()
            .map(|(item, access, row)| {
                let row = Row {
                    path: "p",
                    is_readable: access.contains('r'),
                    is_writable: access.contains('w'),
                    ..*row
                };
                (*item, Spec::parse(&row, &settings).unwrap())
            })
            .collect();
        let link = Link::new(settings, 0);
        link.add_items(specs);
        let hub = Rc::new(Hub::default());
        hub.has_room.set(true);
        hub.keeps.set(true);
        let task = spawn_local(driver::run(Rc::clone(&link), Window(Rc::clone(&hub))));
        link.start();
        Self { link, hub, task, next_id: Cell::new(0) }
    }

    /// Makes it one site with others that have the same.
    pub(crate) fn shares(self, shared: &Shared) -> Self {
        *self.hub.acted.borrow_mut() = Rc::clone(shared);
        self
    }

    pub(crate) fn lease(&self, duration: Duration) {
        self.hub.lease_end.set(Some(Instant::now() + duration));
    }

    /// Brings the interface into a role, and waits for its connection.
    pub(crate) async fn role(&self, role: Role, epoch: u64) {
        match role {
            Role::Active => self.lease(Duration::from_secs(3600)),
            Role::Cold | Role::Warm | Role::Hot => self.hub.lease_end.set(None),
        }
        self.link.change_role(role, epoch, Duration::from_secs(5)).await;
        let want = match role {
            Role::Cold => State::Stopped,
            Role::Warm | Role::Hot => State::Suppressed,
            Role::Active => State::Ok,
        };
        let limit = Instant::now() + Duration::from_secs(15);
        while self.hub.state() != Some(want) {
            assert!(Instant::now() < limit, "not {want:?}: {:?}", self.hub.states.borrow());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // The connection may be younger than the call above.
        self.link.change_role(role, epoch, Duration::from_secs(5)).await;
    }

    /// Writes as one batch.
    pub(crate) fn write(&self, writes: impl IntoIterator<Item = (u32, Value)>) {
        let batch = Batch { to: Rc::clone(&self.hub) as Rc<dyn Answers>, epoch: None, unix_ms: 0 };
        let writes: Vec<_> = writes
            .into_iter()
            .map(|(item, value)| {
                self.next_id.set(self.next_id.get() + 1);
                (self.next_id.get(), item, value, i64::MAX)
            })
            .collect();
        self.link.write(&batch, writes);
    }

    pub(crate) async fn answered(&self, outcome: Outcome, count: usize) {
        until(&format!("{count} answers {outcome:?}"), || self.hub.outcomes(outcome) >= count).await;
    }

    /// Ends the process, as far as the broker can tell: no good-bye.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }
}

/// A row with a topic and a type.
pub(crate) fn row(address: &'static str, kind: &'static str) -> Row<'static> {
    Row { address, kind, ..Row::default() }
}
