//! The timer that members have in common, and their frames.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::recent::Recent;
use crate::Moment;
use crate::ip::{Frame, SecureFrame};
use crate::secure::Key;
use crate::secure::wrapper::{self, Nonce, SEQUENCE_MAX, sequence_bytes, sequence_number};

/// How a member of the group is to be. [`GroupConfig::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    /// The key of the backbone.
    pub key: Key,
    /// The serial number of this node. No other member may have it, the other node of a pair neither.
    pub serial: [u8; 6],
    /// How old a frame may be; default 2000 ms, and the same for all members: the keyring tells it.
    pub latency_ms: u16,
    /// Where the own timer begins: above all that this node had before. Milliseconds since some day do, if the clock is
    /// right; so does what was saved, and an hour more.
    pub timer_ms: u64,
    /// Where random times and tags come from.
    pub seed: u64,
}

impl GroupConfig {
    /// With the defaults.
    pub const fn new(key: Key, serial: [u8; 6], timer_ms: u64, seed: u64) -> GroupConfig {
        GroupConfig { key, serial, latency_ms: 2000, timer_ms, seed }
    }
}

/// What was counted since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounters {
    /// Frames older than the latency tolerance.
    pub old: u64,
    /// Frames that were heard before.
    pub duplicates: u64,
    /// Frames with a wrong code: forged, or of members with another key.
    pub forged: u64,
    /// Frames in plain.
    pub plain: u64,
    /// Frames that came before the timer was known.
    pub early: u64,
    /// Own frames that came back.
    pub echoes: u64,
    /// Frames that could not be read, or that cannot be inside a wrapper.
    pub malformed: u64,
    /// Frames that were to be sent before the timer was known, or are too long.
    pub unsent: u64,
}

/// What a frame turned out to be.
pub(super) enum Heard {
    /// This was in it.
    Frame(Vec<u8>),
    /// Nothing for routing.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Group {
    config: GroupConfig,
    state: State,
    is_timekeeper: bool,
    /// The timer at some moment; it begins with the first start.
    base: Option<(u64, Moment)>,
    timers: BTreeMap<Timer, Moment>,
    /// Who is to be answered with the timer, if that is what is scheduled.
    update: Option<([u8; 6], u16)>,
    recent: Recent,
    /// Codes of own notifications: they carry the serial number of others when they answer.
    sent: VecDeque<[u8; 16]>,
    /// Timer and tag of the last own wrapper.
    last: (u64, u16),
    frames: VecDeque<Vec<u8>>,
    counters: GroupCounters,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Synchronizing { tag: u16 },
    Open,
}

/// What the machine waits for. Each has at most one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The answer to the question for the timer.
    Synchronized,
    /// When to tell the timer.
    Notify,
}

impl Group {
    pub(super) fn new(config: GroupConfig) -> Group {
        Group {
            state: State::Closed,
            is_timekeeper: false,
            base: None,
            timers: BTreeMap::new(),
            update: None,
            recent: Recent::default(),
            sent: VecDeque::new(),
            last: (0, 0),
            frames: VecDeque::new(),
            counters: GroupCounters::default(),
            random: config.seed,
            config,
        }
    }

