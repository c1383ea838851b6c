//! Whom to ask for what the history lacks, and when. It decides; the follower carries it out.
//!
//! One question is under way at a time, live values come first, and the rate is limited. A node that lacks the same, has
//! not read so far yet or does not answer is asked again later, and another one meanwhile. When every node has said three
//! times that it lacks it, it is lost.
//!
//! What a node has of that which it lacks, too, is taken once, as late as that: before, and as long as another node is
//! away that may have everything, it is only asked whether it still lacks it, ever more seldom. How far it was taken stands
//! with the gap, so that a start does not begin anew.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_history::{Filled, Gap, Lack, Place, Portion, Range};
use twinhub_model::{Moment, NodeRank, Position};

use super::lines::Question;

/// Bytes of one answer: live values wait behind one of them at most.
const PORTION_BYTES: u32 = 128 * 1024;
/// Of one that only tells whether the node still lacks it.
const LOOK_BYTES: u32 = 1;
/// A node that does not answer for so long is not asked again soon.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A node that lacks what is missing, or does not answer, is asked again after this time.
const ROUND_AFTER: Duration = Duration::from_secs(10);
/// A node that reads on in its journal soon has what was asked: it looks there ten times a second. Twice as long each time
/// that it comes no further.
const BEHIND_AFTER: Duration = Duration::from_millis(500);
/// So often every node must have said that it lacks the same.
const ROUNDS: u32 = 3;
/// A node that said so more often is asked half as often each time, but not less often than this.
const LACKS_AFTER_MAX: Duration = Duration::from_secs(600);

/// What the follower is to do.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(Moment),
    Ask(Question),
    /// No node has it.
    GiveUp(Gap),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Backfill {
    bytes_per_second: u64,
    next_number: u32,
    asked: Option<Asked>,
    not_before: Moment,
    /// What was said of gaps, by group and end.
    known: BTreeMap<(String, Position), Known>,
    progress: Option<Progress>,
    /// Nodes that could be asked the last time.
    present: Vec<NodeRank>,
}

/// What is asked now.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: NodeRank,
    pub(super) gap: Gap,
    /// Rows behind this place.
    pub(super) from: Option<Place>,
    /// It is about what the node has though it lacks the same.
    is_for_remains: bool,
    until: Moment,
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its rows are taken.
    pub(super) takes_rows: bool,
    /// How far the gap is filled with them.
    pub(super) filled: Option<Filled>,
    /// It was the last one.
    pub(super) is_end: bool,
}

#[derive(Debug, Default)]
struct Known {
    said: BTreeMap<NodeRank, Said>,
}

/// What a node said of a gap.
#[derive(Debug, Default)]
struct Said {
    /// It is asked again then.
    not_before: Moment,
    /// How often it said that it lacks it, too.
    lacks: u32,
    /// How often in a row it had not read so far, and no further than before.
    stays_behind: u32,
}

/// How a copy comes on.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) peer: NodeRank,
    pub(super) group: String,
    pub(super) through: Position,
    pub(super) begun: Moment,
    pub(super) at: Moment,
    pub(super) rows: u64,
    first_permille: u16,
    pub(super) permille: u16,
}

impl Progress {
    pub(super) fn rows_per_second(&self) -> u64 {
        let ms = u64::try_from(self.at.since(self.begun).as_millis()).unwrap_or(u64::MAX).max(1);
        self.rows.saturating_mul(1000) / ms
    }

    /// About how many rows are to come; `None` before that can be told.
    pub(super) fn remaining_rows(&self) -> Option<u64> {
        let done = u64::from(self.permille.checked_sub(self.first_permille).filter(|done| *done > 0)?);
        Some(self.rows.saturating_mul(1000_u64.saturating_sub(u64::from(self.permille))) / done)
    }

    pub(super) fn eta_seconds(&self) -> Option<u64> {
        let rate = self.rows_per_second();
        Some(self.remaining_rows()? / rate.max(1))
    }
}

