//! What interfaces keep by key (`twinhub.state-store/1`).
//!
//! ```text
//! active:  put -> the instance sees it at once -> the lane of values -> record -> kept
//! standby:                                  journal of the active node -> kept, and seen
//! ```
//! A change waits in the same lane as values, in the order in which the instance put and published them, and the journal
//! has it before the values that came later. A change that the journal does not take is owed: until it is paid, no later
//! value is journaled either. What is still on its way when the role ends is given up: then the instance sees what is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use twinhub_loader::{Change, StateStore};
use twinhub_model::{Part, Position};

use super::{PIECE_BYTES_MAX, PartState};
use crate::engine::deliveries::{Gifted, Over};
use crate::engine::{Engine, Phase};

/// See the module. The stores of this node's interfaces are shared with their ports.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    stores: BTreeMap<String, Arc<StateStore>>,
}

/// One change: a record has one or more, and so has a piece of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Entry {
    #[n(0)]
    interface: String,
    #[n(1)]
    key: String,
    #[n(2)]
    is_forgotten: bool,
    #[cbor(n(3), with = "minicbor::bytes")]
    value: Vec<u8>,
}

impl Stores {
    /// That of an interface.
    pub(crate) fn of(&mut self, interface: &str) -> Arc<StateStore> {
        Arc::clone(self.stores.entry(interface.to_owned()).or_default())
    }

    fn take(&mut self, body: &[u8]) -> Result<(), String> {
        let entries: Vec<Entry> =
            minicbor::decode(body).map_err(|error| format!("what an interface keeps by key: {error}"))?;
        for Entry { interface, key, is_forgotten, value } in entries {
            let value = (!is_forgotten).then(|| value.into());
            self.of(&interface)
                .keep(&key, value)
                .map_err(|why| format!("key `{key}` of interface {interface}: {why}"))?;
        }
        Ok(())
    }
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    // Into memory: it has no way to fail.
    minicbor::to_vec(entries).unwrap_or_default()
}

impl PartState for Stores {
    fn part(&self) -> Part {
        Part::STORES
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        self.take(body)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let (mut pieces, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (interface, store) in &self.stores {
            for (key, value) in store.kept() {
                let length = interface.len() + key.len() + value.len() + ENTRY_BYTES_ABOUT;
                if bytes + length > PIECE_BYTES_MAX {
                    pieces.push(encode(&std::mem::take(&mut entries)));
                    bytes = 0;
                }
                bytes += length;
                let (interface, value) = (interface.clone(), value.to_vec());
                entries.push(Entry { interface, key, is_forgotten: false, value });
            }
        }
        if !entries.is_empty() {
            pieces.push(encode(&entries));
        }
        pieces
    }

    fn clear(&mut self) {
        self.stores.values().for_each(|store| store.clear());
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.take(piece)
    }
}

/// What goes to the journal in the order in which interfaces put and gave it.
#[derive(Debug)]
pub(crate) enum Due {
    /// An interface changed what it keeps by key.
    Put(usize, Change),
    /// An interface gave an event.
    Given(Box<Gifted>),
    /// A delivery is over.
    Over(Over),
}

/// What the journal did not take.
pub(crate) type Owed = VecDeque<Due>;

impl Engine {
    /// An instance put something, or forgot it.
    pub(crate) fn on_put(&mut self, interface: usize, change: Change) {
        self.owe(Due::Put(interface, change));
    }

    /// Journals something in its place.
    pub(crate) fn owe(&mut self, due: Due) {
        self.owed.push_back(due);
        self.pay_owed();
    }

    /// Journals what is owed; whether nothing is owed any more.
    pub(crate) fn pay_owed(&mut self) -> bool {
        while let Some(due) = self.owed.pop_front() {
            let paid = match due {
                Due::Put(interface, change) => self.pay_put(interface, change),
                Due::Given(gifted) => self.pay_given(gifted),
                Due::Over(over) => self.pay_over(over),
            };
            if let Err(due) = paid {
                self.owed.push_front(due);
                return false;
            }
        }
        true
    }