    pub(super) const fn counters(&self) -> GroupCounters {
        self.counters
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(super) const fn is_timekeeper(&self) -> bool {
        self.is_timekeeper
    }

    pub(super) const fn is_synchronizing(&self) -> bool {
        matches!(self.state, State::Synchronizing { .. })
    }

    pub(super) fn timeout(&self) -> Moment {
        self.timers.values().min().copied().unwrap_or(Moment::NEVER)
    }

    pub(super) fn take_frames(&mut self) -> impl Iterator<Item = Vec<u8>> {
        std::mem::take(&mut self.frames).into_iter()
    }

    /// The timer.
    pub(super) fn timer(&self, now: Moment) -> u64 {
        let (timer, moment) = self.base.unwrap_or((self.config.timer_ms, now));
        let passed = u64::try_from(now.since(moment).as_millis()).unwrap_or(u64::MAX);
        timer.saturating_add(passed)
    }

    pub(super) fn start(&mut self, now: Moment) {
        if self.state != State::Closed {
            return;
        }
        // It runs on while routing is stopped.
        self.base.get_or_insert((self.config.timer_ms, now));
        let tag = self.random_tag();
        self.state = State::Synchronizing { tag };
        self.is_timekeeper = false;
        let serial = self.config.serial;
        self.notify(serial, tag, now);
        let latency = u64::from(self.config.latency_ms);
        let (_, max) = self.delay_ms(true);
        self.timers.insert(Timer::Synchronized, now + Duration::from_millis(max + 2 * latency));
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Closed;
        self.timers.clear();
        self.update = None;
        self.frames.clear();
    }

    pub(super) fn wakeup(&mut self, now: Moment) {
        let is_due = |moment: &Moment| *moment <= now;
        if self.timers.get(&Timer::Synchronized).is_some_and(is_due) {
            // E12: nobody answers.
            self.is_timekeeper = true;
            self.open(now);
        }
        if self.timers.get(&Timer::Notify).is_some_and(is_due) {
            // E10.
            let (serial, tag) = match self.update.take() {
                Some(update) => update,
                None => (self.config.serial, self.random_tag()),
            };
            self.notify(serial, tag, now);
            self.is_timekeeper = true;
            self.schedule(None, now);
        }
    }

    /// Takes a frame from the network.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Moment) -> Heard {
        if self.state == State::Closed {
            return Heard::Nothing;
        }
        match Frame::decode(bytes) {
            Ok(Frame::Secure(SecureFrame::TimerNotify { timer, serial, tag, code })) => {
                let nonce = Nonce { sequence: sequence_number(timer), serial, tag };
                self.on_notify(nonce, code, now);
                Heard::Nothing
            }
            Ok(Frame::Secure(SecureFrame::Wrapper {
                session: 0,
                sequence,
                serial,
                tag,
                encrypted,
                code,
            })) => {
                let nonce = Nonce { sequence: sequence_number(sequence), serial, tag };
                self.on_wrapper(nonce, encrypted, code, now)
            }
            Ok(Frame::Secure(_)) | Err(_) => {
                self.counters.malformed += 1;
                Heard::Nothing
            }
            Ok(_) => {
                self.counters.plain += 1;
                Heard::Nothing
            }
        }
    }

    /// Wraps a frame for the network.
    pub(super) fn wrap(&mut self, frame: &[u8], now: Moment) -> Option<Vec<u8>> {
        let sequence = self.timer(now);
        let random = self.random_tag();
        // Within a millisecond the tag alone makes frames differ.
        let tag = if sequence == self.last.0 { self.last.1.wrapping_add(1) } else { random };
        let nonce = Nonce { sequence, serial: self.config.serial, tag };
        let is_ready = self.is_open() && sequence <= SEQUENCE_MAX;
        let wrapped = if is_ready { wrapper::wrap(&self.config.key, 0, nonce, frame).ok() } else { None };
        if wrapped.is_none() {
            self.counters.unsent += 1;
            return None;
        }
        self.last = (sequence, tag);
        // E9.
        if self.update.is_none() {
            self.schedule(None, now);
        }
        wrapped
    }

    fn on_notify(&mut self, nonce: Nonce, code: [u8; 16], now: Moment) {
        if self.sent.contains(&code) {
            self.counters.echoes += 1;
            return;
        }
        if !bool::from(wrapper::timer_code(&self.config.key, nonce).ct_eq(&code)) {
            self.counters.forged += 1;
            return;
        }
        let local = self.timer(now);
        let received = nonce.sequence;
        if let State::Synchronizing { tag } = self.state {
            self.advance(received, now);
            // E11: the answer.
            if nonce.serial == self.config.serial && nonce.tag == tag {
                self.open(now);
            }
        } else if received + self.sync_latency_ms() > local {
            // E1, E2.
            self.advance(received, now);
            self.is_timekeeper = false;
            self.schedule(None, now);
        } else if received + u64::from(self.config.latency_ms) > local {
            // E3: neither news nor wrong.
        } else if self.update.is_none() {
            // E4.
            self.schedule(Some((nonce.serial, nonce.tag)), now);
        }
    }

