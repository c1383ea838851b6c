//! Sending and receiving over multicast.
//!
//! ```text
//!                  ROUTING_BUSY                       time of the wait, then of the slow-down
//!   Open ──────────────────────────► Paused ─────────────────────────────────────────► Open
//!    ▲ Start │ Stop                    │  ▲ ROUTING_BUSY that lasts longer
//!    └ Closed┘◄────────── Stop ────────┘  └──┘
//! ```
//! Nothing confirms a telegram here: *sent* means given to the network.
//!
//! # Flow control
//! `03_08_05` Routing v01.05.02, §2.3.5. A router that cannot keep up asks for a pause. It lasts as long as the message
//! says, and a random time on top, up to N · 50 ms, so that not all senders begin at once. N counts the messages; those
//! within 10 ms of the last one count once. After the pause and a further N · 100 ms, N goes down by one every 5 ms.
//! Messages with a control field other than 0 address some routers only; the pause is kept for them, too, since it costs
//! less than a lost telegram.
//!
//! A sender gives at most 50 telegrams a second to the network (`03_02_06` Communication Medium KNX IP v01.01.02, §2.1),
//! which is kept by at least 20 ms between two.
//!
//! # Echoes
//! The network gives a sender its own multicast. What comes with the own address is dropped and counted, so every
//! node needs an address of its own, and two nodes of a pair need two.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cemi::{LData, Message};
use crate::ip::Frame;
use crate::tunnel::queue::Queue;
use crate::tunnel::{millis, pause};
use crate::{Apdu, Cemi, Error, GroupAddress, IndividualAddress, Moment, Payload, Priority};

/// The most reads that wait for an answer.
pub const READS_MAX: usize = 64;

/// How routing is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingConfig {
    /// The address of this node on the bus.
    pub address: IndividualAddress,
    /// The most telegrams a second; default 20, and never more than the 50 of the standard.
    pub telegrams_per_second: u32,
    /// The most telegrams that wait; default 256.
    pub queue_max: usize,
    /// How long to wait for the answer to a read; default 3 s.
    pub read_timeout: Duration,
    /// Where the random times come from.
    pub seed: u64,
}

impl RoutingConfig {
    /// With the defaults.
    pub const fn new(address: IndividualAddress, seed: u64) -> RoutingConfig {
        RoutingConfig {
            address,
            telegrams_per_second: 20,
            queue_max: 256,
            read_timeout: Duration::from_secs(3),
            seed,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The socket is in the group.
    Start,
    /// Nothing is wanted any more, or the socket failed.
    Stop,
    /// A datagram came.
    Frame(Vec<u8>),
    /// A telegram is to be sent.
    Send {
        /// What the outcome is told with.
        id: u64,
        /// The telegram; its message and its source are filled in.
        telegram: LData,
    },
    /// A group is to be read.
    Read {
        /// What the outcome is told with.
        id: u64,
        /// The group.
        group: GroupAddress,
    },
    /// The moment of the last `Timeout` has come.
    Wakeup,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Do this, then ask again.
    Action(Action),
    /// Nothing, until the next input or this moment.
    Timeout(Moment),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this frame to the group.
    Transmit {
        /// The frame.
        frame: Vec<u8>,
    },
    /// A telegram was heard.
    Received(LData),
    /// What became of [`Input::Send`].
    Sent {
        /// As it was given.
        id: u64,
        /// What became of it.
        outcome: SendOutcome,
    },
    /// What became of [`Input::Read`].
    ReadDone {
        /// As it was given.
        id: u64,
        /// What became of it.
        outcome: ReadOutcome,
    },
    /// A router asked for a pause, and sending stops.
    Paused {
        /// For how long, the random time included.
        wait_ms: u64,
        /// How many asked lately.
        busy: u32,
    },
    /// A router lost telegrams of others.
    Lost {
        /// How many.
        telegrams: u16,
        /// The router's bus has a fault.
        is_bus_fault: bool,
    },
}

/// What became of a telegram.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendOutcome {
    /// It was given to the network.
    #[error("given to the network")]
    Transmitted,
    /// Routing ended while it waited.
    #[error("routing ended before it was sent")]
    NotSent,
    /// Routing is not open.
    #[error("routing is not open")]
    NotOpen,
    /// Too many wait.
    #[error("{waiting} wait already, at most {max} may")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// How many may.
        max: usize,
    },
    /// The telegram cannot be written.
    #[error("the telegram cannot be written")]
    Unwritable(#[source] Error),
}

/// What became of a read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadOutcome {
    /// Somebody answered.
    Answered {
        /// Who.
        source: IndividualAddress,
        /// The value.
        payload: Payload,
    },
    /// Nobody did.
    NoAnswer {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The question was not asked, or its answer is no longer waited for.
    NotAsked(SendOutcome),
}

/// What was counted since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Telegrams heard.
    pub received: u64,
    /// Telegrams given to the network.
    pub transmitted: u64,
    /// Telegrams refused since too many waited.
    pub overflowed: u64,
    /// Own telegrams that came back.
    pub echoes: u64,
    /// Messages that asked for a pause.
    pub busy: u64,
    /// Telegrams that routers say they lost.
    pub lost: u64,
    /// Frames that could not be read.
    pub malformed: u64,
    /// Frames that mean nothing here.
    pub ignored: u64,
}

