//! The task that talks to the device: one write, or one burst of reads at a time, writes before polls.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_modbus::{ExceptionCode, Request, Response};
use twinhub_plugin::{Code, Ctx, Epoch, InterfaceState, Quality, Result, Role};

use crate::address::{Area, Span};
use crate::burst::Answer;
use crate::config::Settings;
pub(crate) use crate::driver::answers::data;
pub(crate) use crate::driver::answers::is_passing;
use crate::driver::answers::{is_absent, refusal_quality, request};
use crate::image::{Data, Image, LINGER};
use crate::inbox::Inbox;
use crate::pace::Pace;
use crate::session::{Fault, Pass, Reads, Session};

mod answers;
mod asking;

pub(crate) use asking::{NOT_READ, Survey};

/// State of the task.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) cx: Ctx,
    pub(crate) settings: Rc<Settings>,
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) session: Session,
    pub(crate) image: Image,
    pub(crate) role: Role,
    pub(crate) epoch: Epoch,
    pub(crate) lacks: Lacks,
    pace: Pace,
    points_version: u64,
    steps: u32,
    /// How long reads take here, about.
    read_took: Duration,
    counts: Counts,
    /// Since when the device is offline, and whether that was logged.
    down_since: Option<Instant>,
    probe_at: Instant,
}

/// Function codes that the device was found not to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lacks {
    pub(crate) mask_write: bool,
    pub(crate) exchange: bool,
}

/// Counters, handed to the hub when there is nothing else to do.
#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    timeouts: u64,
    exceptions: u64,
    overruns: u64,
    connections: u64,
}

impl Driver {
    pub(crate) fn new(cx: Ctx, settings: Rc<Settings>, inbox: Rc<Inbox>) -> Self {
        Self {
            session: Session::new(&settings),
            image: Image::new(cx.publisher(), settings.config.publish),
            role: Role::Cold,
            epoch: Epoch(0),
            lacks: Lacks::default(),
            pace: Pace::new(settings.pipeline()),
            points_version: 0,
            steps: 0,
            read_took: Duration::ZERO,
            counts: Counts::default(),
            down_since: None,
            probe_at: Instant::now(),
            cx,
            settings,
            inbox,
        }
    }

