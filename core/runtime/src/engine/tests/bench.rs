//! An engine on a bench: the tests play the control thread, the other nodes and the devices.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc;
use twinhub_alarms::Alarms;
use twinhub_config::{Delivery, ItemSource, ItemSourceError};
use twinhub_events::{Filter, Following};
use twinhub_loader::Library;
use twinhub_model::{
    Epoch, IntentKind, ItemId, ItemKey, Moment, NodeRank, Position, Quality, Record, Sample, SampleFlags,
    Value,
};
use twinhub_redundancy::{Input, Reason, VoterId};
use twinhub_replica::Message;
use twinhub_store::{Journal, JournalOptions};
use twinhub_trust::{Code, Verdict};
use twinhub_wire::{FRAME_BODY_MAX, FrameReader, PROTOCOL};

use crate::bundle::Bundle;
use crate::clock;
use crate::control::{ControlSender, Told};
use crate::data;
use crate::documents::DocumentStore;
use crate::engine::alarms::AlarmState;
use crate::engine::events::EventState;
use crate::engine::merging::MergeState;
use crate::engine::parts::PartState;
use crate::engine::parts::stores::Stores;
use crate::engine::routes::{Route, Routes, Way};
use crate::engine::steps::Step;
use crate::engine::{Engine, EngineSetup};
use crate::event_log::EventLog;
use crate::gate::Gate;
use crate::inbox::{Inbox, Job};
use crate::instance::{Hosted, Interface, Port};
use crate::peer::Link;
use crate::quarantine::Quarantine;
use crate::shared::Shared;
use crate::table::ItemTable;
use crate::versions::Versions;

use super::parts::Words;
use super::recorder::recorder;
pub(crate) use super::spec::{ALARM_LIMIT, Spec};
use super::spec::{config, meta, rules, setup};

