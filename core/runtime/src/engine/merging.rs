//! After a split: what each side wrote alone comes to all nodes.
//!
//! ```text
//! records set aside -> offer -> [ the active node asks, piece by piece ] -> twins? -> Merged records -> every node
//! ```
//! `core/replica` keeps the account of it ([`Merges`]); here are its part of the journal's state, what a node
//! gives of its own ([`giving`]), how the active node takes it ([`taking`]), and how it knows what both sides heard
//! ([`twins`]). A node that becomes active with records of
//! its own set aside takes them itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_model::{ItemId, ItemKey, Merged, Moment, NodeRank, Part, PartRecord, Position, Record};
use twinhub_replica::{MergeEntry, MergeId, Merges, Report};
use twinhub_store::{Aside, Journal};

use super::Engine;
use super::parts::PartState;
use super::translation::Translation;
use crate::clock;
use crate::view::MergeProgress;

mod documents;
pub(crate) mod giving;
mod keeping;
pub(crate) mod taking;
pub(crate) mod twins;

use giving::ReadPieces;
use taking::{Current, Offered};

/// The first protocol whose nodes offer what they set aside.
const PROTOCOL_WITH_MERGES: u16 = 2;

/// After a try that gave nothing it is tried again: first so long after it, and each time twice as long …
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// … up to so long.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Failures that are remembered.
const FAILED_MAX: usize = 64;

/// Somebody wants to know what was joined.
#[derive(Debug)]
pub(crate) struct MergesAsk {
    pub(crate) reply: oneshot::Sender<Vec<Report>>,
}

/// The account of what was joined, as a part that the journal keeps.
#[derive(Debug, Default)]
pub(crate) struct MergeState {
    merges: Merges,
    /// Another number after each change.
    revision: u64,
}

impl MergeState {
    pub(crate) fn merges(&self) -> &Merges {
        &self.merges
    }

    #[cfg(test)]
    pub(crate) const fn merges_mut(&mut self) -> &mut Merges {
        &mut self.merges
    }

    fn fold(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.merges.apply(MergeEntry::decode(bytes).map_err(|error| error.to_string())?);
        self.revision += 1;
        Ok(())
    }
}

impl PartState for MergeState {
    fn part(&self) -> Part {
        Part::MERGES
    }

    fn apply(&mut self, at: Position, body: &[u8]) -> Result<(), String> {
        let open = self.merges.open().map(|report| report.id.clone());
        self.fold(body)?;
        if let Some(id) = open.filter(|_| self.merges.open().is_none()) {
            self.merges.ended_at(&id, at);
        }
        Ok(())
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.merges.snapshot().iter().map(MergeEntry::encode).collect()
    }

    fn clear(&mut self) {
        self.merges = Merges::default();
        self.revision += 1;
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.fold(piece)
    }
}

/// What is under way.
#[derive(Debug)]
pub(crate) struct Merging {
    /// What this node set aside, as its disk has it.
    asides: Vec<Aside>,
    /// Where parts keep what they had when records were set aside.
    dir: PathBuf,
    offered_at: Moment,
    /// What other nodes have.
    offers: BTreeMap<NodeRank, Offered>,
    current: Option<Current>,
    /// What could not be given or taken, here or by the node that offered it.
    failed: BTreeMap<MergeId, Failure>,
    next_number: u32,
    translations: BTreeMap<(u64, u64), Arc<Translation>>,
    /// Names of a dictionary with items that this node does not have.
    names: Option<(u64, BTreeMap<ItemId, ItemKey>)>,
    /// What this node is asked for piece by piece.
    read: Option<ReadPieces>,
    /// What status shows: revision of the account, and bytes that remain.
    shown: Option<(u64, u64)>,
    /// When old ones were looked for last.
    kept_at: Option<Moment>,
}

/// When something is tried again.
#[derive(Debug)]
struct Failure {
    until: Moment,
    pause: Duration,
    is_told: bool,
}