/// Routing.
#[derive(Debug)]
pub struct Routing {
    config: RoutingConfig,
    is_open: bool,
    queue: Queue<Job>,
    reads: Vec<PendingRead>,
    timers: BTreeMap<Timer, Moment>,
    actions: VecDeque<Action>,
    counters: Counters,
    next_send: Moment,
    /// N of the flow control.
    busy: u32,
    last_busy: Option<Moment>,
    paused_until: Option<Moment>,
    random: u64,
}

/// What the machine waits for. Each has at most one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The end of a pause.
    Pause,
    /// When N goes down by one.
    SlowDown,
    /// When the next telegram may be sent.
    Pace,
    /// The next read that nobody answered.
    Read,
}

#[derive(Debug)]
struct Job {
    id: u64,
    telegram: LData,
    read: Option<GroupAddress>,
}

#[derive(Debug)]
struct PendingRead {
    id: u64,
    group: GroupAddress,
    asked: Moment,
}

impl Routing {
    /// Routing that is not open.
    pub fn new(config: RoutingConfig) -> Routing {
        Routing {
            queue: Queue::new(config.queue_max),
            random: config.seed,
            config,
            is_open: false,
            reads: Vec::new(),
            timers: BTreeMap::new(),
            actions: VecDeque::new(),
            counters: Counters::default(),
            next_send: Moment::ZERO,
            busy: 0,
            last_busy: None,
            paused_until: None,
        }
    }

