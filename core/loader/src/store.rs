//! What an instance keeps by key, as both sides of it need it: what the instance sees at once, and what is kept already.
//!
//! ```text
//! put -> live, and on its way to who keeps it -> kept
//! the role is lost: live is what is kept
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinhub_contract::code;
use twinhub_contract::constants::{
    STORE_BYTES_MAX, STORE_KEY_BYTES_MAX, STORE_KEYS_MAX, STORE_VALUE_BYTES_MAX,
};

/// The store of one interface, for [`crate::HostSink::store`].
#[derive(Debug, Default)]
pub struct StateStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the instance sees.
    live: Shelf,
    /// What is kept.
    kept: Shelf,
    /// Changes that are live and not kept yet.
    open: usize,
    open_bytes: usize,
    /// Another one after changes were given up: tickets from before mean nothing.
    life: u64,
    /// A change that was given up is kept all the same, and is not seen yet.
    is_behind: bool,
    is_stalled: bool,
}

/// A change on its way.
#[derive(Debug)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its value; `None` if it is forgotten.
    pub value: Option<Arc<[u8]>>,
    /// To be given back.
    pub ticket: Ticket,
}

/// Stands for one change until it is kept or given up.
#[derive(Debug)]
pub struct Ticket {
    life: u64,
    bytes: usize,
}

impl StateStore {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        self.lock().live.entries.get(key).cloned()
    }

    /// The key after this one, in the order of their bytes.
    pub fn next(&self, after: &str) -> Option<String> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.lock().live.entries.range::<str, _>(range).next().map(|(key, _)| key.clone())
    }

    /// Changes a key, or forgets it, and hands the change over to be kept. Nothing is changed unless `hand_over` gives OK;
    /// it is called in the order of the changes, and not for one that changes nothing. Gives a code of the contract.
    pub fn change(&self, key: &str, value: Option<&[u8]>, hand_over: impl FnOnce(Change) -> i32) -> i32 {
        let mut state = self.lock();
        if let Err((code, _)) = state.live.check(key, value) {
            return code;
        }
        if state.live.entries.get(key).map(|known| &**known) == value {
            return code::OK;
        }
        let bytes = key.len() + value.map_or(0, <[u8]>::len);
        if state.is_stalled || state.open >= OPEN_MAX || state.open_bytes + bytes > OPEN_BYTES_MAX {
            return code::AGAIN;
        }
        let value: Option<Arc<[u8]>> = value.map(Into::into);
        let ticket = Ticket { life: state.life, bytes };
        let code = hand_over(Change { key: key.to_owned(), value: value.clone(), ticket });
        if code == code::OK {
            state.live.set(key, value);
            state.open += 1;
            state.open_bytes += bytes;
        }
        code
    }

    /// A change is kept, or another node has kept it.
    ///
    /// # Errors
    /// What limit it breaks; nothing is changed.
    pub fn keep(&self, key: &str, value: Option<Arc<[u8]>>) -> Result<(), String> {
        let mut state = self.lock();
        state.kept.check(key, value.as_deref()).map_err(|(_, why)| why.to_owned())?;
        if state.open == 0 {
            state.live.set(key, value.clone());
        }
        state.kept.set(key, value);
        Ok(())
    }

    /// The change of this ticket is on its way no more: it is kept.
    pub fn settle(&self, ticket: &Ticket) {
        let mut state = self.lock();
        if ticket.life == state.life {
            state.open = state.open.saturating_sub(1);
            state.open_bytes = state.open_bytes.saturating_sub(ticket.bytes);
        } else {
            state.is_behind |= state.open > 0;
        }
        if state.open == 0 && state.is_behind {
            state.begin_anew();
        }
    }

    /// The change of this ticket is not kept, and so are none of those after it: what is seen is what is kept.
    pub fn give_up(&self, ticket: &Ticket) {
        let mut state = self.lock();
        if ticket.life == state.life {
            state.begin_anew();
        }
    }

    /// All that is kept, and nothing else: what was on its way is given up.
    pub fn fill(&self, entries: impl IntoIterator<Item = (String, Arc<[u8]>)>) {
        let mut state = self.lock();
        state.kept = Shelf::default();
        for (key, value) in entries {
            if state.kept.check(&key, Some(&value)).is_ok() {
                state.kept.set(&key, Some(value));
            }
        }
        state.begin_anew();
    }

    /// Forgets what is kept; what is on its way goes on.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.kept = Shelf::default();
        if state.open == 0 {
            state.live = Shelf::default();
        }
    }

    /// What is kept.
    pub fn kept(&self) -> Vec<(String, Arc<[u8]>)> {
        self.lock().kept.all()
    }

    /// What the instance sees.
    pub fn live(&self) -> Vec<(String, Arc<[u8]>)> {
        self.lock().live.all()
    }

    /// From here on nothing can be kept, or it can again.
    pub fn stall(&self, is_stalled: bool) {
        self.lock().is_stalled = is_stalled;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_anew(&mut self) {
        self.live = self.kept.clone();
        (self.open, self.open_bytes, self.is_behind) = (0, 0, false);
        self.life += 1;
    }
}

