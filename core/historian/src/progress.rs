//! What a database says that it has.

use std::collections::BTreeMap;

use twinhub_history::Mark;
use twinhub_model::{Epoch, Position};

/// How far each journal is in the database, for each epoch by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// By group and name of the journal.
    known: BTreeMap<(String, String), BTreeMap<Epoch, u64>>,
}

impl Progress {
    /// Everything of this journal up to here is there. What is known already is not taken back.
    pub fn note(&mut self, mark: &Mark) {
        let journal = (mark.group.clone(), mark.life.clone());
        let seq = self.known.entry(journal).or_default().entry(mark.at.epoch).or_insert(0);
        *seq = (*seq).max(mark.at.seq);
    }

    /// Whether all records of the journal up to this one are there. Nothing is needed before the first record.
    pub fn covers(&self, mark: &Mark) -> bool {
        let journal = (mark.group.clone(), mark.life.clone());
        let seq = self.known.get(&journal).and_then(|epochs| epochs.get(&mark.at.epoch));
        mark.at == Position::START || seq.is_some_and(|seq| *seq >= mark.at.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(group: &str, life: &str, epoch: u64, seq: u64) -> Mark {
        Mark { group: group.to_owned(), life: life.to_owned(), at: Position::new(Epoch(epoch), seq) }
    }

    #[test]
    fn a_later_epoch_says_nothing_of_an_earlier_one() {
        let mut progress = Progress::default();
        let site = |epoch, seq| mark("site", "one", epoch, seq);
        assert!(progress.covers(&Mark { at: Position::START, ..site(1, 1) }));
        for (epoch, seq) in [(5, 59), (6, 50), (6, 7)] {
            progress.note(&site(epoch, seq));
        }
        assert!(progress.covers(&site(5, 59)) && progress.covers(&site(6, 50)));
        assert!(!progress.covers(&site(5, 60)), "the other side of a split wrote it");
        assert!(!progress.covers(&site(6, 51)) && !progress.covers(&mark("energy", "one", 5, 1)));
    }

    #[test]
    fn a_journal_says_nothing_of_one_that_begins_anew() {
        let mut progress = Progress::default();
        progress.note(&mark("site", "one", 1, 500));
        assert!(!progress.covers(&mark("site", "two", 1, 1)) && !progress.covers(&mark("site", "", 1, 1)));
        progress.note(&mark("site", "two", 1, 1));
        assert!(!progress.covers(&mark("site", "two", 1, 2)));
    }
}