    fn on_wrapper(&mut self, nonce: Nonce, encrypted: Vec<u8>, code: [u8; 16], now: Moment) -> Heard {
        if !self.is_open() {
            self.counters.early += 1;
            return Heard::Nothing;
        }
        if nonce.serial == self.config.serial {
            self.counters.echoes += 1;
            return Heard::Nothing;
        }
        let Some(frame) = wrapper::unwrap(&self.config.key, 0, nonce, encrypted, code) else {
            self.counters.forged += 1;
            return Heard::Nothing;
        };
        let local = self.timer(now);
        let received = nonce.sequence;
        let latency = u64::from(self.config.latency_ms);
        if received + latency <= local {
            // E8.
            self.counters.old += 1;
            if self.update.is_none() {
                self.schedule(Some((nonce.serial, nonce.tag)), now);
            }
            return Heard::Nothing;
        }
        if !self.recent.is_new(nonce, (local + 1).saturating_sub(latency)) {
            self.counters.duplicates += 1;
            return Heard::Nothing;
        }
        // E5, E6; with E7 nothing is to be done.
        self.advance(received, now);
        if received + self.sync_latency_ms() > local && self.update.is_none() {
            self.schedule(None, now);
        }
        if matches!(Frame::decode(&frame), Ok(Frame::Secure(_)) | Err(_)) {
            self.counters.malformed += 1;
            return Heard::Nothing;
        }
        Heard::Frame(frame)
    }

    fn open(&mut self, now: Moment) {
        self.timers.remove(&Timer::Synchronized);
        self.state = State::Open;
        self.schedule(None, now);
    }

    /// The timer only goes forward.
    fn advance(&mut self, received: u64, now: Moment) {
        if received > self.timer(now) {
            self.base = Some((received, now));
        }
    }

    fn schedule(&mut self, update: Option<([u8; 6], u16)>, now: Moment) {
        let (min, max) = self.delay_ms(update.is_some());
        self.update = update;
        let delay = min + self.random() % (max - min + 1);
        self.timers.insert(Timer::Notify, now + Duration::from_millis(delay));
    }

    /// §2.2.2.3: followers wait for what timekeepers may take, so that these come first.
    fn delay_ms(&self, is_update: bool) -> (u64, u64) {
        let sync = self.sync_latency_ms();
        let (keeper_min, spread) = if is_update { (UPDATE_MS, sync) } else { (PERIODIC_MS, 3 * sync) };
        let keeper_max = keeper_min + spread;
        if self.is_timekeeper {
            (keeper_min, keeper_max)
        } else {
            (keeper_max + sync, keeper_max + 11 * sync)
        }
    }

    const fn sync_latency_ms(&self) -> u64 {
        self.config.latency_ms as u64 / SYNC_FRACTION
    }

    fn notify(&mut self, serial: [u8; 6], tag: u16, now: Moment) {
        let sequence = self.timer(now);
        if sequence > SEQUENCE_MAX {
            self.counters.unsent += 1;
            return;
        }
        let nonce = Nonce { sequence, serial, tag };
        let code = wrapper::timer_code(&self.config.key, nonce);
        let frame = SecureFrame::TimerNotify { timer: sequence_bytes(sequence), serial, tag, code };
        let frame = Frame::Secure(frame).encode().expect("a notification has a fixed length");
        self.frames.push_back(frame);
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(code);
    }

    const fn random_tag(&mut self) -> u16 {
        (self.random() >> 48) as u16
    }

    /// `SplitMix64`: numbers that spread well from any seed, no secret.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const PERIODIC_MS: u64 = 10_000;
const UPDATE_MS: u64 = 100;
/// The latency tolerance of synchronization is a tenth of that of frames.
const SYNC_FRACTION: u64 = 10;
/// Own notifications come back within milliseconds.
const SENT_MAX: usize = 8;
