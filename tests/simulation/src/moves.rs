//! What moves for better health may never do, seen from outside.

use std::collections::{BTreeMap, VecDeque};

use twinhub_model::NodeRank;
use twinhub_redundancy::{Health, Timers};

use crate::field::Finding;

/// What every node knew of its field side, and who moved the role for it.
#[derive(Debug, Default)]
pub struct Moves {
    /// How often the role was given away for better health.
    pub begun: u64,
    told: BTreeMap<NodeRank, VecDeque<Told>>,
    /// The last that began to give the role away for better health, until it did.
    begun_by: BTreeMap<NodeRank, Move>,
    /// When the role was given away for better health since an operator resumed.
    counted: VecDeque<u64>,
    /// Since when a node acts, and whether it got the role for its health.
    acting: BTreeMap<NodeRank, (u64, bool)>,
}

/// What a process was told of its field side, from this time on.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: u64,
    least: u8,
    score: u8,
    most: u8,
}

/// Somebody begins to give the role away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) from: NodeRank,
    pub(crate) to: NodeRank,
    pub(crate) at: u64,
}

/// By what a move is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Law {
    pub(crate) timers: Timers,
    /// Whether everyone hears of every move, so that nobody counts less than there were.
    pub(crate) is_count_exact: bool,
}

impl Moves {
    /// A process is told how its field side is.
    pub(crate) fn told(&mut self, node: NodeRank, health: &Health, at: u64) {
        let told = self.told.entry(node).or_default();
        if told.len() == TOLD_MAX {
            told.pop_front();
        }
        told.push_back(Told { at, least: health.least(), score: health.score(), most: health.most() });
    }

    /// A process starts: it has seen nothing.
    pub(crate) fn starts(&mut self, node: NodeRank, at: u64) {
        self.told(node, &Health::unseen(), at);
        self.begun_by.remove(&node);
    }

    /// A node won the role, or opened its gates.
    pub(crate) fn acts(&mut self, node: NodeRank, is_for_health: Option<bool>, at: u64) {
        let known = self.acting.entry(node).or_insert((at, false));
        *known = (at, is_for_health.unwrap_or(known.1));
    }

    /// An operator lets the nodes move the role again.
    pub(crate) fn resumed(&mut self) {
        self.counted.clear();
    }

    /// Somebody begins to give the role away for better health.
    pub(crate) fn for_health(
        &mut self,
        begun: Move,
        (mine, theirs): (u8, u8),
        law: &Law,
    ) -> Vec<(Finding, String)> {
        self.begun += 1;
        let Move { from, to, at } = begun;
        let mut found = Vec::new();
        let words = format!("node {from} gives the role to node {to}, {theirs} against {mine}");
        if theirs < mine.saturating_add(law.timers.score_margin) {
            found.push((Finding::MoveUnproven, format!("{words}: not enough")));
        }
        if self.last(from, at).is_none_or(|told| told.most != mine) {
            found.push((Finding::MoveUnproven, format!("{words}: its own health is another")));
        }
        let stale = nanos(law.timers.lease) * STALE_LEASES;
        if !self.was(to, at.saturating_sub(stale), at, |told| told.least == theirs) {
            found.push((Finding::MoveUnproven, format!("{words}: nobody has seen that")));
        }
        if let Some(lasted) = self.worse_for(begun, law)
            && lasted > stale
        {
            let what = format!("{words}: it was not better for {} ms of the hold", lasted / 1_000_000);
            found.push((Finding::MoveTooSoon, what));
        }
        found.extend(self.rest(begun, law).map(|what| (Finding::MoveTooSoon, format!("{words}: {what}"))));
        self.begun_by.insert(from, begun);
        found
    }

    /// The role is given away for better health, which is when it counts: who dies before has not moved it, and may
    /// not know that it was about to.
    pub(crate) fn given(&mut self, from: NodeRank, law: &Law) -> Option<(Finding, String)> {
        let Move { to, at, .. } = self.begun_by.remove(&from)?;
        let window = shorter(law.timers.flap_window);
        while self.counted.front().is_some_and(|first| first + window <= at) {
            self.counted.pop_front();
        }
        self.counted.push_back(at);
        (law.is_count_exact && self.counted.len() > usize::from(law.timers.flap_moves)).then(|| {
            let count = self.counted.len();
            (Finding::MovesTooMany, format!("node {from} gave the role to node {to}: the {count}th move"))
        })
    }

    /// The role goes back to a node that is preferred.
    pub(crate) fn back(&mut self, begun: Move, law: &Law) -> Vec<(Finding, String)> {
        let Move { from, to, at } = begun;
        let mut found = Vec::new();
        let words = format!("node {from} gives the role back to node {to}");
        if to >= from {
            found.push((Finding::MoveUnproven, format!("{words}, which is not preferred")));
        }
        found.extend(self.rest(begun, law).map(|what| (Finding::MoveTooSoon, format!("{words}: {what}"))));
        let was_for_health = self.acting.get(&from).is_some_and(|(_, is_for_health)| *is_for_health);
        let stale = nanos(law.timers.lease) * STALE_LEASES;
        if was_for_health
            && let Some(mine) = self.last(from, at)
            && !self.was(to, at.saturating_sub(stale), at, |told| told.least >= mine.score)
        {
            found.push((Finding::MoveUnproven, format!("{words}, which has not proven to be well again")));
        }
        found
    }

    /// A node that got the role for its health has it for a while.
    fn rest(&self, begun: Move, law: &Law) -> Option<String> {
        let (since, is_for_health) = *self.acting.get(&begun.from)?;
        let rested = begun.at.saturating_sub(since);
        (is_for_health && rested < shorter(law.timers.hold_back))
            .then(|| format!("{} ms after it got it for its health", rested / 1_000_000))
    }

    fn last(&self, node: NodeRank, at: u64) -> Option<Told> {
        self.told.get(&node)?.iter().rev().find(|told| told.at <= at).copied()
    }

    /// Whether this held for what the node was told at any time between these.
    fn was(&self, node: NodeRank, from: u64, to: u64, holds: impl Fn(&Told) -> bool) -> bool {
        let before = self.last(node, from);
        let between =
            self.told.get(&node).into_iter().flatten().filter(|told| told.at > from && told.at <= to);
        before.iter().chain(between).any(holds)
    }

    /// For how long in one piece the other node was, during the hold before the move, not better.
    fn worse_for(&self, begun: Move, law: &Law) -> Option<u64> {
        let Move { from, to, at } = begun;
        let begin = at.saturating_sub(shorter(law.timers.score_hold));
        let changes = [from, to].into_iter().filter_map(|node| self.told.get(&node)).flatten();
        let mut times: Vec<u64> =
            changes.map(|told| told.at).filter(|time| *time > begin && *time < at).collect();
        times.push(begin);
        times.sort_unstable();
        let (mut longest, mut since) = (0, None);
        for time in times {
            let (mine, theirs) = (self.last(from, time)?, self.last(to, time)?);
            if theirs.least >= mine.most.saturating_add(law.timers.score_margin) {
                if let Some(since) = since.take() {
                    longest = longest.max(time - since);
                }
            } else {
                since.get_or_insert(time);
            }
        }
        Some(since.map_or(longest, |since| longest.max(at - since)))
    }
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a clock that runs one percent too fast takes for this time, and a little less.
fn shorter(time: std::time::Duration) -> u64 {
    nanos(time) / 100 * 98
}

/// What a node knows of another may be this old: heartbeats are lost and delayed while other messages come through.
const STALE_LEASES: u64 = 6;
/// More than fit into the longest time that is looked back to.
const TOLD_MAX: usize = 512;