    /// Runs as long as the instance.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            self.adopt();
            match self.role {
                Role::Cold => self.inbox.changed.notified().await,
                Role::Warm => self.warm().await,
                Role::Hot | Role::Active => self.step().await,
            }
            self.inbox.notes.borrow_mut().is_connected = self.session.is_open();
        }
    }

    /// Takes over what the hub's calls left.
    fn adopt(&mut self) {
        let version = self.inbox.role_version.get();
        if version != self.inbox.role_reached.get() {
            let (role, epoch) = self.inbox.role.get();
            let rises = role >= Role::Hot && role != self.role;
            (self.role, self.epoch) = (role, epoch);
            match role {
                Role::Cold => {
                    self.session.close();
                    self.cx.status(InterfaceState::Suppressed, "standby: not connected");
                }
                Role::Warm => {
                    self.session.forgive();
                    // The connection of the role before is kept, and nothing opens it again.
                    if self.session.is_open() {
                        self.cx.status(InterfaceState::Ok, "standby: connected");
                    } else {
                        self.cx.status(InterfaceState::Connecting, "standby: connecting");
                    }
                }
                Role::Hot | Role::Active => {}
            }
            if rises {
                self.session.forgive();
                self.image.resync();
                self.down_since = None;
                self.cx
                    .status(InterfaceState::Connecting, format!("connecting to {}", self.settings.endpoint));
            }
            if role != Role::Active {
                self.image.pause();
                self.refuse_writes();
            }
            self.refuse_survey();
            self.flush_counts();
            self.inbox.role_reached.set(version);
            self.inbox.reached.notify_one();
        }
        // A standby that reads nothing needs no plan, and items may come in several calls before it does.
        if self.role >= Role::Hot && self.points_version != self.inbox.points_version.get() {
            self.points_version = self.inbox.points_version.get();
            let points = Rc::clone(&self.inbox.points.borrow());
            self.image.plan(points, &self.settings);
            self.note();
        }
    }

    /// What was not sent before the role was lost is not sent at all.
    fn refuse_writes(&mut self) {
        let jobs: Vec<_> = self.inbox.writes.borrow_mut().drain(..).collect();
        if !jobs.is_empty() {
            self.cx.count("suppressed.not_active", jobs.len() as u64);
        }
        for job in jobs {
            job.done(Code::NotActive);
        }
    }

    /// Holds the connection, and sends nothing unless a probe is configured.
    async fn warm(&mut self) {
        let inbox = Rc::clone(&self.inbox);
        if !self.session.is_open() {
            if let Some(until) = self.session.waits_until() {
                tokio::select! {
                    () = inbox.changed.notified() => {}
                    () = sleep_until(until) => {}
                }
                return;
            }
            let opened = tokio::select! {
                biased;
                () = inbox.changed.notified() => return,
                opened = self.session.open() => opened,
            };
            match opened {
                Ok(()) => self.went_up("standby: connected"),
                Err(fault) => self.went_down(&format!("standby: {}: {fault}", self.settings.endpoint)),
            }
            return;
        }
        if let Some(interval) = self.settings.config.standby_probe.map(|interval| interval.0)
            && Instant::now() >= self.probe_at
        {
            self.probe_at = Instant::now() + interval;
            let probe = self.settings.probe;
            let unit = probe.unit.unwrap_or(self.settings.config.unit);
            match self.call(unit, request(probe.area, probe.start, 1), Pass::Standby).await {
                // A refusal is an answer: the path works.
                Ok(_) | Err(Fault::Refused(_)) => self.went_up("standby: connected, answers"),
                Err(Fault::Aborted) => {}
                Err(fault) => self.went_down(&format!("standby: {}: {fault}", self.settings.endpoint)),
            }
            return;
        }
        let probe_at = self.settings.config.standby_probe.map(|_| self.probe_at);
        tokio::select! {
            () = inbox.changed.notified() => {}
            () = wait_until(probe_at) => {}
            () = self.session.lost() => {}
        }
    }

    /// One request, or a wait for the next.
    async fn step(&mut self) {
        if self.role == Role::Active && self.write_next().await {
            return;
        }
        self.end_survey();
        let now = Instant::now();
        if self.session.waits_until().is_none() {
            self.image.classes.iter_mut().for_each(|class| class.begin(now));
            let running = self.image.classes.iter().enumerate().filter_map(|(index, class)| {
                // Earliest deadline first: a fast class is not held up by a slow one, and cannot starve it.
                class.cycle.map(|(due, _)| (due + class.period, index))
            });
            if let Some((_, class)) = running.min() {
                self.poll(class, now).await;
                // Only the socket made this task wait, and not always: the hub's calls get their turn.
                self.steps = self.steps.wrapping_add(1);
                if self.steps.is_multiple_of(STEPS_PER_TURN) {
                    tokio::task::yield_now().await;
                }
                return;
            }
            if self.survey().await {
                return;
            }
        }
        self.flush_counts();
        let next = self
            .session
            .waits_until()
            .or_else(|| self.image.classes.iter().map(|class| class.next_due).min());
        let inbox = Rc::clone(&self.inbox);
        tokio::select! {
            () = inbox.changed.notified() => {}
            () = wait_until(next) => {}
            // A device may close an idle connection: the next request makes a new one.
            () = self.session.lost() => {}
        }
    }

    /// Reads the next blocks of a class, or ends its cycle.
    async fn poll(&mut self, class: usize, now: Instant) {
        let polled = &self.image.classes[class];
        let Some((_, cursor)) = polled.cycle else { return };
        let Some((unit, spans)) = polled.burst(cursor, self.pace.most()) else {
            self.image.flush();
            let missed = self.image.classes[class].end(now);
            self.counts.overruns += missed;
            self.inbox.notes.borrow_mut().missed(missed);
            if missed > 0 {
                // A driver that is never idle tells its counts here.
                self.flush_counts();
            }
            self.report();
            return;
        };
        let is_waiting = |unit: &crate::image::Unit| unit.backoff.waits_until().is_some();
        let reads = if self.image.units.get(&unit).is_some_and(is_waiting) {
            Fault::Waiting.into()
        } else {
            self.reads(unit, &spans).await
        };
        for answer in reads.answers {
            let Some((_, cursor)) = self.image.classes[class].cycle else { return };
            if !self.take(class, cursor, unit, answer) {
                // The parts of the block, or what has moved to its place, come next.
                return;
            }
            if now.elapsed() >= LINGER {
                self.image.flush();
            }
            self.advance(class);
        }
        if let Some(fault) = reads.fault {
            self.link_fault(unit, &fault);
            self.advance(class);
        }
    }

    fn advance(&mut self, class: usize) {
        if let Some((_, cursor)) = &mut self.image.classes[class].cycle {
            *cursor += 1;
        }
    }

    /// Takes what the device said to the read of a block; false if the blocks from there on are others now.
    fn take(&mut self, class: usize, cursor: usize, unit: u8, answer: Answer) -> bool {
        match answer {
            Ok(data) => {
                self.answered(unit);
                self.image.publish(class, cursor, &data);
            }
            Err(ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue) => {
                self.answered(unit);
                let refused = self.image.classes[class]
                    .refuse(&self.image.points, self.settings.config.retry_refused.0);
                if let Some(first) = refused.first() {
                    let point = &self.image.points[*first];
                    let place = format!("{}/{}:{}", point.unit, point.area.prefix(), point.start);
                    tracing::info!(address = place, "the device refuses an address, its items are bad");
                    self.image.bad(&refused, Quality::BAD_ADDRESS_UNKNOWN);
                }
                return false;
            }
            Err(exception) => {
                let members = self.image.classes[class].blocks[cursor].members.clone();
                if is_absent(exception) {
                    self.unit_fault(unit, Quality::BAD_NO_COMMUNICATION, &exception.to_string());
                } else {
                    self.answered(unit);
                    self.image.bad(&members, refusal_quality(exception));
                }
            }
        }
        true
    }

    /// Reads a stretch of a table. What a repetition cannot harm is repeated.
    pub(crate) async fn read(&mut self, unit: u8, area: Area, start: u16, count: u16) -> Result<Data, Fault> {
        let reads = self.reads(unit, &[Span { area, start, count }]).await;
        match (reads.answers.into_iter().next(), reads.fault) {
            (Some(answer), _) => answer.map_err(Fault::Refused),
            (None, fault) => Err(fault.unwrap_or(Fault::Waiting)),
        }
    }

    /// Reads stretches of one unit together.
    async fn reads(&mut self, unit: u8, spans: &[Span]) -> Reads {
        let mut retries = self.settings.config.retries;
        let mut may_reconnect = true;
        let mut answers: Vec<Answer> = Vec::with_capacity(spans.len());
        loop {
            let pass = match self.pass(self.epoch) {
                Ok(pass) => pass,
                Err(fault) => return Reads { answers, fault: Some(fault) },
            };
            let was_proven = self.session.is_proven();
            let mut reads = self.send_reads(unit, &spans[answers.len()..], pass).await;
            let passing = |answer: &Answer| matches!(answer, Err(exception) if is_passing(*exception));
            if let Some(place) = reads.answers.iter().position(passing) {
                if place > 0 {
                    // Each request has its own repetitions.
                    retries = self.settings.config.retries;
                }
                if retries > 0 {
                    retries -= 1;
                    reads.answers.truncate(place);
                    answers.append(&mut reads.answers);
                    sleep(BUSY_PAUSE).await;
                    continue;
                }
            }
            answers.append(&mut reads.answers);
            match reads.fault {
                Some(Fault::Closed(_)) if was_proven && may_reconnect => may_reconnect = false,
                fault => return Reads { answers, fault },
            }
        }
    }

    /// Sends reads unless the role changes meanwhile.
    async fn send_reads(&mut self, unit: u8, spans: &[Span], pass: Pass) -> Reads {
        if let Err(fault) = self.connect().await {
            return fault.into();
        }
        let inbox = Rc::clone(&self.inbox);
        self.counts.requests += spans.len() as u64;
        let begun = Instant::now();
        let reads = tokio::select! {
            biased;
            () = inbox.abort.notified() => Fault::Aborted.into(),
            reads = self.session.read(unit, spans, pass) => reads,
        };
        // Rises at once and falls slowly.
        self.read_took = begun.elapsed().max(self.read_took * 7 / 8);
        self.note_reads(unit, spans.len(), &reads);
        self.counts.exceptions += reads.answers.iter().filter(|answer| answer.is_err()).count() as u64;
        self.counts.timeouts += u64::from(matches!(reads.fault, Some(Fault::Timeout(_))));
        if self.pace.heard(spans.len(), reads.heard()) {
            let pipeline = self.settings.pipeline();
            tracing::warn!(pipeline, "the device does not take several reads together: asked one at a time");
        }
        reads
    }

    /// What allows a request in the role of the moment.
    pub(crate) fn pass(&self, epoch: Epoch) -> Result<Pass, Fault> {
        if self.inbox.role_pending() {
            return Err(Fault::Aborted);
        }
        match self.role {
            Role::Active => self.cx.gate().permit(epoch).map(Pass::Permit).map_err(Fault::Suppressed),
            Role::Hot => Ok(Pass::Standby),
            Role::Cold | Role::Warm => Err(Fault::Aborted),
        }
    }

    /// Sends a request unless the role changes meanwhile.
    pub(crate) async fn call(
        &mut self,
        unit: u8,
        request: Request<'_>,
        pass: Pass,
    ) -> Result<Response, Fault> {
        self.connect().await?;
        let inbox = Rc::clone(&self.inbox);
        self.counts.requests += 1;
        let outcome = tokio::select! {
            biased;
            () = inbox.abort.notified() => Err(Fault::Aborted),
            outcome = self.session.call(unit, request, pass) => outcome,
        };
        let notes = &mut *inbox.notes.borrow_mut();
        notes.asked(1);
        match &outcome {
            Err(Fault::Timeout(_)) => {
                self.counts.timeouts += 1;
                notes.timed_out(unit);
            }
            Err(Fault::Refused(code)) => {
                self.counts.exceptions += 1;
                notes.refused(unit, *code);
            }
            Ok(_) => notes.answered(unit),
            Err(
                Fault::Waiting
                | Fault::Connect(_)
                | Fault::Suppressed(_)
                | Fault::Closed(_)
                | Fault::Garbled(_)
                | Fault::Aborted,
            ) => {}
        }
        outcome
    }

    /// Makes a connection unless there is one, or the role changes.
    async fn connect(&mut self) -> Result<(), Fault> {
        let inbox = Rc::clone(&self.inbox);
        let had_link = self.session.is_open();
        inbox.is_connecting.set(true);
        let opened = tokio::select! {
            biased;
            () = inbox.abort.notified() => Err(Fault::Aborted),
            opened = self.session.open() => opened,
        };
        inbox.is_connecting.set(false);
        opened?;
        if !had_link {
            self.counts.connections += 1;
            inbox.notes.borrow_mut().connected();
        }
        if inbox.role_pending() { Err(Fault::Aborted) } else { Ok(()) }
    }

    pub(crate) fn answered(&mut self, unit: u8) {
        let is_news = self.image.answered(unit);
        if is_news || self.down_since.is_some() {
            self.report();
        }
    }

    /// A unit is not there, the connection is.
    fn unit_fault(&mut self, unit: u8, quality: Quality, cause: &str) {
        if let Some(state) = self.image.units.get_mut(&unit) {
            state.backoff.fail();
        }
        if self.image.trouble(unit, quality, cause) {
            tracing::info!(unit, cause, "unit does not answer");
            self.report();
        }
    }

    /// A request got no answer.
    pub(crate) fn link_fault(&mut self, unit: u8, fault: &Fault) {
        let quality = match fault {
            Fault::Timeout(_) => {
                self.unit_fault(unit, Quality::BAD_TIMEOUT, &fault.to_string());
                return;
            }
            Fault::Waiting | Fault::Suppressed(_) | Fault::Aborted | Fault::Refused(_) => return,
            Fault::Connect(_) => Quality::BAD_NOT_CONNECTED,
            Fault::Closed(_) | Fault::Garbled(_) => Quality::BAD_COMMUNICATION,
        };
        let cause = fault.to_string();
        let units: Vec<u8> = self.image.units.keys().copied().collect();
        for unit in units {
            self.image.trouble(unit, quality, &cause);
        }
        self.image.pause();
        let now = Instant::now();
        for class in &mut self.image.classes {
            class.next_due = class.next_due.max(now);
        }
        self.went_down(&format!("{}: {cause}", self.settings.endpoint));
    }

    /// Tells the hub how the interface is doing.
    fn report(&mut self) {
        self.note();
        let units = self.image.units.len();
        let mut silent = self.image.units.iter().filter_map(|(unit, state)| {
            state.trouble.as_ref().map(|(_, cause)| format!("unit {unit}: {cause}"))
        });
        let first = silent.next();
        let count = usize::from(first.is_some()) + silent.count();
        match first {
            Some(first) if count == units => self.went_down(&format!("{}: {first}", self.settings.endpoint)),
            Some(first) => {
                self.cx.status(InterfaceState::Degraded, format!("{count} of {units} units silent, {first}"));
            }
            None => {
                let refused = self.image.refused();
                if refused == 0 {
                    self.went_up("connected");
                } else {
                    self.went_up("connected, the device refuses some items");
                    let cause = format!("the device refuses the addresses of {refused} items");
                    self.cx.status(InterfaceState::Degraded, cause);
                }
            }
        }
    }

    fn went_up(&mut self, cause: &str) {
        if let Some(since) = self.down_since.take() {
            let outage_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(endpoint = self.settings.endpoint, outage_ms, "device is back");
        }
        if self.image.refused() == 0 || self.role < Role::Hot {
            self.cx.status(InterfaceState::Ok, cause);
        }
    }

    fn went_down(&mut self, cause: &str) {
        self.inbox.notes.borrow_mut().faulted(cause);
        if self.down_since.is_none() {
            self.down_since = Some(Instant::now());
            tracing::info!(cause, "device is offline");
        }
        self.cx.status(InterfaceState::Fault, cause);
    }

    fn flush_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        for (name, count) in [
            ("modbus.requests", counts.requests),
            ("modbus.timeouts", counts.timeouts),
            ("modbus.exceptions", counts.exceptions),
            ("modbus.polls_missed", counts.overruns),
            ("modbus.connections", counts.connections),
        ] {
            if count > 0 {
                self.cx.count(name, count);
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Requests after which the instance's other tasks get their turn even if the device always answers at once.
const STEPS_PER_TURN: u32 = 8;
/// Pause before a busy device is asked again.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(50);