impl Merging {
    pub(crate) fn new(dir: PathBuf, journal: &Journal) -> Merging {
        let mut merging = Merging {
            asides: Vec::new(),
            dir,
            offered_at: Moment::ZERO,
            offers: BTreeMap::new(),
            current: None,
            failed: BTreeMap::new(),
            next_number: 0,
            translations: BTreeMap::new(),
            names: None,
            read: None,
            shown: None,
            kept_at: None,
        };
        merging.look(journal);
        merging
    }

    #[cfg(test)]
    pub(crate) const fn look_for_old(&mut self) {
        self.kept_at = None;
    }

    #[cfg(test)]
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Where the journal and what was set aside with this place in it part.
    pub(crate) fn common_before(&self, place: Position) -> Option<Position> {
        self.asides.iter().map(Aside::common).filter(|common| *common < place).max()
    }

    /// It gave nothing: others have their turn first.
    fn fail(&mut self, id: &MergeId, now: Moment) {
        if self.is_failed(id, now) {
            return;
        }
        if self.failed.len() >= FAILED_MAX && !self.failed.contains_key(id) {
            let soonest = self.failed.iter().min_by_key(|(_, failure)| failure.until);
            if let Some(soonest) = soonest.map(|(id, _)| id.clone()) {
                self.failed.remove(&soonest);
            }
        }
        let new = Failure { until: now, pause: PAUSE_MIN, is_told: false };
        let failure = self.failed.entry(id.clone()).or_insert(new);
        failure.until = now + failure.pause;
        failure.pause = (failure.pause * 2).min(PAUSE_MAX);
    }

    /// Whether it gave nothing so lately that it is not tried again yet.
    fn is_failed(&self, id: &MergeId, now: Moment) -> bool {
        self.failed.get(id).is_some_and(|failure| now < failure.until)
    }

    /// Whether its failure is told now: once.
    fn tells_failure(&mut self, id: &MergeId) -> bool {
        self.failed.get_mut(id).is_some_and(|failure| !std::mem::replace(&mut failure.is_told, true))
    }

    /// Looks for what was set aside.
    pub(crate) fn look(&mut self, journal: &Journal) {
        match journal.asides() {
            Ok((asides, damaged)) => {
                for damage in damaged {
                    let (file, what) = (damage.file.display(), damage.what);
                    tracing::error!(%file, what, "a file of records that were set aside cannot be read");
                }
                self.asides = asides;
            }
            Err(error) => tracing::error!(%error, "records that were set aside cannot be read"),
        }
    }
}

impl Engine {
    /// Gives or takes what was set aside, whichever the role of this node asks for.
    pub(crate) fn merge(&mut self, now: Moment) {
        if self.is_acting() {
            self.take_merges(now);
        } else {
            self.merging.current = None;
            self.merging.offers.clear();
            self.offer_aside(now);
        }
        self.forget_pieces(now);
        self.delete_old_asides(now);
        self.show_merge();
    }

    /// Whether this node takes in what another one wrote alone.
    pub(crate) const fn is_merging(&self) -> bool {
        self.merging.current.is_some()
    }

    /// Takes in a record that another node wrote alone. It says nothing of the present.
    pub(crate) fn apply_merged(&mut self, at: Position, merged: &Merged) {
        match &*merged.record {
            Record::Event(event) => self.shared.events.take_record(&self.group, merged.origin, event),
            Record::Part(record) => self.apply_merged_part(at, record),
            Record::Role(change) => self.join_role(change),
            Record::Samples(_)
            | Record::Intent(_)
            | Record::Result(_)
            | Record::Delivered(_)
            | Record::Dictionary(_)
            | Record::Merged(_) => {}
        }
        self.counters.merged_records += 1;
    }

