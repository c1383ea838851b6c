//! Short lists that a node remembers over a restart, each in a JSON file of its state directory that people may edit while
//! the node is stopped.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::whole_file::write_whole;

/// A list by key.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    path: PathBuf,
    /// What it is called in the log.
    what: &'static str,
    entries: Mutex<BTreeMap<String, T>>,
}

impl<T: Clone + PartialEq + Serialize + DeserializeOwned> Remembered<T> {
    /// What the file says. One that cannot be read is said and holds nothing: it must not keep a node from starting.
    pub(crate) fn open(path: PathBuf, what: &'static str) -> Remembered<T> {
        let entries = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %path.display(), %error, "{what} is damaged, delete it");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "{what} cannot be read");
                BTreeMap::new()
            }
        };
        Remembered { path, what, entries: Mutex::new(entries) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<T> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<(String, T)> {
        self.lock().iter().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    pub(crate) fn insert(&self, key: &str, entry: T) {
        let mut entries = self.lock();
        if entries.get(key) != Some(&entry) {
            entries.insert(key.to_owned(), entry);
            self.write(&entries);
        }
    }

    /// Forgets an entry, if it is there and like this.
    pub(crate) fn remove_if(&self, key: &str, is_meant: impl FnOnce(&T) -> bool) {
        let mut entries = self.lock();
        if entries.get(key).is_some_and(is_meant) {
            entries.remove(key);
            self.write(&entries);
        }
    }

    fn write(&self, entries: &BTreeMap<String, T>) {
        let written = serde_json::to_vec_pretty(entries).map_err(io::Error::other).and_then(|mut bytes| {
            bytes.push(b'\n');
            write_whole(&self.path, &bytes, None)
        });
        if let Err(error) = written {
            let what = self.what;
            tracing::warn!(file = %self.path.display(), %error, "{what} is forgotten at the next start");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_outlives_its_process_and_a_damaged_one_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.json");
        let open = || Remembered::<u32>::open(path.clone(), "the list");
        let list = open();
        list.insert("a", 1);
        list.insert("b", 2);
        assert_eq!((open().get("a"), open().all().len()), (Some(1), 2));
        list.remove_if("a", |entry| *entry == 7);
        list.remove_if("b", |entry| *entry == 2);
        assert_eq!(open().all(), [("a".to_owned(), 1)]);
        std::fs::write(&path, b"{\"a\":").unwrap();
        assert_eq!(open().get("a"), None);
    }

    #[test]
    fn what_cannot_be_written_counts_for_this_process() {
        let dir = tempfile::tempdir().unwrap();
        let list = Remembered::<u32>::open(dir.path().to_owned(), "the list");
        list.insert("a", 1);
        assert_eq!(list.get("a"), Some(1));
    }
}
