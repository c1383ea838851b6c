//! Events between interfaces: journaled when they are given, brought to whom they are for, and over when that one says so.
//!
//! ```text
//! Given -> journal -> a standby's disk -> gate -> deliver() -> OK ----------------> Done  -> journal
//!                         ^                        |  PENDING -> acknowledged ->/
//!                         |  later, with back-off  |  AGAIN
//!                         +------------------------+  other --------------------> Dead  -> journal, event
//! ```
//! What the journal has of it is the book (`core/deliveries`); here is what only the acting node knows: what an instance
//! has at present, what waits to be tried again, and who waits to hear that an event is safe. All of that ends with the
//! role, and the successor begins with the book.
//!
//! An event goes out when a standby has it on disk, as a command does, so that a successor that brings it once more knows
//! that it may be the second time. Of one giver and key only the first is brought. One with which the instance faults three
//! times is not brought any more: it would take the interface down with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_contract::{EventRef, code, event_flag};
use twinhub_deliveries::{Dead, Entry, Given, Name, Waiting as Kept, encode};
use twinhub_model::{Moment, Part, PartRecord, Position, Severity};

use super::acceptance::{Placed, Verdict, Waiting};
use super::commands::PEER_WAIT_MAX;
use super::parts::stores::Due;
use super::{Engine, Phase};
use crate::clock;
use crate::error::CommandError;
use crate::exchange::{Gift, say_dead};

/// An event that an interface gave.
#[derive(Debug)]
pub(crate) struct Gifted {
    pub(crate) interface: usize,
    pub(crate) gift: Gift,
    /// The instance that is to be told; none for what was heard while standby.
    pub(crate) life: Option<u64>,
}

/// A delivery is over.
#[derive(Debug)]
pub(crate) struct Over {
    interface: usize,
    number: u64,
    /// Code of the contract.
    code: i32,
}

/// What an operator wants of an event that cannot be delivered.
#[derive(Debug)]
pub(crate) struct DeliveryOrder {
    pub(crate) number: u64,
    /// As the operator wrote it.
    pub(crate) id: String,
    /// Whether it is to be tried again; if not, it is dropped.
    pub(crate) again: bool,
    pub(crate) reply: oneshot::Sender<Result<(), CommandError>>,
}

/// What the acting node knows of its interfaces and their events.
#[derive(Debug, Default)]
pub(crate) struct Desks {
    of: BTreeMap<usize, Desk>,
    /// Givers that wait until their events are safe.
    tickets: BTreeMap<usize, VecDeque<Ticket>>,
    /// Where events of this process stand, until they went out.
    fresh: BTreeMap<u64, (Position, Moment)>,
    /// Those that were taken in after a split: they may have been brought by the node that had them, and while more comes it
    /// may say that they are done.
    merged: BTreeSet<u64>,
    /// What is kept, as it was when it was looked at last.
    revision: u64,
    /// What a standby heard longer ago is not given after a takeover.
    window: Duration,
}

/// One interface's.
#[derive(Debug, Default)]
struct Desk {
    /// The instance that has the flights.
    life: u64,
    /// Brought and not over.
    flights: BTreeSet<u64>,
    /// To be tried again: when, and after which pause.
    pauses: BTreeMap<u64, (Moment, Duration)>,
    /// Brought before.
    tried: BTreeSet<u64>,
    /// How often the instance faulted with it. As long as there is any, one goes at a time, so that it shows which it was.
    faults: BTreeMap<u64, u32>,
    /// There is something to look at.
    is_due: bool,
}

/// An event whose giver waits.
#[derive(Debug)]
struct Ticket {
    number: u64,
    life: u64,
    placed: Option<Position>,
    since: Moment,
}

impl Desks {
    pub(crate) fn new(window: Duration) -> Desks {
        Desks { window, ..Desks::default() }
    }

    /// Whether no instance has an event that is not over.
    pub(crate) fn are_idle(&self) -> bool {
        self.of.values().all(|desk| desk.flights.is_empty())
    }
}

impl Desk {
    fn forget(&mut self, number: u64) {
        self.flights.remove(&number);
        self.pauses.remove(&number);
        self.tried.remove(&number);
        self.faults.remove(&number);
        self.is_due = true;
    }

    /// It comes again later, each time after twice as long.
    fn pause(&mut self, number: u64, now: Moment) {
        let before = self.pauses.get(&number).map(|(_, pause)| *pause);
        let pause = before.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.pauses.insert(number, (now + pause, pause));
        self.flights.remove(&number);
        self.is_due = true;
    }

