//! The events of one group as its interfaces and its engine share them: what is kept, what is on its way to the journal, and
//! what is being brought.
//!
//! An instance gives on a thread of its own and is answered at once. So the room that its event takes is reserved here, and
//! the event goes to the engine in the lane of values; with the record in the journal the room is the book's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use twinhub_contract::{EventRef, code, event_flag};
use twinhub_deliveries::{Book, Change, Dead, Entry, Given, Name};
use twinhub_model::{Moment, Timestamp};

/// For each interface the streams that it may give to, and the interfaces that each of them is linked to.
pub(crate) type Streams = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    streams: Streams,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    /// Reserved by interface that it is for: events and bytes.
    open: BTreeMap<String, (usize, usize)>,
    /// Events on their way to the journal, and their bytes.
    open_count: usize,
    open_bytes: usize,
    /// What a hot standby heard, oldest first, until the journal has it.
    heard: VecDeque<(Moment, Given)>,
    heard_bytes: usize,
    /// Heard and pushed out before the journal had it.
    heard_lost: u64,
    /// Deliveries that an instance may answer, and whose.
    under_way: BTreeMap<u64, usize>,
    /// Interfaces that had no room for an event, and whether that was told.
    full: BTreeMap<String, bool>,
    /// Interfaces that were refused because of that.
    refused: BTreeSet<usize>,
    is_stalled: bool,
    /// Another number after each change of the book.
    revision: u64,
}

impl State {
    fn is_busy(&self) -> bool {
        self.is_stalled || self.open_count >= OPEN_MAX || self.open_bytes >= OPEN_BYTES_MAX
    }
}

/// An event on its way to the journal.
#[derive(Debug)]
pub(crate) struct Gift {
    /// With an id, unless the hub is to make one.
    pub(crate) given: Given,
    /// Of the plugin, if it waits until the event is safe.
    pub(crate) number: Option<u64>,
    /// Whether room is reserved for it.
    is_reserved: bool,
}

/// What is to be told of interfaces without room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) full: Vec<String>,
    pub(crate) free: Vec<String>,
    /// Who may try again.
    pub(crate) waiting: BTreeSet<usize>,
}

impl Exchange {
    pub(crate) fn new(streams: Streams) -> Exchange {
        Exchange { streams, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is kept.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.lock().book)
    }

    /// The event as it is kept; `None` if the interface declares no such stream.
    fn event(&self, source: &str, event: &EventRef<'_>, now: Timestamp) -> Option<Given> {
        let to = self.streams.get(source)?.get(event.stream)?;
        Some(Given {
            name: Name::new(source, event.stream, event.id),
            key: event.key.to_owned(),
            payload: event.payload.into(),
            at_ns: now.0,
            to: to.clone(),
        })
    }

    /// Reserves room for an event of an active instance.
    ///
    /// # Errors
    /// The code to answer with.
    pub(crate) fn offer(
        &self,
        interface: usize,
        source: &str,
        event: &EventRef<'_>,
        now: Timestamp,
    ) -> Result<Gift, i32> {
        let given = self.event(source, event, now).ok_or(code::INVALID)?;
        let number = (event.flags & event_flag::NEED_ACK != 0).then_some(event.number);
        let mut state = self.lock();
        let bytes = Book::bytes_of(&given);
        if state.is_busy() {
            return Err(code::AGAIN);
        }
        // What is here already needs no room, and its source is to hear so.
        let is_known = !event.id.is_empty() && state.book.has_seen(&given.name);
        if !is_known {
            let has_room = |to: &String| {
                let (count, open_bytes) = state.open.get(to).copied().unwrap_or_default();
                state.book.has_room(to, count + 1, open_bytes + bytes)
            };
            if let Some(full) = given.to.iter().find(|to| !has_room(to)).cloned() {
                state.full.entry(full).or_default();
                state.refused.insert(interface);
                return Err(code::AGAIN);
            }
            for to in &given.to {
                let open = state.open.entry(to.clone()).or_default();
                *open = (open.0 + 1, open.1 + bytes);
            }
        }
        state.open_count += 1;
        state.open_bytes += bytes;
        Ok(Gift { given, number, is_reserved: !is_known })
    }

