//! What a database says that it has.

use std::collections::BTreeMap;

use twinhub_model::{Epoch, Position};

/// How far each group's journal is in the database, for each epoch by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    known: BTreeMap<String, BTreeMap<Epoch, u64>>,
}

impl Progress {
    /// Everything of this journal up to here is there. What is known already is not taken back.
    pub fn note(&mut self, group: &str, position: Position) {
        if !self.known.contains_key(group) {
            self.known.insert(group.to_owned(), BTreeMap::new());
        }
        if let Some(epochs) = self.known.get_mut(group) {
            let seq = epochs.entry(position.epoch).or_insert(0);
            *seq = (*seq).max(position.seq);
        }
    }

    /// Whether all records of the group up to this one are there. Nothing is needed before the first record.
    pub fn covers(&self, group: &str, position: Position) -> bool {
        let seq = self.known.get(group).and_then(|epochs| epochs.get(&position.epoch));
        position == Position::START || seq.is_some_and(|seq| *seq >= position.seq)
    }

    /// Whether this says as much as the other, or more.
    pub fn contains(&self, other: &Progress) -> bool {
        other.known.iter().all(|(group, epochs)| {
            epochs.iter().all(|(epoch, seq)| self.covers(group, Position::new(*epoch, *seq)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position::new(Epoch(epoch), seq)
    }

    #[test]
    fn a_later_epoch_says_nothing_of_an_earlier_one() {
        let mut progress = Progress::default();
        assert!(progress.covers("site", Position::START));
        progress.note("site", at(5, 59));
        progress.note("site", at(6, 50));
        progress.note("site", at(6, 7));
        assert!(progress.covers("site", at(5, 59)) && progress.covers("site", at(6, 50)));
        assert!(!progress.covers("site", at(5, 60)), "the other side of a split wrote it");
        assert!(!progress.covers("site", at(6, 51)) && !progress.covers("energy", at(5, 1)));
    }

    #[test]
    fn a_database_that_lost_its_last_transactions_contains_less() {
        let (mut before, mut after) = (Progress::default(), Progress::default());
        before.note("site", at(5, 10));
        after.note("site", at(5, 9));
        assert!(before.contains(&after) && !after.contains(&before));
        after.note("site", at(5, 10));
        after.note("site", at(6, 1));
        assert!(after.contains(&before));
    }
}