impl Backfill {
    pub(super) const fn new(bytes_per_second: u64) -> Backfill {
        Backfill {
            bytes_per_second,
            next_number: 1,
            asked: None,
            not_before: Moment::ZERO,
            known: BTreeMap::new(),
            progress: None,
            present: Vec::new(),
        }
    }

    pub(super) const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// What is to be done. `peers` can be asked, the best first; `others` are all other nodes of the site.
    pub(super) fn next(
        &mut self,
        now: Moment,
        gaps: &[Gap],
        peers: &[NodeRank],
        others: &[NodeRank],
    ) -> Step {
        self.known.retain(|(group, through), _| {
            gaps.iter().any(|gap| gap.group == *group && gap.through == *through)
        });
        self.see(peers);
        if let Some(asked) = self.asked.take_if(|asked| now >= asked.until || !peers.contains(&asked.peer)) {
            self.refused(now, asked.peer, &asked.gap);
        }
        if let Some(asked) = &self.asked {
            return Step::Wait(asked.until);
        }
        if gaps.is_empty() {
            self.progress = None;
            return Step::Wait(Moment::NEVER);
        }
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        // The newest first: it is looked at most.
        let mut until = if peers.is_empty() { now + ROUND_AFTER } else { Moment::NEVER };
        for gap in gaps.iter().rev() {
            let known = self.known.get(&key_of(gap));
            let said = |node: &NodeRank| known.and_then(|known| known.said.get(node));
            if others.iter().all(|node| said(node).is_some_and(|said| said.lacks >= ROUNDS)) {
                return Step::GiveUp(gap.clone());
            }
            let not_before = |peer: &NodeRank| said(peer).map_or(Moment::ZERO, |said| said.not_before);
            let due = peers.iter().filter(|peer| not_before(peer) <= now);
            // One that may have it before one that said that it lacks it.
            if let Some(peer) = due.min_by_key(|peer| said(peer).map_or(0, |said| said.lacks)) {
                return self.ask(now, *peer, gap);
            }
            until = peers.iter().map(not_before).fold(until, Moment::min);
        }
        self.progress = None;
        Step::Wait(until)
    }

    /// A node that is back may have begun anew, or have got it meanwhile: it is asked at once.
    fn see(&mut self, peers: &[NodeRank]) {
        for new in peers.iter().filter(|peer| !self.present.contains(peer)) {
            for said in self.known.values_mut().filter_map(|known| known.said.get_mut(new)) {
                (said.not_before, said.stays_behind) = (Moment::ZERO, 0);
            }
        }
        peers.clone_into(&mut self.present);
    }

    fn ask(&mut self, now: Moment, peer: NodeRank, gap: &Gap) -> Step {
        self.next_number = self.next_number.wrapping_add(1);
        let number = self.next_number;
        let range = Range { group: gap.group.clone(), after: gap.after, through: gap.through };
        let lacks = self.said(gap, peer).lacks;
        let remains = gap.remains_of.iter().find(|(node, _)| *node == peer).map(|(_, place)| place.as_ref());
        let is_for_remains = lacks + 1 == ROUNDS && remains != Some(None);
        let from = remains.flatten().filter(|_| is_for_remains).or(gap.copied.as_ref()).cloned();
        let bytes = if lacks == 0 || is_for_remains { PORTION_BYTES } else { LOOK_BYTES };
        let until = now + ANSWER_MAX;
        self.asked = Some(Asked { peer, gap: gap.clone(), from: from.clone(), is_for_remains, until });
        Step::Ask(Question { peer, number, range, from, bytes })
    }

    fn said(&mut self, gap: &Gap, peer: NodeRank) -> &mut Said {
        self.known.entry(key_of(gap)).or_default().said.entry(peer).or_default()
    }

    /// The question that an answer is to, if it is not too late.
    pub(super) fn take_asked(&mut self) -> Option<Asked> {
        self.asked.take()
    }

