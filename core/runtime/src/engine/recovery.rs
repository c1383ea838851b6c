//! What a node knows when it starts: its own journal, read from the beginning.

use twinhub_model::{Position, Quality, Record};
use twinhub_redundancy::Input;

use super::Engine;
use super::parts::is_placeholder;

impl Engine {
    /// Rebuilds table and tracker from this node's own journal.
    pub(super) fn recover(&mut self) {
        // As they were stored: what follows in the journal tells nothing of where they come from.
        self.replication.lacks_copy |= self.parts.are_of_another(&self.journal);
        let mut cursor = Position::START;
        let mut dictionary = 0;
        loop {
            let next = self.journal.dictionary_after(cursor);
            if next != dictionary {
                // Records that cannot be explained do not give the values either.
                self.replication.lacks_copy |= self.journal.dictionary(next).is_err();
                dictionary = next;
            }
            let (entries, state) = self.read_entries(cursor, 1 << 20);
            let is_end = state.caught_up || entries.is_empty();
            for (position, record) in entries {
                if let Record::Merged(merged) = &record {
                    self.note_merged(position, dictionary, merged);
                }
                // What stands there was said in a protocol that this node did not speak then.
                self.replication.lacks_copy |= self.parts.are_kept() && is_placeholder(&record);
                if let Some(record) = self.translation(dictionary).apply(record) {
                    self.apply(position, &record);
                }
                cursor = position;
            }
            match state.resume {
                Some(resume) if resume > cursor => {
                    // What stood there came as a copy, which lives in memory, or was deleted for its age.
                    self.replication.lacks_copy = true;
                    cursor = resume;
                }
                None if !is_end => {}
                Some(_) | None => break,
            }
        }
        for item in self.table.ids() {
            if self.table.quality(item).is_good() {
                self.table.requalify(item, Quality::UNCERTAIN_LAST_USABLE);
            }
        }
        if self.replication.lacks_copy {
            let first = self.journal.first();
            tracing::info!(group = %self.group, %first, "the journal does not begin at the beginning: a full copy is asked for");
        }
        self.tell(Input::LogPosition { mine: self.journal.last() });
    }
}
