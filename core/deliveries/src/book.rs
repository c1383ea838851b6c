//! The events of one group, as its journal has them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::bytes::{BytesError, from_bytes, to_bytes};
use crate::entry::{Entry, Given, Name};
use crate::line::{Line, size};
use crate::{SEEN_MAX, UNLINKED_MAX};

/// An event that waits for an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The event.
    pub given: Arc<Given>,
    /// In which epoch it began to wait; 0 if it was brought there before.
    pub epoch: u64,
}

/// An event that an interface cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The event.
    pub given: Arc<Given>,
    /// Code of the contract.
    pub code: i32,
    /// Since when, in nanoseconds since 1970 UTC.
    pub at_ns: i64,
}

/// What is shown of an event that is for nobody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Which.
    #[n(0)]
    pub name: Name,
    /// What it is about.
    #[n(1)]
    pub key: String,
    /// Bytes of what it says.
    #[n(2)]
    pub bytes: u64,
    /// When it was given, in nanoseconds since 1970 UTC.
    #[n(3)]
    pub at_ns: i64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It changes nothing: it is about nothing that is here.
    None,
    /// A new event.
    Taken,
    /// The event was here already.
    Doubled,
    /// A delivery is over.
    Over,
    /// A delivery failed for good; these of its interface had to make room.
    Died(Vec<Dead>),
    /// One waits again.
    Revived,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Number of the last delivery.
    last: u64,
    /// By interface that they are for.
    lines: BTreeMap<String, Line>,
    /// Numbers of what waits or is dead, by event and interface.
    numbers: BTreeMap<(Name, String), u64>,
    /// By giver and stream.
    seen: BTreeMap<(String, String), Seen>,
    /// By giver.
    unlinked: BTreeMap<String, VecDeque<Head>>,
}

/// Ids of one stream, in the order in which they were seen first.
#[derive(Debug, Clone, Default)]
struct Seen {
    order: VecDeque<String>,
    ids: BTreeSet<String>,
}

impl Book {
    /// Takes what the journal says at a place in this epoch.
    pub fn apply(&mut self, epoch: u64, entry: Entry) -> Change {
        match entry {
            Entry::Given(given) => self.on_given(epoch, given),
            Entry::Done { name, to } | Entry::Dropped { name, to } => self.on_over(name, to),
            Entry::Dead { name, to, code, at_ns } => self.on_dead(name, to, code, at_ns),
            Entry::Again { name, to } => self.on_again(name, to),
        }
    }

    fn on_given(&mut self, epoch: u64, given: Given) -> Change {
        if self.has_seen(&given.name) {
            return Change::Doubled;
        }
        self.note_seen(&given.name);
        let given = Arc::new(given);
        if given.to.is_empty() {
            let Given { name, key, payload, at_ns, .. } = &*given;
            let bytes = payload.len() as u64;
            self.show(Head { name: name.clone(), key: key.clone(), bytes, at_ns: *at_ns });
        }
        let to: BTreeSet<&String> = given.to.iter().collect();
        for to in to {
            self.wait(to, Waiting { given: Arc::clone(&given), epoch });
        }
        Change::Taken
    }

    fn on_over(&mut self, name: Name, to: String) -> Change {
        let place = (name, to);
        let Some(number) = self.numbers.remove(&place) else { return Change::None };
        let line = self.lines.entry(place.1.clone()).or_default();
        // One of them is there, and only one.
        line.end_wait(number);
        line.exhume(number);
        self.forget_empty(&place.1);
        Change::Over
    }

    fn on_dead(&mut self, name: Name, to: String, code: i32, at_ns: i64) -> Change {
        let place = (name, to);
        let Some(number) = self.numbers.get(&place) else { return Change::None };
        let line = self.lines.entry(place.1.clone()).or_default();
        let Some(Waiting { given, .. }) = line.end_wait(*number) else { return Change::None };
        let pushed_out = line.bury(*number, Dead { given, code, at_ns });
        for dead in &pushed_out {
            self.numbers.remove(&(dead.given.name.clone(), place.1.clone()));
        }
        Change::Died(pushed_out)
    }

    /// It goes behind all that waits.
    fn on_again(&mut self, name: Name, to: String) -> Change {
        let place = (name, to);
        let Some(number) = self.numbers.get(&place).copied() else { return Change::None };
        let line = self.lines.entry(place.1.clone()).or_default();
        let Some(Dead { given, .. }) = line.exhume(number) else { return Change::None };
        self.wait(&place.1, Waiting { given, epoch: 0 });
        Change::Revived
    }

    fn wait(&mut self, to: &str, waiting: Waiting) {
        self.last += 1;
        self.put(self.last, to, waiting);
    }

