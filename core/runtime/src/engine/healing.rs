//! Damage in this node's journal, and what other nodes give back.
//!
//! Holes are found when the journal is opened and by reading closed files again, one every [`SCRUB_EVERY`], on a
//! thread of its own. Each is asked for at one node after the other, whatever its role; what comes is checked and
//! written into the file, whose damaged form is kept beside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Moment, NodeRank, Position, Severity};
use twinhub_replica::{EntryBatch, Message};
use twinhub_store::{Hole, Scrubbed};

use super::Engine;
use crate::clock;
use crate::inbox::Job;

/// The first protocol that knows the question.
const PROTOCOL_WITH_FETCH: u16 = 2;
/// A file is read again this often; 32 files of 8 MiB take eleven minutes.
const SCRUB_EVERY: Duration = Duration::from_secs(20);
/// A node that does not answer for so long has lost the question.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// When nobody had the records, all are asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Records of one answer.
const ANSWER_BYTES: usize = 256 * 1024;
/// Records of one hole; more than a file has, several lost files are left to an operator.
const HOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Healing {
    asked: Option<Asked>,
    /// Nodes that do not have the records of the first hole.
    tried: BTreeSet<NodeRank>,
    retry_at: Moment,
    next_number: u32,
    /// Holes that were told of.
    told: Vec<Hole>,
    is_scrubbing: bool,
    scrub_at: Moment,
    scrubbed: Position,
    /// How often damage was mended.
    mended: u64,
}

#[derive(Debug)]
struct Asked {
    peer: NodeRank,
    number: u32,
    hole: Hole,
    dictionary: Option<u64>,
    records: Vec<(Position, Vec<u8>)>,
    bytes: usize,
    until: Moment,
}

impl Healing {
    pub(crate) fn new(now: Moment) -> Healing {
        Healing {
            asked: None,
            tried: BTreeSet::new(),
            retry_at: Moment::ZERO,
            next_number: 1,
            told: Vec::new(),
            is_scrubbing: false,
            scrub_at: now + SCRUB_EVERY,
            scrubbed: Position::START,
            mended: 0,
        }
    }

    /// How often damage was mended since start.
    pub(crate) const fn mended(&self) -> u64 {
        self.mended
    }
}

impl Engine {
    /// Looks for damage, and asks for what it took.
    pub(crate) fn heal(&mut self, now: Moment) {
        if now >= self.healing.scrub_at && !self.healing.is_scrubbing {
            self.scrub(now);
        }
        if self.journal.holes().is_empty() {
            return;
        }
        self.tell_holes();
        if self.healing.asked.as_ref().is_some_and(|asked| now < asked.until) || now < self.healing.retry_at {
            return;
        }
        if let Some(silent) = self.healing.asked.take() {
            self.healing.tried.insert(silent.peer);
        }
        self.ask_next(now);
    }

    fn scrub(&mut self, now: Moment) {
        self.healing.scrub_at = now + SCRUB_EVERY;
        let Some(scrub) = self.journal.scrub_after(self.healing.scrubbed) else { return };
        let inbox = Arc::clone(&self.inbox);
        let spawned = std::thread::Builder::new()
            .name("scrub".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || inbox.push(Job::Scrubbed(scrub.run())));
        // Without a thread the next time will do.
        self.healing.is_scrubbing = spawned.is_ok();
    }

    pub(crate) fn on_scrubbed(&mut self, scrubbed: Scrubbed) {
        self.healing.is_scrubbing = false;
        self.healing.scrubbed = scrubbed.first();
        for damage in self.journal.note_scrubbed(scrubbed) {
            let (file, offset, what) = (damage.file.display(), damage.offset, &damage.what);
            tracing::error!(group = %self.group, %file, offset, what, "journal damage found");
        }
    }

    /// Says once of every hole that it is there.
    fn tell_holes(&mut self) {
        let news: Vec<Hole> =
            self.journal.holes().iter().filter(|hole| !self.healing.told.contains(hole)).cloned().collect();
        for hole in news {
            let text = format!(
                "records after {} and before {} are damaged or gone in this node's journal{}; other nodes are asked for them",
                hole.after,
                hole.before,
                hole.file.as_ref().map_or_else(String::new, |file| format!(" ({})", file.display()))
            );
            self.event(Severity::Error, "journal", "TH-JOURNAL-005", &text);
            self.healing.told.push(hole);
        }
    }

