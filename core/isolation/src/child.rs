//! The child's side: loads the library, makes the one instance, and does for it what a hub does.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use twinhub_contract::constants::role;
use twinhub_contract::manifest::Need;
use twinhub_contract::{Write, WriteResult, code, extension, level};
use twinhub_loader::{
    EventRef, HostSink, Instance, Library, PluginError, PublishOutcome, RawBatch, StateStore, Status,
    ValueRef, WriteReq,
};

use crate::batch::{self, Packer};
use crate::events::{self, EventRow, Events};
use crate::flow::Flow;
use crate::gate::GateWords;
use crate::keeping::Kept;
use crate::lane::{Lane, MESSAGE_WORDS_MAX, Receiver, Sent};
use crate::message::{Order, Report, kind, pack, unpack};
use crate::offered::Offers;
use crate::process::{ANSWERS_WORDS, DOWN_WORDS, VALUES_WORDS};
use crate::region::{Access, Region};
use crate::ring::{Consumer, Producer, memory_of};
use crate::sandbox;
use crate::values_in;

mod control;
mod hub;

use control::Control;
use hub::{complain, end_with_the_hub, is_hub_gone, receive};

/// Hosts one plugin instance for the hub that started this process, until the hub is gone or says so.
///
/// The standard input has to be the socket of [`crate::Isolated`]; a person who calls this is told so.
pub fn run() -> ExitCode {
    match host() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!(
                "this command hosts a plugin for a running hub, which starts it itself: {error}"
            ));
            ExitCode::from(64)
        }
    }
}

fn host() -> io::Result<()> {
    let input = io::stdin();
    let files = receive(input.as_fd())?;
    let [down, values, answers, rest @ ..] = files.as_slice() else {
        return Err(io::Error::other("not all of its shared memory came"));
    };
    let ring = |file: &OwnedFd, words| {
        Region::open(file.try_clone()?, memory_of(words), Access::Write).map(Arc::new)
    };
    let gate = rest.first().map(OwnedFd::try_clone).transpose()?.map(GateWords::open).transpose()?;
    let orders = Receiver::new(Consumer::new(ring(down, DOWN_WORDS)?));
    let values = Lane::new(Producer::new(ring(values, VALUES_WORDS)?));
    let answers = Lane::new(Producer::new(ring(answers, ANSWERS_WORDS)?));
    drop(files);
    Child {
        sink: Arc::new(Sink::new(gate, values, answers)),
        instance: None,
        control: None,
        has_begun: false,
    }
    .run(orders);
    Ok(())
}

/// Reads orders. Writes are done here, so that no control call holds them up; the rest has a thread of its own.
struct Child {
    sink: Arc<Sink>,
    instance: Option<Arc<Instance>>,
    control: Option<mpsc::Sender<Order>>,
    /// The first order has come: from here on a thread watches the hub.
    has_begun: bool,
}