    fn may_bring(&self, number: u64, now: Moment) -> bool {
        !self.flights.contains(&number) && self.pauses.get(&number).is_none_or(|(until, _)| now >= *until)
    }

    fn has_room(&self) -> bool {
        self.flights.len() < if self.faults.is_empty() { FLIGHTS_MAX } else { 1 }
    }
}

/// Giving.
impl Engine {
    /// An event goes to the journal; what the journal does not take is owed.
    pub(crate) fn pay_given(&mut self, gifted: Box<Gifted>) -> Result<(), Due> {
        let Gifted { interface, gift, life } = &*gifted;
        let port = Arc::clone(&self.interfaces[*interface].port);
        if !self.keeps() {
            self.exchange.arrive(gift);
            self.note_ticket(*interface, gift.number, *life, None);
            return Ok(());
        }
        let is_named = !gift.given.name.id.is_empty();
        if is_named && self.exchange.read(|book| book.has_seen(&gift.given.name)) {
            // The journal has it somewhere before its end.
            port.counters.events_doubled.fetch_add(1, Ordering::Relaxed);
            self.exchange.arrive(gift);
            let end = self.journal.last();
            self.note_ticket(*interface, gift.number, *life, Some(end));
            return Ok(());
        }
        let mut given = gift.given.clone();
        if !is_named {
            // Every record moves the end on, and no other node gives this one.
            given.name.id = format!("hub-{}-{}", self.me.0, self.journal.last());
        }
        let before = self.exchange.read(twinhub_deliveries::Book::last);
        let Some(position) = self.append_part(Part::DELIVERIES, &encode(&[Entry::Given(given)])) else {
            return Err(Due::Given(gifted));
        };
        port.counters.events_given.fetch_add(1, Ordering::Relaxed);
        self.exchange.arrive(gift);
        let since = clock::now();
        let last = self.exchange.read(twinhub_deliveries::Book::last);
        self.desks.fresh.extend((before + 1..=last).map(|number| (number, (position, since))));
        // Somebody waits for it, or it waits to go out.
        self.sync_wanted |= !gift.given.to.is_empty();
        self.note_ticket(*interface, gift.number, *life, Some(position));
        Ok(())
    }

    fn note_ticket(
        &mut self,
        interface: usize,
        number: Option<u64>,
        life: Option<u64>,
        placed: Option<Position>,
    ) {
        let (Some(number), Some(life)) = (number, life) else { return };
        self.sync_wanted |= placed.is_some() && (self.wants_local(interface) || !self.is_answered());
        let is_full = self.desks.tickets.get(&interface).is_some_and(|line| line.len() >= TICKETS_MAX);
        if is_full {
            // It is journaled, and is known when it comes again.
            self.tell_taken(interface, number, life, code::AGAIN);
            return;
        }
        let ticket = Ticket { number, life, placed, since: clock::now() };
        self.desks.tickets.entry(interface).or_default().push_back(ticket);
    }

    fn tell_taken(&self, interface: usize, number: u64, life: u64, code: i32) {
        let giver = &self.interfaces[interface];
        if let Some(instance) = giver.instance().filter(|_| giver.port.life() == life) {
            instance.taken(number, code);
        }
    }

    /// Tells givers whose events are where they have to be, or will not be.
    pub(crate) fn accept_events(&mut self, now: Moment) {
        if self.desks.tickets.is_empty() {
            return;
        }
        let disks = self.disks();
        let mut tickets = std::mem::take(&mut self.desks.tickets);
        tickets.retain(|interface, line| {
            let port = Arc::clone(&self.interfaces[*interface].port);
            while let Some(front) = line.front() {
                let verdict = match front.placed {
                    // Its source gives it to who acts.
                    _ if disks.is_left => None,
                    None => None,
                    Some(position) => {
                        let waiting =
                            Waiting { through: 0, placed: Placed::At(position), since: front.since };
                        Some(disks.verdict(port.setup.ack_after, port.setup.on_unprotected, waiting, now))
                    }
                };
                let code = match verdict {
                    None => code::NOT_ACTIVE,
                    Some(Verdict::Waits) => {
                        self.sync_wanted |= now >= front.since + PEER_WAIT_MAX;
                        break;
                    }
                    Some(Verdict::Accepted) => code::OK,
                    Some(Verdict::Unprotected) => {
                        port.counters.unprotected_inputs.fetch_add(1, Ordering::Relaxed);
                        code::OK
                    }
                };
                self.tell_taken(*interface, front.number, front.life, code);
                line.pop_front();
            }
            !line.is_empty()
        });
        self.desks.tickets = tickets;
    }