    /// The event is not on its way any more: the journal has it, or nobody will.
    pub(crate) fn arrive(&self, gift: &Gift) {
        let mut state = self.lock();
        let bytes = Book::bytes_of(&gift.given);
        state.open_count = state.open_count.saturating_sub(1);
        state.open_bytes = state.open_bytes.saturating_sub(bytes);
        if !gift.is_reserved {
            return;
        }
        for to in &gift.given.to {
            if let Some(open) = state.open.get_mut(to) {
                *open = (open.0.saturating_sub(1), open.1.saturating_sub(bytes));
            }
        }
    }

    /// Holds what a hot standby heard. Gives the code to answer with.
    pub(crate) fn hear(&self, source: &str, event: &EventRef<'_>, now: (Moment, Timestamp)) -> i32 {
        if event.id.is_empty() || event.flags & event_flag::NEED_ACK != 0 {
            return code::NOT_ACTIVE;
        }
        let Some(given) = self.event(source, event, now.1) else { return code::INVALID };
        let mut state = self.lock();
        let is_held = |(_, held): &(Moment, Given)| held.name == given.name;
        if state.book.has_seen(&given.name) || state.heard.iter().any(is_held) {
            return code::OK;
        }
        state.heard_bytes += Book::bytes_of(&given);
        state.heard.push_back((now.0, given));
        while state.heard.len() > HEARD_MAX || state.heard_bytes > HEARD_BYTES_MAX {
            let Some((_, oldest)) = state.heard.pop_front() else { break };
            state.heard_bytes -= Book::bytes_of(&oldest);
            state.heard_lost += 1;
        }
        code::OK
    }

    /// What was heard here within the window and is not in the journal, to be given by this node; and how many were pushed
    /// out before.
    pub(crate) fn drain_heard(&self, now: Moment, window: Duration) -> (Vec<Gift>, u64) {
        let mut state = self.lock();
        state.heard_bytes = 0;
        let heard = std::mem::take(&mut state.heard);
        let is_young = |(at, _): &(Moment, Given)| now.since(*at) <= window;
        let young = heard.into_iter().filter(is_young);
        let gifts =
            young.map(|(_, given)| Gift { given, number: None, is_reserved: false }).collect::<Vec<_>>();
        state.open_count += gifts.len();
        state.open_bytes += gifts.iter().map(|gift| Book::bytes_of(&gift.given)).sum::<usize>();
        (gifts, std::mem::take(&mut state.heard_lost))
    }

    /// Takes what the journal says.
    pub(crate) fn apply(&self, epoch: u64, entry: Entry) -> Change {
        let mut state = self.lock();
        let heard = match &entry {
            Entry::Given(given) => state.heard.iter().position(|(_, held)| held.name == given.name),
            Entry::Done { .. } | Entry::Dead { .. } | Entry::Again { .. } | Entry::Dropped { .. } => None,
        };
        if let Some((_, given)) = heard.and_then(|at| state.heard.remove(at)) {
            state.heard_bytes -= Book::bytes_of(&given);
        }
        state.revision += 1;
        state.book.apply(epoch, entry)
    }