    /// An answer came: what becomes of it.
    pub(super) fn answered(
        &mut self,
        now: Moment,
        asked: &Asked,
        present: &[Gap],
        portion: &Portion,
        lack: &Lack,
    ) -> Verdict {
        let Asked { peer, ref gap, is_for_remains, .. } = *asked;
        let same = present.iter().find(|other| (&other.group, other.through) == (&gap.group, gap.through));
        if same.is_none_or(|same| same.after < gap.after) {
            // It is filled, or it grew while the question was under way: the answer says nothing of what was added.
            return Verdict { takes_rows: false, filled: None, is_end: false };
        }
        let whole = [(gap.after, gap.through)];
        if lack.covers(gap.after, gap.through) {
            let takes_rows = is_for_remains && !lack.is_behind;
            let next = portion.next.as_ref().filter(|_| takes_rows);
            if next.is_none() {
                self.ended(now, peer, &whole, lack, gap);
            }
            // A copy of what another node has goes on where it was.
            let filled = takes_rows.then(|| Filled::Remains(peer, next.cloned()));
            return Verdict { takes_rows, filled, is_end: takes_rows && next.is_none() };
        }
        self.said(gap, peer).lacks = 0;
        if asked.from != gap.copied {
            // It has some by now, and this portion does not begin where the copy is.
            return Verdict { takes_rows: true, filled: None, is_end: false };
        }
        if let Some(next) = &portion.next {
            let filled = Some(Filled::Copied(next.clone(), lack.ranges.clone()));
            return Verdict { takes_rows: true, filled, is_end: false };
        }
        // What earlier portions lacked is missing, though it may be there by now.
        let rest = gap.rest(&lack.ranges);
        self.ended(now, peer, &rest, lack, gap);
        Verdict { takes_rows: true, filled: Some(Filled::CopiedBut(rest)), is_end: true }
    }

    /// The node that was asked has none now, or what it said makes no sense.
    pub(super) fn refused(&mut self, now: Moment, peer: NodeRank, gap: &Gap) {
        self.said(gap, peer).not_before = now + ROUND_AFTER;
    }

    /// A portion came, and is in memory.
    pub(super) fn took(
        &mut self,
        now: Moment,
        peer: NodeRank,
        gap: &Gap,
        bytes: usize,
        rows: u64,
        permille: u16,
    ) {
        let is_same = |progress: &Progress| {
            (progress.peer, progress.through) == (peer, gap.through) && progress.group == gap.group
        };
        if !self.progress.as_ref().is_some_and(is_same) {
            self.progress = Some(Progress {
                peer,
                group: gap.group.clone(),
                through: gap.through,
                begun: now,
                at: now,
                rows: 0,
                first_permille: permille,
                permille,
            });
        }
        if let Some(progress) = &mut self.progress {
            (progress.at, progress.permille) = (now, permille);
            progress.rows = progress.rows.saturating_add(rows);
        }
        let pause = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        self.not_before = now + Duration::from_micros(pause);
    }

    /// The last portion came. There is a rest: the node lacks some of it, too, has not read so far yet, or had not when
    /// earlier portions came.
    fn ended(&mut self, now: Moment, peer: NodeRank, rest: &[(Position, Position)], lack: &Lack, gap: &Gap) {
        for (after, through) in rest {
            let part = Gap { through: (*through).min(gap.through), ..gap.clone() };
            let said = self.said(&part, peer);
            if lack.is_behind {
                said.stays_behind = if *after > gap.after { 0 } else { said.stays_behind + 1 };
                let wait = BEHIND_AFTER.saturating_mul(1 << said.stays_behind.saturating_sub(1).min(16));
                said.not_before = now + wait.min(ROUND_AFTER);
            } else if lack.covers(*after, part.through) {
                said.lacks += 1;
                let wait = ROUND_AFTER.saturating_mul(1 << said.lacks.saturating_sub(ROUNDS).min(16));
                said.not_before = now + wait.min(LACKS_AFTER_MAX);
            }
        }
    }
}

fn key_of(gap: &Gap) -> (String, Position) {
    (gap.group.clone(), gap.through)
}

#[cfg(test)]
mod tests;