impl Child {
    fn run(mut self, mut orders: Receiver) {
        let (mut words, mut writes) = (Vec::new(), Vec::new());
        loop {
            match orders.next(&mut words) {
                Ok(Some(kind::WRITES)) => self.write(&words, &mut writes),
                Ok(Some(kind::VALUES_IN)) => self.values(&words),
                Ok(Some(kind::DELIVER)) => match unpack::<EventRow>(&words) {
                    Some(row) => self.deliver(&row),
                    None => return complain("the hub brought an event that is none"),
                },
                Ok(Some(_)) => match unpack::<Order>(&words) {
                    Some(order) => self.take(order),
                    None => return complain("the hub gave an order that this version does not know"),
                },
                Ok(None) if self.has_begun => orders.consumer().wait(Duration::from_secs(3600)),
                Ok(None) if is_hub_gone() => return,
                Ok(None) => orders.consumer().wait(Duration::from_millis(200)),
                Err(broken) => return complain(&broken.to_string()),
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Create { library, id, config, leased, needs, store, has_events } => {
                self.sink.leased.store(u32::from(leased), Ordering::Release);
                self.sink.kept.begin(store);
                self.sink.events.begin(has_events);
                self.create(&library, &id, &config, &needs);
            }
            Order::Destroy if self.control.is_none() => std::process::exit(0),
            Order::Taken { number, code } => {
                if let Some(instance) = &self.instance {
                    instance.taken(number, code);
                }
            }
            // At once: a control call may take its time.
            Order::Hush { op } => self.sink.hush(op),
            Order::Start { .. }
            | Order::SetRole { .. }
            | Order::Items { .. }
            | Order::Watch { .. }
            | Order::Stop { .. }
            | Order::Snapshot { .. }
            | Order::Apply { .. }
            | Order::Accepted { .. }
            | Order::Ping { .. }
            | Order::Store { .. }
            | Order::Browse { .. }
            | Order::Diagnose { .. }
            | Order::Inquire { .. }
            | Order::Destroy => {
                if matches!(order, Order::Destroy) {
                    // Its last owner is the thread that destroys it.
                    self.instance = None;
                }
                if let Some(control) = &self.control {
                    drop(control.send(order));
                }
            }
        }
    }

    fn create(&mut self, library: &str, id: &str, config: &str, needs: &[String]) {
        let need = |word: &String| serde_json::from_value(word.as_str().into()).ok();
        let needs: Vec<Need> = needs.iter().filter_map(need).collect();
        // Before there is another thread, and before any code of the library is mapped.
        for missing in sandbox::enter(Path::new(library), config, &needs) {
            self.sink.log(level::INFO, "sandbox", &missing, "");
        }
        let watch = std::thread::Builder::new().name("hub-watch".to_owned()).spawn(end_with_the_hub);
        if let Err(error) = watch {
            return complain(&format!("no thread: {error}"));
        }
        self.has_begun = true;
        let sink: Arc<dyn HostSink> = Arc::clone(&self.sink) as Arc<dyn HostSink>;
        let made = Library::open_in_place(Path::new(library))
            .map_err(|error| PluginError::new("create", code::INVALID, chain(&error)))
            .and_then(|library| library.create(id, config, sink));
        let instance = match made {
            Ok(instance) => Arc::new(instance),
            Err(PluginError { code, detail, .. }) => {
                self.sink.report(&Report::Created { code, detail, offers: 0 });
                return;
            }
        };
        let (sender, receiver) = mpsc::channel();
        let control = Control { sink: Arc::clone(&self.sink), instance: Arc::clone(&instance) };
        let thread = std::thread::Builder::new().name("control".to_owned());
        if let Err(error) = thread.spawn(move || control.run(&receiver)) {
            let detail = format!("no thread: {error}");
            let code = code::STOPPED;
            self.sink.report(&Report::Created { code, detail, offers: 0 });
            return;
        }
        if instance.has_extension(extension::FLOW) {
            let (lane, instance) = (self.sink.values.clone(), Arc::downgrade(&instance));
            if let Err(error) = self.sink.flow.watch(lane, instance) {
                return complain(&format!("no thread: {error}"));
            }
        }
        let Offers(offers) = Offers::of(&instance);
        (self.instance, self.control) = (Some(instance), Some(sender));
        self.sink.report(&Report::Created { code: code::OK, detail: String::new(), offers });
    }

    fn values(&self, words: &[u64]) {
        let Some(instance) = &self.instance else { return };
        let sink = &self.sink;
        let Some((own, answer)) = values_in::give(words, instance, |op| sink.begin(op, None)) else {
            return complain("the hub handed over values that are none");
        };
        sink.answered(own, answer);
    }

    fn write(&self, words: &[u64], raw: &mut Vec<Write>) {
        let Some(epoch) = batch::writes(words, raw) else {
            return complain("the hub handed over writes that are none");
        };
        let mut requests = Vec::with_capacity(raw.len());
        for write in &*raw {
            // SAFETY: the values point into `words`, which outlive the call.
            let value = unsafe { write.value.read() }.unwrap_or(ValueRef::Null);
            let Write { write_id, item, flags, deadline_ns, .. } = *write;
            requests.push(WriteReq { write_id, item, flags, deadline_ns, value });
        }
        let patience = Instant::now() + WRITE_PATIENCE;
        let refused = loop {
            let Some(instance) = &self.instance else { break code::STOPPED };
            match instance.write(epoch, &requests) {
                Ok(()) => return,
                Err(error) if error.code == code::AGAIN && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => break error.code,
            }
        };
        let answer =
            |request: &WriteReq<'_>| WriteResult { write_id: request.write_id, code: refused, status: 0 };
        let results: Vec<WriteResult> = requests.iter().map(answer).collect();
        self.sink.write_done(&results);
    }
}

impl Child {
    fn deliver(&self, row: &EventRow) {
        let (events, values) = (&self.sink.events, &self.sink.values);
        events.bring(values, row, |event| {
            self.instance.as_ref().map_or(code::STOPPED, |instance| instance.deliver(event))
        });
    }
}

/// A control call under way.
#[derive(Debug, Clone, Copy)]
struct Op {
    /// Number at the hub.
    op: u64,
    /// The role and epoch it leads to.
    role: Option<(u32, u64)>,
}

/// Where the calls of the instance arrive.
struct Sink {
    gate: Option<GateWords>,
    /// Whether effects need the lease.
    leased: AtomicU32,
    values: Lane,
    answers: Lane,
    /// Held by whoever gives values, changes of what it keeps, or events, from the look at the epoch until they are in the
    /// lane.
    packer: Mutex<Packer>,
    role: AtomicU32,
    epoch: AtomicU64,
    ops: Mutex<HashMap<u64, Op>>,
    /// Numbers the calls of the instance.
    next_op: AtomicU64,
    /// Batches that were taken.
    batches: AtomicU64,
    accepted: AtomicU64,
    /// Lines for the log that found no room.
    dropped: AtomicU64,
    kept: Kept,
    events: Events,
    flow: Arc<Flow>,
}

impl Sink {
    fn new(gate: Option<GateWords>, values: Lane, answers: Lane) -> Self {
        Self {
            gate,
            leased: AtomicU32::new(1),
            values,
            answers,
            packer: Mutex::default(),
            role: AtomicU32::new(role::COLD),
            epoch: AtomicU64::new(0),
            ops: Mutex::default(),
            next_op: AtomicU64::new(1),
            batches: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            kept: Kept::default(),
            events: Events::default(),
            flow: Arc::default(),
        }
    }