    /// What a hot interface heard here, and the node before did not journal, is given on this node's behalf.
    pub(crate) fn give_heard(&mut self, now: Moment) {
        let (gifts, lost) = self.exchange.drain_heard(now, self.desks.window);
        if lost > 0 {
            tracing::warn!(group = %self.group, lost, "events that a standby heard were pushed out before they were seen again");
        }
        for gift in gifts {
            let of = |port: &crate::instance::Port| port.setup.id == gift.given.name.source;
            let Some(interface) = self.interfaces.iter().position(|interface| of(&interface.port)) else {
                self.exchange.arrive(&gift);
                continue;
            };
            self.owe(Due::Given(Box::new(Gifted { interface, gift, life: None })));
        }
    }
}

/// Bringing.
impl Engine {
    /// Brings what waits to instances that may have it.
    pub(crate) fn advance_deliveries(&mut self, now: Moment) {
        self.tell_event_room();
        if !self.is_acting() {
            if !matches!(self.phase, Phase::Draining(_)) {
                self.leave_deliveries();
            }
            return;
        }
        let revision = self.exchange.revision();
        let has_news = std::mem::replace(&mut self.desks.revision, revision) != revision;
        for number in 0..self.interfaces.len() {
            let id = &self.interfaces[number].port.setup.id;
            if self.exchange.read(|book| book.counts(id).0) == 0 {
                self.desks.of.remove(&number);
                continue;
            }
            let life = self.interfaces[number].port.life();
            let desk =
                self.desks.of.entry(number).or_insert_with(|| Desk { life, is_due: true, ..Desk::default() });
            desk.is_due |= has_news || desk.pauses.values().any(|(until, _)| now >= *until);
            if desk.life != life {
                // Another instance took its place: what the one before had comes again.
                desk.life = life;
                desk.flights.clear();
                desk.pauses.clear();
                desk.is_due = true;
            }
            let may_go = desk.is_due && desk.has_room();
            if may_go && self.may_write(number, now) {
                // One that is done at once makes way for the next one of its key.
                let mut rounds = ROUNDS_MAX;
                while self.bring(number, now) && rounds > 0 {
                    rounds -= 1;
                }
            }
        }
    }

    /// Brings what may be brought now; whether any of that is over already.
    fn bring(&mut self, interface: usize, now: Moment) -> bool {
        let begun = self.exchange.revision();
        let id = self.interfaces[interface].port.setup.id.clone();
        let firsts = self.exchange.read(|book| book.firsts(&id));
        let is_merging = self.is_merging();
        let mut waits = false;
        for number in firsts {
            let Some(desk) = self.desks.of.get(&interface) else { return false };
            if !desk.has_room() {
                break;
            }
            if !desk.may_bring(number, now) {
                continue;
            }
            if (is_merging && self.desks.merged.contains(&number)) || !self.is_stored_for(number, now) {
                waits = true;
                continue;
            }
            let kept = self.exchange.read(|book| book.find(&id, number).cloned());
            let Some(kept) = kept else { continue };
            self.bring_one(interface, number, &kept, now);
        }
        if let Some(desk) = self.desks.of.get_mut(&interface) {
            // Every answer, and every end of a pause, is something to look at again.
            desk.is_due = waits;
        }
        self.exchange.revision() != begun
    }

    fn bring_one(&mut self, interface: usize, number: u64, kept: &Kept, now: Moment) {
        let Some(epoch) = self.acting_epoch() else { return };
        let Given { name: Name { source, stream, id }, key, payload, .. } = &*kept.given;
        let Some(desk) = self.desks.of.get_mut(&interface) else { return };
        let is_again =
            desk.tried.contains(&number) || self.desks.merged.contains(&number) || kept.epoch < epoch.0;
        desk.flights.insert(number);
        if let Some((until, _)) = desk.pauses.get_mut(&number) {
            // The next pause is longer than this one was, which is over.
            *until = Moment::NEVER;
        }
        let event = EventRef {
            flags: if is_again { event_flag::REDELIVERED } else { 0 },
            epoch: epoch.0,
            number,
            source,
            stream,
            id,
            key,
            payload,
        };
        // Before the call: it may be answered inside it.
        self.exchange.begin(number, interface);
        let answer = self.deliver_gated(interface, &event);
        self.desks.fresh.remove(&number);
        if is_again && matches!(answer, code::OK | code::PENDING) {
            self.interfaces[interface].port.counters.events_redelivered.fetch_add(1, Ordering::Relaxed);
        }
        if answer != code::PENDING {
            if self.exchange.end(number, interface) {
                self.settle(interface, number, answer, now);
            }
        } else if let Some(desk) = self.desks.of.get_mut(&interface) {
            desk.tried.insert(number);
        }
    }

