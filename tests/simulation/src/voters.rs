//! What the records of the voters may never show, seen from outside.

use std::collections::BTreeMap;

use twinhub_redundancy::{Members, Stamp};

/// Every record that was stored, and the newest change that counted.
#[derive(Debug, Default)]
pub struct VotersSeen {
    stored: BTreeMap<Stamp, Members>,
    counted: Stamp,
}

impl VotersSeen {
    /// A voter stores this record in the place of another.
    pub(crate) fn stores(&mut self, old: Option<&Members>, new: &Members) -> Result<(), String> {
        if old.is_some_and(|old| old.stamp > new.stamp) {
            return Err(format!("{new:?} in the place of the newer {old:?}"));
        }
        if let Some(known) = self.stored.get(&new.stamp)
            && known != new
        {
            return Err(format!("{new:?} and {known:?} have the same stamp"));
        }
        self.stored.insert(new.stamp, new.clone());
        if self.stored.len() > STORED_MAX {
            self.stored.pop_first();
        }
        Ok(())
    }

    /// A holder says that a change counts: its record with both majorities is the one before.
    pub(crate) fn counts(&mut self, settled: &Members) {
        let joint = Stamp { revision: settled.stamp.revision.saturating_sub(1), ..settled.stamp };
        self.counted = self.counted.max(joint);
    }

    /// A node won with the majority of these voters: none of them may have been replaced before.
    pub(crate) fn wins(&self, members: &Members) -> Result<(), String> {
        if members.stamp < self.counted {
            return Err(format!("won with {members:?}, but {:?} counted before", self.counted));
        }
        Ok(())
    }
}

/// Older ones were replaced everywhere long ago.
const STORED_MAX: usize = 256;
