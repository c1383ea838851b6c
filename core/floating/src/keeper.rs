//! Holds the address as long as it is asked to and the lease lasts.

use std::io;
use std::net::IpAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::error::Error;
use crate::kernel::{Kernel, LIFETIME, find_device, missing_capabilities, remove};
use crate::orders::{self, Order, Orders};
use crate::segment::Segment;
use crate::watch::{ANSWER_MAX, Finding, ROUND, Watch};

/// What is to be held, and how it is made known.
#[derive(Debug, Clone)]
pub struct Setup {
    /// For the name of the thread.
    pub name: String,
    /// The address.
    pub address: Address,
    /// The network device; without one the device whose network the address is in.
    pub device: Option<String>,
    /// How often a move is announced.
    pub announcements: u32,
    /// Between two announcements.
    pub interval: Duration,
    /// Addresses of the other nodes in the same network: what they answer for is no duplicate.
    pub peers: Vec<IpAddr>,
}

/// Where the address is, as far as this node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Not on this node, as it should be.
    #[default]
    Released,
    /// This node is to hold it and is still asking whether somebody else has it.
    Checking,
    /// On this node.
    Held,
    /// This node is to hold it, and somebody else has it.
    Duplicate,
    /// This node cannot hold it.
    Fault,
}

impl State {
    /// As status and metrics show it.
    pub const fn word(self) -> &'static str {
        match self {
            State::Released => "released",
            State::Checking => "checking",
            State::Held => "held",
            State::Duplicate => "duplicate",
            State::Fault => "fault",
        }
    }
}

/// What the keeper says of itself; told whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Where the address is.
    pub state: State,
    /// The device, once it is known.
    pub device: String,
    /// What is wrong and what to do.
    pub error: Option<String>,
    /// How often somebody else claimed the address.
    pub conflicts: u64,
    /// How often this node took the address.
    pub taken: u64,
    /// Orders that were overtaken by later ones while the kernel was waited for.
    pub orders_dropped: u64,
}

/// A thread that holds one address. Dropping it takes the address off.
#[derive(Debug)]
pub struct Keeper {
    orders: Orders,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, which takes off what an earlier run left. `lease` gives what is left of this node's
    /// lease; without one the address is not held, whatever was asked.
    pub fn start(
        setup: Setup,
        lease: impl Fn() -> Option<Duration> + Send + 'static,
        tell: impl FnMut(&Report) + Send + 'static,
    ) -> io::Result<Self> {
        let orders = Orders::default();
        let given = orders.clone();
        let name: String = format!("ip-{}", setup.name).chars().take(15).collect();
        let work = Work {
            watch: Watch::new(setup.address.ip, setup.peers.iter().copied()),
            setup,
            lease: Box::new(lease),
            tell: Box::new(tell),
            told: None,
            report: Report::default(),
            open: None,
            wanted: false,
            held: false,
            check: None,
            next: Next::new(Instant::now()),
            announcements_left: 0,
        };
        let thread = std::thread::Builder::new().name(name).spawn(move || work.run(&given))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// This node acts: take the address.
    pub fn hold(&self) {
        self.orders.give(Order::Hold);
    }

    /// This node acts no more: give it up.
    pub fn release(&self) {
        self.orders.give(Order::Release);
    }

    /// If it is held, tell everybody again: a part of the network was away and may know better.
    pub fn announce(&self) {
        self.orders.give(Order::Announce);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a floating address has panicked");
        }
    }
}

/// When what is due.
#[derive(Debug)]
struct Next {
    /// After a fault or with a duplicate: not before.
    attempt: Instant,
    renewal: Instant,
    announcement: Instant,
    round: Instant,
    defense: Instant,
}

impl Next {
    fn new(now: Instant) -> Self {
        Self { attempt: now, renewal: now, announcement: now, round: now, defense: now }
    }
}

struct Work {
    setup: Setup,
    lease: Box<dyn Fn() -> Option<Duration> + Send>,
    tell: Box<dyn FnMut(&Report) + Send>,
    told: Option<Report>,
    report: Report,
    open: Option<(Kernel, Segment)>,
    watch: Watch,
    wanted: bool,
    held: bool,
    /// Since when it is asked before the address is taken.
    check: Option<Instant>,
    next: Next,
    announcements_left: u32,
}