    /// Whether a standby has the event, or none is to be waited for.
    fn is_stored_for(&self, number: u64, now: Moment) -> bool {
        let Some((position, since)) = self.desks.fresh.get(&number) else { return true };
        let stored = if self.is_answered() { self.durable_on_standby() } else { self.journal.durable() };
        *position <= stored || now >= *since + PEER_WAIT_MAX
    }

    pub(crate) fn on_acknowledged(&mut self, interface: usize, number: u64, code: i32, life: u64) {
        let desk = self.desks.of.get(&interface);
        if desk.is_some_and(|desk| desk.life == life && desk.flights.contains(&number)) {
            self.settle(interface, number, code, clock::now());
        }
    }

    /// An instance has said what became of an event.
    fn settle(&mut self, interface: usize, number: u64, answer: i32, now: Moment) {
        let Some(desk) = self.desks.of.get_mut(&interface) else { return };
        match answer {
            code::AGAIN | code::STALE_EPOCH | code::NOT_ACTIVE | code::STOPPED => desk.pause(number, now),
            code::PANIC => self.blame(interface, &BTreeSet::from([number])),
            code => self.owe(Due::Over(Over { interface, number, code })),
        }
    }

    /// The instance faulted; what it had at that time comes again, unless it has done so too often.
    pub(crate) fn blame_events(&mut self, interface: usize) {
        let Some(desk) = self.desks.of.get(&interface) else { return };
        let owed: BTreeSet<u64> = self
            .owed
            .iter()
            .filter_map(|due| match due {
                Due::Over(over) if over.interface == interface => Some(over.number),
                Due::Over(_) | Due::Put(..) | Due::Given(_) => None,
            })
            .collect();
        let had = desk.flights.difference(&owed).copied().collect();
        self.blame(interface, &had);
    }

    fn blame(&mut self, interface: usize, had: &BTreeSet<u64>) {
        let now = clock::now();
        for number in had {
            self.exchange.end(*number, interface);
            let Some(desk) = self.desks.of.get_mut(&interface) else { return };
            let faults = desk.faults.entry(*number).or_default();
            *faults += 1;
            let is_too_often = *faults >= FAULTS_MAX;
            desk.tried.insert(*number);
            if is_too_often {
                self.owe(Due::Over(Over { interface, number: *number, code: code::PANIC }));
            } else {
                desk.pause(*number, now);
            }
        }
    }

