//! The active node takes what others, or it itself, set aside: one after the other, and below live traffic.

use std::time::Duration;

use twinhub_alarms::Change as AlarmChange;
use twinhub_model::{Merged, Moment, NodeRank, Part, PartRecord, Position, Record, Severity};
use twinhub_replica::{Counts, EntryBatch, MergeEntry, MergeId, Message, Page, Report, Worth, worth};
use twinhub_store::Relation;

use super::MergeState;
use super::documents::Lack;
use super::giving::names_of;
use super::twins::{Looking, Marks, marked, place_of};
use crate::clock;
use crate::engine::alarms::AlarmState;
use crate::engine::{Engine, Phase};

/// An offer counts so long after it was made last.
const OFFER_MAX: Duration = Duration::from_secs(5);
/// A node that was asked answers within this.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After taking some the engine does other things for this many times as long …
const REST: u32 = 3;
/// … and at least so long.
const REST_MIN: Duration = Duration::from_millis(1);
/// What waits for this node's disk, or a follower, may be so much; then taking waits.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// After a journal that takes nothing.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of what parts kept that are taken in one go.
const PIECES_BYTES_MAX: usize = 64 << 20;
/// Ranges in one record: of those that a node gives at once there are few.
const COVERED_MAX: usize = 1_000;
/// How often a piece that cannot be read is asked for again.
const PIECE_TRIES: u32 = 3;

/// What a node offered.
#[derive(Debug)]
pub(crate) struct Offered {
    common: Position,
    bytes: u64,
    files: Vec<String>,
    at: Moment,
}

/// What is being taken.
#[derive(Debug)]
pub(crate) struct Current {
    peer: NodeRank,
    pub(super) id: MergeId,
    /// Number of the last question.
    pub(super) number: u32,
    /// When it was asked.
    asked: Moment,
    pub(super) stage: Stage,
    pub(super) wait: Wait,
    /// What was given and is not taken yet.
    pub(super) looking: Option<Looking>,
    pieces: Vec<Vec<u8>>,
    /// How often a piece was asked for again.
    tries: u32,
    /// Whether the journal has that this node takes it.
    is_begun: bool,
    /// Whether there is nothing that documents kept, which the journal is still to have.
    lacks_parts: bool,
    files: Vec<String>,
    after: Position,
    /// What of the records up to there the journal does not say yet.
    looked: Looked,
    pub(super) bytes: u64,
    pub(super) remaining_bytes: u64,
    began: Moment,
    /// Bytes that remained when this node began with it.
    began_bytes: u64,
}

/// Records that were looked at, for the account that all nodes keep.
#[derive(Debug, Default)]
struct Looked {
    counts: Counts,
    /// Ranges of those that are dealt with: epoch, first and last number.
    covered: Vec<(u64, u64, u64)>,
    /// Whether one of them has no record of its own here.
    is_left: bool,
}

impl Looked {
    /// The one that stood there is dealt with.
    fn settle(&mut self, at: Position, is_taken: bool) {
        self.is_left |= !is_taken;
        let has_room = self.covered.len() < COVERED_MAX;
        match self.covered.last_mut() {
            Some((epoch, _, last)) if *epoch == at.epoch.0 && last.checked_add(1) == Some(at.seq) => {
                *last = at.seq;
            }
            Some(_) | None if has_room => self.covered.push((at.epoch.0, at.seq, at.seq)),
            Some(_) | None => {}
        }
    }

    /// Whether it says more than the records that were taken.
    fn has_news(&self) -> bool {
        self.is_left || self.counts != Counts::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// What documents kept.
    Pieces,
    Records,
    /// Records are here, and the history looks which of their values it has already.
    Twins,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// For an answer, at most until then.
    Answer(Moment),
    /// Until then, so that others have their turn.
    Rest(Moment),
}

impl Current {
    /// Bytes per second since it began.
    pub(super) fn rate(&self, now: Moment) -> u64 {
        let millis = u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX).max(1);
        self.began_bytes.saturating_sub(self.remaining_bytes).saturating_mul(1000) / millis
    }
}

impl Engine {
    pub(crate) fn on_offer(&mut self, peer: NodeRank, common: Position, bytes: u64, files: Vec<String>) {
        if self.is_acting() {
            self.merging.offers.insert(peer, Offered { common, bytes, files, at: clock::now() });
        }
    }