impl Work {
    fn run(mut self, orders: &Orders) {
        match remove(&self.setup.address) {
            Ok(0) => {}
            Ok(places) => {
                tracing::warn!(address = %self.setup.address, places, "an earlier run left its floating address: removed");
            }
            Err(error) => tracing::debug!(%error, "no earlier floating address can be looked for"),
        }
        loop {
            let now = Instant::now();
            let wait = match self.step(now) {
                Ok(wait) => wait,
                Err(error) => self.failed(now, &error),
            };
            let dropped = orders.dropped();
            if dropped > self.report.orders_dropped {
                self.report.orders_dropped = dropped;
                tracing::warn!(address = %self.setup.address, dropped, "orders came faster than the kernel answers");
            }
            if self.told.as_ref() != Some(&self.report) {
                (self.tell)(&self.report);
                self.told = Some(self.report.clone());
            }
            match orders.take(wait) {
                orders::Next::Order(order) => self.take_order(order),
                orders::Next::Nothing => {}
                orders::Next::Closed => break,
            }
        }
        self.wanted = false;
        if let Err(error) = self.step(Instant::now()) {
            tracing::error!(address = %self.setup.address, %error, "the floating address is not removed");
        }
    }

    fn take_order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Hold => {
                if !self.wanted {
                    self.wanted = true;
                    self.next.attempt = now;
                }
            }
            Order::Release => self.wanted = false,
            Order::Announce => {
                if self.held {
                    self.begin_announcing(now);
                }
            }
        }
    }

    /// Does what is due; gives how long there is nothing to do.
    fn step(&mut self, now: Instant) -> Result<Duration, Error> {
        let lease = (self.lease)().filter(|left| !left.is_zero());
        let may_hold = self.wanted && lease.is_some();
        if self.held && !may_hold {
            self.give_up(now)?;
        }
        if !may_hold {
            self.check = None;
            if self.report.state != State::Fault {
                self.say(State::Released, None);
            }
        }
        if now < self.next.attempt {
            return Ok((self.next.attempt - now).min(LISTEN));
        }
        if self.open.is_none() {
            self.open = Some(self.open()?);
            if !may_hold {
                self.say(State::Released, None);
            }
        }
        let mut wait = if self.held {
            self.renew(now)?
        } else if may_hold {
            self.take(now)?
        } else {
            self.ask_around(now)?
        };
        if let Some(left) = lease
            && self.held
        {
            wait = wait.min(left);
        }
        Ok(wait)
    }

    fn open(&mut self) -> Result<(Kernel, Segment), Error> {
        if !missing_capabilities().is_empty() {
            return Err(Error::NotPermitted { what: "to change network addresses" });
        }
        let device = find_device(&self.setup.address, self.setup.device.as_deref())?;
        self.report.device.clone_from(&device.name);
        Ok((Kernel::open()?, Segment::open(device, self.setup.address.ip)?))
    }

    fn give_up(&mut self, now: Instant) -> Result<(), Error> {
        // Also if it fails: the kernel lets the address expire unless it is renewed.
        self.held = false;
        self.announcements_left = 0;
        self.watch.forget();
        self.next.round = now + ANSWER_MAX;
        self.say(State::Released, None);
        if let Some((kernel, segment)) = &self.open {
            kernel.remove(&self.setup.address, segment.device().index)?;
        }
        tracing::info!(address = %self.setup.address, device = self.report.device, "floating address released");
        Ok(())
    }

    /// Keeps an eye on who has it, so that a takeover knows.
    fn ask_around(&mut self, now: Instant) -> Result<Duration, Error> {
        let Some((_, segment)) = &self.open else { return Ok(LISTEN) };
        for (ip, mac) in segment.claims()? {
            self.watch.on_claim(ip, mac);
        }
        if now >= self.next.round {
            for ip in self.watch.questions() {
                segment.probe(ip)?;
            }
            self.watch.on_asked(now);
            self.next.round = now + ROUND;
        }
        // The kernel's queue holds what comes in between.
        Ok((self.next.round - now).min(LISTEN))
    }

    fn take(&mut self, now: Instant) -> Result<Duration, Error> {
        let Some((kernel, segment)) = &self.open else { return Ok(LISTEN) };
        let address = &self.setup.address;
        if address.ip.is_ipv6() {
            return self.take_v6(now);
        }
        for (ip, mac) in segment.claims()? {
            self.watch.on_claim(ip, mac);
        }
        let is_silent = segment.device().mac.is_none();
        let begun = self.check;
        match self.watch.finding(now) {
            Finding::Free | Finding::Peer => {}
            Finding::Unknown | Finding::Stranger(_) if is_silent => {}
            // One round more, since a stranger may have gone.
            Finding::Unknown | Finding::Stranger(_) if begun.is_none() => {
                self.check = Some(now);
                self.watch.forget();
                self.watch.on_asked(now);
                for ip in self.watch.questions() {
                    segment.probe(ip)?;
                }
                self.say(State::Checking, None);
                return Ok(ANSWER_MAX / 4);
            }
            Finding::Unknown => {
                segment.probe(address.ip)?;
                return Ok(ANSWER_MAX / 4);
            }
            Finding::Stranger(mac) => {
                return Ok(self.refuse(now, &mac.to_string()));
            }
        }
        kernel.keep(address, segment.device().index)?;
        self.taken(now)
    }

    /// The kernel asks whether anybody has it, and its answer counts.
    fn take_v6(&mut self, now: Instant) -> Result<Duration, Error> {
        let Some((kernel, segment)) = &self.open else { return Ok(LISTEN) };
        let (address, index) = (&self.setup.address, segment.device().index);
        let begun = self.check;
        if self.check.is_none() {
            kernel.keep(address, index)?;
            self.check = Some(now);
        }
        let places = kernel.places(address)?;
        match places.into_iter().find(|place| place.index == index) {
            Some(place) if place.is_duplicate => {
                kernel.remove(address, index)?;
                Ok(self.refuse(now, "another host"))
            }
            Some(place) if place.is_tentative => {
                self.say(State::Checking, None);
                Ok(ANSWER_MAX / 4)
            }
            Some(_) => self.taken(now),
            // The kernel removes an address that expires as soon as it finds that somebody has it.
            None if begun.is_some_and(|begun| now.duration_since(begun) < LIFETIME) => {
                Ok(self.refuse(now, "another host"))
            }
            None => {
                self.check = None;
                Ok(ANSWER_MAX / 4)
            }
        }
    }

    fn refuse(&mut self, now: Instant, who: &str) -> Duration {
        if self.report.state != State::Duplicate {
            self.report.conflicts += 1;
        }
        let address = self.setup.address;
        self.say(
            State::Duplicate,
            Some(format!(
                "{} is in use by {who}, which is no node of this group: this node acts without its floating address; \
                 give that host another address, or choose another one here",
                address.ip
            )),
        );
        self.check = None;
        self.watch.forget();
        self.next.attempt = now + RETRY;
        LISTEN
    }

    fn taken(&mut self, now: Instant) -> Result<Duration, Error> {
        self.check = None;
        self.held = true;
        self.report.taken += 1;
        self.next.renewal = now + RENEWAL;
        self.begin_announcing(now);
        let wait = self.renew(now)?;
        self.say(State::Held, None);
        tracing::info!(address = %self.setup.address, device = self.report.device, "floating address taken");
        Ok(wait)
    }

    fn begin_announcing(&mut self, now: Instant) {
        self.announcements_left = self.setup.announcements.max(1);
        self.next.announcement = now;
    }

    fn renew(&mut self, now: Instant) -> Result<Duration, Error> {
        let Some((kernel, segment)) = &self.open else { return Ok(LISTEN) };
        let address = &self.setup.address;
        if now >= self.next.renewal {
            kernel.keep(address, segment.device().index)?;
            self.next.renewal = now + RENEWAL;
        }
        let mut rival = None;
        for (ip, mac) in segment.claims()? {
            if self.watch.on_claim(ip, mac) {
                rival = Some(mac);
            } else if ip == address.ip && now >= self.next.defense {
                // What a node that acts no more left behind: the neighbors are to know better.
                self.next.defense = now + RETRY;
                segment.announce(address.ip)?;
            }
        }
        if let Some(mac) = rival
            && now >= self.next.defense
        {
            // RFC 5227, section 2.4: at most one defense in a while, or two stubborn hosts flood the network.
            self.next.defense = now + DEFENSE;
            segment.announce(address.ip)?;
            self.report.conflicts += 1;
            self.say(
                State::Held,
                Some(format!(
                    "{mac} claims {} too: clients may reach the wrong host; give that host another address",
                    self.setup.address.ip
                )),
            );
        }
        if self.announcements_left > 0 && now >= self.next.announcement {
            if let Some((_, segment)) = &self.open {
                segment.announce(self.setup.address.ip)?;
            }
            self.announcements_left -= 1;
            self.next.announcement = now + self.setup.interval;
        }
        let mut wait = (self.next.renewal - now).min(LISTEN);
        if self.announcements_left > 0 {
            wait = wait.min(self.next.announcement.saturating_duration_since(now));
        }
        Ok(wait)
    }

    fn failed(&mut self, now: Instant, error: &Error) -> Duration {
        let text = error.to_string();
        if self.report.error.as_deref() != Some(text.as_str()) {
            tracing::error!(address = %self.setup.address, error = text, "floating address");
        }
        self.say(State::Fault, Some(text));
        // A device may come back under another number: everything anew.
        self.open = None;
        self.check = None;
        if self.held {
            self.held = false;
            self.watch.forget();
        }
        self.next.attempt = now + RETRY;
        LISTEN
    }

    fn say(&mut self, state: State, error: Option<String>) {
        self.report.state = state;
        self.report.error = error;
    }
}

/// Between two renewals in the kernel: a third of what it lets the address live.
const RENEWAL: Duration = Duration::from_secs(1);
/// After a fault or a duplicate, until the next attempt.
const RETRY: Duration = Duration::from_secs(1);
/// Between two answers to a host that claims the address.
const DEFENSE: Duration = Duration::from_secs(10);
/// How long what others say may wait to be heard.
const LISTEN: Duration = Duration::from_millis(500);