    /// The end of a delivery goes to the journal; what the journal does not take is owed.
    pub(crate) fn pay_over(&mut self, over: Over) -> Result<(), Due> {
        let Over { interface, number, code } = over;
        let port = Arc::clone(&self.interfaces[interface].port);
        let to = port.setup.id.clone();
        let kept = self.exchange.read(|book| book.find(&to, number).cloned());
        if let Some(kept) = kept.filter(|_| self.keeps()) {
            let name = kept.given.name.clone();
            let paid = if code == code::OK {
                self.append_part(Part::DELIVERIES, &encode(&[Entry::Done { name, to }])).map(|_| ())
            } else {
                self.append_dead(&kept, to, code)
            };
            if paid.is_none() {
                return Err(Due::Over(over));
            }
            if code == code::OK {
                port.counters.events_delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.desks.merged.remove(&number);
        if let Some(desk) = self.desks.of.get_mut(&interface) {
            desk.forget(number);
        }
        Ok(())
    }

    /// Sets an event aside for an operator. `None` if the journal takes nothing.
    fn append_dead(&mut self, kept: &Kept, to: String, code: i32) -> Option<()> {
        let at_ns = clock::utc().0;
        let dead = Dead { given: Arc::clone(&kept.given), code, at_ns };
        let (name, interface) = (kept.given.name.clone(), to.clone());
        let before =
            self.exchange.read(|book| book.dead(&interface).map(|(number, _)| number).collect::<Vec<_>>());
        self.append_part(Part::DELIVERIES, &encode(&[Entry::Dead { name, to, code, at_ns }]))?;
        let text = format!(
            "{}: `twinhub deliveries` shows it, has it tried again or drops it",
            say_dead(&interface, &dead)
        );
        tracing::warn!(group = %self.group, interface, "{text}");
        self.event(Severity::Warning, &interface, "TH-DELIVERY-001", &text);
        let lost = self.exchange.read(|book| {
            let kept: BTreeSet<u64> = book.dead(&interface).map(|(number, _)| number).collect();
            before.iter().filter(|number| !kept.contains(number)).count()
        });
        if lost > 0 {
            let text = format!(
                "{lost} of the oldest events that cannot be delivered to `{interface}` are given up: there are too many"
            );
            self.event(Severity::Error, &interface, "TH-DELIVERY-004", &text);
        }
        Some(())
    }

    /// Events for interfaces that are not here any more cannot be delivered.
    pub(crate) fn bury_orphans(&mut self) {
        let ids: BTreeSet<String> =
            self.interfaces.iter().map(|interface| interface.port.setup.id.clone()).collect();
        let orphans: Vec<(String, Kept)> = self.exchange.read(|book| {
            let gone: Vec<&str> = book.interfaces().filter(|id| !ids.contains(*id)).collect();
            let all =
                gone.iter().flat_map(|id| book.waiting(id).map(|(_, kept)| ((*id).to_owned(), kept.clone())));
            all.collect()
        });
        for (to, kept) in orphans {
            self.append_dead(&kept, to, code::NOT_FOUND);
        }
    }

    /// This node does not act any more: the successor brings what is not over.
    fn leave_deliveries(&mut self) {
        if self.desks.of.is_empty() && self.desks.fresh.is_empty() && self.desks.merged.is_empty() {
            return;
        }
        for (interface, desk) in std::mem::take(&mut self.desks.of) {
            for number in desk.flights {
                self.exchange.end(number, interface);
            }
        }
        self.desks.fresh.clear();
        self.desks.merged.clear();
    }

    /// A record of a part that another node wrote alone.
    pub(crate) fn apply_merged_part(&mut self, at: Position, record: &PartRecord) {
        let before = self.exchange.read(twinhub_deliveries::Book::last);
        self.apply_part(at, record);
        let last = self.exchange.read(twinhub_deliveries::Book::last);
        self.desks.merged.extend(before + 1..=last);
    }

    fn tell_event_room(&mut self) {
        let room = self.exchange.look_at_room();
        for id in room.full {
            let text = format!(
                "too many events wait for interface `{id}`: who gives more is told to wait, and devices behind it are not \
                 acknowledged"
            );
            tracing::warn!(group = %self.group, interface = %id, "{text}");
            self.event(Severity::Warning, &id, "TH-DELIVERY-002", &text);
        }
        for id in room.free {
            let text = format!("interface `{id}` has room for events again");
            self.event(Severity::Info, &id, "TH-DELIVERY-003", &text);
        }
        for interface in room.waiting {
            self.interfaces[interface].port.want_room();
        }
    }

    pub(crate) fn on_delivery_order(&mut self, order: DeliveryOrder) {
        let DeliveryOrder { number, id, again, reply } = order;
        let dead = self
            .exchange
            .read(|book| book.find_dead(number).map(|(to, dead)| (to.to_owned(), dead.given.name.clone())));
        let answer = match dead {
            _ if !self.is_acting() => Err(self.not_active()),
            None => Err(CommandError::UnknownDelivery { id }),
            Some((to, name)) => {
                let entry = if again { Entry::Again { name, to } } else { Entry::Dropped { name, to } };
                let appended = self.append_part(Part::DELIVERIES, &encode(&[entry]));
                appended.map(|_| ()).ok_or_else(|| CommandError::Internal {
                    why: "the journal takes nothing at present: try again".to_owned(),
                })
            }
        };
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }

    /// When events need the engine next.
    pub(crate) fn deliveries_due(&self) -> Option<Moment> {
        if !self.is_acting() {
            return None;
        }
        let now = clock::now();
        let pauses = self.desks.of.values().flat_map(|desk| desk.pauses.values().map(|(until, _)| *until));
        let fresh = self.desks.fresh.values().map(|(_, since)| *since + PEER_WAIT_MAX);
        let tickets = self.desks.tickets.values().filter_map(|line| line.front());
        let tickets = tickets.map(|ticket| ticket.since + PEER_WAIT_MAX);
        pauses.chain(fresh).chain(tickets).filter(|due| *due > now).min()
    }
}

/// Events of an interface whose giver waits; who gives more is told to come again.
const TICKETS_MAX: usize = 4_096;
/// Events that an instance may have at a time.
const FLIGHTS_MAX: usize = 16;
/// So often in a row what waits for an instance is looked through; then others have their turn.
const ROUNDS_MAX: u32 = 64;
/// One that the instance does not do now comes again first after so long, and then each time after twice as long …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to so long.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// With so many faults an event is set aside: one less than take the interface down.
const FAULTS_MAX: u32 = 3;
