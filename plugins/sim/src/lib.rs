//! Simulated interface plugin: generated values for demos and load.
//!
//! The address of an item says what it does: `counter`, `sine:period=10s,amplitude=5`, `random`, `toggle`, `const:5`,
//! `echo` (gives back what is written), `keep` (also after a takeover), `heard` (how many values of other interfaces came),
//! `give`, `took` and `answer` (events), `panic` and `stall` (faults on demand, for drills).

mod catalog;
mod config;
mod events;
mod generator;
mod heard;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twinhub_plugin::{
    Browse, Code, Ctx, Deadline, Delivery, Epoch, Error, Flags, InterfaceState, Item, ItemDef, Plugin,
    Result, Role, Task, Update, Value, ValuesIn, WriteBatch, WriteEntry, unix_ns,
};

pub use config::Config;
use events::Held;
pub use generator::{Generator, Random};
use heard::Heard;

/// A simulated interface.
#[derive(Debug)]
pub struct Sim {
    cx: Ctx,
    config: Config,
    site: Rc<RefCell<Site>>,
    generating: Option<Task>,
    is_started: bool,
}

/// What the generating task and the calls share.
#[derive(Debug)]
struct Site {
    /// By handle, ascending.
    points: Vec<Point>,
    random: Random,
    /// Counters of the other node, waiting for their items.
    applied: BTreeMap<String, i64>,
    /// Writes that are never answered.
    stalled: Vec<WriteBatch>,
    /// Events that wait for an answer.
    held: Held,
}

#[derive(Debug)]
struct Point {
    item: Item,
    /// Name that both nodes know.
    path: String,
    generator: Generator,
}

/// What moves to the other node: counters by path.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    counters: BTreeMap<String, i64>,
}

impl Plugin for Sim {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        let config = config.check()?;
        let site = Site {
            points: Vec::new(),
            random: Random::new(config.seed),
            applied: BTreeMap::new(),
            stalled: Vec::new(),
            held: Held::new(),
        };
        Ok(Self { cx, config, site: Rc::new(RefCell::new(site)), generating: None, is_started: false })
    }

    async fn start(&mut self) -> Result<()> {
        self.is_started = true;
        self.follow_role(self.cx.role());
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        let mut site = self.site.borrow_mut();
        site.points.retain(|point| !remove.contains(&point.item));
        let mut refused = None;
        for def in add {
            let path = def.column("path").unwrap_or_default().to_owned();
            match Generator::parse(def.column("address").unwrap_or_default()) {
                Ok(generator) => {
                    let mut point = Point { item: def.item, path, generator };
                    point.resume(&mut site.applied);
                    let at = site.points.partition_point(|other| other.item < def.item);
                    site.points.insert(at, point);
                }
                Err(why) => refused = Some(Error::config(format!("item {path}, column address: {why}"))),
            }
        }
        drop(site);
        if self.is_started && self.cx.role() == Role::Active {
            self.show_kept()?;
        }
        refused.map_or(Ok(()), Err)
    }

    async fn role(&mut self, to: Role, _epoch: Epoch, _deadline: Deadline) -> Result<()> {
        self.follow_role(to);
        if self.is_started && to == Role::Active { self.show_kept() } else { Ok(()) }
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let now = unix_ns();
        let (gate, publisher) = (self.cx.gate(), self.cx.publisher());
        let mut is_stalled = false;
        for write in &batch {
            let generator = self.site.borrow().generator(write.item).cloned();
            let code = match generator {
                None => Code::Invalid,
                Some(Generator::Give) => self.give(write).await,
                Some(Generator::Answer) => self.answer(write),
                Some(Generator::Echo) => match gate.permit(batch.epoch()) {
                    Ok(_permit) => {
                        publisher.push(
                            Update::new(write.item, write.value.clone()).source_ns(now).flags(Flags::EVENT),
                        );
                        Code::Ok
                    }
                    Err(suppressed) => suppressed.into(),
                },
                Some(Generator::Keep) => self.keep(write, now),
                Some(Generator::Panic) => panic!("a write to a `panic` item"),
                Some(Generator::Stall) => {
                    is_stalled = true;
                    continue;
                }
                Some(
                    Generator::Counter { .. }
                    | Generator::Sine { .. }
                    | Generator::Random { .. }
                    | Generator::Toggle { .. }
                    | Generator::Heard
                    | Generator::Took
                    | Generator::Const(_),
                ) => Code::Unsupported,
            };
            if batch.len() > 1 && code == Code::Ok {
                continue;
            }
            batch.done(write.id, code);
        }
        publisher.flush();
        if is_stalled {
            self.site.borrow_mut().stalled.push(batch);
            self.cx.count("writes.stalled", 1);
        } else {
            batch.done_all(Code::Ok);
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.follow_role(Role::Cold);
        self.site.borrow_mut().stalled.clear();
        self.cx.status(InterfaceState::Stopped, "stopped");
    }

    async fn watch(&mut self, _add: Vec<ItemDef>, _remove: Vec<Item>) -> Result<()> {
        // Every value counts alike.
        Ok(())
    }

    fn values_in(&mut self, values: ValuesIn) {
        match self.count(&values) {
            Ok(()) => values.done(),
            Err(error) => values.refuse(&error),
        }
    }

    fn event(&mut self, event: Delivery) {
        self.take(event);
    }

    fn browse(&mut self, browse: Browse) {
        match catalog::page(browse.parent(), browse.cursor(), browse.limit()) {
            Ok(page) => browse.answer(&page),
            Err(error) => browse.refuse(&error),
        }
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        Ok(self.document())
    }

    fn snapshot(&self) -> Result<(u32, Vec<u8>)> {
        let site = self.site.borrow();
        let counter = |point: &Point| match point.generator {
            Generator::Counter { value, .. } => Some((point.path.clone(), value)),
            Generator::Sine { .. }
            | Generator::Random { .. }
            | Generator::Toggle { .. }
            | Generator::Const(_)
            | Generator::Echo
            | Generator::Keep
            | Generator::Heard
            | Generator::Give
            | Generator::Took
            | Generator::Answer
            | Generator::Panic
            | Generator::Stall => None,
        };
        let state = State { counters: site.points.iter().filter_map(counter).collect() };
        let bytes = serde_json::to_vec(&state).map_err(|error| Error::internal(error.to_string()))?;
        Ok((STATE_VERSION, bytes))
    }

    fn apply(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        if version != STATE_VERSION {
            let detail = format!("state version {version}, this build reads {STATE_VERSION}");
            return Err(Error::new(Code::StateVersion, detail));
        }
        let state: State =
            serde_json::from_slice(bytes).map_err(|error| Error::invalid(error.to_string()))?;
        let site = &mut *self.site.borrow_mut();
        site.applied = state.counters;
        for point in &mut site.points {
            point.resume(&mut site.applied);
        }
        Ok(())
    }
}