/// Nothing here takes longer unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) rank: NodeRank,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) gate: Arc<Gate>,
    told: mpsc::UnboundedReceiver<Told>,
    /// What was told to the control thread, in order.
    pub(crate) said: Vec<Input>,
    sent: Option<mpsc::Receiver<Vec<u8>>>,
    reader: FrameReader,
    log: PathBuf,
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new(rank: u8, specs: &[Spec]) -> Bench {
        Bench::open(tempfile::tempdir().unwrap(), rank, specs)
    }

    /// What hosts an interface with more of a configuration.
    pub(crate) fn hosted(&self, config: &str) -> Hosted {
        let path = |name: &str| self.dir.path().join(name);
        Hosted {
            library: Arc::new(Library::open(recorder(), path("cache")).unwrap()),
            verdict: Verdict::Unlocked,
            refuge: None,
            quarantine: Arc::new(Quarantine::open(path("quarantine.json"))),
            config_json: format!("{{\"log\":\"{}\"{config}}}", self.log.display()).into(),
        }
    }

    /// The instance of an interface cannot go on.
    pub(crate) fn fault(&mut self, interface: usize, cause: &str) {
        self.job(Job::Faulted { interface, cause: cause.to_owned() });
    }

    /// What it remembers of versions of plugins.
    pub(crate) fn versions(&self) -> Arc<Versions> {
        Arc::new(Versions::open(self.dir.path().join("plugin-versions.json")))
    }

    /// What became of an operation: `running`, `done` or `failed`, and what was said.
    pub(crate) fn operation(&self, id: u64) -> (String, String) {
        let view = self.engine.shared.operation(id).unwrap();
        (view.state, view.detail)
    }

    /// The same node as a new process: what was in memory is gone.
    pub(crate) fn restarted(self, specs: &[Spec]) -> Bench {
        let Bench { engine, rank, dir, .. } = self;
        drop(engine);
        Bench::open(dir, rank.0, specs)
    }

    fn open(dir: tempfile::TempDir, rank: u8, specs: &[Spec]) -> Bench {
        let log = dir.path().join("calls");
        let rank = NodeRank(rank);
        let keys = specs
            .iter()
            .flat_map(|spec| ["in", "out"].map(|path| (ItemKey::new(spec.id, path).unwrap(), meta())));
        let table = Arc::new(ItemTable::new(keys));
        let (gate, inbox) = (Arc::new(Gate::default()), Arc::new(Inbox::default()));
        let (control, told) = ControlSender::new();
        let site = Arc::new(twinhub_config::parse(SITE, "twinhub.toml", &NoFiles).unwrap().site);
        let name = site.nodes[usize::from(rank.0)].name.clone();
        let shared = {
            let events = EventLog::open(rank, &site.events, Some(dir.path().join("events.log")));
            Arc::new(Shared::new(
                site,
                name,
                rank,
                dir.path().join("history"),
                PROTOCOL,
                Code::default(),
                events,
            ))
        };
        let library = Arc::new(Library::open(recorder(), dir.path().join("cache")).unwrap());
        let quarantine = Arc::new(Quarantine::open(dir.path().join("quarantine.json")));
        let mut stores = Stores::default();
        let exchange = super::deliveries::exchange(specs);
        let mut interfaces = Vec::new();
        let mut routes = Vec::new();
        for (number, spec) in specs.iter().enumerate() {
            let base = u32::try_from(number * 2).unwrap();
            let port = Port::new(
                setup(spec, base, specs),
                number,
                Arc::clone(&gate),
                Arc::clone(&table),
                Arc::clone(&inbox),
                stores.of(spec.id),
                Arc::clone(&exchange),
            );
            let hosted = Hosted {
                library: Arc::clone(&library),
                verdict: Verdict::Unlocked,
                refuge: None,
                quarantine: Arc::clone(&quarantine),
                config_json: config(spec, &log).into(),
            };
            interfaces.push(Interface::spawn(Arc::new(port), hosted).unwrap());
            let (from, to) = (ItemId(base), ItemId(base + 1));
            let (kind, origin) = (IntentKind::Set, "link:0".into());
            let way = Way {
                target: number,
                stream: spec.delivery == Delivery::Stream,
                kind,
                both: false,
                convert: None,
                origin,
            };
            routes.push(Route::new(from, to, Arc::new(way)));
        }
        let journal =
            Journal::open(JournalOptions::new(dir.path().join("journal")), table.dictionary().into())
                .unwrap()
                .0;
        let rules = specs.iter().filter(|spec| spec.has_alarms).flat_map(rules);
        let alarms = Alarms::new(
            rules.map(|rule| (table.find(rule.item.as_str()), rule)).map(|(item, rule)| (rule, item)),
            100,
        );
        let documents = DocumentStore::open(&dir.path().join("pieces")).unwrap();
        let has_documents = specs.iter().any(|spec| spec.has_documents);
        let mut parts: Vec<Box<dyn PartState>> = vec![
            Box::new(Words::default()),
            Box::new(EventState::new(GROUP, Arc::clone(&shared))),
            Box::new(AlarmState::new(alarms)),
            Box::new(MergeState::default()),
            Box::new(stores),
            Box::new(crate::engine::parts::deliveries::DeliveryState::new(&exchange)),
        ];
        parts.extend(has_documents.then(|| documents.part()));
        let engine = Engine::new(EngineSetup {
            group: GROUP.to_owned(),
            me: rank,
            routes: Routes::new(table.len(), routes),
            exchange,
            table,
            interfaces,
            gate: Arc::clone(&gate),
            inbox: Arc::clone(&inbox),
            control,
            journal,
            shared,
            ring_window: Duration::from_secs(30),
            guard: Duration::from_millis(300),
            sync_interval: Some(Duration::from_millis(5)),
            watches: Vec::new(),
            parts,
            documents,
            has_documents,
            states_dir: dir.path().join("states"),
            lines: None,
        });
        let reader = FrameReader::new(FRAME_BODY_MAX);
        let mut bench =
            Bench { engine, rank, inbox, gate, told, said: Vec::new(), sent: None, reader, log, dir };
        bench.wait("plugins are loaded", |bench| bench.said.contains(&Input::Loaded));
        bench
    }

    /// A job, and what follows from it.
    pub(crate) fn job(&mut self, job: Job) {
        assert!(self.engine.handle(job).is_none());
        self.engine.advance();
        self.hear();
    }

    /// Everything that waits.
    pub(crate) fn turn(&mut self) {
        let mut jobs = Vec::new();
        self.inbox.take(&mut jobs, Duration::from_millis(1), Duration::ZERO);
        for job in jobs {
            assert!(self.engine.handle(job).is_none());
        }
        self.engine.advance();
        self.hear();
    }

    fn hear(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            if let Told::Engine { input, .. } = told {
                self.said.push(input);
            }
        }
    }

    pub(crate) fn wait(&mut self, what: &str, mut is_so: impl FnMut(&mut Bench) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what} did not come; told {:?}, calls {:?}",
                self.said,
                self.calls()
            );
            self.turn();
        }
    }

    /// The control thread's order to act, with the lease that belongs to it.
    pub(crate) fn activate(&mut self, epoch: Epoch, transfer: bool) {
        self.gate.extend(epoch, clock::now() + Duration::from_secs(60));
        let guard_until = clock::now();
        let reason = Reason::Loaded;
        self.job(Job::Activate { epoch, transfer, guard_until, unquorate: false, reason });
    }

    pub(crate) fn become_active(&mut self, epoch: Epoch) {
        self.activate(epoch, false);
        self.wait("gates open", |bench| bench.said.contains(&Input::GatesOpen));
    }

    pub(crate) fn drain(&mut self, epoch: Epoch, to: Option<NodeRank>, patience: Duration) -> Moment {
        let deadline = clock::now() + patience;
        self.job(Job::Drain { epoch, to, deadline, reason: Reason::Shutdown });
        deadline
    }

    /// The lease is lost: the control thread shuts the gate, then tells.
    pub(crate) fn lose(&mut self, epoch: Epoch) {
        self.gate.close();
        self.job(Job::Close { epoch, reason: Reason::Shutdown, abort_links: true });
    }

    /// A value that an active interface publishes.
    pub(crate) fn publish(&mut self, item: u32, value: i64) {
        self.publish_flagged(item, value, SampleFlags::default());
    }

    pub(crate) fn publish_flagged(&mut self, item: u32, value: i64, flags: SampleFlags) {
        let sample = Sample { flags, ..sample(item, value) };
        self.engine.store_samples(std::slice::from_ref(&sample));
        self.job(Job::Published { samples: Bundle::from_iter([sample]), from: None });
    }

    /// A value that an active interface publishes that wants to know when it is accepted.
    pub(crate) fn publish_acknowledged(&mut self, interface: usize, item: u32, value: i64) {
        let sample = sample(item, value);
        self.engine.store_samples(std::slice::from_ref(&sample));
        self.job(Job::Published { samples: Bundle::from_iter([sample]), from: Some(interface) });
    }

    /// A value of an item of which every one counts, heard by a standby interface.
    pub(crate) fn receive_edge(&mut self, item: u32, value: i64) {
        let flags = SampleFlags::EVENT;
        let sample = Sample { flags, ..sample(item, value) };
        self.job(Job::Received { samples: Bundle::from_iter([sample]), from: None });
    }

    /// A value that a standby interface hears.
    pub(crate) fn receive(&mut self, item: u32, value: i64) {
        self.job(Job::Received { samples: Bundle::from_iter([sample(item, value)]), from: None });
    }

    pub(crate) fn value(&self, item: u32) -> Value {
        self.engine.table.read(ItemId(item)).value
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.engine.timeline.steps()
    }

    pub(crate) fn last(&self) -> Position {
        self.engine.journal.last()
    }

    /// Every record of the journal.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.entries().into_iter().map(|(_, record)| record).collect()
    }

    /// The same, with where they stand.
    pub(crate) fn entries(&self) -> Vec<(Position, Record)> {
        let mut entries: Vec<(Position, Record)> = Vec::new();
        let mut cursor = Position::START;
        while cursor < self.last() {
            let (more, end) = self.engine.read_journal(cursor, 1 << 20);
            entries.extend(more);
            // It goes on behind a copy.
            let read = entries.last().map_or(cursor, |(position, _)| *position);
            cursor = end.resume.unwrap_or(read).max(read);
            if end.caught_up {
                break;
            }
        }
        entries
    }

    /// Every value of an item in the journal.
    pub(crate) fn journaled(&self, item: u32) -> Vec<Value> {
        let samples = self.records().into_iter().filter_map(|record| match record {
            Record::Samples(samples) => Some(samples),
            Record::Dictionary(_)
            | Record::Intent(_)
            | Record::Result(_)
            | Record::Delivered(_)
            | Record::Event(_)
            | Record::Part(_)
            | Record::Merged(_)
            | Record::Role(_) => None,
        });
        let of_item =
            samples.flat_map(|samples| samples.to_vec()).filter(|sample| sample.item == ItemId(item));
        of_item.map(|sample| sample.value).collect()
    }

    /// Texts of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let from = Following { limit: 1000, ..Following::default() };
        let rows = self.engine.shared.events.following(&from, &Filter::default()).rows;
        rows.into_iter().map(|row| row.entry.event.text.to_string()).collect()
    }

    /// What was called in the plugins, in order, as `plc1 active`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits for a call in a plugin while the engine does nothing.
    pub(crate) fn await_call(&self, call: &str) {
        let begun = Instant::now();
        while !self.calls().iter().any(|other| other == call) {
            assert!(begun.elapsed() < PATIENCE, "no `{call}` in {:?}", self.calls());
            std::thread::yield_now();
        }
    }

    pub(crate) fn forget_calls(&mut self) {
        std::fs::remove_file(&self.log).ok();
        self.said.clear();
    }

    /// A data connection to `peer` is there; what is sent waits for [`carry`] or [`Bench::sent`].
    pub(crate) fn connect(&mut self, peer: NodeRank) {
        self.connect_in(peer, PROTOCOL);
    }

    /// The same with a peer that speaks an older protocol.
    pub(crate) fn connect_in(&mut self, peer: NodeRank, protocol: u16) {
        let (sender, receiver) = mpsc::channel(64);
        self.sent = Some(receiver);
        self.job(Job::PeerUp { peer, link: Link { peer: VoterId::Node(peer), path: 0, sender, protocol } });
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self, peer: NodeRank) {
        self.sent = None;
        self.job(Job::PeerDown { peer, path: 0 });
    }

    /// What was sent to the peer since the last time.
    pub(crate) fn sent(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(bytes) = self.sent.as_mut().and_then(|sent| sent.try_recv().ok()) {
            self.reader.push(&bytes);
            while let Some(frame) = self.reader.next_frame().unwrap() {
                messages.push(data::unpack(frame.body).unwrap().1);
            }
        }
        messages
    }

    pub(crate) fn follow(&mut self, active: NodeRank, epoch: Epoch) {
        self.job(Job::Follow { active: Some(active), epoch });
    }
}

