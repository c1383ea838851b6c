//! The engine's journal: appending, reading, and the disk.

use std::borrow::Borrow;
use std::sync::Arc;

use twinhub_model::{Moment, Position, Record, Sample, Severity};
use twinhub_store::{Entry, ReadEnd, Relation, StoreError, SyncOutcome, SyncTicket};

use super::{Engine, READ_BYTES};
use crate::clock;
use crate::history::{JournalAsk, JournalPart, PartEnd};
use crate::inbox::{Inbox, Job};

/// A record of samples is split above about this size; the journal takes twice as much.
pub(crate) const RECORD_BYTES_WANTED: usize = 512 * 1024;
/// A sample without its text is never longer.
pub(crate) const SAMPLE_BYTES_ABOUT: usize = 40;

/// Samples in order, in memory or unpacked one by one, that can be gone through more than once.
pub(crate) trait Samples:
    IntoIterator<Item: Borrow<Sample>, IntoIter: ExactSizeIterator> + Clone
{
}

impl<T> Samples for T where T: IntoIterator<Item: Borrow<Sample>, IntoIter: ExactSizeIterator> + Clone {}

impl Engine {
    /// Appends a record of this node's own epoch and takes it into the tracker. `None` if the journal takes
    /// nothing; that is reported once.
    pub(crate) fn append(&mut self, record: &Record) -> Option<Position> {
        let appended = self.journal.append(record);
        let position = self.appended(appended)?;
        self.tracker.apply(position, record);
        self.sync_wanted |= matches!(record, Record::Role(_) | Record::Event(_) | Record::Part(_));
        Some(position)
    }

    /// As [`Engine::append`], for samples.
    pub(crate) fn append_samples(&mut self, samples: impl Samples) -> Option<Position> {
        let appended = self.journal.append_samples(samples.clone());
        let position = self.appended(appended)?;
        self.tracker.apply_samples(position, samples);
        Some(position)
    }

    fn appended(&mut self, appended: Result<Position, StoreError>) -> Option<Position> {
        appended
            .inspect_err(|error| {
                self.counters.unjournaled += 1;
                self.journal_failed(error);
            })
            .ok()
    }

    /// Hands buffered journal bytes to the kernel, and orders them onto the disk when it is time. The disk is
    /// waited for on another thread.
    pub(crate) fn flush(&mut self, now: Moment) {
        let due = now >= self.synced_at + self.sync_interval;
        let result =
            if !self.syncing && (due || self.sync_wanted) && self.journal.durable() < self.journal.last() {
                self.sync_wanted = false;
                self.journal.begin_sync().map(|ticket| {
                    if let Some(ticket) = ticket {
                        // The thread lives as long as this engine.
                        self.syncing = self.syncer.send(ticket).is_ok();
                    }
                })
            } else {
                self.journal.write()
            };
        match result {
            Ok(()) if !self.journal_ok => self.journal_works_again(),
            Ok(()) => {}
            Err(error) => self.journal_failed(&error),
        }
    }

    pub(crate) fn on_synced(&mut self, outcome: SyncOutcome) {
        self.syncing = false;
        self.synced_at = clock::now();
        if let Err(error) = self.journal.finish_sync(outcome) {
            self.sync_wanted = true;
            self.journal_failed(&error);
        }
    }

    pub(crate) fn journal_works_again(&mut self) {
        self.journal_ok = true;
        self.stall_inputs(false);
        tracing::info!(group = %self.group, "the journal takes records again");
        self.event(Severity::Info, "journal", "TH-JOURNAL-002", "the journal takes records again");
    }

    pub(crate) fn journal_failed(&mut self, error: &StoreError) {
        if self.journal_ok {
            self.journal_ok = false;
            self.stall_inputs(true);
            tracing::error!(group = %self.group, %error, "the journal takes nothing");
            self.event(Severity::Error, "journal", "TH-JOURNAL-001", &error.to_string());
        }
    }

