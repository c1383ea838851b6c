//! What a plugin counts, by the names it chose.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counters of one interface since the node started.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Tallies {
    /// Adds to a counter. A plugin that makes up names without an end fills one counter only.
    pub(crate) fn add(&self, name: &str, add: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(is_name);
        let name =
            if is_good && (counts.len() < NAMES_MAX || counts.contains_key(name)) { name } else { OTHER };
        if let Some(count) = counts.get_mut(name) {
            *count = count.saturating_add(add);
        } else {
            counts.insert(name.to_owned(), add);
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// What has no name of its own.
const OTHER: &str = "other";
const NAME_MAX: usize = 64;
const NAMES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_bounded() {
        let tallies = Tallies::default();
        tallies.add("outbox.fenced", 2);
        tallies.add("outbox.fenced", u64::MAX);
        tallies.add("a\"b", 1);
        tallies.add("", 1);
        for number in 0..200 {
            tallies.add(&format!("n{number}"), 1);
        }
        let all = tallies.all();
        assert_eq!((all["outbox.fenced"], all.len()), (u64::MAX, 64));
        assert_eq!(all[OTHER] + all.keys().filter(|name| name.starts_with('n')).count() as u64, 202);
    }
}