    /// The address of this node on the bus.
    pub const fn address(&self) -> IndividualAddress {
        self.config.address
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Telegrams that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether a telegram given now would be sent at once: no pause, nothing waits, and the pace allows it. For an owner
    /// that decides at the last moment whether a telegram may be sent.
    pub fn is_free(&self, now: Moment) -> bool {
        self.is_open && self.paused_until.is_none() && self.queue.len() == 0 && now >= self.next_send
    }

    /// Takes what happened.
    pub fn handle_input(&mut self, input: Input, now: Moment) {
        match input {
            Input::Start => self.is_open = true,
            Input::Stop => self.on_stop(),
            Input::Frame(bytes) => self.on_frame(&bytes, now),
            Input::Send { id, telegram } => self.on_send(Job { id, telegram, read: None }),
            Input::Read { id, group } => {
                let telegram = LData::group_request(group, Priority::Low, Apdu::GroupValueRead);
                self.on_send(Job { id, telegram, read: Some(group) });
            }
            Input::Wakeup => self.on_wakeup(now),
        }
        self.send_next(now);
        assert!(self.queue.len() <= self.config.queue_max && self.reads.len() <= READS_MAX, "bounded");
        assert!(self.is_open || self.queue.len() == 0, "nothing waits while routing is closed");
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Output {
        match self.actions.pop_front() {
            Some(action) => Output::Action(action),
            None => Output::Timeout(self.timers.values().min().copied().unwrap_or(Moment::NEVER)),
        }
    }

    fn on_stop(&mut self) {
        self.is_open = false;
        self.timers.clear();
        (self.busy, self.last_busy, self.paused_until) = (0, None, None);
        while let Some(job) = self.queue.pop() {
            self.finish(&job, SendOutcome::NotSent);
        }
        let reads = std::mem::take(&mut self.reads);
        self.actions.extend(reads.into_iter().map(|read| Action::ReadDone {
            id: read.id,
            outcome: ReadOutcome::NotAsked(SendOutcome::NotSent),
        }));
    }

    fn on_send(&mut self, job: Job) {
        if !self.is_open {
            self.finish(&job, SendOutcome::NotOpen);
            return;
        }
        if let Err(job) = self.queue.push(job.telegram.control.priority, job) {
            self.counters.overflowed += 1;
            let waiting = self.queue.len();
            self.finish(&job, SendOutcome::QueueFull { waiting, max: self.config.queue_max });
        }
    }

    fn on_frame(&mut self, bytes: &[u8], now: Moment) {
        if !self.is_open {
            self.counters.ignored += 1;
            return;
        }
        match Frame::decode(bytes) {
            Err(_) => self.counters.malformed += 1,
            Ok(Frame::RoutingIndication { cemi }) => self.on_cemi(&cemi),
            Ok(Frame::RoutingBusy { wait_ms, .. }) => self.on_busy(wait_ms, now),
            Ok(Frame::RoutingLost { device_state, lost }) => {
                self.counters.lost += u64::from(lost);
                let is_bus_fault = device_state & 1 != 0;
                self.actions.push_back(Action::Lost { telegrams: lost, is_bus_fault });
            }
            Ok(_) => self.counters.ignored += 1,
        }
    }

    fn on_cemi(&mut self, bytes: &[u8]) {
        let telegram = match Cemi::decode(bytes) {
            Ok(Cemi::Data(telegram)) if telegram.message == Message::Indication => telegram,
            Ok(_) => {
                self.counters.ignored += 1;
                return;
            }
            Err(_) => {
                self.counters.malformed += 1;
                return;
            }
        };
        if telegram.source == self.config.address {
            self.counters.echoes += 1;
            return;
        }
        self.counters.received += 1;
        if let Some((group, Apdu::GroupValueResponse(payload))) = telegram.group_apdu() {
            let source = telegram.source;
            let answered = self.reads.extract_if(.., |read| read.group == group);
            self.actions.extend(answered.map(|read| Action::ReadDone {
                id: read.id,
                outcome: ReadOutcome::Answered { source, payload: payload.clone() },
            }));
            self.time_reads();
        }
        self.actions.push_back(Action::Received(telegram));
    }

    fn on_busy(&mut self, wait_ms: u16, now: Moment) {
        self.counters.busy += 1;
        let counts = self.last_busy.is_none_or(|last| now.since(last) > BUSY_TOGETHER);
        self.last_busy = Some(now);
        if counts {
            self.busy = self.busy.saturating_add(1).min(BUSY_MAX);
        }
        let wait = Duration::from_millis(u64::from(wait_ms));
        if self.paused_until.is_some_and(|until| until >= now + wait) {
            return;
        }
        let random_max = BUSY_RANDOM_MS * u64::from(self.busy);
        let wait = wait + Duration::from_millis(self.random() % (random_max + 1));
        self.paused_until = Some(now + wait);
        self.timers.insert(Timer::Pause, now + wait);
        self.timers.insert(Timer::SlowDown, now + wait + BUSY_SLOW * self.busy);
        self.actions.push_back(Action::Paused { wait_ms: millis(wait), busy: self.busy });
    }

    fn on_wakeup(&mut self, now: Moment) {
        let due: Vec<Timer> =
            self.timers.iter().filter(|(_, moment)| **moment <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            self.timers.remove(&timer);
            match timer {
                Timer::Pause => self.paused_until = None,
                Timer::SlowDown => {
                    self.busy = self.busy.saturating_sub(1);
                    if self.busy > 0 {
                        self.timers.insert(Timer::SlowDown, now + BUSY_DECREMENT);
                    }
                }
                // What waits is sent behind every input.
                Timer::Pace => {}
                Timer::Read => self.end_reads(now),
            }
        }
    }

    fn end_reads(&mut self, now: Moment) {
        let timeout = self.config.read_timeout;
        let over = self.reads.extract_if(.., |read| read.asked + timeout <= now);
        self.actions.extend(over.map(|read| Action::ReadDone {
            id: read.id,
            outcome: ReadOutcome::NoAnswer { waited_ms: millis(now.since(read.asked)) },
        }));
        self.time_reads();
    }

    fn time_reads(&mut self) {
        match self.reads.iter().map(|read| read.asked).min() {
            Some(asked) => self.timers.insert(Timer::Read, asked + self.config.read_timeout),
            None => self.timers.remove(&Timer::Read),
        };
    }

    fn send_next(&mut self, now: Moment) {
        self.timers.remove(&Timer::Pace);
        while self.paused_until.is_none() && self.queue.len() > 0 {
            if now < self.next_send {
                self.timers.insert(Timer::Pace, self.next_send);
                return;
            }
            let Some(mut job) = self.queue.pop() else { return };
            if job.read.is_some() && self.reads.len() >= READS_MAX {
                self.counters.overflowed += 1;
                self.finish(&job, SendOutcome::QueueFull { waiting: READS_MAX, max: READS_MAX });
                continue;
            }
            job.telegram.message = Message::Indication;
            job.telegram.source = self.config.address;
            match write(&job.telegram) {
                Ok(frame) => self.transmit(&job, frame, now),
                Err(error) => self.finish(&job, SendOutcome::Unwritable(error)),
            }
        }
    }

    fn transmit(&mut self, job: &Job, frame: Vec<u8>, now: Moment) {
        self.next_send = now + pause(self.config.telegrams_per_second).max(PAUSE_MIN);
        self.counters.transmitted += 1;
        self.actions.push_back(Action::Transmit { frame });
        match job.read {
            Some(group) => {
                self.reads.push(PendingRead { id: job.id, group, asked: now });
                self.time_reads();
            }
            None => self.finish(job, SendOutcome::Transmitted),
        }
    }

    fn finish(&mut self, job: &Job, outcome: SendOutcome) {
        self.actions.push_back(match job.read {
            Some(_) => Action::ReadDone { id: job.id, outcome: ReadOutcome::NotAsked(outcome) },
            None => Action::Sent { id: job.id, outcome },
        });
    }

    /// `SplitMix64`: numbers that spread well from any seed, no secret.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn write(telegram: &LData) -> Result<Vec<u8>, Error> {
    let cemi = Cemi::Data(telegram.clone()).encode()?;
    Frame::RoutingIndication { cemi }.encode()
}

// The times of 03_08_05, §2.3.5.
const BUSY_TOGETHER: Duration = Duration::from_millis(10);
const BUSY_RANDOM_MS: u64 = 50;
const BUSY_SLOW: Duration = Duration::from_millis(100);
const BUSY_DECREMENT: Duration = Duration::from_millis(5);
/// Bounds the random time at five seconds, whatever floods the group.
const BUSY_MAX: u32 = 100;
/// `03_02_06`, §2.1.
const PAUSE_MIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
