//! Filling what is missing from other nodes' histories.

use std::time::Duration;

use twinhub_history::{Filled, Gap, Lack, Portion, Row, read_blocks};
use twinhub_model::{ItemKey, Moment, NodeRank, Position, Severity};
use twinhub_redundancy::NodeState;

use super::super::backfill::{Asked, Step};
use super::{Follower, LOOK, behind, remember};

/// Live values come first: nothing is asked while the history is so many records behind its own journals.
const LIVE_LAG_MAX: u64 = 1_000;
/// Items that only another node knows, at most.
const FOREIGN_ITEMS_MAX: usize = 100_000;

impl Follower {
    /// Takes what came, and asks for more if it is time; returns how long there is nothing to do.
    pub(super) fn copy(&mut self, now: Moment) -> Duration {
        if let Some(answer) = self.lines.take_answer()
            && let Some(asked) = self.backfill.take_asked()
        {
            match answer {
                Ok((portion, lack)) => self.take_portion(now, &asked, &portion, &lack),
                Err(text) => {
                    let peer = self.shared.name_of(asked.peer);
                    tracing::debug!(peer, text, "a node gives no values of the past");
                    self.backfill.refused(now, asked.peer, &asked.gap);
                }
            }
        }
        let mut gaps = self.store.gaps();
        gaps.retain(|gap| self.is_ready(gap));
        let is_busy = self.shelf.status().lag_records > LIVE_LAG_MAX || self.store.is_full();
        if is_busy && !gaps.is_empty() {
            return LOOK;
        }
        let (peers, others) = (self.peers(&gaps), self.others());
        let step = self.backfill.next(now, &gaps, &peers, &others);
        self.shelf.status().progress = self.backfill.progress().cloned();
        match step {
            Step::Wait(until) => until.since(now),
            Step::GiveUp(gap) => {
                self.give_up(&gap);
                Duration::ZERO
            }
            Step::Ask(question) => {
                if !self.lines.ask(question)
                    && let Some(asked) = self.backfill.take_asked()
                {
                    self.backfill.refused(now, asked.peer, &asked.gap);
                }
                LOOK
            }
        }
    }

    /// Whether this node has caught up with a group's journal: what is live comes first.
    fn is_ready(&self, gap: &Gap) -> bool {
        let state = self.shared.group(&gap.group).state;
        matches!(state, Some(NodeState::Active | NodeState::Standby | NodeState::Maintenance))
    }

    /// Nodes that can be asked now, those that act first.
    fn peers(&self, gaps: &[Gap]) -> Vec<NodeRank> {
        let groups: Vec<_> = gaps.iter().map(|gap| self.shared.group(&gap.group)).collect();
        let mut peers = self.lines.peers();
        peers.sort_by_key(|peer| (!groups.iter().any(|group| group.active == Some(*peer)), *peer));
        peers
    }

    /// All other nodes of the site.
    fn others(&self) -> Vec<NodeRank> {
        let ranks = self.shared.site.nodes.iter().map(|node| NodeRank(node.rank));
        ranks.filter(|rank| *rank != self.shared.rank).collect()
    }

    fn take_portion(&mut self, now: Moment, asked: &Asked, portion: &Portion, lack: &Lack) {
        let Asked { peer, ref gap, .. } = *asked;
        let mut rows = Vec::new();
        let read = read_blocks(&portion.blocks, &mut |key, some| rows.push((key.to_owned(), some)));
        let goes_on = portion.next.as_ref().is_none_or(|next| next.is_behind(asked.from.as_ref()));
        if let Err(error) = read
            .as_ref()
            .map(drop)
            .map_err(ToString::to_string)
            .and_then(|()| if goes_on { Ok(()) } else { Err("it does not go on".to_owned()) })
        {
            let peer_name = self.shared.name_of(peer);
            tracing::warn!(peer = peer_name, error, "values from another node's history are not taken");
            self.backfill.refused(now, peer, gap);
            return;
        }
        let verdict = self.backfill.answered(now, asked, &self.store.gaps(), portion, lack);
        if !verdict.takes_rows {
            return;
        }
        let mut count = 0;
        for (key, rows) in rows {
            let Some(slot) = self.slot_of(&key) else { continue };
            let is_wanted = |row: &Row| {
                // What was before the journal has any place.
                gap.after == Position::START || (row.position > gap.after && row.position <= gap.through)
            };
            let inside: Vec<_> = rows.into_iter().filter(is_wanted).map(|row| (slot, row)).collect();
            count += inside.len() as u64;
            self.store.fill(&gap.group, gap.through, inside, Filled::Through(gap.after));
        }
        {
            let mut status = self.shelf.status();
            status.copied += count;
        }
        self.backfill.took(now, peer, gap, portion.blocks.len(), count, portion.done_permille);
        let is_whole = matches!(&verdict.filled, Some(Filled::CopiedBut(rest)) if rest.is_empty());
        if let Some(filled) = verdict.filled {
            self.store.fill(&gap.group, gap.through, [], filled);
        }
        let values = self.backfill.progress().map_or(0, |progress| progress.rows);
        let is_news = values > 0 || (is_whole && gap.after > Position::START);
        if verdict.is_end && is_news {
            let from = self.shared.name_of(peer);
            let text = format!(
                "{values} values of group {} between {} and {} came into the history from {from}",
                gap.group, gap.after, gap.through
            );
            tracing::info!(group = gap.group, values, from, "values of the past came from another node");
            remember(&self.shared, Severity::Info, "TH-HISTORY-008", &text);
        }
    }

    fn give_up(&mut self, gap: &Gap) {
        self.store.fill(&gap.group, gap.through, [], Filled::Through(gap.through));
        if gap.after == Position::START {
            tracing::info!(group = gap.group, through = %gap.through, "no node has older values");
            return;
        }
        let records = behind(gap.after, gap.through).max(1);
        self.shelf.status().lost_records += records;
        let text = format!(
            "the history lacks {records} records of group {} or more, from {} to {}, for good: no node has their values",
            gap.group, gap.after, gap.through
        );
        tracing::warn!(group = gap.group, records, "a gap in the history stays");
        remember(&self.shared, Severity::Warning, "TH-HISTORY-009", &text);
    }

    /// The slot of an item of another node; `None` for what is no key, or too many.
    fn slot_of(&mut self, key: &str) -> Option<twinhub_history::Slot> {
        if let Some(slot) = self.store.find(key) {
            return Some(slot);
        }
        ItemKey::parse(key).ok()?;
        if self.foreign_items >= FOREIGN_ITEMS_MAX {
            return None;
        }
        self.foreign_items += 1;
        Some(self.store.slot(key))
    }
}