    pub(super) fn take_merges(&mut self, now: Moment) {
        if !self.may_take() {
            return;
        }
        self.merging.offers.retain(|_, offered| now < offered.at + OFFER_MAX);
        if self.merging.current.is_none() {
            self.begin_merge(now);
        }
        let Some(current) = &self.merging.current else { return };
        match current.wait {
            Wait::Answer(until) if now >= until => {
                let node = &current.id.node;
                match current.stage {
                    Stage::Pieces | Stage::Records => {
                        tracing::warn!(node, "a node does not give what it set aside");
                    }
                    Stage::Twins => {
                        tracing::warn!(
                            node,
                            "the history is not far enough to take in what a node set aside"
                        );
                    }
                }
                self.give_up(now);
            }
            Wait::Rest(until) if now >= until && self.has_room() => self.ask_for_more(now),
            Wait::Answer(_) | Wait::Rest(_) => {}
        }
    }

    /// When it needs the engine next. While it waits for disk or followers they wake it.
    pub(crate) fn merge_due(&self) -> Option<Moment> {
        let current = self.merging.current.as_ref().filter(|_| self.may_take())?;
        match current.wait {
            Wait::Answer(until) => Some(until),
            Wait::Rest(until) => self.has_room().then_some(until),
        }
    }

    fn may_take(&self) -> bool {
        matches!(self.phase, Phase::Active { .. }) && self.journal_ok
    }

    /// Whether neither disk nor followers are behind: live traffic goes first.
    fn has_room(&self) -> bool {
        self.journal.unwritten_bytes() < WAITING_BYTES_MAX
            && self.replication.in_flight_bytes() < WAITING_BYTES_MAX
    }

    /// Others have their turn; this one is tried again later.
    fn give_up(&mut self, now: Moment) {
        if let Some(current) = self.merging.current.take() {
            self.merging.offers.remove(&current.peer);
            self.merging.fail(&current.id, now);
        }
    }

    /// What is offered cannot be given: that is told once.
    fn tell_unreadable(&mut self, id: &MergeId) {
        if self.merging.tells_failure(id) {
            let text = format!(
                "what node `{}` wrote alone after {} cannot be read there; it is tried again, and others are taken in first",
                id.node, id.common
            );
            tracing::warn!(group = %self.group, text, "merge waits");
            self.event(Severity::Warning, "journal", "TH-MERGE-004", &text);
        }
    }

    /// Begins with what this node set aside itself, then with what others offer.
    fn begin_merge(&mut self, now: Moment) {
        let Some(state) = self.parts.get::<MergeState>() else { return };
        let own = self.own_aside(now).map(|(number, id)| {
            let aside = &self.merging.asides[number];
            (self.me, id, aside.bytes(), names_of(aside))
        });
        let offered = || {
            self.merging.offers.iter().find_map(|(peer, offered)| {
                let id = MergeId { node: self.shared.name_of(*peer), common: offered.common };
                let is_new = !state.merges().is_done(&id) && !self.merging.is_failed(&id, now);
                is_new.then(|| (*peer, id, offered.bytes, offered.files.clone()))
            })
        };
        let Some((peer, id, bytes, files)) = own.or_else(offered) else { return };
        let known = state.merges().report(&id);
        let (after, has_parts) =
            known.map_or((id.common, false), |report| (report.through.max(id.common), report.has_parts));
        let is_here = self.proposals.are_here();
        self.merging.current = Some(Current {
            peer,
            id,
            number: self.merging.next_number,
            asked: now,
            stage: if has_parts || !is_here { Stage::Records } else { Stage::Pieces },
            wait: Wait::Rest(now),
            looking: None,
            pieces: Vec::new(),
            tries: 0,
            is_begun: false,
            lacks_parts: false,
            files,
            after,
            looked: Looked::default(),
            bytes,
            remaining_bytes: bytes,
            began: now,
            began_bytes: bytes,
        });
    }