    fn ops(&self) -> MutexGuard<'_, HashMap<u64, Op>> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number under which the instance completes an operation of the hub. Noted before the call: it may be answered
    /// inside it.
    fn begin(&self, op: u64, role: Option<(u32, u64)>) -> u64 {
        let own = self.next_op.fetch_add(1, Ordering::Relaxed);
        self.ops().insert(own, Op { op, role });
        own
    }

    fn answered(&self, own: u64, answer: Result<Status, PluginError>) {
        match answer {
            Ok(Status::Pending) => {}
            Ok(Status::Done) => self.op_done(own, code::OK, ""),
            Err(error) => self.op_done(own, error.code, &error.detail),
        }
    }

    fn enter(&self, role: u32, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.role.store(role, Ordering::Release);
    }

    /// Nothing more is taken before the next role. The answer goes behind what was, however long the hub has no room for
    /// that.
    fn hush(&self, op: u64) {
        let alone = self.packer();
        self.epoch.store(HUSHED, Ordering::Release);
        let sent = self.values.send(kind::HUSHED, &[op]);
        drop(alone);
        if sent != Sent::Taken {
            complain("the hub does not read what this process gives");
            std::process::exit(70);
        }
    }

    fn packer(&self) -> MutexGuard<'_, Packer> {
        self.packer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of the lane of answers: how many of values came before it, then the rest.
    fn answer(&self, fill: impl FnOnce(&mut Vec<u64>)) -> Vec<u64> {
        let mut words = vec![self.values.count()];
        fill(&mut words);
        words
    }

    fn report(&self, report: &Report) {
        let words = self.answer(|words| pack(report, words));
        if self.answers.send(kind::REPORT, &words) != Sent::Taken {
            // The hub waits for this: without it nothing goes on.
            complain("the hub does not read what this process answers");
            std::process::exit(70);
        }
    }

    fn is_permitted(&self, epoch: u64) -> bool {
        self.lease_end(epoch) > now()
    }
}

impl HostSink for Sink {
    fn publish(&self, epoch: u64, updates: RawBatch<'_>) -> PublishOutcome {
        let mut packer = self.packer();
        if epoch != self.epoch.load(Ordering::Acquire)
            || (self.role.load(Ordering::Acquire) == role::ACTIVE && !self.is_permitted(epoch))
        {
            return PublishOutcome::StaleEpoch;
        }
        packer.begin(epoch);
        for update in updates {
            match update {
                Ok(update) => packer.update(&update),
                // The hub refuses and counts it, as it would in its own process.
                Err(error) => packer.bad(error.item),
            }
        }
        if packer.bytes() > MESSAGE_WORDS_MAX * size_of::<u64>() {
            return PublishOutcome::Invalid;
        }
        match self.values.try_send(kind::VALUES, &packer.finish()) {
            Sent::Taken => {
                self.batches.fetch_add(1, Ordering::AcqRel);
                PublishOutcome::Taken
            }
            Sent::Full => {
                self.flow.want();
                PublishOutcome::Again
            }
            Sent::Lost => PublishOutcome::Stopped,
        }
    }