impl Sim {
    /// What helps to find a fault.
    fn document(&self) -> serde_json::Value {
        let site = self.site.borrow();
        let mut generators = BTreeMap::<&str, usize>::new();
        for point in &site.points {
            *generators.entry(point.generator.name()).or_default() += 1;
        }
        serde_json::json!({
            "role": format!("{:?}", self.cx.role()).to_lowercase(),
            "epoch": self.cx.epoch().0,
            "is_generating": self.generating.as_ref().is_some_and(|task| !task.is_finished()),
            "interval_ms": self.config.interval_ms,
            "items": { "count": site.points.len(), "generators": generators },
            "values_waiting": self.cx.publisher().waiting(),
            "writes_stalled": site.stalled.iter().map(WriteBatch::unanswered).sum::<usize>(),
            "kept": self.cx.store().and_then(|store| store.keys().ok()).map_or(0, |keys| keys.len()),
            "events_held": site.held.len(),
            "plugin": { "version": env!("CARGO_PKG_VERSION"), "state_version": STATE_VERSION },
        })
    }

    fn path(&self, item: Item) -> Option<String> {
        self.site.borrow().path(item)
    }

    /// Keeps what is written under the item's path, before it is published.
    fn keep(&self, write: &WriteEntry, now: i64) -> Code {
        let (Some(store), Some(path)) = (self.cx.store(), self.path(write.item)) else {
            return Code::Unsupported;
        };
        let Some(text) = kept_text(&write.value) else { return Code::Invalid };
        let kept = store.put(&path, text.as_bytes());
        if kept.is_ok() {
            self.cx.publisher().push(Update::new(write.item, write.value.clone()).source_ns(now));
        }
        kept.into()
    }

    /// Publishes what is kept, also what the node before kept.
    fn show_kept(&self) -> Result<()> {
        let Some(store) = self.cx.store() else { return Ok(()) };
        let (site, publisher) = (self.site.borrow(), self.cx.publisher());
        for point in site.points.iter().filter(|point| point.generator == Generator::Keep) {
            if let Some(value) = store.get(&point.path)?.as_deref().and_then(kept_value) {
                publisher.push(Update::new(point.item, value).source_ns(unix_ns()).flags(Flags::SNAPSHOT));
            }
        }
        drop(site);
        self.show_heard(Heard::of(&store)?.count);
        Ok(())
    }

