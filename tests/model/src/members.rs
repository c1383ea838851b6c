//! Exhaustive model of how voters change.
//!
//! Two nodes and a witness. Time is left out: a voter's grant runs until it ends, at any moment, and a node holds a
//! lease as long as every grant runs that it was won or prolonged with, which is what the margin is for. Questions are
//! delivered late, twice, or never. Any holder may take any voter out or in, finish what another began, or take its own
//! change back; nodes learn records from anybody at any time. What is looked for is two nodes that hold a lease.

use stateright::{Model, Property};

use crate::{ACTS_ALONE, ONE_HOLDER};

/// Which rules of the product hold, and the bounds of what is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Changes {
    /// A voter refuses whoever comes with an older record.
    pub refuses_outdated: bool,
    /// A change counts only when the majorities have it on disk.
    pub waits_for_disks: bool,
    /// Until a change counts, votes need a majority of the voters before, too.
    pub needs_both: bool,
    /// Elections there may be.
    pub epochs: u8,
    /// Records there may be.
    pub revisions: u8,
    /// Crashes there may be. A node may lose its role at any time anyway; a crash makes its grant fresh, too. With
    /// one, all rules hold in 7,411,586 states.
    pub crashes: u8,
}

impl Changes {
    /// The rules of the product.
    pub const PRODUCT: Changes = Changes {
        refuses_outdated: true,
        waits_for_disks: true,
        needs_both: true,
        epochs: 3,
        revisions: 4,
        crashes: 0,
    };

    fn wins(self, record: Record, votes: u8) -> bool {
        let before = record.before.filter(|_| self.needs_both);
        is_majority(ALL & !record.absent, votes)
            && before.is_none_or(|absent| is_majority(ALL & !absent, votes))
    }
}

/// A record of the voters; one bit per voter. The order is that of the stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Record {
    epoch: u8,
    revision: u8,
    absent: u8,
    before: Option<u8>,
}