/// Keys and values, and how many bytes they are.
#[derive(Debug, Clone, Default)]
struct Shelf {
    entries: BTreeMap<String, Arc<[u8]>>,
    bytes: usize,
}

impl Shelf {
    /// Whether a change keeps the limits; if not, the code and why.
    fn check(&self, key: &str, value: Option<&[u8]>) -> Result<(), (i32, &'static str)> {
        if key.is_empty() || key.len() > STORE_KEY_BYTES_MAX {
            return Err((code::INVALID, "the key is empty or longer than 128 bytes"));
        }
        let Some(value) = value else { return Ok(()) };
        if value.len() > STORE_VALUE_BYTES_MAX {
            return Err((code::INVALID, "the value is longer than 64 KiB"));
        }
        let before = self.entries.get(key).map(|value| key.len() + value.len());
        if before.is_none() && self.entries.len() >= STORE_KEYS_MAX {
            return Err((code::FULL, "it would have more than 1,000 keys"));
        }
        if self.bytes - before.unwrap_or(0) + key.len() + value.len() > STORE_BYTES_MAX {
            return Err((code::FULL, "its keys and values would be longer than 1 MiB"));
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Option<Arc<[u8]>>) {
        let before = match value {
            Some(value) => {
                self.bytes += key.len() + value.len();
                self.entries.insert(key.to_owned(), value)
            }
            None => self.entries.remove(key),
        };
        self.bytes -= before.map_or(0, |value| key.len() + value.len());
    }

    fn all(&self) -> Vec<(String, Arc<[u8]>)> {
        self.entries.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
    }
}

/// Changes that may be on their way.
const OPEN_MAX: usize = 4_096;
/// Their bytes: all keys may change four times before anything is kept.
const OPEN_BYTES_MAX: usize = 4 * STORE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(store: &StateStore, key: &str, value: &[u8]) -> (i32, Option<Change>) {
        let mut change = None;
        let code = store.change(key, Some(value), |given| {
            change = Some(given);
            code::OK
        });
        (code, change)
    }

    fn keep(store: &StateStore, change: Change) {
        store.keep(&change.key, change.value).unwrap();
        store.settle(&change.ticket);
    }