    /// Counts values of other interfaces, each once: the count is kept with the place of the last one.
    fn count(&self, values: &ValuesIn) -> Result<()> {
        let Some(store) = self.cx.store() else {
            return Err(Error::unsupported("there is no store to count in"));
        };
        let before = Heard::of(&store)?;
        let heard = before.and(values);
        if heard != before {
            heard.keep(&store)?;
            self.show_heard(heard.count);
        }
        Ok(())
    }

    fn show_heard(&self, count: u64) {
        let (site, publisher) = (self.site.borrow(), self.cx.publisher());
        for point in site.points.iter().filter(|point| point.generator == Generator::Heard) {
            publisher.push(Update::new(point.item, count).source_ns(unix_ns()));
        }
    }

    /// Begins or ends generating, as the role asks for.
    fn follow_role(&mut self, role: Role) {
        let generates = match role {
            Role::Active => true,
            Role::Hot => self.config.standby_generates,
            Role::Cold | Role::Warm => false,
        };
        if role != Role::Active {
            // Whoever is active next is brought them.
            self.site.borrow_mut().held.clear();
        }
        if !self.is_started {
            return;
        }
        match (&self.generating, generates) {
            (None, true) => {
                let generate = generate(self.cx.clone(), self.config.clone(), Rc::clone(&self.site));
                self.generating = Some(self.cx.spawn(generate));
            }
            (Some(task), false) => {
                task.abort();
                self.generating = None;
            }
            (None, false) | (Some(_), true) => {}
        }
        match (generates, role) {
            (true, _) => self.cx.status(InterfaceState::Ok, "generating"),
            (false, _) => self.cx.status(InterfaceState::Suppressed, "standby"),
        }
    }
}

impl Site {
    fn generator(&self, item: Item) -> Option<&Generator> {
        let at = self.points.binary_search_by_key(&item, |point| point.item).ok()?;
        self.points.get(at).map(|point| &point.generator)
    }

    fn path(&self, item: Item) -> Option<String> {
        let at = self.points.binary_search_by_key(&item, |point| point.item).ok()?;
        self.points.get(at).map(|point| point.path.clone())
    }
}

/// A value as it is kept; `None` for kinds that are not.
fn kept_text(value: &Value) -> Option<String> {
    let json = match value {
        Value::Bool(value) => serde_json::Value::from(*value),
        Value::I64(value) => serde_json::Value::from(*value),
        Value::U64(value) => serde_json::Value::from(*value),
        Value::F64(value) => serde_json::Value::from(*value),
        Value::Str(text) => serde_json::Value::from(text.as_str()),
        Value::Null | Value::Bytes(_) | Value::Time(_) | Value::Json(_) | Value::Array(_) => return None,
    };
    Some(json.to_string())
}

fn kept_value(bytes: &[u8]) -> Option<Value> {
    match serde_json::from_slice(bytes).ok()? {
        serde_json::Value::Bool(value) => Some(Value::Bool(value)),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::I64)
            .or_else(|| number.as_u64().map(Value::U64))
            .or_else(|| number.as_f64().map(Value::F64)),
        serde_json::Value::String(text) => Some(Value::Str(text)),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    }
}

impl Point {
    /// Goes on counting where the other node ended.
    fn resume(&mut self, applied: &mut BTreeMap<String, i64>) {
        if let Generator::Counter { value, .. } = &mut self.generator
            && let Some(counted) = applied.remove(&self.path)
        {
            *value = counted;
        }
    }
}

async fn generate(cx: Ctx, config: Config, site: Rc<RefCell<Site>>) -> Result<()> {
    let publisher = cx.publisher();
    let mut ticks = (config.interval_ms > 0).then(|| {
        let mut ticks = tokio::time::interval(Duration::from_millis(config.interval_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        ticks
    });
    loop {
        match &mut ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            // Without an interval, the hub's room is the limit.
            None if publisher.waiting() > 0 => publisher.drained().await,
            None => tokio::task::yield_now().await,
        }
        let now = unix_ns();
        let site = &mut *site.borrow_mut();
        let rounds = if ticks.is_some() { 1 } else { ROUNDS_PER_YIELD.div_ceil(site.points.len().max(1)) };
        let mut pushed = 0;
        for _ in 0..rounds {
            for point in &mut site.points {
                let Some(value) = point.generator.next(now, &mut site.random) else { continue };
                publisher.push(Update::new(point.item, value).source_ns(now));
                pushed += 1;
                if pushed == config.batch {
                    publisher.flush();
                    pushed = 0;
                }
            }
        }
        publisher.flush();
    }
}

twinhub_plugin::export_plugin!(Sim);

/// Version of [`State`].
const STATE_VERSION: u32 = 1;
/// Values between two looks at what else is to be done, when generating without an interval.
const ROUNDS_PER_YIELD: usize = 1_024;