    fn put(&mut self, number: u64, to: &str, waiting: Waiting) {
        self.numbers.insert((waiting.given.name.clone(), to.to_owned()), number);
        self.lines.entry(to.to_owned()).or_default().wait(number, waiting);
    }

    fn show(&mut self, head: Head) {
        let heads = self.unlinked.entry(head.name.source.clone()).or_default();
        if heads.len() >= UNLINKED_MAX {
            heads.pop_front();
        }
        heads.push_back(head);
    }

    fn forget_empty(&mut self, to: &str) {
        if self.lines.get(to).is_some_and(Line::is_empty) {
            self.lines.remove(to);
        }
    }

    /// Whether an event of this name was given before, as far as that is remembered.
    pub fn has_seen(&self, name: &Name) -> bool {
        let stream = (name.source.clone(), name.stream.clone());
        self.seen.get(&stream).is_some_and(|seen| seen.ids.contains(&name.id))
    }

    fn note_seen(&mut self, name: &Name) {
        let (source, stream) = (name.source.clone(), name.stream.clone());
        let seen = self.seen.entry((source, stream)).or_default();
        seen.ids.insert(name.id.clone());
        seen.order.push_back(name.id.clone());
        // Those that still wait go to the end: they are remembered for as long as they do.
        let mut tries = seen.order.len();
        while seen.order.len() > SEEN_MAX && tries > 0 {
            tries -= 1;
            let Some(id) = seen.order.pop_front() else { break };
            let oldest = Name { id, ..name.clone() };
            let from = (oldest.clone(), String::new());
            if self.numbers.range(from..).next().is_some_and(|((found, _), _)| *found == oldest) {
                seen.order.push_back(oldest.id);
            } else {
                seen.ids.remove(&oldest.id);
            }
        }
    }

    /// Whether an interface has room for so many more deliveries, of so many bytes in all.
    pub fn has_room(&self, to: &str, count: usize, bytes: usize) -> bool {
        match self.lines.get(to) {
            Some(line) => line.has_room(count, bytes),
            None => Line::default().has_room(count, bytes),
        }
    }

    /// What an event takes of the room of each interface that it is for.
    pub fn bytes_of(given: &Given) -> usize {
        size(given)
    }

    /// The interfaces for which anything waits, or is dead.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// What waits for an interface, by number.
    pub fn waiting(&self, to: &str) -> impl Iterator<Item = (u64, &Waiting)> {
        self.lines.get(to).into_iter().flat_map(Line::waiting).map(|(number, waiting)| (*number, waiting))
    }

    /// What is dead for an interface, by number.
    pub fn dead(&self, to: &str) -> impl Iterator<Item = (u64, &Dead)> {
        self.lines.get(to).into_iter().flat_map(Line::dead).map(|(number, dead)| (*number, dead))
    }

    /// How many wait for an interface, and how many are dead there.
    pub fn counts(&self, to: &str) -> (usize, usize) {
        self.lines.get(to).map_or((0, 0), |line| (line.waiting().len(), line.dead().len()))
    }

    /// One that waits for an interface.
    pub fn find(&self, to: &str, number: u64) -> Option<&Waiting> {
        self.lines.get(to)?.waiting().get(&number)
    }

    /// One that is dead, and where.
    pub fn find_dead(&self, number: u64) -> Option<(&str, &Dead)> {
        self.lines.iter().find_map(|(to, line)| Some((to.as_str(), line.dead().get(&number)?)))
    }

    /// Those that may be brought to an interface: the first of each giver and key, oldest first.
    pub fn firsts(&self, to: &str) -> Vec<u64> {
        self.lines.get(to).map(Line::firsts).unwrap_or_default()
    }

    /// Number of the last delivery.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The last events of each giver that were for nobody, oldest first.
    pub fn unlinked(&self) -> impl Iterator<Item = &Head> {
        self.unlinked.values().flatten()
    }