    /// Says that this node takes it, once there is something to take. `None` if the journal takes nothing.
    fn say_begin(&mut self) -> Option<()> {
        let current = self.merging.current.as_mut()?;
        if current.is_begun {
            return Some(());
        }
        let (id, files, bytes, after) =
            (current.id.clone(), std::mem::take(&mut current.files), current.bytes, current.after);
        let me = self.shared.node.clone();
        let text = format!(
            "taking in what node `{}` wrote alone after {}: {bytes} bytes, from {after} on",
            id.node, id.common
        );
        let report = Report { files, bytes, ..Report::new(id, me, self.journal.last(), clock::utc().0) };
        self.append_merge(&MergeEntry::Begin(report))?;
        if let Some(current) = &mut self.merging.current {
            current.is_begun = true;
        }
        tracing::info!(group = %self.group, text, "merge begins");
        self.event(Severity::Info, "journal", "TH-MERGE-001", &text);
        Some(())
    }

    fn ask_for_more(&mut self, now: Moment) {
        self.merging.next_number = self.merging.next_number.wrapping_add(1);
        let stream = self.merging.next_number;
        let Some(current) = &mut self.merging.current else { return };
        current.number = stream;
        current.asked = clock::now();
        current.wait = Wait::Answer(now + ANSWER_MAX);
        let (peer, common, after, stage) = (current.peer, current.id.common, current.after, current.stage);
        let number = u32::try_from(current.pieces.len()).unwrap_or(u32::MAX);
        match stage {
            Stage::Pieces if peer == self.me => {
                let (total, bytes) = self.give_piece(common, Part::DOCUMENTS, number);
                self.on_given_piece(peer, stream, total, bytes);
            }
            Stage::Pieces => {
                let part = Part::DOCUMENTS.0;
                self.send(peer, &Message::TakePiece { stream, common, part, number });
            }
            Stage::Records if peer == self.me => {
                let (dictionary, page, batch) = self.give(common, after, self.own_dictionary);
                self.on_given(peer, stream, dictionary, page, batch);
            }
            Stage::Records => {
                self.send(peer, &Message::Take { stream, common, after });
            }
            // The answer brings it back to the records.
            Stage::Twins => {}
        }
    }

    /// A piece of what documents kept, or none.
    pub(crate) fn on_given_piece(&mut self, peer: NodeRank, stream: u32, total: u32, bytes: Vec<u8>) {
        let begun = self.busy_since(peer);
        let Some(current) = self.expected(Some(peer), stream, Stage::Pieces) else { return };
        let is_unreadable = bytes.is_empty() && current.pieces.len() < total as usize;
        if is_unreadable && current.tries < PIECE_TRIES {
            current.tries += 1;
            current.wait = Wait::Rest(begun + RETRY);
            return;
        }
        if !bytes.is_empty() {
            current.pieces.push(bytes);
        }
        let size: usize = current.pieces.iter().map(Vec::len).sum();
        let is_cut = current.pieces.len() < total as usize;
        if is_cut && !is_unreadable && size < PIECES_BYTES_MAX {
            self.rest(begun);
            return;
        }
        let (id, pieces) = (current.id.clone(), std::mem::take(&mut current.pieces));
        current.stage = Stage::Records;
        let lack = match (is_unreadable, is_cut) {
            (true, _) => Some(Lack::Unreadable),
            (false, true) => Some(Lack::TooLarge),
            (false, false) => None,
        };
        if pieces.is_empty() && lack.is_none() {
            current.lacks_parts = true;
            self.rest(begun);
            return;
        }
        let joined = self.say_begin().and_then(|()| self.join_documents(&id, &pieces, lack));
        if joined.is_none() {
            self.give_up(clock::now());
        }
        self.rest(begun);
    }

    /// Records that were set aside.
    pub(crate) fn on_given(
        &mut self,
        peer: NodeRank,
        stream: u32,
        dictionary: u64,
        page: Page,
        batch: EntryBatch,
    ) {
        let begun = self.busy_since(peer);
        let own_dictionary = self.own_dictionary;
        let Some(current) = self.expected(Some(peer), stream, Stage::Records) else { return };
        let is_useless = batch.is_empty() && !page.is_complete;
        if is_useless || (!batch.is_empty() && dictionary != own_dictionary) {
            tracing::warn!(node = current.id.node, "what a node set aside cannot be taken in");
            let id = current.id.clone();
            self.give_up(begun);
            if is_useless {
                self.tell_unreadable(&id);
            }
            return;
        }
        let lacks_parts = std::mem::take(&mut current.lacks_parts);
        if self.say_begin().is_none() || (lacks_parts && self.append_merge(&MergeEntry::Parts).is_none()) {
            self.give_up(begun);
            return;
        }
        if let Some((page, batch)) = self.look_for_twins(page, batch) {
            self.take_given(begun, &page, &batch, &Marks::new());
        }
    }

