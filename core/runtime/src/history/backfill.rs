//! Whom to ask for what the history lacks, and when. It decides; the follower carries it out.
//!
//! One question is under way at a time, live values come first, and the rate is limited. A node that lacks the same, has
//! not read so far yet or does not answer is asked again later, and another one meanwhile. When every node has said three
//! times that it lacks it, it is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_history::{Gap, Lack, Range};
use twinhub_model::{Moment, NodeRank, Position};

use super::lines::Question;

/// Bytes of one answer: live values wait behind one of them at most.
const PORTION_BYTES: u32 = 128 * 1024;
/// A node that does not answer for so long is not asked again soon.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A node that lacks what is missing, or does not answer, is asked again after this time.
const ROUND_AFTER: Duration = Duration::from_secs(10);
/// A node that reads on in its journal soon has what was asked: it looks there ten times a second. Twice as long each time
/// that it comes no further.
const BEHIND_AFTER: Duration = Duration::from_millis(500);
/// So often every node must have said that it lacks the same.
const ROUNDS: u32 = 3;

/// What the follower is to do.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(Moment),
    Ask(Question, Gap),
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
}

#[derive(Debug)]
struct Asked {
    peer: NodeRank,
    gap: Gap,
    until: Moment,
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
            if let Some(peer) = peers.iter().find(|peer| not_before(peer) <= now) {
                return self.ask(now, *peer, gap);
            }
            until = peers.iter().map(not_before).fold(until, Moment::min);
        }
        self.progress = None;
        Step::Wait(until)
    }

    fn ask(&mut self, now: Moment, peer: NodeRank, gap: &Gap) -> Step {
        self.next_number = self.next_number.wrapping_add(1);
        self.asked = Some(Asked { peer, gap: gap.clone(), until: now + ANSWER_MAX });
        let range = Range { group: gap.group.clone(), after: gap.after, through: gap.through };
        let from = gap.copied.clone();
        let question = Question { peer, number: self.next_number, range, from, bytes: PORTION_BYTES };
        Step::Ask(question, gap.clone())
    }

    fn said(&mut self, gap: &Gap, peer: NodeRank) -> &mut Said {
        self.known.entry(key_of(gap)).or_default().said.entry(peer).or_default()
    }

    /// The question that an answer is to, if it is not too late.
    pub(super) fn take_asked(&mut self) -> Option<(NodeRank, Gap)> {
        self.asked.take().map(|asked| (asked.peer, asked.gap))
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
    pub(super) fn ended(
        &mut self,
        now: Moment,
        peer: NodeRank,
        rest: &[(Position, Position)],
        lack: &Lack,
        gap: &Gap,
    ) {
        for (after, through) in rest {
            let part = Gap { through: (*through).min(gap.through), ..gap.clone() };
            let said = self.said(&part, peer);
            if lack.is_behind {
                said.stays_behind = if *after > gap.after { 0 } else { said.stays_behind + 1 };
                let wait = BEHIND_AFTER.saturating_mul(1 << said.stays_behind.saturating_sub(1).min(16));
                said.not_before = now + wait.min(ROUND_AFTER);
            } else if lack.covers(*after, part.through) {
                said.lacks += 1;
                said.not_before = now + ROUND_AFTER;
            }
        }
    }
}

fn key_of(gap: &Gap) -> (String, Position) {
    (gap.group.clone(), gap.through)
}

#[cfg(test)]
mod tests {
    use twinhub_model::Epoch;

    use super::*;

    fn at(seq: u64) -> Position {
        Position::new(Epoch(256), seq)
    }

    fn gap(after: u64, through: u64) -> Gap {
        Gap {
            group: "site".into(),
            after: at(after),
            through: at(through),
            copied: None,
            lacking: Vec::new(),
        }
    }

    fn lack(after: u64, through: u64, is_behind: bool) -> Lack {
        Lack { ranges: vec![(at(after), at(through))], is_behind }
    }

    const MAIN: NodeRank = NodeRank(0);
    const SPARE: NodeRank = NodeRank(2);

    fn asks(step: &Step) -> Option<(NodeRank, Position)> {
        match step {
            Step::Ask(question, gap) => Some((question.peer, gap.through)),
            Step::Wait(_) | Step::GiveUp(_) => None,
        }
    }

