//! The thread that brings journals into the store.

mod copying;
mod missing;
mod places;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use twinhub_history::{Filled, Gap, HistoryError, Row, Slot, Store};
use twinhub_model::{Epoch, Event, ItemId, ItemKey, Moment, Position, Sample, Severity};
use twinhub_store::Entry;
use twinhub_wire::RecordKind;
use twinhub_wire::record::{decode_samples, split_merged};

use self::missing::{is_all, missing_in};
use self::places::Places;
use super::backfill::Backfill;
use super::lines::Lines;
use super::{JournalAsk, JournalPart, PartEnd, Shelf, TwinsAsk, Word};
use crate::clock;
use crate::inbox::{Inbox, Job};
use crate::shared::Shared;

/// A journal that grew is read after this time.
const LOOK: Duration = Duration::from_millis(100);
/// An engine that does not answer is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What is gathered is sealed at least so often.
const SEAL_INTERVAL: Duration = Duration::from_secs(600);
/// After a seal that failed.
const SEAL_RETRY: Duration = Duration::from_secs(5);
/// Old files are looked for.
const RETAIN_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes joined at a time, and how many times as long it then rests.
const COMPACT_BYTES: u64 = 1024 * 1024;
const COMPACT_REST: u32 = 3;
/// Parts read of one journal before the next and the files have their turn.
const PARTS_MAX: usize = 64;

/// A journal with gaps is looked at again after this time: what it lacked may have been mended.
const GAP_LOOK: Duration = Duration::from_secs(2);
/// Behind every record.
const EVERYTHING: Position = Position::new(Epoch(u64::MAX), u64::MAX);

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) store: Store,
    pub(super) feeds: Vec<Feed>,
    /// Bytes that a journal keeps.
    journal_bytes: u64,
    shelf: Arc<Shelf>,
    shared: Arc<Shared>,
    words: Receiver<Word>,
    lines: Arc<Lines>,
    backfill: Backfill,
    /// Questions of engines.
    pub(super) twins: Vec<TwinsAsk>,
    /// Items that only another node knows.
    foreign_items: usize,
    sealed_at: Moment,
    retained_at: Moment,
    compacted_until: Moment,
    /// A seal failed, and was said.
    fails: bool,
    samples: Vec<Sample>,
}

/// One journal.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) group: String,
    pub(super) inbox: Arc<Inbox>,
    /// Hash of the dictionary that `slots` is of.
    dictionary: u64,
    slots: Vec<Option<Slot>>,
    places: Places,
    /// Bytes read since the last seal.
    unsealed_bytes: u64,
    last: Position,
    /// How often the journal was mended, and how often it had been when gaps were last looked for in it.
    mended: u64,
    filled: u64,
    asked_at: Moment,
}

impl Follower {
    pub(super) fn new(
        store: Store,
        feeds: Vec<(String, Arc<Inbox>)>,
        journal_bytes: u64,
        shelf: Arc<Shelf>,
        shared: Arc<Shared>,
        words: Receiver<Word>,
        lines: Arc<Lines>,
    ) -> Follower {
        let backfill = Backfill::new(shared.site.history.sync_rate);
        let feeds: Vec<Feed> = feeds
            .into_iter()
            .map(|(group, inbox)| Feed {
                last: store.cursor(&group),
                group,
                inbox,
                dictionary: 0,
                slots: Vec::new(),
                places: Places::default(),
                unsealed_bytes: 0,
                mended: 0,
                // A crash may have come between the mending and the reading.
                filled: u64::MAX,
                asked_at: Moment::ZERO,
            })
            .collect();
        let mut status = shelf.status();
        // Until the journals were looked at nobody knows that nothing is missing.
        status.lag_records = feeds.len() as u64;
        status.gap_records = store.gaps().iter().map(|gap| behind(gap.after, gap.through)).sum();
        drop(status);
        Follower {
            store,
            feeds,
            journal_bytes,
            shelf,
            shared,
            words,
            lines,
            backfill,
            twins: Vec::new(),
            foreign_items: 0,
            sealed_at: clock::now(),
            retained_at: Moment::ZERO,
            compacted_until: Moment::ZERO,
            fails: false,
            samples: Vec::new(),
        }
    }