    /// Takes what was given; those of the `twins` are marked.
    pub(super) fn take_given(&mut self, begun: Moment, page: &Page, batch: &EntryBatch, twins: &Marks) {
        let Some(current) = &mut self.merging.current else { return };
        let mut looked = std::mem::take(&mut current.looked);
        let mut through = current.after;
        for (at, body) in batch.iter() {
            if self.take_record(at, body, twins, &mut looked).is_none() {
                // The journal takes nothing: what was not taken comes again.
                if let Some(current) = &mut self.merging.current {
                    (current.after, current.wait) = (through, Wait::Rest(begun + RETRY));
                    current.looked = looked;
                }
                return;
            }
            through = at;
        }
        let of_page = Counts {
            unknown: page.unknown,
            damaged: page.damaged,
            gaps: u64::from(page.is_behind_gap),
            ..Counts::default()
        };
        looked.counts.add(&of_page);
        if let Some(current) = &mut self.merging.current {
            current.after = through;
            current.remaining_bytes = page.remaining_bytes;
            current.looked = looked;
        }
        if page.is_complete {
            self.end_merge(begun);
            return;
        }
        self.note_looked(false);
        self.rest(begun);
    }

    /// Since when this node is busy with an answer: what it gives itself it has read, too.
    fn busy_since(&self, peer: NodeRank) -> Moment {
        let asked = self.merging.current.as_ref().filter(|_| peer == self.me).map(|current| current.asked);
        asked.unwrap_or_else(clock::now)
    }

    /// Others have their turn, longer than it took.
    fn rest(&mut self, begun: Moment) {
        let now = clock::now();
        if let Some(current) = &mut self.merging.current {
            current.wait = Wait::Rest(now + (now.since(begun) * REST).max(REST_MIN));
        }
    }

    /// What is under way, if this is the answer it waits for.
    pub(super) fn expected(
        &mut self,
        peer: Option<NodeRank>,
        stream: u32,
        stage: Stage,
    ) -> Option<&mut Current> {
        self.merging.current.as_mut().filter(|current| {
            let waits = matches!(current.wait, Wait::Answer(_));
            let is_of_peer = peer.is_none_or(|peer| peer == current.peer);
            waits && is_of_peer && current.number == stream && current.stage == stage
        })
    }

    /// Takes one record, unless it is here or says nothing to others. `None` if the journal takes nothing.
    fn take_record(&mut self, at: Position, body: &[u8], twins: &Marks, looked: &mut Looked) -> Option<()> {
        let Ok(record) = twinhub_wire::record::decode(body) else {
            tracing::warn!(position = %at, "a record that was set aside cannot be read");
            looked.counts.damaged += 1;
            return Some(());
        };
        // What came to that node from another one is known by where it stood there.
        let (origin, record) = place_of(at, record);
        let record = marked(at, record, twins);
        let record = match worth(&record) {
            Worth::Joins | Worth::Part(Part::EVENTS | Part::DELIVERIES) => record,
            Worth::Part(Part::ALARMS) => {
                let Some(record) = alarms_that_join(&record) else {
                    looked.counts.left += 1;
                    looked.settle(at, false);
                    return Some(());
                };
                record
            }
            // They come by themselves.
            Worth::Part(Part::DOCUMENTS) => {
                looked.settle(at, false);
                return Some(());
            }
            Worth::Part(_) | Worth::Stays => {
                looked.counts.left += 1;
                looked.settle(at, false);
                return Some(());
            }
        };
        if self.is_taken(origin) {
            looked.counts.known += 1;
            looked.settle(at, false);
            return Some(());
        }
        let merged = Merged { origin, record: Box::new(record) };
        let position = self.append(&Record::Merged(merged.clone()))?;
        self.apply_merged(position, &merged);
        self.note_merged(position, self.own_dictionary, &merged);
        looked.settle(at, origin == at);
        Some(())
    }

