//! The task that talks to the bus: one telegram is under way at a time, each with a permit.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use twinhub_knx_protocol::{GroupAddress, LData};
use twinhub_plugin::{Code, Ctx, Epoch, InterfaceState, Permit, Result, Role};

use crate::backoff::Backoff;
use crate::config::{Mode, Settings};
use crate::inbox::Inbox;
use crate::link::{Link, Unsent};
use crate::machine::{Event, Outcome};
use crate::monitor::Counts;
use crate::queue::Job;
use crate::reads::Reads;
use crate::succession::{Legacy, Readings};

mod heard;
mod legacy;
mod opening;

use legacy::Owed;

/// State of the task.
#[derive(Debug)]
pub(crate) struct Driver {
    cx: Ctx,
    settings: Rc<Settings>,
    inbox: Rc<Inbox>,
    link: Option<Link>,
    role: Role,
    epoch: Epoch,
    /// The role version that `role` and `epoch` are of; what was in flight before may have yet to end.
    version: u64,
    under_way: Option<UnderWay>,
    reads: Reads,
    next_id: u64,
    /// Nothing is sent before.
    pace_at: Instant,
    /// When it is looked next for writes that waited too long.
    expire_at: Instant,
    backoff: Backoff,
    /// The gateway to try next.
    gateway: usize,
    legacy: Legacy,
    /// What the node that acts said of its reads when this standby began to hear the bus.
    reads_at_connect: Option<Readings>,
    /// When this node says that it acts.
    beat_at: Instant,
    owed: Owed,
    items_version: u64,
    /// Since when there is no connection, if that was logged.
    down_since: Option<Instant>,
    /// The socket is closed, whatever the gateway answers.
    is_leaving: bool,
}

/// What was given to the machine.
#[derive(Debug)]
struct UnderWay {
    id: u64,
    job: Job,
}

/// Why the task woke.
enum Wake {
    Changed,
    Time,
    Frame(std::io::Result<Vec<u8>>),
}

impl Driver {
    pub(crate) fn new(cx: Ctx, settings: Rc<Settings>, inbox: Rc<Inbox>) -> Self {
        Self {
            link: None,
            role: Role::Cold,
            epoch: Epoch(0),
            version: 0,
            under_way: None,
            reads: Reads::default(),
            next_id: 0,
            pace_at: Instant::now(),
            expire_at: Instant::now(),
            reads_at_connect: None,
            beat_at: Instant::now(),
            backoff: Backoff::new(settings.config.backoff_min.0, settings.config.backoff_max.0),
            gateway: 0,
            legacy: Legacy::new(cx.store()),
            owed: Owed::default(),
            items_version: 0,
            down_since: None,
            is_leaving: false,
            cx,
            settings,
            inbox,
        }
    }