    #[test]
    fn what_is_put_is_seen_at_once_and_given_up_with_all_that_followed_it() {
        let store = StateStore::default();
        let first = put(&store, "a", b"1").1.unwrap();
        keep(&store, first);
        let second = put(&store, "a", b"2").1.unwrap();
        let third = put(&store, "b", b"3").1.unwrap();
        assert_eq!((store.get("a").as_deref(), store.next("a").as_deref()), (Some(&b"2"[..]), Some("b")));
        store.give_up(&second.ticket);
        assert_eq!((store.get("a").as_deref(), store.get("b")), (Some(&b"1"[..]), None));
        // One that is handled late is kept, and one after the new beginning is not mistaken for it.
        let later = put(&store, "a", b"4").1.unwrap();
        keep(&store, third);
        assert_eq!(store.get("b"), None, "it is seen when nothing is under way");
        keep(&store, later);
        assert_eq!(store.get("b").as_deref(), Some(&b"3"[..]));
        store.keep("c", Some(b"5"[..].into())).unwrap();
        assert_eq!(store.get("c").as_deref(), Some(&b"5"[..]));
    }

    #[test]
    fn limits_are_kept_and_a_refused_change_changes_nothing() {
        let store = StateStore::default();
        let long = "k".repeat(STORE_KEY_BYTES_MAX);
        assert_eq!(put(&store, "", b"").0, code::INVALID);
        assert_eq!(put(&store, &format!("{long}k"), b"").0, code::INVALID);
        assert_eq!(put(&store, "k", &vec![0; STORE_VALUE_BYTES_MAX + 1]).0, code::INVALID);
        let largest = vec![0; STORE_VALUE_BYTES_MAX];
        let mut taken = 0;
        while put(&store, &format!("{taken}"), &largest).0 == code::OK {
            taken += 1;
        }
        assert_eq!(taken, 15, "and the keys do not fit beside sixteen");
        assert_eq!(put(&store, "more", &largest).0, code::FULL);
        assert_eq!(store.get("more"), None);
        assert_eq!(store.change("0", None, |_| code::OK), code::OK);
        assert_eq!(put(&store, "more", &largest).0, code::OK);

        let store = StateStore::default();
        assert!((0..STORE_KEYS_MAX).all(|number| put(&store, &number.to_string(), b"").0 == code::OK));
        assert_eq!(put(&store, "one more", b"").0, code::FULL);
        assert_eq!(put(&store, "7", b"again").0, code::OK);
        assert!(StateStore::default().keep("k", Some(vec![0; STORE_VALUE_BYTES_MAX + 1].into())).is_err());
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_waits_while_nothing_can_be_kept() {
        let store = StateStore::default();
        let mut round = 0_u64;
        while put(&store, "k", &round.to_le_bytes()).0 == code::OK {
            round += 1;
        }
        assert_eq!(round, OPEN_MAX as u64);
        assert_eq!(put(&store, "k", b"").0, code::AGAIN);
        let store = StateStore::default();
        store.stall(true);
        assert_eq!(put(&store, "k", b"1").0, code::AGAIN);
        store.stall(false);
        assert_eq!(put(&store, "k", b"1").0, code::OK);
        assert_eq!(store.change("k", Some(b"2"), |_| code::AGAIN), code::AGAIN);
        assert_eq!(store.get("k").as_deref(), Some(&b"1"[..]), "who keeps it had no room");
    }

    proptest! {
        /// Whatever is put, kept, given up and comes from elsewhere: once nothing is under way, what is seen is kept.
        #[test]
        fn what_is_seen_is_what_is_kept_in_the_end(steps in prop::collection::vec((0..5u8, 0..4u8, 0..9u8), 0..80)) {
            let store = StateStore::default();
            let mut under_way = std::collections::VecDeque::new();
            for (step, key, value) in steps {
                let key = format!("k{key}");
                match step {
                    0 | 1 => under_way.extend(put(&store, &key, &[value]).1),
                    2 => {
                        store.change(&key, None, |change| {
                            under_way.push_back(change);
                            code::OK
                        });
                    }
                    3 => {
                        if let Some(change) = under_way.pop_front() {
                            keep(&store, change);
                        }
                    }
                    _ => {
                        if let Some(change) = under_way.pop_front() {
                            store.give_up(&change.ticket);
                        }
                    }
                }
            }
            for change in under_way {
                keep(&store, change);
            }
            prop_assert_eq!(store.live(), store.kept());
        }
    }
}