    /// Whether the record that stood there is in the journal, or was.
    pub(super) fn is_taken(&self, origin: Position) -> bool {
        let has = self.parts.get::<MergeState>().is_some_and(|state| state.merges().has(origin));
        has || (origin >= self.journal.first() && self.journal.relation(origin) == Relation::Present)
    }

    pub(super) fn append_merge(&mut self, entry: &MergeEntry) -> Option<Position> {
        self.append_part(Part::MERGES, &entry.encode())
    }

    /// Journals what is known of the records that were looked at; what the journal refuses is for the next time.
    fn note_looked(&mut self, is_last: bool) -> Option<()> {
        let current = self.merging.current.as_mut()?;
        if !current.looked.has_news() && !is_last {
            current.looked = Looked::default();
            return Some(());
        }
        let (counts, through, lines) = (current.looked.counts, current.after, Vec::new());
        let covered = current.looked.covered.clone();
        self.append_merge(&MergeEntry::Note { counts, lines, through, covered })?;
        if let Some(current) = &mut self.merging.current {
            current.looked = Looked::default();
        }
        Some(())
    }

    /// Everything is here: what needs both sides' records follows, and the report.
    fn end_merge(&mut self, begun: Moment) {
        let joined = self.reconcile_alarms();
        let Some(current) = &mut self.merging.current else { return };
        current.looked.counts.alarms_joined += joined;
        let is_noted = self.note_looked(true).is_some();
        if !is_noted || self.append_merge(&MergeEntry::End { time: clock::utc().0 }).is_none() {
            if let Some(current) = &mut self.merging.current {
                current.wait = Wait::Rest(begun + RETRY);
            }
            return;
        }
        let Some(current) = self.merging.current.take() else { return };
        self.merging.offers.remove(&current.peer);
        self.merging.failed.remove(&current.id);
        let Some(state) = self.parts.get::<MergeState>() else { return };
        let Some(report) = state.merges().report(&current.id) else { return };
        let counts = report.counts;
        let needs_a_look = counts.conflicts + counts.in_doubt + counts.unknown + counts.damaged + counts.gaps;
        let severity = if needs_a_look > 0 { Severity::Warning } else { Severity::Info };
        let text = format!(
            "what node `{}` wrote alone after {} is on all nodes: {}",
            current.id.node,
            current.id.common,
            in_words(&counts)
        );
        tracing::info!(group = %self.group, text, "merge is complete");
        self.event(severity, "journal", "TH-MERGE-002", &text);
    }

    /// What both sides raised for one condition becomes one occurrence; returns how many did.
    fn reconcile_alarms(&mut self) -> u64 {
        let Some(state) = self.parts.get_mut::<AlarmState>() else { return 0 };
        let changes = state.reconcile();
        let joined = changes.iter().filter(|change| matches!(change, AlarmChange::Joined(..))).count();
        self.keep_changes(&changes);
        joined as u64
    }
}

/// A record of alarms without what only says how the other node evaluated.
fn alarms_that_join(record: &Record) -> Option<Record> {
    let Record::Part(PartRecord { part, body }) = record else { return None };
    let (changes, _) = twinhub_alarms::decode(body).ok()?;
    let joining: Vec<AlarmChange> = changes.into_iter().filter(AlarmChange::is_of_book).collect();
    let body = twinhub_alarms::encode(&joining).into_iter().next().filter(|_| !joining.is_empty())?;
    Some(Record::Part(PartRecord { part: *part, body: body.into() }))
}

/// What was found, in words.
pub(crate) fn in_words(counts: &Counts) -> String {
    let named = [
        (counts.values, "values"),
        (counts.twins, "values that both sides heard, kept once"),
        (counts.events, "events"),
        (counts.roles, "role changes"),
        (counts.commands, "commands"),
        (counts.alarms, "records of alarms"),
        (counts.alarms_joined, "alarms raised on both sides"),
        (counts.documents, "documents"),
        (counts.audit, "audit entries"),
        (counts.conflicts, "conflicts to look at"),
        (counts.in_doubt, "commands without a known result, not repeated"),
        (counts.known, "records that were here already"),
        (counts.unknown, "values of items that are not configured here, kept in the files"),
        (counts.damaged, "damaged places in the files"),
        (counts.gaps, "places where the files lack records"),
    ];
    let said: Vec<String> =
        named.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { "nothing that others need".to_owned() } else { said.join(", ") }
}