    /// All of it in pieces that are about so long at most, unless a single event is longer.
    pub fn pieces(&self, bytes_max: usize) -> Vec<Vec<u8>> {
        let mut pieces = Pieces { bytes_max, done: Vec::new(), open: Vec::new(), bytes: 0 };
        if self.last > 0 || !self.seen.is_empty() {
            pieces.add(Kept::Last { number: self.last });
        }
        for ((source, stream), seen) in &self.seen {
            for ids in seen.order.iter().collect::<Vec<_>>().chunks(SEEN_AT_ONCE) {
                let (source, stream) = (source.clone(), stream.clone());
                pieces.add(Kept::Seen { source, stream, ids: ids.iter().copied().cloned().collect() });
            }
        }
        for head in self.unlinked.values().flatten() {
            pieces.add(Kept::Unlinked { head: head.clone() });
        }
        for (to, line) in &self.lines {
            for (number, Waiting { given, epoch }) in line.waiting() {
                let given = Given { to: Vec::new(), ..Given::clone(given) };
                pieces.add(Kept::Waiting { number: *number, to: to.clone(), epoch: *epoch, given });
            }
            for (number, Dead { given, code, at_ns }) in line.dead() {
                let given = Given { to: Vec::new(), ..Given::clone(given) };
                let (code, at_ns) = (*code, *at_ns);
                pieces.add(Kept::Dead { number: *number, to: to.clone(), given, code, at_ns });
            }
        }
        pieces.end()
    }

    /// Takes a piece of a copy.
    ///
    /// # Errors
    /// [`BytesError`] if it is none.
    pub fn restore(&mut self, piece: &[u8]) -> Result<(), BytesError> {
        for kept in from_bytes::<Vec<Kept>>(piece)? {
            match kept {
                Kept::Last { number } => self.last = self.last.max(number.min(NUMBER_MAX)),
                Kept::Seen { source, stream, ids } => {
                    let seen = self.seen.entry((source, stream)).or_default();
                    for id in ids {
                        if seen.ids.insert(id.clone()) {
                            seen.order.push_back(id);
                        }
                    }
                }
                Kept::Unlinked { head } => self.show(head),
                Kept::Waiting { number, to, epoch, given } => {
                    if self.is_free(number, &given.name, &to) {
                        self.put(number, &to, Waiting { given: Arc::new(given), epoch });
                    }
                }
                Kept::Dead { number, to, given, code, at_ns } => {
                    if self.is_free(number, &given.name, &to) {
                        self.numbers.insert((given.name.clone(), to.clone()), number);
                        let dead = Dead { given: Arc::new(given), code, at_ns };
                        for dead in self.lines.entry(to.clone()).or_default().bury(number, dead) {
                            self.numbers.remove(&(dead.given.name.clone(), to.clone()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether neither the number nor its place is taken: a damaged copy must not make two of one.
    fn is_free(&mut self, number: u64, name: &Name, to: &str) -> bool {
        if number > NUMBER_MAX {
            return false;
        }
        self.last = self.last.max(number);
        let is_known =
            |line: &Line| line.waiting().contains_key(&number) || line.dead().contains_key(&number);
        !self.numbers.contains_key(&(name.clone(), to.to_owned())) && !self.lines.values().any(is_known)
    }
}

/// One thing of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Kept {
    #[n(0)]
    Last {
        #[n(0)]
        number: u64,
    },
    #[n(1)]
    Seen {
        #[n(0)]
        source: String,
        #[n(1)]
        stream: String,
        #[n(2)]
        ids: Vec<String>,
    },
    #[n(2)]
    Unlinked {
        #[n(0)]
        head: Head,
    },
    #[n(3)]
    Waiting {
        #[n(0)]
        number: u64,
        #[n(1)]
        to: String,
        #[n(2)]
        epoch: u64,
        #[n(3)]
        given: Given,
    },
    #[n(4)]
    Dead {
        #[n(0)]
        number: u64,
        #[n(1)]
        to: String,
        #[n(2)]
        given: Given,
        #[n(3)]
        code: i32,
        #[n(4)]
        at_ns: i64,
    },
}

struct Pieces {
    bytes_max: usize,
    done: Vec<Vec<u8>>,
    open: Vec<Kept>,
    bytes: usize,
}

impl Pieces {
    fn add(&mut self, kept: Kept) {
        let bytes = KEPT_BYTES_ABOUT
            + match &kept {
                Kept::Last { .. } => 0,
                Kept::Seen { source, stream, ids } => {
                    source.len() + stream.len() + ids.iter().map(|id| id.len() + 3).sum::<usize>()
                }
                Kept::Unlinked { head } => head.name.bytes() + head.key.len(),
                Kept::Waiting { to, given, .. } | Kept::Dead { to, given, .. } => to.len() + size(given),
            };
        if self.bytes + bytes > self.bytes_max && !self.open.is_empty() {
            self.done.push(to_bytes(&std::mem::take(&mut self.open)));
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.open.push(kept);
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(to_bytes(&self.open));
        }
        self.done
    }
}

/// One thing of a copy without its texts is never longer.
const KEPT_BYTES_ABOUT: usize = 96;
/// A larger number is damage: it would leave none for what comes.
const NUMBER_MAX: u64 = u64::MAX >> 1;
/// Ids that are one thing of a copy.
const SEEN_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests;