    /// Gives the history what follows, as it stands in the journal.
    pub(crate) fn on_journal_ask(&mut self, ask: &JournalAsk) {
        self.journal.pin(ask.sealed);
        let last = self.journal.last();
        let after = ask.after;
        let relation = self.journal.relation(after);
        let dictionary = self.journal.dictionary_after(after);
        let mended = self.healing.mended();
        let (entries, end, life) = (Vec::new(), PartEnd::CaughtUp, self.life());
        let mut part = JournalPart { entries, dictionary, keys: None, end, last, life, mended };
        // What a crash took from this journal comes again from the node that has it.
        if let Relation::Diverged { common } = relation
            && after < last
        {
            // What the follower has of records that were set aside is not followed by anything; what is here goes on
            // behind the last record that both have.
            let common = self.merging.common_before(after).map_or(common, |known| known.min(common));
            part.end = PartEnd::SetAside { common };
        } else if after < last {
            part.end = match self.journal.read_after(after, READ_BYTES, &mut part.entries) {
                Ok(ReadEnd::More) => PartEnd::More,
                Ok(ReadEnd::CaughtUp) => PartEnd::CaughtUp,
                Ok(ReadEnd::Gap { resume }) => PartEnd::Missing { after, resume },
                Err(error) => {
                    tracing::warn!(%error, "cannot read the journal for the history");
                    PartEnd::CaughtUp
                }
            };
        }
        if ask.dictionary != dictionary && !part.entries.is_empty() {
            match self.journal.dictionary(dictionary) {
                Ok(keys) => part.keys = Some(keys),
                Err(error) => {
                    // Without their items they say nothing; another node's history has their values.
                    tracing::warn!(%error, "records cannot be taken into the history");
                    let resume = part.entries.last().map_or(after, |entry| entry.position);
                    part.entries.clear();
                    part.end = PartEnd::Missing { after, resume };
                }
            }
        }
        if let PartEnd::Missing { after, resume } = part.end {
            part.end = PartEnd::Missing { after: self.first_place_of(after, resume), resume };
        }
        // A follower that is gone needs no answer.
        ask.reply.try_send(part).ok();
    }

    /// What follows in the journal, in this node's handles.
    pub(crate) fn read_journal(&self, after: Position, bytes: usize) -> (Vec<(Position, Record)>, ReadState) {
        let (entries, state) = self.read_entries(after, bytes);
        let translation = self.translation(self.journal.dictionary_after(after));
        let here = entries
            .into_iter()
            .filter_map(|(position, record)| translation.apply(record).map(|record| (position, record)));
        (here.collect(), state)
    }

    /// The same as it stands there, in handles of [`Journal::dictionary_after`](twinhub_store::Journal).
    pub(crate) fn read_entries(&self, after: Position, bytes: usize) -> (Vec<(Position, Record)>, ReadState) {
        let mut raw: Vec<Entry> = Vec::new();
        let end = match self.journal.read_after(after, bytes, &mut raw) {
            Ok(end) => end,
            Err(error) => {
                tracing::warn!(%error, "cannot read the journal");
                return (Vec::new(), ReadState { through: after, resume: None, caught_up: true });
            }
        };
        let decode = |entry: &Entry| match twinhub_wire::record::decode(&entry.body) {
            Ok(record) => Some((entry.position, record)),
            Err(error) => {
                tracing::warn!(position = %entry.position, %error, "journal entry is not readable");
                None
            }
        };
        let through = raw.last().map_or(after, |entry| entry.position);
        let entries = raw.iter().filter_map(decode).collect();
        let resume = match end {
            ReadEnd::Gap { resume } => Some(resume),
            ReadEnd::More | ReadEnd::CaughtUp => None,
        };
        let state = ReadState { through, resume, caught_up: end == ReadEnd::CaughtUp };
        (entries, state)
    }
}

/// Pieces that a journal record takes; nearly always the whole.
pub(crate) fn pieces(mut samples: &[Sample]) -> impl Iterator<Item = &[Sample]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = samples.iter().take_while(|sample| {
            bytes += SAMPLE_BYTES_ABOUT + sample.value.text_bytes();
            bytes <= RECORD_BYTES_WANTED
        });
        let count = fits.count().max(1);
        let (piece, rest) = samples.split_at_checked(count)?;
        samples = rest;
        Some(piece)
    })
}

/// A thread that waits for the disk, so that the engine does not.
pub(crate) fn spawn_syncer(inbox: Arc<Inbox>) -> std::sync::mpsc::Sender<SyncTicket> {
    let (sender, receiver) = std::sync::mpsc::channel::<SyncTicket>();
    let spawned = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
        while let Ok(ticket) = receiver.recv() {
            inbox.push(Job::Synced(ticket.run()));
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the thread for the disk does not start: records reach it late");
    }
    sender
}

/// How a journal read ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadState {
    /// What was read, though it may say nothing here.
    pub(crate) through: Position,
    /// Where to read on behind records that are not there.
    pub(crate) resume: Option<Position>,
    pub(crate) caught_up: bool,
}