    /// Takes it into the account, as it stands in the journal: also on a node that does not have its items.
    pub(crate) fn note_merged(&mut self, at: Position, dictionary: u64, merged: &Merged) {
        if !self.parts.is_news(Part::MERGES, at) {
            return;
        }
        let text = match &*merged.record {
            Record::Intent(intent) => {
                let key = self.name_in(dictionary, intent.item);
                format!("`{key}` = {} by {}", intent.value, intent.origin)
            }
            Record::Samples(_)
            | Record::Result(_)
            | Record::Role(_)
            | Record::Event(_)
            | Record::Part(_)
            | Record::Delivered(_)
            | Record::Dictionary(_)
            | Record::Merged(_) => String::new(),
        };
        if let Some(state) = self.parts.get_mut::<MergeState>() {
            state.merges.take(merged, events_in(&merged.record), &|_| text.clone());
            state.revision += 1;
        }
    }

    /// What an item of a dictionary is called.
    fn name_in(&mut self, dictionary: u64, item: ItemId) -> String {
        if let Some(here) = self.translation(dictionary).item(item)
            && here.index() < self.table.len()
        {
            return self.table.key(here).to_string();
        }
        if self.merging.names.as_ref().is_none_or(|(hash, _)| *hash != dictionary) {
            let names = self.journal.dictionary(dictionary).unwrap_or_default();
            self.merging.names = Some((dictionary, names.iter().cloned().collect()));
        }
        let names = self.merging.names.as_ref();
        let key = names.and_then(|(_, names)| names.get(&item));
        key.map_or_else(|| format!("item {}", item.0), ToString::to_string)
    }

    /// From where on the history lacks values if the journal lacks what is between two places: those of records that were
    /// taken in there keep the places where they stood first, which are before.
    pub(crate) fn first_place_of(&self, after: Position, through: Position) -> Position {
        let state = self.parts.get::<MergeState>();
        let common = state.and_then(|state| state.merges.common_of(after, through));
        common.map_or(after, |common| common.min(after))
    }

    pub(crate) fn on_merges_ask(&self, ask: MergesAsk) {
        let state = self.parts.get::<MergeState>();
        let reports = state.map(|state| state.merges.reports().cloned().collect());
        // A reader that went away needs no answer.
        drop(ask.reply.send(reports.unwrap_or_default()));
    }

    /// What was set aside here and is not everywhere yet: the oldest of what can be read.
    fn own_aside(&self, now: Moment) -> Option<(usize, MergeId)> {
        let state = self.parts.get::<MergeState>()?;
        let node = &self.shared.node;
        let ids =
            self.merging.asides.iter().map(|aside| MergeId { node: node.clone(), common: aside.common() });
        ids.enumerate().find(|(_, id)| !state.merges.is_done(id) && !self.merging.is_failed(id, now))
    }
}

/// How many events a record of theirs holds.
fn events_in(record: &Record) -> u64 {
    match record {
        Record::Part(PartRecord { part: Part::EVENTS, body }) => {
            twinhub_events::decode(body).map_or(0, |events| events.len() as u64)
        }
        Record::Part(_)
        | Record::Intent(_)
        | Record::Samples(_)
        | Record::Result(_)
        | Record::Role(_)
        | Record::Event(_)
        | Record::Delivered(_)
        | Record::Dictionary(_)
        | Record::Merged(_) => 0,
    }
}

impl Engine {
    /// Shows how far the joining is that is under way.
    fn show_merge(&mut self) {
        let progress = self.merging.current.as_ref().map(|current| MergeProgress {
            node: current.id.node.clone(),
            after: current.id.common.to_string(),
            bytes: current.bytes,
            remaining_bytes: current.remaining_bytes,
            bytes_per_second: current.rate(clock::now()),
        });
        let revision = self.parts.get::<MergeState>().map_or(0, |state| state.revision);
        let now = (revision, progress.as_ref().map_or(u64::MAX, |progress| progress.remaining_bytes));
        if self.merging.shown.replace(now) == Some(now) {
            return;
        }
        let open = self.parts.get::<MergeState>().and_then(|state| state.merges.open());
        let elsewhere = open.map(|report| MergeProgress {
            node: report.id.node.clone(),
            after: report.id.common.to_string(),
            bytes: report.bytes,
            ..MergeProgress::default()
        });
        self.shared.update_group(&self.group, |status| status.merge = progress.or(elsewhere));
    }
}