    /// Runs as long as the instance.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            self.adopt();
            self.expire();
            if self.wants_link() && self.link.is_none() {
                self.open().await;
            }
            self.feed();
            if self.is_leaving {
                self.leave();
            }
            self.beat();
            self.owe();
            self.settle();
            self.note();
            self.wait().await;
        }
    }

    fn wants_link(&self) -> bool {
        self.role >= Role::Hot
    }

    /// Takes over the role that the hub set.
    fn adopt(&mut self) {
        let version = self.inbox.role_version.get();
        if version != self.version {
            let (role, epoch) = self.inbox.role.get();
            let before = std::mem::replace(&mut self.role, role);
            self.epoch = epoch;
            self.version = version;
            if role != before {
                self.change(before);
            }
        }
        if self.items_version != self.inbox.items_version.get() {
            self.items_version = self.inbox.items_version.get();
            if self.role == Role::Active {
                self.begin_answers();
                self.reads.plan_cycles(&self.inbox.image.borrow(), Instant::now());
                if self.link.as_ref().is_some_and(|link| link.is_up) {
                    // Rows that are new have no value yet.
                    self.begin_reads(false);
                }
            }
        }
    }

    fn change(&mut self, before: Role) {
        if self.role != Role::Active {
            self.refuse_waiting();
            self.reads.clear();
        }
        match self.role {
            Role::Cold | Role::Warm => {
                self.is_leaving = true;
                if self.link.is_none() {
                    self.left();
                }
            }
            Role::Hot | Role::Active => {
                self.is_leaving = false;
                if before < Role::Hot {
                    self.backoff.succeed();
                    self.gateway = 0;
                    self.down_since = None;
                    self.cx.status(InterfaceState::Connecting, "connecting");
                }
                if self.role == Role::Active {
                    self.act();
                } else {
                    self.reads_at_connect = self.legacy.reads();
                    self.report();
                }
            }
        }
    }

    /// The node begins to act.
    fn act(&mut self) {
        self.begin_answers();
        self.reads.plan_cycles(&self.inbox.image.borrow(), Instant::now());
        let Some(link) = self.link.as_ref().filter(|link| link.is_up) else { return };
        tracing::debug!(address = %link.address, "the standby's tunnel is that of the active node");
        self.inbox.image.borrow().confirm();
        if !self.knows_all() {
            self.begin_reads(false);
        }
        self.owe_slot();
        self.report();
    }

    /// Says good-bye to the gateway when nothing is under way any more.
    fn leave(&mut self) {
        let may = self.under_way.is_none() || self.inbox.is_cut.get();
        let Some(link) = self.link.as_mut().filter(|link| !link.is_stopping && may) else { return };
        link.is_stopping = true;
        let event = link.machine.stop();
        self.pump();
        self.take(event);
    }

    /// What was not sent before the role was lost is not sent at all.
    fn refuse_waiting(&mut self) {
        let jobs = self.inbox.queue.borrow_mut().take(|_| true);
        if jobs.is_empty() {
            return;
        }
        self.cx.count("suppressed.not_active", jobs.len() as u64);
        self.count(|counts| counts.suppressed += jobs.len() as u64);
        for job in jobs {
            job.done(Code::NotActive);
        }
    }

    /// Writes that waited too long, for their time or for a connection.
    fn expire(&mut self) {
        let is_up = self.link.as_ref().is_some_and(|link| link.is_up);
        let wait = self.settings.config.write_wait.0;
        let mut queue = self.inbox.queue.borrow_mut();
        let now = Instant::now();
        if queue.len() == 0 || now < self.expire_at {
            return;
        }
        self.expire_at = now + EXPIRY_LOOK;
        let expired = queue.take(|job| job.write.as_ref().is_some_and(|write| write.deadline.has_passed()));
        let stranded = if is_up { Vec::new() } else { queue.take(|job| job.since.elapsed() >= wait) };
        drop(queue);
        self.count(|counts| {
            counts.expired += expired.len() as u64;
            counts.not_sent += stranded.len() as u64;
        });
        for job in expired {
            job.done(Code::Expired);
        }
        for job in stranded {
            job.done(Code::Device);
        }
    }

    /// Gives the machine the next telegram, if it would leave at once and is permitted.
    fn feed(&mut self) {
        while self.role == Role::Active && !self.inbox.role_pending() && self.under_way.is_none() {
            let now = Instant::now();
            let is_free = self.link.as_ref().is_some_and(|link| link.is_up && link.machine.is_free());
            if !is_free || now < self.pace_at {
                return;
            }
            let job = self.inbox.queue.borrow_mut().pop();
            if let Some(job) = job {
                self.feed_job(job);
                continue;
            }
            // A read that may not be sent stays planned.
            if self.reads.due().is_none_or(|due| due > now) || !self.cx.gate().is_open() {
                return;
            }
            let Ok(permit) = self.cx.gate().permit_current() else { return };
            let Some(group) = self.reads.pop(now) else { return };
            self.feed_read(group, permit);
        }
    }

    fn feed_job(&mut self, job: Job) {
        let epoch = job.write.as_ref().map_or(self.epoch, |write| write.epoch);
        if job.write.as_ref().is_some_and(|write| write.deadline.has_passed()) {
            self.count(|counts| counts.expired += 1);
            return job.done(Code::Expired);
        }
        match self.cx.gate().permit(epoch) {
            Err(suppressed) => {
                self.count(|counts| counts.suppressed += 1);
                job.done(suppressed);
            }
            Ok(permit) => {
                let (id, telegram) = (self.id(), job.telegram());
                self.under_way = Some(UnderWay { id, job });
                self.give(permit, |link| link.machine.send(id, telegram));
            }
        }
    }

    fn feed_read(&mut self, group: GroupAddress, permit: Permit) {
        let id = self.id();
        self.count(|counts| counts.reads_asked += 1);
        self.reads.asked(id, group, Duration::from_secs(1) / self.settings.config.read_rate);
        self.give(permit, |link| link.machine.read(id, group));
    }

    fn give(&mut self, permit: Permit, give: impl FnOnce(&mut Link)) {
        let pause = Duration::from_secs(1) / self.settings.config.rate;
        let least = if self.settings.config.mode == Mode::Routing { ROUTING_PAUSE } else { Duration::ZERO };
        self.pace_at = Instant::now() + pause.max(least);
        if let Some(link) = &mut self.link {
            link.pass = Some(permit);
            link.is_held_back = false;
            give(link);
        }
        self.pump();
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.inbox.monitor.borrow_mut().counts);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Carries out what the machine wants.
    fn pump(&mut self) {
        while let Some(event) = self.link.as_mut().and_then(Link::poll) {
            self.take(Some(event));
        }
    }

    fn take(&mut self, event: Option<Event>) {
        let Some(event) = event else { return };
        match event {
            Event::Transmit { is_data, frame } => self.transmit(&frame, is_data),
            Event::Reclaimed { channel, status } => self.reclaimed(channel, status),
            Event::Connected { channel, address, data } => self.connected(channel, address, data),
            Event::Disconnected { reason } => self.disconnected(reason),
            Event::Received(telegram) => self.received(&telegram),
            Event::Sent { id, outcome } => self.sent(id, outcome),
            Event::Read { id, answer } => self.read_done(id, &answer),
            Event::Paused { wait_ms } => {
                let until = Instant::now() + Duration::from_millis(wait_ms);
                self.inbox.monitor.borrow_mut().connection.is_paused_until = Some(until);
                tracing::debug!(wait_ms, "a router asks for a pause");
            }
            Event::Lost { telegrams } => {
                self.count(|counts| counts.lost_by_routers += u64::from(telegrams));
                self.cx.count("knx.lost_by_routers", telegrams.into());
                tracing::info!(telegrams, "a router lost telegrams");
            }
        }
    }

    fn transmit(&mut self, frame: &[u8], is_data: bool) {
        let Some(link) = &mut self.link else { return };
        match link.send(frame, is_data) {
            Ok(()) => {}
            Err(Unsent::Suppressed) => {
                self.count(|counts| counts.suppressed += 1);
            }
            Err(Unsent::Io(error)) => {
                tracing::debug!(error = %error, "a frame did not leave");
                self.inbox.monitor.borrow_mut().failed(&error.to_string());
                if link.is_stream() {
                    let event = link.machine.lost();
                    self.take(event);
                }
            }
        }
    }

    /// What became of a telegram.
    fn sent(&mut self, id: u64, outcome: Outcome) {
        let Some(UnderWay { job, .. }) = self.under_way.take_if(|under_way| under_way.id == id) else {
            return;
        };
        let is_held_back = self.link.as_ref().is_some_and(|link| link.is_held_back);
        let is_routing = self.settings.config.mode == Mode::Routing;
        let (outcome, code) = match outcome {
            // Routing takes what was given to it as sent.
            Outcome::Done if is_routing && is_held_back => {
                (Outcome::NotSent("it did not leave this host".to_owned()), Code::Device)
            }
            Outcome::Done => (Outcome::Done, Code::Ok),
            Outcome::Refused(why) => (Outcome::Refused(why), Code::Device),
            Outcome::Unknown(why) => (Outcome::Unknown(why), Code::Timeout),
            Outcome::NotSent(why) => (Outcome::NotSent(why), Code::Device),
        };
        self.count(|counts| match &outcome {
            Outcome::Done => counts.sent += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::Unknown(_) => counts.unknown += 1,
            Outcome::NotSent(_) => counts.not_sent += 1,
        });
        match &outcome {
            Outcome::Refused(why) => tracing::info!(group = %job.group, why, "a telegram was refused"),
            Outcome::Unknown(why) => {
                tracing::info!(group = %job.group, why, "what became of a telegram is not known");
            }
            Outcome::Done | Outcome::NotSent(_) => {}
        }
        if outcome == Outcome::Done {
            self.own(&job.telegram());
        }
        job.done(code);
    }

    /// The role is reached when nothing is in flight.
    fn settle(&mut self) {
        if self.version == self.inbox.role_reached.get() {
            return;
        }
        if self.role != Role::Active && self.under_way.is_some() {
            if !self.inbox.is_cut.get() {
                return;
            }
            if let Some(UnderWay { job, .. }) = self.under_way.take() {
                self.count(|counts| counts.unknown += 1);
                job.done(Code::Timeout);
            }
        }
        if self.is_leaving && self.link.is_some() {
            if !self.inbox.is_cut.get() {
                return;
            }
            // The gateway does not answer in time: its slot is free when it misses the heartbeat.
            self.link = None;
            self.left();
        }
        self.inbox.is_cut.set(false);
        self.inbox.role_reached.set(self.version);
        self.inbox.reached.notify_one();
    }

    /// There is no socket any more.
    fn left(&mut self) {
        let mut monitor = self.inbox.monitor.borrow_mut();
        (monitor.connection.address, monitor.connection.channel) = (None, None);
        drop(monitor);
        self.cx.status(InterfaceState::Suppressed, "standby: not connected");
    }

    /// Waits for the hub, the bus, or the next moment.
    async fn wait(&mut self) {
        let wakes_at = self.wakes_at();
        let inbox = Rc::clone(&self.inbox);
        let wake = {
            let time = async {
                match wakes_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let frame = async {
                match &mut self.link {
                    Some(link) => link.receive().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = inbox.changed.notified() => Wake::Changed,
                () = time => Wake::Time,
                frame = frame => Wake::Frame(frame),
            }
        };
        let Some(link) = &mut self.link else { return };
        match wake {
            Wake::Changed => return,
            Wake::Time => {
                if link.wakes_at().is_some_and(|at| at <= Instant::now()) {
                    link.machine.wake();
                }
            }
            Wake::Frame(Ok(frame)) => link.machine.frame(frame),
            // A new socket is a way out of whatever this one met.
            Wake::Frame(Err(error)) => {
                self.inbox.monitor.borrow_mut().failed(&error.to_string());
                let event = link.machine.lost();
                self.take(event);
            }
        }
        self.pump();
    }

    fn wakes_at(&self) -> Option<Instant> {
        let queue = self.inbox.queue.borrow();
        let mut moments = Vec::with_capacity(6);
        if self.link.is_none() && self.wants_link() {
            moments.push(self.backoff.waits_until().unwrap_or_else(|| Instant::now() + GATE_LOOK));
        }
        if let Some(link) = &self.link {
            moments.extend(link.wakes_at());
            if self.role == Role::Active && link.is_up && self.under_way.is_none() {
                if queue.len() > 0 && self.pace_at > Instant::now() {
                    moments.push(self.pace_at);
                }
                let closed = Instant::now() + GATE_LOOK;
                let due = self.reads.due().map(|due| due.max(self.pace_at));
                moments.extend(due.map(|due| if self.cx.gate().is_open() { due } else { due.max(closed) }));
            }
        }
        if queue.len() > 0 {
            moments.push(self.expire_at);
        }
        if self.beats() {
            moments.push(self.beat_at);
        }
        if self.owed.is_open() {
            moments.push(Instant::now() + GATE_LOOK);
        }
        moments.into_iter().min()
    }

    /// An own telegram that the bus has.
    fn own(&mut self, telegram: &LData) {
        let address = self.link.as_ref().map(|link| link.address).unwrap_or_default();
        self.inbox.monitor.borrow_mut().note(telegram, address, true);
        self.value(telegram);
    }
}

/// How often it is looked whether the hub gives permits, or has room.
const GATE_LOOK: Duration = Duration::from_millis(100);
/// How often it is looked for writes whose time is over.
const EXPIRY_LOOK: Duration = Duration::from_millis(20);
/// Between two telegrams of routing (`03_02_06`, §2.1), and a little for two clocks that are read one after the other.
const ROUTING_PAUSE: Duration = Duration::from_micros(20_100);
