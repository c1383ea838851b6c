//! Pre-votes: asking whether a campaign would win, before an epoch is raised for it.

use super::{Packet, State};
use crate::rules::{PreVotes, Rules};

/// A question that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Trial {
    epoch: u8,
    /// One bit per voter that would grant.
    votes: u8,
    age: u8,
    /// Another node was a healthy holder all the time since the question.
    is_superfluous: bool,
}

impl Trial {
    pub(super) fn older(self, limit: u8) -> Option<Trial> {
        (self.age + 1 < limit).then_some(Trial { age: self.age + 1, ..self })
    }
}

impl State {
    /// Whether a node that holds nothing may raise its epoch.
    pub(super) fn may_campaign(&self, rules: &Rules, node: u8) -> bool {
        let votes = self.nodes[usize::from(node)].trial.map_or(0, |trial| trial.votes);
        match rules.pre_votes {
            PreVotes::Off | PreVotes::Skipped => true,
            PreVotes::OfMajority | PreVotes::IgnoreGrants => votes.count_ones() >= rules.votes_needed,
            PreVotes::OfAnyone => votes != 0,
        }
    }

    /// At most one question per tick.
    pub(super) fn may_try(&self, rules: &Rules, node: u8) -> bool {
        let Some(asker) = self.nodes.get(usize::from(node)) else { return false };
        let is_asked = match rules.pre_votes {
            PreVotes::Off | PreVotes::Skipped => false,
            PreVotes::OfMajority | PreVotes::OfAnyone | PreVotes::IgnoreGrants => true,
        };
        is_asked
            && asker.lease.is_none()
            && asker.trial.is_none_or(|trial| trial.age > 0)
            && self.voters[usize::from(node)].promised < rules.epochs
    }

    pub(super) fn try_votes(&mut self, rules: &Rules, node: u8) {
        let promised = self.voters[usize::from(node)].promised;
        let epoch = (promised / rules.nodes + 1) * rules.nodes + node;
        let trial = Trial { epoch, votes: 0, age: 0, is_superfluous: true };
        self.nodes[usize::from(node)].trial = Some(trial);
        for voter in (0..3).take(rules.voters()) {
            let packet = Packet::Try { node, voter, epoch, age: 0 };
            if voter == node {
                self.deliver(rules, packet);
            } else {
                self.put_on_wire(rules, packet);
            }
        }
    }

    pub(super) fn answer_trial(&mut self, rules: &Rules, node: u8, voter: u8, epoch: u8, age: u8) {
        let ballot = self.voters[usize::from(voter)];
        let is_free = ballot.granted.is_none_or(|(holder, _)| holder == node);
        if epoch <= ballot.promised || (!is_free && rules.pre_votes != PreVotes::IgnoreGrants) {
            return;
        }
        let answer = Packet::Would { voter, node, epoch, age };
        if voter == node {
            self.deliver(rules, answer);
        } else {
            self.put_on_wire(rules, answer);
        }
    }

    pub(super) fn count_trial(&mut self, voter: u8, node: u8, epoch: u8, age: u8) {
        if let Some(trial) = &mut self.nodes[usize::from(node)].trial
            && (trial.epoch, trial.age) == (epoch, age)
        {
            trial.votes |= 1 << voter;
        }
    }

    /// The epoch is raised: was that for nothing?
    pub(super) fn end_trial(&mut self, rules: &Rules, node: u8) {
        if rules.pre_votes == PreVotes::Off {
            return;
        }
        let trial = self.nodes[usize::from(node)].trial.take();
        let was_superfluous = trial.is_none_or(|trial| trial.is_superfluous);
        self.is_disturbed |= was_superfluous && self.has_healthy_holder(rules, node);
    }

    /// Looks at every moment whether the questions are superfluous.
    pub(super) fn watch_trials(&mut self, rules: &Rules) {
        for node in 0..rules.nodes {
            let has_holder = self.has_healthy_holder(rules, node);
            if let Some(trial) = &mut self.nodes[usize::from(node)].trial {
                trial.is_superfluous &= has_holder;
            }
        }
    }

    /// Whether another node holds a lease, and the grants of a majority for it run.
    fn has_healthy_holder(&self, rules: &Rules, but: u8) -> bool {
        let holders = (0..rules.nodes).zip(&self.nodes).filter(|(_, node)| node.lease.is_some());
        holders.filter(|(holder, _)| *holder != but).any(|(holder, _)| {
            let is_for = |granted: Option<(u8, u8)>| granted.is_some_and(|(to, _)| to == holder);
            let grants = self.voters.iter().filter(|voter| is_for(voter.granted)).count();
            u32::try_from(grants).is_ok_and(|grants| grants >= rules.votes_needed)
        })
    }
}