    /// Another number after each change of what is kept.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Forgets what is kept.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.book = Book::default();
        state.revision += 1;
    }

    /// Takes a piece of a copy.
    pub(crate) fn restore(&self, piece: &[u8]) -> Result<(), String> {
        let mut state = self.lock();
        state.revision += 1;
        state.book.restore(piece).map_err(|error| error.to_string())
    }

    /// An instance is brought this delivery, and may answer from now on.
    pub(crate) fn begin(&self, number: u64, interface: usize) {
        self.lock().under_way.insert(number, interface);
    }

    /// Whether this instance may answer; once for each delivery.
    pub(crate) fn end(&self, number: u64, interface: usize) -> bool {
        let mut state = self.lock();
        let may_answer = state.under_way.get(&number) == Some(&interface);
        if may_answer {
            state.under_way.remove(&number);
        }
        may_answer
    }

    /// Whether nothing is taken at present, whomever it is for.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// Nothing can be kept from here on, or it can again.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.lock().is_stalled = is_stalled;
    }

    /// Which interfaces have no room, or have it again, since the last look.
    pub(crate) fn look_at_room(&self) -> Room {
        let mut state = self.lock();
        if state.full.is_empty() {
            return Room::default();
        }
        let mut room = Room::default();
        let State { book, full, .. } = &mut *state;
        full.retain(|to, is_told| {
            if !std::mem::replace(is_told, true) {
                room.full.push(to.clone());
            }
            // With some to spare, so that it is not told for each event.
            let is_free = book.has_room(to, SPARE_MAX, SPARE_BYTES_MAX);
            if is_free {
                room.free.push(to.clone());
            }
            !is_free
        });
        if full.is_empty() {
            room.waiting = std::mem::take(&mut state.refused);
        }
        room
    }
}

/// A dead one in words, for events.
pub(crate) fn say_dead(to: &str, dead: &Dead) -> String {
    let why = crate::words::contract_code(dead.code);
    format!("event {} cannot be delivered to `{to}`: {why}", dead.given.name)
}

/// Events that may be on their way to the journal.
const OPEN_MAX: usize = 4_096;
/// Their bytes: one more may begin below that.
const OPEN_BYTES_MAX: usize = 8 << 20;
/// Events that are held of what hot standbys heard.
const HEARD_MAX: usize = 1_000;
/// Their bytes.
const HEARD_BYTES_MAX: usize = 4 << 20;
/// An interface has room again when it has as much …
const SPARE_MAX: usize = twinhub_deliveries::WAITING_MAX / 4;
/// … and as many bytes.
const SPARE_BYTES_MAX: usize = twinhub_deliveries::WAITING_BYTES_MAX / 4;

#[cfg(test)]
mod tests {
    use twinhub_deliveries::WAITING_MAX;

    use super::*;

    fn exchange() -> Exchange {
        let streams =
            BTreeMap::from([("guest".to_owned(), vec!["locks".to_owned()]), ("bill".to_owned(), Vec::new())]);
        Exchange::new(Streams::from([("pms".to_owned(), streams)]))
    }

    fn event<'a>(stream: &'a str, id: &'a str) -> EventRef<'a> {
        EventRef { flags: 0, epoch: 1, number: 1, source: "", stream, id, key: "", payload: b"x" }
    }

    fn offer(exchange: &Exchange, id: &str) -> Result<Gift, i32> {
        exchange.offer(0, "pms", &event("guest", id), Timestamp(5))
    }

    fn take(exchange: &Exchange, gift: &Gift) {
        exchange.apply(1, Entry::Given(gift.given.clone()));
        exchange.arrive(gift);
    }

    #[test]
    fn room_is_reserved_until_the_journal_has_the_event() {
        let exchange = exchange();
        let mut gifts: Vec<Gift> =
            (0..WAITING_MAX).map(|id| offer(&exchange, &id.to_string()).unwrap()).collect();
        assert_eq!(offer(&exchange, "more").unwrap_err(), code::AGAIN);
        assert_eq!(exchange.look_at_room().full, ["locks"]);
        assert_eq!(exchange.look_at_room(), Room::default(), "it is told once");
        // One that nobody will have makes room; what is for nobody needs none.
        exchange.arrive(&gifts.pop().unwrap());
        gifts.push(offer(&exchange, "more").unwrap());
        assert!(exchange.offer(0, "pms", &event("bill", "1"), Timestamp(5)).is_ok());
        for gift in &gifts {
            take(&exchange, gift);
        }
        assert_eq!(offer(&exchange, "again").unwrap_err(), code::AGAIN);
        let known = offer(&exchange, "7").unwrap();
        assert!(!known.is_reserved, "what is here already needs no room");
        exchange.arrive(&known);
        for gift in &gifts[..SPARE_MAX] {
            exchange.apply(1, Entry::Done { name: gift.given.name.clone(), to: "locks".to_owned() });
        }
        let room = exchange.look_at_room();
        assert_eq!((room.free.as_slice(), room.waiting), (&["locks".to_owned()][..], BTreeSet::from([0])));
        assert!(offer(&exchange, "again").is_ok());
    }

