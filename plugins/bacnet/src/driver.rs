//! The task that talks to the devices: one socket, the state machines of the protocol, and what the hub wants of them.
//!
//! | Role | Socket | What is sent |
//! |---|---|---|
//! | cold | none | nothing |
//! | warm | open | Who-Is, Register-Foreign-Device, and rarely ReadProperty of a device's System_Status |
//! | active | open | everything, each datagram with a permit that is checked at the system call |

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use twinhub_bacnet_protocol::binding::{BindingAction, BindingOutput, BindingSettings, Bindings};
use twinhub_bacnet_protocol::cov::{CovAction, CovId, CovKeeper, CovMode, CovOutput, CovSettings};
use twinhub_bacnet_protocol::engine::{
    Action, Engine, Failure, Input, Output, Peer, PeerLimits, Reply, RequestId, Settings as EngineSettings,
};
use twinhub_bacnet_protocol::foreign::{
    Foreign, ForeignAction, ForeignOutput, ForeignSettings, Standing as Entry,
};
use twinhub_bacnet_protocol::link::Reach;
use twinhub_bacnet_protocol::moment::Moment;
use twinhub_bacnet_protocol::names::ConfirmedService;
use twinhub_bacnet_protocol::planner::AskId;
use twinhub_plugin::{Code, Ctx, Epoch, InterfaceState, Publisher, Result, Role};

use crate::commands::Commands;
use crate::config::Settings;
use crate::device::{Device, Standing};
use crate::inbox::{Inbox, Job, Points};

mod asking;
mod net;
mod polling;
mod report;
mod watching;
mod writing;

use asking::Question;
use polling::Plan;
use watching::Watches;

/// What a request is for.
#[derive(Debug)]
enum Purpose {
    Plan { plan: u64, ask: AskId },
    Subscribe(CovId),
    Unsubscribe,
    Write(Box<Job>),
    Probe(u32),
}

/// State of the task.
#[derive(Debug)]
pub(crate) struct Driver {
    cx: Ctx,
    settings: Rc<Settings>,
    inbox: Rc<Inbox>,
    publisher: Publisher,
    socket: Option<Rc<UdpSocket>>,
    retry_bind_at: Option<Instant>,
    began: Instant,
    role: Role,
    epoch: Epoch,
    engine: Engine,
    bindings: Bindings,
    foreign: Option<Foreign>,
    cov: CovKeeper,
    watches: Watches,
    devices: BTreeMap<u32, Device>,
    peers: BTreeMap<Peer, u32>,
    /// Devices that said where they are, wanted or not.
    heard: BTreeMap<u32, Peer>,
    points: Rc<Points>,
    points_version: u64,
    purposes: BTreeMap<u64, Purpose>,
    plans: BTreeMap<u64, Plan>,
    questions: Vec<Question>,
    commands: Commands,
    number_next: u64,
    writes_open: usize,
    /// When the node began to act, until all subscriptions have their answer.
    taken_over: Option<Instant>,
    takeover_ms: Option<u64>,
    counts: Counts,
}

/// Counters, handed to the hub when there is nothing else to do.
#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    received: u64,
    notifications: u64,
    notifications_unasked: u64,
    unreadable: u64,
    not_sent: u64,
    suppressed: u64,
    polls_missed: u64,
}

impl Driver {
    pub(crate) fn new(cx: Ctx, settings: Rc<Settings>, inbox: Rc<Inbox>) -> Self {
        let config = &settings.config;
        let foreign = settings.bbmd.map(|_| {
            let seconds = u16::try_from(config.bbmd_ttl.0.as_secs()).unwrap_or(u16::MAX);
            Foreign::new(ForeignSettings { seconds, ..ForeignSettings::default() })
        });
        let cov = CovKeeper::new(CovSettings {
            lifetime_seconds: u32::try_from(config.cov_lifetime.0.as_secs()).unwrap_or(u32::MAX),
            is_confirmed: config.cov_confirmed,
            silent_pause: config.retry_silent.0,
            ..CovSettings::default()
        });
        Self {
            publisher: cx.publisher(),
            socket: None,
            retry_bind_at: None,
            began: Instant::now(),
            role: Role::Cold,
            epoch: Epoch(0),
            engine: engine(&settings),
            bindings: Bindings::new(BindingSettings::default()),
            foreign,
            cov,
            watches: Watches::default(),
            devices: BTreeMap::new(),
            peers: BTreeMap::new(),
            heard: BTreeMap::new(),
            points: Rc::default(),
            points_version: u64::MAX,
            purposes: BTreeMap::new(),
            plans: BTreeMap::new(),
            questions: Vec::new(),
            commands: Commands::default(),
            number_next: 0,
            writes_open: 0,
            taken_over: None,
            takeover_ms: None,
            counts: Counts::default(),
            cx,
            settings,
            inbox,
        }
    }

