//! What was joined after splits: which records of other journals this one has taken in, and a report of each time.
//!
//! A node whose journal turned out to have records that the active node lacks sets them aside and offers them. The
//! active node takes what it does not have, as [`Merged`] records of its own journal, and every node folds those into
//! the same [`Merges`]. A record is known by where it stood: an epoch has one owner, so no two records of a site stood
//! in the same place. What came once does not come again, whichever node offers it, and a successor goes on where the
//! active node before it ended.
//!
//! ```text
//! offer -> Begin -> Merged ... -> End        one node after the other
//!            `-- its active node is lost: the next one begins again, and goes on behind the last record
//! ```

use std::collections::VecDeque;

use minicbor::{Decode, Encode};
use twinhub_model::{Merged, Part, Position, Record};

use crate::ReplicaError;

mod coverage;
mod report;

use coverage::Coverage;
pub use report::{Counts, Report};

/// Reports that are kept; of more the oldest are forgotten.
pub const REPORTS_MAX: usize = 200;
/// Finished joins that are remembered, so that nothing is offered again.
const DONE_MAX: usize = 10_000;
/// Remembered joins that go together into one piece of a copy.
const DONE_CHUNK: usize = 1_000;

/// Which records: those that a node set aside at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct MergeId {
    /// The node's name.
    #[n(0)]
    pub node: String,
    /// The last record that it had in common with the node that was active.
    #[n(1)]
    pub common: Position,
}