    fn pay_put(&mut self, interface: usize, change: Change) -> Result<(), Due> {
        let port = &self.interfaces[interface].port;
        if !self.keeps() {
            port.store.give_up(&change.ticket);
            return Ok(());
        }
        let entry = Entry {
            interface: port.setup.id.clone(),
            key: change.key.clone(),
            is_forgotten: change.value.is_none(),
            value: change.value.as_deref().unwrap_or_default().to_vec(),
        };
        let store = Arc::clone(&port.store);
        if self.append_part(Part::STORES, &encode(&[entry])).is_none() {
            return Err(Due::Put(interface, change));
        }
        store.settle(&change.ticket);
        Ok(())
    }

    /// Whether changes still go to the journal: as values do, and not behind the end that a move in order has told.
    pub(crate) fn keeps(&self) -> bool {
        match &self.phase {
            Phase::Activating(_) | Phase::Active { .. } => true,
            Phase::Draining(draining) => draining.takes_states(),
            Phase::Standby | Phase::Closing(_) => false,
        }
    }
}

/// An entry without its texts is never longer.
const ENTRY_BYTES_ABOUT: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_contract::constants::{STORE_KEYS_MAX, STORE_VALUE_BYTES_MAX};

    use super::*;

    fn entry(interface: &str, key: &str, value: Option<&[u8]>) -> Entry {
        let (is_forgotten, value) = (value.is_none(), value.unwrap_or_default().to_vec());
        Entry { interface: interface.to_owned(), key: key.to_owned(), is_forgotten, value }
    }

    fn copied(stores: &Stores) -> Stores {
        let mut copy = Stores::default();
        for piece in stores.pieces() {
            assert!(piece.len() <= PIECE_BYTES_MAX, "{}", piece.len());
            copy.restore(&piece).unwrap();
        }
        copy
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back_from_records_and_copies(
            changes in prop::collection::vec((0..3u8, 0..6u8, prop::option::of(0..70_000usize)), 0..40),
            again in any::<bool>(),
        ) {
            let mut stores = Stores::default();
            let mut expected = BTreeMap::new();
            for (interface, key, length) in changes {
                let (interface, key) = (format!("if{interface}"), format!("key{key}"));
                let value = length.map(|length| vec![7; length]);
                let body = encode(&[entry(&interface, &key, value.as_deref())]);
                let taken = stores.apply(Position::START, &body);
                prop_assert_eq!(taken.is_ok(), length.is_none_or(|length| length <= STORE_VALUE_BYTES_MAX));
                if again {
                    prop_assert_eq!(stores.apply(Position::START, &body), taken.clone());
                }
                match value.filter(|_| taken.is_ok()) {
                    Some(value) => drop(expected.insert((interface, key), value)),
                    None if taken.is_ok() => drop(expected.remove(&(interface, key))),
                    None => {}
                }
            }
            for mut stores in [copied(&stores), stores] {
                let kept: BTreeMap<_, _> = ["if0", "if1", "if2"].into_iter().flat_map(|interface| {
                    let kept = stores.of(interface).kept();
                    kept.into_iter().map(move |(key, value)| ((interface.to_owned(), key), value.to_vec()))
                }).collect();
                prop_assert_eq!(&kept, &expected);
            }
        }

        #[test]
        fn hostile_records_are_refused_or_left_out(body: Vec<u8>) {
            let mut stores = Stores::default();
            let _taken = stores.apply(Position::START, &body);
            prop_assert!(stores.pieces().is_empty());
        }

        #[test]
        fn a_damaged_record_keeps_the_limits(place in 0..60usize, byte: u8) {
            let mut body = encode(&[entry("plc1", "key", Some(b"value")), entry("plc1", "other", None)]);
            let place = place % body.len();
            body[place] = byte;
            let mut stores = Stores::default();
            let _taken = stores.apply(Position::START, &body);
            prop_assert!(stores.pieces().iter().map(Vec::len).sum::<usize>() <= body.len() + ENTRY_BYTES_ABOUT);
        }
    }

    #[test]
    fn a_full_store_goes_into_pieces_that_fit_messages() {
        let mut stores = Stores::default();
        for number in 0..STORE_KEYS_MAX {
            let body = encode(&[entry("plc1", &format!("{number}"), Some(&[7; 1_000]))]);
            stores.apply(Position::START, &body).unwrap();
        }
        let body = encode(&[entry("plc1", "one more", Some(b""))]);
        assert!(stores.apply(Position::START, &body).unwrap_err().contains("1,000 keys"));
        assert_eq!(copied(&stores).of("plc1").kept(), stores.of("plc1").kept());
        stores.clear();
        assert!(stores.pieces().is_empty());
    }
}