/// Carries what two engines have for each other; says whether there was anything.
pub(crate) fn carry(one: &mut Bench, other: &mut Bench) -> bool {
    let (forth, back) = (one.sent(), other.sent());
    let any = !forth.is_empty() || !back.is_empty();
    for message in forth {
        other.job(Job::Peer { peer: one.rank, message });
    }
    for message in back {
        one.job(Job::Peer { peer: other.rank, message });
    }
    one.turn();
    other.turn();
    any
}

/// Carries messages both ways until it is so.
pub(crate) fn carry_until(
    one: &mut Bench,
    other: &mut Bench,
    what: &str,
    is_so: impl Fn(&Bench, &Bench) -> bool,
) {
    let begun = Instant::now();
    while !is_so(one, other) {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come; told {:?} and {:?}", one.said, other.said);
        carry(one, other);
    }
}

/// An interface that hears while it stands by.
pub(crate) fn hot() -> Spec {
    Spec { standby: twinhub_contract::role::HOT, ..Spec::new("mqtt") }
}

/// An active engine and one that follows it and has everything.
pub(crate) fn pair(specs: &[Spec]) -> (Bench, Bench) {
    let (mut main, mut backup) = (Bench::new(0, specs), Bench::new(1, specs));
    main.become_active(epoch(0, 1));
    follow(&mut main, &mut backup, epoch(0, 1));
    (main, backup)
}