/// One body of a journal record (the first three and the last), or of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MergeEntry {
    /// The active node begins to take records in, or goes on where one before it ended.
    #[n(0)]
    Begin(#[n(0)] Report),
    /// Something for the report of the one that is under way.
    #[n(1)]
    Note {
        /// What to count.
        #[n(0)]
        counts: Counts,
        /// What to say.
        #[n(1)]
        lines: Vec<String>,
        /// The last record that was looked at.
        #[n(2)]
        through: Position,
        /// Ranges of records that were looked at and are dealt with, taken in or left on purpose: epoch, first and last
        /// number.
        #[n(3)]
        #[cbor(default)]
        covered: Vec<(u64, u64, u64)>,
    },
    /// Everything was taken in.
    #[n(2)]
    End {
        /// When, in nanoseconds since 1970.
        #[n(0)]
        time: i64,
    },
    /// A report as it is.
    #[n(3)]
    Report(#[n(0)] Report),
    /// Ranges of records that were taken in: epoch, first and last number.
    #[n(4)]
    Coverage(#[n(0)] Vec<(u64, u64, u64)>),
    /// What was taken in completely.
    #[n(5)]
    Done(#[n(0)] Vec<MergeId>),
    /// The one that is under way.
    #[n(6)]
    Open(#[n(0)] MergeId),
    /// What documents kept was taken in.
    #[n(7)]
    Parts,
}

impl MergeEntry {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes every byte and no field has a fallible encoder")
    }

    /// Reads one; `bytes` must hold nothing else.
    ///
    /// # Errors
    /// [`ReplicaError::Unreadable`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<MergeEntry, ReplicaError> {
        let unreadable = |detail: String| ReplicaError::Unreadable { detail };
        let mut decoder = minicbor::Decoder::new(bytes);
        let entry = decoder.decode().map_err(|error| unreadable(error.to_string()))?;
        if decoder.position() == bytes.len() {
            Ok(entry)
        } else {
            Err(unreadable("more bytes than one entry".to_owned()))
        }
    }
}

/// See the module. The same on every node that folded the same records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merges {
    coverage: Coverage,
    /// Oldest first.
    reports: VecDeque<Report>,
    done: VecDeque<MergeId>,
    open: Option<MergeId>,
}

impl Merges {
    /// Whether the record that stood there was taken in.
    pub fn has(&self, origin: Position) -> bool {
        self.coverage.has(origin)
    }

    /// Whether everything that this node set aside there was taken in.
    pub fn is_done(&self, id: &MergeId) -> bool {
        self.done.contains(id)
    }

    /// Reports, oldest first.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = &Report> + ExactSizeIterator {
        self.reports.iter()
    }

    /// The one that is under way, or was when its active node was lost.
    pub fn open(&self) -> Option<&Report> {
        let open = self.open.as_ref()?;
        self.reports.iter().find(|report| report.id == *open)
    }

    /// The report of this one.
    pub fn report(&self, id: &MergeId) -> Option<&Report> {
        self.reports.iter().find(|report| report.id == *id)
    }

    /// The journal had the last record of this one there.
    pub fn ended_at(&mut self, id: &MergeId, at: Position) {
        if let Some(report) = self.reports.iter_mut().find(|report| report.id == *id) {
            report.ended_at = Some(at);
        }
    }

    /// Records that the journal took in between these places stood behind this one at first; `None` if there are none.
    pub fn common_of(&self, after: Position, through: Position) -> Option<Position> {
        let may_be_there = |report: &&Report| {
            let is_over = report.ended.is_some() && report.ended_at.is_none_or(|at| at <= after);
            report.kept < through && !is_over
        };
        self.reports.iter().filter(may_be_there).map(|report| report.id.common).min()
    }

    /// Takes a body of the journal or of a copy.
    pub fn apply(&mut self, entry: MergeEntry) {
        match entry {
            MergeEntry::Begin(mut report) => {
                report.cut();
                self.open = Some(report.id.clone());
                match self.reports.iter_mut().find(|known| known.id == report.id) {
                    Some(known) => known.begin_again(report),
                    None => self.keep(report),
                }
            }
            MergeEntry::Note { counts, lines, through, covered } => {
                for (epoch, first, last) in covered {
                    self.coverage.insert_range(epoch, first, last);
                }
                if let Some(report) = self.open_mut() {
                    report.counts.add(&counts);
                    report.say(lines);
                    report.through = report.through.max(through);
                }
            }
            MergeEntry::Parts => {
                if let Some(report) = self.open_mut() {
                    report.has_parts = true;
                }
            }
            MergeEntry::End { time } => {
                if let Some(report) = self.open_mut() {
                    report.end(time);
                }
                if let Some(id) = self.open.take() {
                    self.remember(id);
                }
            }
            MergeEntry::Report(mut report) => {
                report.cut();
                self.keep(report);
            }
            MergeEntry::Coverage(ranges) => {
                for (epoch, first, last) in ranges {
                    self.coverage.insert_range(epoch, first, last);
                }
            }
            MergeEntry::Done(ids) => ids.into_iter().for_each(|id| self.remember(id)),
            MergeEntry::Open(id) => self.open = Some(id),
        }
    }

    /// Takes in a record of another journal; `events` is how many events a part has in it, `say` puts a command into words.
    pub fn take(&mut self, merged: &Merged, events: u64, say: &dyn Fn(&Record) -> String) {
        self.coverage.insert(merged.origin);
        if let Some(report) = self.open_mut() {
            report.take(merged, events, say);
        }
    }

    /// Bodies that make the same state of an empty one, each small.
    pub fn snapshot(&self) -> Vec<MergeEntry> {
        let reports = self.reports.iter().cloned().map(MergeEntry::Report);
        let done: Vec<MergeId> = self.done.iter().cloned().collect();
        let done: Vec<_> = done.chunks(DONE_CHUNK).map(|chunk| MergeEntry::Done(chunk.to_vec())).collect();
        let coverage = (!self.coverage.is_empty()).then(|| MergeEntry::Coverage(self.coverage.ranges()));
        reports.chain(done).chain(coverage).chain(self.open.iter().cloned().map(MergeEntry::Open)).collect()
    }

    fn open_mut(&mut self) -> Option<&mut Report> {
        let open = self.open.as_ref()?;
        self.reports.iter_mut().find(|report| report.id == *open)
    }

    fn keep(&mut self, report: Report) {
        self.reports.push_back(report);
        if self.reports.len() > REPORTS_MAX {
            self.reports.pop_front();
        }
    }

    fn remember(&mut self, id: MergeId) {
        if !self.done.contains(&id) {
            self.done.push_back(id);
        }
        if self.done.len() > DONE_MAX {
            self.done.pop_front();
        }
    }
}

/// What is worth taking in of a record that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It goes into history and ledger of every node.
    Joins,
    /// It says how far something was delivered there, or belongs to that journal alone.
    Stays,
    /// It is of this part, which has its own way of joining.
    Part(Part),
}

/// See [`Worth`].
pub const fn worth(record: &Record) -> Worth {
    match record {
        Record::Samples(_) | Record::Intent(_) | Record::Result(_) | Record::Role(_) | Record::Event(_) => {
            Worth::Joins
        }
        Record::Delivered(_) | Record::Dictionary(_) | Record::Merged(_) => Worth::Stays,
        Record::Part(record) => Worth::Part(record.part),
    }
}

#[cfg(test)]
mod tests;