impl Record {
    fn stamp(self) -> (u8, u8) {
        (self.epoch, self.revision)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Voter {
    promised: u8,
    granted: Option<u8>,
    is_running: bool,
    record: Record,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tenure {
    epoch: u8,
    /// The grants that the lease rests on; none before it is won.
    support: u8,
    /// Who has the present record on disk and granted this epoch then.
    known_to: u8,
    /// The record is a change of this holder.
    is_own_change: bool,
}

/// Grant me this epoch, or keep it; these are the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    node: u8,
    epoch: u8,
    record: Record,
}

/// One state of the model. A node and its vote share a disk, so they share the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Polls {
    voters: [Voter; 3],
    nodes: [Option<Tenure>; 2],
    /// Sorted, so that the same questions are the same state.
    wire: [Option<Question>; 2],
    crashes: u8,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after what happens, to which node, and with which voters")]
pub enum Turn {
    Campaign(u8),
    Ask(u8),
    Lose(u8),
    Deliver { place: u8, to: u8 },
    Hold { node: u8, support: u8 },
    End(u8),
    Change { node: u8, voter: u8 },
    Settle(u8),
    Rename(u8),
    TakeBack(u8),
    Learn { node: u8, from: u8 },
    Crash(u8),
}

impl Polls {
    fn holds(&self, node: u8) -> bool {
        self.nodes[usize::from(node)].is_some_and(|tenure| {
            tenure.support != 0 && tenure.support & !self.grants(node, tenure.epoch) == 0
        })
    }

    /// The voters whose grant of this epoch runs.
    fn grants(&self, node: u8, epoch: u8) -> u8 {
        let runs = |voter: &Voter| voter.is_running && voter.granted == Some(node) && voter.promised == epoch;
        (0..3_u8).filter(|id| runs(&self.voters[usize::from(*id)])).map(|id| 1 << id).sum()
    }

    fn record(&self, node: u8) -> Record {
        self.voters[usize::from(node)].record
    }

    /// The node's record is another one: what others have on disk is not it.
    fn write(&mut self, node: u8, record: Record, is_own_change: bool) {
        self.voters[usize::from(node)].record = record;
        if let Some(tenure) = &mut self.nodes[usize::from(node)] {
            tenure.known_to = 1 << node;
            tenure.is_own_change = is_own_change;
        }
    }

    fn ask(&mut self, node: u8) {
        let Some(tenure) = self.nodes[usize::from(node)] else { return };
        let question = Question { node, epoch: tenure.epoch, record: self.record(node) };
        if !self.wire.contains(&Some(question)) {
            self.wire[0] = Some(question);
            self.wire.sort_unstable();
        }
    }

    /// A voter answers; the asker hears it at once, and may act on it late.
    fn deliver(&mut self, rules: Changes, question: Question, to: u8) -> bool {
        let Question { node, epoch, record } = question;
        let voter = &mut self.voters[usize::from(to)];
        let is_held = voter.is_running && voter.granted.is_some_and(|granted| granted != node);
        let is_late = epoch < voter.promised || (epoch > voter.promised && is_held);
        let is_other = epoch == voter.promised && voter.granted != Some(node);
        let is_outdated = rules.refuses_outdated && record.stamp() < voter.record.stamp();
        if is_late || is_other || is_outdated {
            return false;
        }
        let before = *voter;
        let newest = if record.stamp() > voter.record.stamp() { record } else { voter.record };
        *voter = Voter { promised: epoch, granted: Some(node), is_running: true, record: newest };
        let changed = before != *voter;
        if to < 2 && epoch > before.promised {
            self.nodes[usize::from(to)] = None;
        } else if to < 2 && newest != before.record {
            self.write(to, newest, false);
        }
        let known = 1 << to;
        if let Some(tenure) = &mut self.nodes[usize::from(node)]
            && tenure.epoch == epoch
            && newest == self.voters[usize::from(node)].record
        {
            let is_new = tenure.known_to & known == 0;
            tenure.known_to |= known;
            return changed || is_new;
        }
        changed
    }
}

impl Model for Changes {
    type State = Polls;
    type Action = Turn;

    fn init_states(&self) -> Vec<Polls> {
        vec![Polls::default()]
    }

    fn actions(&self, state: &Polls, turns: &mut Vec<Turn>) {
        for node in 0..2 {
            turns.extend([Turn::Campaign(node), Turn::Ask(node), Turn::Lose(node), Turn::Crash(node)]);
            turns.extend([Turn::Settle(node), Turn::Rename(node), Turn::TakeBack(node)]);
            turns.extend((1..8).map(|support| Turn::Hold { node, support }));
            turns.extend((0..3).map(|voter| Turn::Change { node, voter }));
            turns.extend((0..3).map(|from| Turn::Learn { node, from }));
        }
        for to in 0..3 {
            turns.push(Turn::End(to));
            let places = (0_u8..).zip(&state.wire).filter(|(_, question)| question.is_some());
            turns.extend(places.map(|(place, _)| Turn::Deliver { place, to }));
        }
    }

    fn next_state(&self, last: &Polls, turn: Turn) -> Option<Polls> {
        let mut state = *last;
        let happened = match turn {
            Turn::Campaign(node) => campaign(&mut state, node),
            Turn::Ask(node) => {
                state.ask(node);
                true
            }
            Turn::Lose(node) => state.nodes[usize::from(node)].take().is_some(),
            Turn::Deliver { place, to } => {
                let question = state.wire[usize::from(place)]?;
                question.node != to && state.deliver(*self, question, to)
            }
            Turn::Hold { node, support } => {
                let record = state.record(node);
                let tenure = state.nodes[usize::from(node)]?;
                let is_given = support & !state.grants(node, tenure.epoch) == 0;
                state.nodes[usize::from(node)] = Some(Tenure { support, ..tenure });
                is_given && self.wins(record, support)
            }
            Turn::End(voter) => {
                let voter = &mut state.voters[usize::from(voter)];
                std::mem::replace(&mut voter.is_running, false)
            }
            Turn::Change { node, voter } => change(&mut state, node, voter),
            Turn::Settle(node) => self.settle(&mut state, node),
            Turn::Rename(node) => {
                let (record, tenure) = (state.record(node), state.nodes[usize::from(node)]?);
                let next = Record { epoch: tenure.epoch, revision: record.revision + 1, ..record };
                state.write(node, next, false);
                record.before.is_some() && record.epoch != tenure.epoch && tenure.support != 0
            }
            Turn::TakeBack(node) => {
                let (record, tenure) = (state.record(node), state.nodes[usize::from(node)]?);
                let absent = record.before?;
                let next =
                    Record { epoch: tenure.epoch, revision: record.revision + 1, absent, before: None };
                state.write(node, next, false);
                tenure.is_own_change
            }
            Turn::Learn { node, from } => {
                let (mine, theirs) = (state.record(node), state.voters[usize::from(from)].record);
                state.write(node, theirs, false);
                if state.nodes[usize::from(node)].is_some_and(|tenure| tenure.epoch < theirs.epoch) {
                    state.nodes[usize::from(node)] = None;
                }
                theirs.stamp() > mine.stamp()
            }
            Turn::Crash(node) => {
                let voter = &mut state.voters[usize::from(node)];
                voter.is_running |= voter.granted.is_some();
                state.nodes[usize::from(node)] = None;
                state.crashes += 1;
                last.crashes < self.crashes
            }
        };
        (happened && state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HOLDER, |_, state: &Polls| !(state.holds(0) && state.holds(1))),
            Property::sometimes(ACTS_ALONE, |_, state: &Polls| {
                state.holds(0) && state.nodes[0].is_some_and(|tenure| tenure.support == 1)
            }),
        ]
    }

    fn within_boundary(&self, state: &Polls) -> bool {
        state
            .voters
            .iter()
            .all(|voter| voter.promised <= self.epochs && voter.record.revision <= self.revisions)
    }
}

impl Changes {
    fn settle(self, state: &mut Polls, node: u8) -> bool {
        let record = state.record(node);
        let Some(tenure) = state.nodes[usize::from(node)] else { return false };
        let is_known = !self.waits_for_disks || self.wins(record, tenure.known_to);
        if record.before.is_none() || record.epoch != tenure.epoch || tenure.support == 0 || !is_known {
            return false;
        }
        let next = Record { revision: record.revision + 1, before: None, ..record };
        state.write(node, next, false);
        true
    }
}

/// The next epoch that the node may own: even ones are of node 0.
fn campaign(state: &mut Polls, node: u8) -> bool {
    let highest = state.voters.iter().map(|voter| voter.promised).max().unwrap_or(0);
    let epoch = highest + 1 + u8::from((highest + 1) % 2 != node);
    let mine = &mut state.voters[usize::from(node)];
    let is_held = mine.is_running && mine.granted.is_some_and(|granted| granted != node);
    let is_voter = mine.record.absent & 1 << node == 0;
    if state.nodes[usize::from(node)].is_some() || is_held || !is_voter {
        return false;
    }
    *mine = Voter { promised: epoch, granted: Some(node), is_running: true, record: mine.record };
    state.nodes[usize::from(node)] =
        Some(Tenure { epoch, support: 0, known_to: 1 << node, is_own_change: false });
    state.ask(node);
    true
}

fn change(state: &mut Polls, node: u8, voter: u8) -> bool {
    let record = state.record(node);
    let Some(tenure) = state.nodes[usize::from(node)] else { return false };
    let absent = record.absent ^ 1 << voter;
    if record.before.is_some() || !state.holds(node) || absent == ALL || voter == node {
        return false;
    }
    let before = Some(record.absent);
    let next = Record { epoch: tenure.epoch, revision: record.revision + 1, absent, before };
    state.write(node, next, true);
    true
}

fn is_majority(set: u8, votes: u8) -> bool {
    (set & votes).count_ones() > set.count_ones() / 2
}

/// Node 0, node 1 and the witness.
const ALL: u8 = 0b111;