pub(crate) fn follow(active: &mut Bench, standby: &mut Bench, epoch: Epoch) {
    active.connect(standby.rank);
    standby.connect(active.rank);
    standby.said.clear();
    standby.follow(active.rank, epoch);
    carry_until(active, standby, "the standby is in sync", |active, standby| {
        standby.said.iter().any(|input| matches!(input, Input::Synced { .. }))
            && active.last() == standby.last()
    });
}

pub(crate) fn epoch(rank: u8, counter: u64) -> Epoch {
    Epoch::new(counter, NodeRank(rank))
}

fn sample(item: u32, value: i64) -> Sample {
    let now = clock::utc();
    Sample {
        item: ItemId(item),
        value: Value::I64(value),
        quality: Quality::GOOD,
        source: now,
        server: now,
        flags: SampleFlags::default(),
    }
}

struct NoFiles;

impl ItemSource for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, ItemSourceError> {
        Ok(Vec::new())
    }
}

const GROUP: &str = "site";
const SITE: &str = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\", \"backup\", \"spare\", \"north\", \"south\"]\n\
    [nodes.main]\nlinks = [\"127.0.0.1:1\"]\n[nodes.backup]\nlinks = [\"127.0.0.1:2\"]\n\
    [nodes.spare]\nlinks = [\"127.0.0.1:3\"]\n[nodes.north]\nlinks = [\"127.0.0.1:4\"]\n\
    [nodes.south]\nlinks = [\"127.0.0.1:5\"]\n";