    /// Runs until it is told to stop; seals at the end, so that the next start reads little again.
    pub(super) fn run(mut self) {
        loop {
            let reads_on = self.read_all();
            self.answer_twins();
            let now = clock::now();
            self.fill_from_journals(now);
            let idle = self.copy(now);
            self.seal_due(now);
            self.retain_due(now);
            self.compact_due(now);
            for damage in self.store.take_damage() {
                // What it held is missing, and the journal may have it still.
                self.feeds.iter_mut().for_each(|feed| feed.filled = u64::MAX);
                // A file says so soon, since a restart would forget it.
                self.sealed_at = Moment::ZERO;
                tracing::error!(what = damage.text, "damage found in the history");
                remember(&self.shared, Severity::Error, "TH-HISTORY-002", &damage.text);
            }
            let patience = if reads_on { Duration::ZERO } else { LOOK.min(idle) };
            match self.words.recv_timeout(patience) {
                Ok(Word::Answered) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Word::Twins(ask)) => self.on_twins_ask(ask),
                Ok(Word::Seal(done)) => {
                    // The first one may be of what an earlier one did not get into a file.
                    let is_sealed = self.seal() && self.seal();
                    // Who asked may have given up.
                    done.try_send(is_sealed).ok();
                }
                Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.store.seal() {
            tracing::warn!(%error, "the history could not be sealed; the journal has what is missing");
        }
    }

    /// Reads every journal that grew; returns whether one has more.
    fn read_all(&mut self) -> bool {
        let mut has_more = false;
        let (now, gaps) = (clock::now(), self.store.gaps());
        for number in 0..self.feeds.len() {
            let feed = &mut self.feeds[number];
            let last = self.shared.position(&feed.group);
            let is_waiting =
                now < feed.asked_at + GAP_LOOK || !gaps.iter().any(|gap| gap.group == feed.group);
            if last == feed.last && self.store.cursor(&feed.group) >= last && is_waiting {
                continue;
            }
            feed.asked_at = now;
            for _ in 0..PARTS_MAX {
                if self.store.is_full() {
                    has_more = false;
                    break;
                }
                has_more = self.read_on(number);
                if !has_more {
                    break;
                }
            }
        }
        let lag = self.feeds.iter().map(|feed| behind(self.store.cursor(&feed.group), feed.last)).sum();
        let gaps = self.store.gaps().iter().map(|gap| behind(gap.after, gap.through)).sum();
        let mut status = self.shelf.status();
        (status.lag_records, status.gap_records) = (lag, gaps);
        drop(status);
        has_more
    }

    /// Reads a part of one journal; returns whether there is more.
    fn read_on(&mut self, number: usize) -> bool {
        let after = self.store.cursor(&self.feeds[number].group);
        let Some(part) = self.ask(number, after) else { return false };
        self.feeds[number].last = part.last;
        let rows = self.rows_of(number, &part, EVERYTHING);
        let group = self.feeds[number].group.clone();
        if let Some(life) = &part.life {
            self.store.name_journal(&group, life);
        }
        if let Some(last) = part.entries.last() {
            self.shelf.status().taken += rows.len() as u64;
            self.store.append(&group, last.position, rows);
            if let Some(before) = part.begins_behind(after) {
                self.store.begin(&group, before);
            }
        }
        match part.end {
            PartEnd::More => true,
            PartEnd::CaughtUp => false,
            PartEnd::SetAside { common } => {
                self.store.rewind(&group, common);
                true
            }
            PartEnd::Missing { after: last, resume } => {
                self.store.skip(&group, last, resume);
                // A node that is new, or has kept no values so far, begins with what is there.
                if after > Position::START {
                    self.report_gap(&group, last, resume);
                }
                true
            }
        }
    }

    /// What a journal has behind a position; `None` if the engine does not answer now.
    fn ask(&self, number: usize, after: Position) -> Option<JournalPart> {
        let feed = &self.feeds[number];
        let (reply, answer) = sync_channel(1);
        let sealed = self.store.sealed(&feed.group);
        let dictionary = feed.dictionary;
        feed.inbox.push_later(Job::Journal(JournalAsk { after, sealed, dictionary, reply }));
        answer.recv_timeout(ANSWER_MAX).ok()
    }

    fn report_gap(&self, group: &str, after: Position, resume: Position) {
        let records = behind(after, resume).max(1);
        let text = format!(
            "the history lacks {records} records of group {group} or more, from {after} to {resume}: this node's \
             journal does not have them any more, or never had; other nodes are asked for their values"
        );
        tracing::warn!(group, records, %after, %resume, "the history has a gap");
        remember(&self.shared, Severity::Warning, "TH-HISTORY-003", &text);
    }

    /// After damage in a journal was mended, or found in the history, what is missing for that may be read.
    fn fill_from_journals(&mut self, now: Moment) {
        for number in 0..self.feeds.len() {
            let feed = &mut self.feeds[number];
            if feed.filled == feed.mended {
                continue;
            }
            feed.filled = feed.mended;
            let group = feed.group.clone();
            for gap in self.store.gaps().into_iter().filter(|gap| gap.group == group) {
                self.fill_from_journal(number, &gap, now);
            }
        }
    }

    /// Reads what a journal has of a gap, if it has anything that is missing: values in the gap may have been there before,
    /// as where records of other nodes are gone whose values stood earlier first.
    fn fill_from_journal(&mut self, number: usize, gap: &Gap, now: Moment) {
        if is_all(gap, &missing_in(gap, |at| self.ask(number, at))) {
            return;
        }
        let mut values = 0;
        let missing = missing_in(gap, |at| {
            if self.store.is_full() {
                self.seal_due(now);
                if self.store.is_full() {
                    return None;
                }
            }
            let part = self.ask(number, at)?;
            let rows = self.rows_of(number, &part, gap.through);
            values += rows.len();
            // Until the end what was taken may be taken again: it is the same.
            let same = Filled::Through(gap.after);
            self.store.fill(&gap.group, gap.through, rows, same);
            Some(part)
        });
        self.shelf.status().taken += values as u64;
        let is_less = !is_all(gap, &missing);
        self.store.fill(&gap.group, gap.through, [], Filled::ReadBut(missing));
        if values > 0 && is_less {
            let text = format!(
                "{values} values of group {} behind {} that were missing came into the history from the journal",
                gap.group, gap.after
            );
            tracing::info!(group = gap.group, values, "the history has values again that were missing");
            remember(&self.shared, Severity::Info, "TH-HISTORY-008", &text);
        }
    }

    /// The values of a part of a journal up to `through`, as far as they are kept.
    fn rows_of(&mut self, number: usize, part: &JournalPart, through: Position) -> Vec<(Slot, Row)> {
        let feed = &mut self.feeds[number];
        feed.mended = part.mended;
        let mut rows = Vec::new();
        let Some(first) = part.entries.first() else { return rows };
        feed.places.read_on(first.position);
        if feed.dictionary != part.dictionary {
            feed.slots = slots_of(&self.store, part.keys.as_deref().unwrap_or_default());
            feed.places.begin_with(feed.slots.len());
            feed.dictionary = part.dictionary;
        }
        for entry in part.entries.iter().filter(|entry| entry.position <= through) {
            feed.unsealed_bytes += entry.body.len() as u64;
            self.samples.clear();
            let (origin, samples) = samples_in(entry);
            feed.places.begin(entry.position);
            if let Some(samples) = samples
                && let Err(error) = decode_samples(samples, &mut self.samples)
            {
                tracing::warn!(position = %entry.position, %error, "a record cannot be read into the history");
                self.samples.clear();
            }
            let (slots, places) = (&feed.slots, &mut feed.places);
            rows.extend(self.samples.iter().filter_map(|sample| {
                let slot = (*slots.get(sample.item.index())?)?;
                let place = places.place_of(sample.item, origin)?;
                Some((slot, Row::of(sample, origin, place)))
            }));
        }
        rows
    }

    fn seal_due(&mut self, now: Moment) {
        let is_long = self.feeds.iter().any(|feed| feed.unsealed_bytes > self.journal_bytes / 4);
        let wait = if self.fails { SEAL_RETRY } else { SEAL_INTERVAL };
        let is_due = now >= self.sealed_at + wait || (!self.fails && (is_long || self.store.wants_seal()));
        if !is_due {
            return;
        }
        self.sealed_at = now;
        self.seal();
    }

    /// Whether it is in a file now.
    fn seal(&mut self) -> bool {
        match self.store.seal() {
            Ok(_) => {
                self.feeds.iter_mut().for_each(|feed| feed.unsealed_bytes = 0);
                if std::mem::take(&mut self.fails) {
                    self.shelf.status().error = None;
                    tracing::info!("the history can be written again");
                    let text = "the history can be written again; nothing of it is lost";
                    remember(&self.shared, Severity::Info, "TH-HISTORY-005", text);
                }
                true
            }
            Err(error) => {
                self.report_failure(&error);
                false
            }
        }
    }

    fn report_failure(&mut self, error: &HistoryError) {
        self.shelf.status().error = Some(error.to_string());
        if !std::mem::replace(&mut self.fails, true) {
            tracing::error!(%error, "the history cannot be written; the journal keeps what is missing");
            let text = format!("the history cannot be written, the journal keeps what is missing: {error}");
            remember(&self.shared, Severity::Error, "TH-HISTORY-004", &text);
        }
    }

    fn retain_due(&mut self, now: Moment) {
        if now < self.retained_at + RETAIN_INTERVAL && self.retained_at > Moment::ZERO {
            return;
        }
        self.retained_at = now;
        match self.store.retain(clock::utc()) {
            Ok(deleted) if deleted.for_room => {
                let text = format!(
                    "{} values were deleted before their time, since the history is larger than [history] max_size",
                    deleted.rows
                );
                tracing::warn!(rows = deleted.rows, files = deleted.files, "the history is too large");
                remember(&self.shared, Severity::Warning, "TH-HISTORY-006", &text);
            }
            Ok(deleted) if deleted.files > 0 => {
                tracing::info!(rows = deleted.rows, files = deleted.files, "old values were deleted");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old values could not be deleted"),
        }
    }

    /// Joins files for a moment, and rests longer.
    fn compact_due(&mut self, now: Moment) {
        if self.fails || now < self.compacted_until {
            return;
        }
        let result = self.store.compact(COMPACT_BYTES);
        let end = clock::now();
        self.compacted_until = end + end.since(now) * COMPACT_REST;
        if let Err(error) = result {
            tracing::warn!(%error, "files of the history could not be joined");
            self.compacted_until = end + RETAIN_INTERVAL;
        }
    }
}

/// The encoded samples of a record, and where it stood first: what another node wrote alone keeps its place, so that its
/// values are the same rows on every node.
fn samples_in(entry: &Entry) -> (Position, Option<&[u8]>) {
    match RecordKind::of(&entry.body) {
        Ok(RecordKind::Samples) => (entry.position, Some(&entry.body)),
        Ok(RecordKind::Merged) => match split_merged(&entry.body) {
            Ok((origin, inner)) if RecordKind::of(inner) == Ok(RecordKind::Samples) => (origin, Some(inner)),
            Ok(_) | Err(_) => (entry.position, None),
        },
        Ok(
            RecordKind::Dictionary
            | RecordKind::Intent
            | RecordKind::Result
            | RecordKind::Delivered
            | RecordKind::Role
            | RecordKind::Event
            | RecordKind::Part,
        )
        | Err(_) => (entry.position, None),
    }
}

/// The slots of handles, as far as their items are kept.
fn slots_of(store: &Store, keys: &[(ItemId, ItemKey)]) -> Vec<Option<Slot>> {
    let size = keys.iter().map(|(item, _)| item.index() + 1).max().unwrap_or(0);
    // Handles are dense; a dictionary that says otherwise does not make memory grow.
    let mut slots = vec![None; size.min(keys.len().saturating_mul(4))];
    for (item, key) in keys {
        if let Some(place) = slots.get_mut(item.index()) {
            *place = store.find(key.as_str());
        }
    }
    slots
}

/// Records from one position to another, as far as numbers say.
const fn behind(from: Position, to: Position) -> u64 {
    if from.epoch.0 == to.epoch.0 { to.seq.saturating_sub(from.seq) } else { to.seq }
}

/// Puts an event where operators look.
pub(super) fn remember(shared: &Shared, severity: Severity, code: &str, text: &str) {
    shared.note_event(
        shared.first_group(),
        Event { severity, source: "history".into(), code: code.into(), text: text.into(), at: clock::utc() },
    );
}
