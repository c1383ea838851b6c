//! Records that only this node has: it wrote them, and another node became active without them.
//!
//! They are set aside in files of their own and reported, never overwritten; the role machine knows that this
//! node is no candidate until its journal agrees with the active one's again. Then they are offered to it (`merging`).

use twinhub_model::{Position, Severity};
use twinhub_redundancy::Input;
use twinhub_store::{Fork, StoreError};

use super::Hearing;
use crate::engine::Engine;

impl Engine {
    /// This node's journal has records that the active one lacks: they are kept in a file of their own.
    pub(super) fn set_aside(&mut self, common: Position) {
        let last = self.journal.last();
        self.tell(Input::Diverged { common });
        match self.take_out(common) {
            Ok(fork) => {
                let records = fork.as_ref().map_or(0, |fork| fork.records);
                let files = fork.map_or_else(String::new, |fork| {
                    fork.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
                });
                let text = format!(
                    "{records} records after {common} up to {last} were written on this node only; kept in: {files}"
                );
                tracing::warn!(group = %self.group, text, "journal forked");
                // What happened here may stand in these records only: nothing that follows comes before it.
                self.shared.events.begin_copy(&self.group);
                self.event(Severity::Warning, "journal", "TH-JOURNAL-003", &text);
                self.replication.reported_lag = None;
                self.replication.hearing = Hearing::Settles;
                self.replication.ring.doubt();
                let set_aside = self.replication.set_aside.unwrap_or(0).saturating_add(records);
                self.replication.set_aside = Some(set_aside);
                self.tell(Input::LogPosition { mine: self.journal.last() });
                self.merging.look(&self.journal);
                // Table and tracker hold what was set aside: only a full copy says what holds instead.
                self.on_resync();
            }
            Err(error) => self.journal_failed(&error),
        }
    }

    /// What parts say of the records goes to the disk first: the copy that follows replaces it.
    fn take_out(&mut self, common: Position) -> Result<Option<Fork>, StoreError> {
        // The active node knows what it has itself of an epoch; this one may have less.
        let common = self.journal.last_through(common)?;
        self.store_parts_of_fork(common)?;
        self.journal.truncate_after(common)
    }

    /// After a fork: the journal agrees with the active node's again.
    pub(super) fn tell_agreed(&mut self) {
        if let Some(set_aside) = self.replication.set_aside.take() {
            self.tell(Input::LogPosition { mine: self.journal.last() });
            self.tell(Input::MergeDone { set_aside });
        }
    }
}