    fn ask_next(&mut self, now: Moment) {
        let Some(hole) = self.journal.holes().first().cloned() else { return };
        let next = self.replication.connected().find(|peer| {
            !self.healing.tried.contains(peer) && self.replication.protocol_of(*peer) >= PROTOCOL_WITH_FETCH
        });
        let Some(peer) = next else {
            if self.healing.tried.is_empty() {
                return;
            }
            let text = format!(
                "no other node has the records after {} and before {}; they are asked for again",
                hole.after, hole.before
            );
            tracing::warn!(group = %self.group, text, "journal");
            self.healing.tried.clear();
            self.healing.retry_at = now + RETRY_AFTER;
            return;
        };
        self.healing.next_number = self.healing.next_number.wrapping_add(1);
        let asked = Asked {
            peer,
            number: self.healing.next_number,
            hole,
            dictionary: None,
            records: Vec::new(),
            bytes: 0,
            until: now + ANSWER_MAX,
        };
        let (stream, after, before) = (asked.number, asked.hole.after, asked.hole.before);
        self.healing.asked = Some(asked);
        self.send(peer, &Message::Fetch { stream, after, before });
    }

    /// Another node lost records to damage.
    pub(crate) fn on_fetch(&mut self, peer: NodeRank, stream: u32, after: Position, before: Position) {
        let mut batch = EntryBatch::new();
        let read = self
            .journal
            .read_range(after, before, ANSWER_BYTES, &mut |position, body| batch.push(position, body));
        let message = match read {
            Ok(Some(read)) => {
                let (dictionary, is_complete) = (read.dictionary, read.is_complete);
                Message::Fetched { stream, dictionary, is_complete, batch }
            }
            Ok(None) => {
                Message::Fetched { stream, dictionary: 0, is_complete: false, batch: EntryBatch::new() }
            }
            Err(error) => {
                tracing::warn!(%error, "records for another node cannot be read");
                Message::Fetched { stream, dictionary: 0, is_complete: false, batch: EntryBatch::new() }
            }
        };
        self.send(peer, &message);
    }

    /// Another node's answer.
    pub(crate) fn on_fetched(
        &mut self,
        peer: NodeRank,
        stream: u32,
        dictionary: u64,
        is_complete: bool,
        batch: &EntryBatch,
    ) {
        let now = clock::now();
        let Some(asked) = self.healing.asked.as_mut() else { return };
        if asked.peer != peer || asked.number != stream {
            return;
        }
        let is_same = *asked.dictionary.get_or_insert(dictionary) == dictionary;
        asked.bytes += batch.size_bytes();
        if (batch.is_empty() && !is_complete) || !is_same || asked.bytes > HOLE_BYTES_MAX {
            asked.until = now;
            return;
        }
        asked.records.extend(batch.iter().map(|(position, body)| (position, body.to_vec())));
        if !is_complete {
            asked.until = now + ANSWER_MAX;
            let (after, before) = (batch.last(), asked.hole.before);
            self.send(peer, &Message::Fetch { stream, after, before });
            return;
        }
        let Some(asked) = self.healing.asked.take() else { return };
        self.mend(&asked, dictionary);
    }

    fn mend(&mut self, asked: &Asked, dictionary: u64) {
        let from = self.shared.name_of(asked.peer);
        match self.journal.mend(&asked.hole, dictionary, &asked.records) {
            Ok(()) => {
                self.healing.tried.clear();
                self.healing.mended += 1;
                self.healing.told.retain(|hole| *hole != asked.hole);
                let text = format!(
                    "{} records after {} are back in this node's journal, from {from}",
                    asked.records.len(),
                    asked.hole.after
                );
                tracing::info!(group = %self.group, text, "journal healed");
                self.event(Severity::Info, "journal", "TH-JOURNAL-006", &text);
            }
            Err(error) => {
                tracing::warn!(group = %self.group, %error, from, "damage in the journal could not be mended");
                self.healing.tried.insert(asked.peer);
            }
        }
    }
}