    fn write_done(&self, results: &[WriteResult]) {
        for results in results.chunks(RESULTS_AT_ONCE) {
            let words = self.answer(|words| batch::pack_results(results, words));
            if self.answers.send(kind::RESULTS, &words) != Sent::Taken {
                complain("the hub does not read the answers to its writes");
                std::process::exit(70);
            }
        }
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        let Some(Op { op, role }) = self.ops().remove(&op) else { return };
        if let Some((to, epoch)) = role.filter(|(to, _)| *to != role::ACTIVE) {
            self.enter(to, epoch);
        }
        self.report(&Report::OpDone { op, code, detail: detail.to_owned() });
    }

    fn answer(&self, op: u64, bytes: Vec<u8>) {
        let op = self.ops().get(&op).map(|op| op.op);
        if let Some(op) = op {
            self.report(&Report::Answer { op, bytes });
        }
    }

    fn fault(&self, code: i32, detail: &str) {
        self.report(&Report::Fault { code, detail: detail.to_owned() });
    }

    fn log(&self, level: u32, target: &str, message: &str, fields_json: &str) {
        let report = Report::Log {
            level,
            target: target.to_owned(),
            message: message.to_owned(),
            fields: fields_json.to_owned(),
        };
        let words = self.answer(|words| pack(&report, words));
        // A flood of lines must not hold up answers.
        if self.answers.try_send(kind::REPORT, &[&words]) == Sent::Full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn state(&self, state: u32, cause: &str) {
        self.report(&Report::State { state, cause: cause.to_owned() });
    }

    fn lease_end(&self, epoch: u64) -> i64 {
        if epoch != self.epoch.load(Ordering::Acquire) || self.role.load(Ordering::Acquire) != role::ACTIVE {
            return 0;
        }
        if self.leased.load(Ordering::Acquire) == 0 {
            return i64::MAX;
        }
        let end = self.gate.as_ref().and_then(|gate| gate.lease_end(epoch));
        end.map_or(0, |end| i64::try_from(end).unwrap_or(i64::MAX))
    }

    fn count(&self, name: &str, add: u64) {
        self.report(&Report::Count { name: name.to_owned(), add });
    }

    fn use_acceptance(&self) -> bool {
        // Where the batches come: it has to be before the first of them.
        self.values.send(kind::ACCEPTANCE, &[]) == Sent::Taken
    }

    fn store(&self) -> Option<&StateStore> {
        self.kept.store()
    }

    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        let _packer = self.packer();
        let is_active = self.role.load(Ordering::Acquire) == role::ACTIVE;
        if epoch != self.epoch.load(Ordering::Acquire) || !is_active || !self.is_permitted(epoch) {
            return code::STALE_EPOCH;
        }
        let answer = self.kept.put(&self.values, epoch, key, value);
        if answer == code::AGAIN {
            self.flow.want();
        }
        answer
    }

    fn has_events(&self) -> bool {
        self.events.are_offered()
    }

    fn give(&self, event: &EventRef<'_>) -> i32 {
        let _packer = self.packer();
        let (role, epoch) = (self.role.load(Ordering::Acquire), self.epoch.load(Ordering::Acquire));
        if event.epoch != epoch || (role == role::ACTIVE && !self.is_permitted(epoch)) {
            return code::STALE_EPOCH;
        }
        let answer = events::give(&self.values, role, event);
        if answer == code::AGAIN {
            self.flow.want();
        }
        answer
    }

    fn acknowledge(&self, number: u64, code: i32) -> i32 {
        self.events.acknowledge(&self.values, number, code)
    }

    fn taken(&self) -> u64 {
        self.batches.load(Ordering::Acquire)
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
fn now() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// No epoch: nothing is taken.
const HUSHED: u64 = u64::MAX;
/// A plugin that says it is busy is asked again for so long; then the writes are answered.
const WRITE_PATIENCE: Duration = Duration::from_millis(50);
/// Answers to writes in one message.
const RESULTS_AT_ONCE: usize = 512;