    #[test]
    fn what_is_on_its_way_is_bounded_also_if_it_is_for_nobody() {
        let exchange = exchange();
        let payload = vec![0; 65_536];
        let long = EventRef { payload: &payload, ..event("bill", "") };
        let mut gifts = Vec::new();
        while let Ok(gift) = exchange.offer(0, "pms", &long, Timestamp(5)) {
            gifts.push(gift);
        }
        assert_eq!((gifts.len(), exchange.is_busy()), (128, true));
        gifts.drain(..).for_each(|gift| exchange.arrive(&gift));
        let state = exchange.lock();
        assert_eq!((state.open_count, state.open_bytes, state.is_busy()), (0, 0, false));
    }

    #[test]
    fn only_declared_streams_are_taken_and_nothing_while_the_journal_takes_nothing() {
        let exchange = exchange();
        assert_eq!(exchange.offer(0, "pms", &event("other", "1"), Timestamp(5)).unwrap_err(), code::INVALID);
        assert_eq!(exchange.offer(0, "bar", &event("guest", "1"), Timestamp(5)).unwrap_err(), code::INVALID);
        exchange.stall(true);
        assert_eq!(offer(&exchange, "1").unwrap_err(), code::AGAIN);
        exchange.stall(false);
        assert!(offer(&exchange, "1").is_ok());
    }

    #[test]
    fn what_a_standby_heard_is_held_until_the_journal_has_it_or_it_is_old() {
        let exchange = exchange();
        let (early, late) = (Moment::ZERO, Moment::ZERO + Duration::from_secs(40));
        let hear = |id: &str, at| exchange.hear("pms", &event("guest", id), (at, Timestamp(5)));
        assert_eq!(hear("", early), code::NOT_ACTIVE, "two nodes would make two of it");
        let needs_ack = EventRef { flags: event_flag::NEED_ACK, ..event("guest", "1") };
        assert_eq!(exchange.hear("pms", &needs_ack, (early, Timestamp(5))), code::NOT_ACTIVE);
        assert_eq!((hear("old", early), hear("1", late), hear("2", late), hear("2", late)), (0, 0, 0, 0));
        let first = offer(&exchange, "1").unwrap();
        take(&exchange, &first);
        assert_eq!(hear("1", late), code::OK, "it is in the journal");
        let (gifts, lost) = exchange.drain_heard(late, Duration::from_secs(30));
        let ids: Vec<_> = gifts.iter().map(|gift| gift.given.name.id.as_str()).collect();
        assert_eq!((ids.as_slice(), lost), (&["2"][..], 0));
        assert_eq!(exchange.lock().heard_bytes, 0);
        for id in 0..=HEARD_MAX {
            hear(&format!("n{id}"), late);
        }
        let (gifts, lost) = exchange.drain_heard(late, Duration::from_secs(30));
        assert_eq!((gifts.len(), lost), (HEARD_MAX, 1));
    }

    #[test]
    fn an_instance_answers_what_it_was_brought_and_once() {
        let exchange = exchange();
        exchange.begin(7, 1);
        assert!(!exchange.end(7, 0) && !exchange.end(8, 1));
        assert!(exchange.end(7, 1) && !exchange.end(7, 1));
    }
}