    #[test]
    fn the_newest_gap_is_asked_of_the_best_node_one_question_at_a_time() {
        let mut backfill = Backfill::new(1 << 20);
        let gaps = [gap(0, 10), gap(50, 90)];
        let now = Moment::ZERO + Duration::from_secs(1);
        assert!(matches!(backfill.next(now, &[], &[MAIN], &[MAIN]), Step::Wait(Moment::NEVER)));
        assert_eq!(asks(&backfill.next(now, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), Some((SPARE, at(90))));
        assert_eq!(asks(&backfill.next(now, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), None);
        // It does not answer: the next one.
        let later = now + ANSWER_MAX;
        assert_eq!(asks(&backfill.next(later, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), Some((MAIN, at(90))));
        // It is gone: what is older.
        assert_eq!(asks(&backfill.next(later, &gaps, &[SPARE], &[MAIN, SPARE])), Some((SPARE, at(10))));
    }

    #[test]
    fn what_comes_is_paced_and_its_end_foreseen() {
        let mut backfill = Backfill::new(1_000_000);
        let (gaps, mut now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
        for part in 1..=10 {
            assert!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])).is_some(), "{part}");
            let (peer, gap) = backfill.take_asked().unwrap();
            backfill.took(now, peer, &gap, 100_000, 1_000, part * 50);
            let Step::Wait(until) = backfill.next(now, &gaps, &[MAIN], &[MAIN]) else { panic!("{part}") };
            assert_eq!(until, now + Duration::from_millis(100));
            now = until;
        }
        let progress = backfill.progress().unwrap();
        assert_eq!((progress.rows, progress.permille, progress.rows_per_second()), (10_000, 500, 11_111));
        assert_eq!(progress.remaining_rows(), Some(11_111));
        assert_eq!(progress.eta_seconds(), Some(1));
    }

    #[test]
    fn what_every_node_lacks_is_given_up_after_some_rounds() {
        let mut backfill = Backfill::new(1 << 30);
        let gaps = [gap(0, 10)];
        let mut now = Moment::ZERO + Duration::from_secs(1);
        for _ in 0..ROUNDS {
            while let Some((peer, _)) = asks(&backfill.next(now, &gaps, &[MAIN, SPARE], &[MAIN, SPARE])) {
                let (_, gap) = backfill.take_asked().unwrap();
                backfill.ended(now, peer, &[(at(0), at(10))], &lack(0, 10, false), &gap);
            }
            now = now + ROUND_AFTER;
        }
        assert!(matches!(backfill.next(now, &gaps, &[MAIN, SPARE], &[MAIN, SPARE]), Step::GiveUp(_)));
        // One that is away may have it.
        let away = NodeRank(3);
        let others = [MAIN, SPARE, away];
        assert!(matches!(backfill.next(now, &gaps, &[MAIN, SPARE], &others), Step::Wait(_) | Step::Ask(..)));
        // Nobody else: at once.
        assert!(matches!(Backfill::new(1).next(now, &gaps, &[], &[]), Step::GiveUp(_)));
    }

    #[test]
    fn a_node_that_has_not_read_so_far_is_asked_again_soon() {
        let mut backfill = Backfill::new(1 << 30);
        let (gaps, now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
        backfill.next(now, &gaps, &[MAIN], &[MAIN]);
        let (peer, gap) = backfill.take_asked().unwrap();
        backfill.ended(now, peer, &[(at(5), at(10))], &lack(5, 10, true), &gap);
        assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])), None);
        assert_eq!(asks(&backfill.next(now + BEHIND_AFTER, &gaps, &[MAIN], &[MAIN])), Some((MAIN, at(10))));
    }

    #[test]
    fn a_node_that_stays_behind_keeps_nobody_from_asking_another() {
        let mut backfill = Backfill::new(1 << 30);
        let gaps = [gap(0, 10), gap(50, 90)];
        let both = [MAIN, SPARE];
        let mut now = Moment::ZERO + Duration::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..8 {
            for expected in [(MAIN, at(90)), (SPARE, at(90)), (MAIN, at(10)), (SPARE, at(10))] {
                assert_eq!(asks(&backfill.next(now, &gaps, &both, &both)), Some(expected));
                let (peer, gap) = backfill.take_asked().unwrap();
                let lack = Lack { ranges: vec![(gap.after, gap.through)], is_behind: true };
                backfill.ended(now, peer, &lack.ranges, &lack, &gap);
            }
            let Step::Wait(until) = backfill.next(now, &gaps, &both, &both) else { panic!("all were asked") };
            waits.push(until.since(now));
            now = until;
        }
        assert_eq!(waits.first(), Some(&BEHIND_AFTER));
        assert_eq!(waits.last(), Some(&ROUND_AFTER));
    }

    #[test]
    fn a_node_that_has_by_now_what_earlier_portions_lacked_is_asked_again_at_once() {
        let mut backfill = Backfill::new(1 << 30);
        let (gaps, now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
        backfill.next(now, &gaps, &[MAIN], &[MAIN]);
        let (peer, gap) = backfill.take_asked().unwrap();
        backfill.ended(now, peer, &[(at(5), at(10))], &Lack::default(), &gap);
        assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])), Some((MAIN, at(10))));
    }
}