    /// Runs as long as the instance. Nobody borrows the driver while it waits, so that it can be asked how it is.
    pub(crate) async fn run(driver: Rc<RefCell<Self>>) -> Result<()> {
        loop {
            let (next, inbox, socket) = driver.borrow_mut().step();
            let readable = async {
                match &socket {
                    Some(socket) => drop(socket.readable().await),
                    None => std::future::pending().await,
                }
            };
            let timer = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = inbox.changed.notified() => {}
                () = readable => driver.borrow_mut().receive(),
                () = timer => {}
            }
        }
    }

    /// Does what is to be done; says until when there is nothing, and what else is to be waited for.
    fn step(&mut self) -> (Option<Instant>, Rc<Inbox>, Option<Rc<UdpSocket>>) {
        self.adopt();
        if self.role > Role::Cold && self.socket.is_none() {
            self.open();
        }
        let next = if self.socket.is_some() { self.turn() } else { self.retry_bind_at };
        self.report();
        (next, Rc::clone(&self.inbox), self.socket.clone())
    }

    /// Takes over what the hub's calls left.
    fn adopt(&mut self) {
        let version = self.inbox.role_version.get();
        if self.inbox.role_pending() {
            let (role, epoch) = self.inbox.role.get();
            let is_leaving = self.role == Role::Active;
            // Nothing can be sent any more; what was sent may still be answered.
            if is_leaving && self.writes_open > 0 && !self.inbox.is_hurried.get() {
                return;
            }
            if is_leaving {
                self.give_up();
            }
            (self.role, self.epoch) = (role, epoch);
            match role {
                Role::Cold => {
                    self.socket = None;
                    if let Some(foreign) = &mut self.foreign {
                        foreign.on_stop();
                    }
                    self.cx.status(InterfaceState::Suppressed, "standby: not connected");
                }
                // Hot is not offered; what is asked of it is what warm does.
                Role::Warm | Role::Hot => self.stand_by(),
                Role::Active => self.act(),
            }
            self.inbox.role_reached.set(version);
            self.inbox.reached.notify_one();
        }
        if self.role > Role::Cold && self.points_version != self.inbox.points_version.get() {
            self.points_version = self.inbox.points_version.get();
            self.points = Rc::clone(&self.inbox.points.borrow());
            self.plan();
        }
    }

    /// Ends everything that is under way; writes that were sent are in doubt, the others were not sent.
    fn give_up(&mut self) {
        let now = self.now();
        self.engine.handle_input(Input::Stop, now);
        self.pump();
        let waiting: Vec<Job> = self.inbox.writes.borrow_mut().drain(..).collect();
        let queued = self.devices.values_mut().flat_map(|device| device.writes.drain(..));
        let unsent: Vec<Job> = queued.chain(waiting).collect();
        if !unsent.is_empty() {
            self.cx.count("suppressed.not_active", unsent.len() as u64);
        }
        for job in unsent {
            job.done(Code::NotActive);
        }
        for purpose in std::mem::take(&mut self.purposes).into_values() {
            if let Purpose::Write(job) = purpose {
                job.done(Code::Timeout);
            }
        }
        self.writes_open = 0;
        self.engine = engine(&self.settings);
        self.plans.clear();
        self.cov.on_abandon();
        self.watches.forget();
        self.taken_over = None;
        for device in self.devices.values_mut() {
            device.writing.clear();
            device.is_probed = false;
            device.classes.iter_mut().for_each(|class| class.is_running = false);
        }
        for question in self.questions.drain(..) {
            question.refuse(Code::NotActive, "the role has changed");
        }
    }

    fn stand_by(&mut self) {
        let now = Instant::now();
        for device in self.devices.values_mut() {
            device.probe_at = Some(now);
        }
        self.cx.status(InterfaceState::Connecting, "standby: looking for devices");
    }

    /// The node acts: everything is read and subscribed to anew.
    fn act(&mut self) {
        let now = Instant::now();
        self.engine = engine(&self.settings);
        self.commands = Commands::load(&self.cx);
        (self.taken_over, self.takeover_ms) = (Some(now), None);
        let present: Vec<u32> = self.devices.keys().copied().collect();
        for device in self.devices.values_mut() {
            device.is_probed = false;
            for class in &mut device.classes {
                (class.next_due, class.is_running) = (now, false);
            }
            // Whether it is silent is found out anew.
            device.standing = if device.peer.is_some() { Standing::Met } else { Standing::Sought };
        }
        for instance in present {
            self.meet(instance);
        }
        self.cx.status(InterfaceState::Connecting, "looking for devices");
    }

    /// Does what is due; says when there is more.
    fn turn(&mut self) -> Option<Instant> {
        let now = self.now();
        self.engine.handle_input(Input::Wake, now);
        self.cov.on_wake(now);
        if let Some(foreign) = &mut self.foreign {
            foreign.on_start(now);
            foreign.on_wake(now);
        }
        let is_acting = self.role == Role::Active && !self.inbox.role_pending();
        if is_acting {
            self.start_writes();
            self.start_polls();
            self.go_on_questions();
        }
        self.start_probes();
        self.pump();
        let machines = self.next_moment().min(self.bindings_next());
        let machines = (machines != Moment::NEVER).then(|| self.began + machines.since_start());
        let ours = if is_acting { self.polls_next() } else { None };
        let questions = self.questions.iter().map(Question::until).min();
        [machines, ours, self.probes_next(), questions].into_iter().flatten().min()
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.began.elapsed())
    }

    fn bindings_next(&mut self) -> Moment {
        match self.bindings.poll_output(self.now()) {
            BindingOutput::Timeout(at) => at,
            // Taken by the next turn.
            BindingOutput::Action(action) => {
                self.on_binding(action);
                Moment::START
            }
        }
    }

    fn next_moment(&mut self) -> Moment {
        let mut next = match self.engine.poll_output() {
            Output::Timeout(at) => at,
            Output::Action(action) => {
                self.on_action(action);
                Moment::START
            }
        };
        match self.cov.poll_output() {
            CovOutput::Timeout(at) => next = next.min(at),
            CovOutput::Action(action) => {
                self.on_cov(action);
                next = Moment::START;
            }
        }
        match self.foreign.as_mut().map(Foreign::poll_output) {
            Some(ForeignOutput::Timeout(at)) => next = next.min(at),
            Some(ForeignOutput::Action(action)) => {
                self.on_foreign(action);
                next = Moment::START;
            }
            None => {}
        }
        next
    }

    /// Carries out what the state machines want, until they want nothing.
    fn pump(&mut self) {
        loop {
            let mut is_idle = true;
            while let Output::Action(action) = self.engine.poll_output() {
                is_idle = false;
                self.on_action(action);
            }
            while let CovOutput::Action(action) = self.cov.poll_output() {
                is_idle = false;
                self.on_cov(action);
            }
            while let BindingOutput::Action(action) = self.bindings.poll_output(self.now()) {
                is_idle = false;
                self.on_binding(action);
            }
            while let Some(ForeignOutput::Action(action)) = self.foreign.as_mut().map(Foreign::poll_output) {
                is_idle = false;
                self.on_foreign(action);
            }
            if is_idle {
                return;
            }
        }
    }

    fn on_action(&mut self, action: Action) {
        match action {
            Action::Transmit { peer, apdu, expects_reply } => self.send_apdu(peer, &apdu, expects_reply),
            Action::Done { id, result } => self.on_done(id, result),
            Action::Asked { token, peer, service, payload } => self.on_asked(token, peer, service, &payload),
            Action::Told { peer, service, payload } => self.on_told(peer, service, &payload),
        }
    }

    fn on_cov(&mut self, action: CovAction) {
        match action {
            CovAction::Ask { id, peer, service, payload } => {
                let purpose = id.map_or(Purpose::Unsubscribe, Purpose::Subscribe);
                self.request(peer, service, payload, purpose);
            }
            CovAction::Became { id, mode } => {
                if let CovMode::Polled(failure) = &mode {
                    self.watches.polled(id, failure);
                    let instance = self.watches.device(id);
                    if let Some(device) = instance.and_then(|instance| self.devices.get_mut(&instance)) {
                        let now = Instant::now();
                        device.classes.iter_mut().for_each(|class| class.next_due = now);
                    }
                } else {
                    self.watches.subscribed(id);
                }
            }
        }
    }

    fn on_binding(&mut self, action: BindingAction) {
        match action {
            BindingAction::WhoIs(who_is) => self.send_who_is(who_is, Reach::AllNetworks),
            BindingAction::Bound { instance, binding, .. } => self.bound(instance, binding),
        }
    }

    fn on_foreign(&mut self, action: ForeignAction) {
        match action {
            ForeignAction::Register { seconds } => self.send_registration(seconds),
            ForeignAction::Became(Entry::Registered) => {
                tracing::info!("registered as a foreign device at the BBMD");
                self.bindings.on_reach(self.now());
            }
            ForeignAction::Became(Entry::Refused) => {
                tracing::warn!("the BBMD refuses the registration as a foreign device; look at its table");
            }
            ForeignAction::Became(Entry::Silent) => tracing::warn!("the BBMD does not answer"),
            ForeignAction::Became(Entry::Off | Entry::Asking) => {}
        }
    }

    fn request(&mut self, peer: Peer, service: ConfirmedService, payload: Vec<u8>, purpose: Purpose) {
        let id = self.number();
        self.purposes.insert(id, purpose);
        let now = self.now();
        self.engine.handle_input(Input::Request { id: RequestId(id), peer, service, payload }, now);
    }

    fn number(&mut self) -> u64 {
        self.number_next += 1;
        self.number_next
    }

    fn on_done(&mut self, id: RequestId, result: std::result::Result<Reply, Failure>) {
        let Some(purpose) = self.purposes.remove(&id.0) else { return };
        match purpose {
            Purpose::Plan { plan, ask } => self.on_plan_result(plan, ask, result),
            Purpose::Subscribe(id) => {
                let silent = matches!(result, Err(Failure::Silent { .. }));
                let instance = self.watches.device(id);
                let now = self.now();
                self.cov.on_result(id, result.as_ref().map(drop).map_err(Clone::clone), now);
                match instance {
                    Some(instance) if silent => self.fell_silent(instance, "no answer to a subscription"),
                    Some(instance) => self.answered(instance),
                    None => {}
                }
                self.note_takeover();
            }
            Purpose::Unsubscribe => {}
            Purpose::Write(job) => self.on_written(&job, result),
            Purpose::Probe(instance) => self.on_probed(instance, &result),
        }
    }

    /// Says once how long it took until every subscription had its answer.
    fn note_takeover(&mut self) {
        let counts = self.cov.counts();
        if let Some(since) = self.taken_over.filter(|_| counts.waiting == 0) {
            self.taken_over = None;
            let took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.takeover_ms = Some(took_ms);
            let (subscribed, polled) = (counts.subscribed, counts.polled);
            tracing::info!(subscribed, polled, took_ms, "subscriptions are made");
        }
    }
}

fn engine(settings: &Settings) -> Engine {
    let config = &settings.config;
    let engine = EngineSettings {
        apdu_timeout: config.timeout.0,
        segment_timeout: config.segment_timeout.0,
        retries: config.retries,
        parallel_per_peer: config.parallel.into(),
        queue_per_peer_max: REQUESTS_PER_DEVICE_MAX,
        ..EngineSettings::default()
    };
    let seed = twinhub_plugin::boottime_ns().cast_unsigned();
    Engine::new(engine, seed)
}

fn limits_of(settings: &Settings, instance: u32, said: PeerLimits) -> PeerLimits {
    settings.devices.get(&instance).map_or(said, |known| known.limits(said))
}

/// The most requests that wait for a device.
const REQUESTS_PER_DEVICE_MAX: usize = 8192;
