//! The plant: sees every write, from outside, in true time.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, NodeRank};

use crate::voters::VotersSeen;

/// Something that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Two nodes held a majority's lease at the same true time.
    TwoHolders,
    /// Two nodes could act at the same time and more than one of them did not say so.
    UnmarkedSplit,
    /// Two processes were active in one epoch.
    EpochReused,
    /// A write of an older epoch reached the plant after one of a newer.
    StaleWrite,
    /// A voter said what was not on its disk, or less than it had said before.
    PromiseBroken,
    /// A node became active without a majority although that is forbidden.
    SelfPromotion,
    /// Time went by and nobody, or not exactly one, was active.
    NoConvergence,
    /// A record of the voters went back, had two contents, or was won with after it was replaced.
    VotersBroken,
    /// After a supervisor's word, somebody was still waited for.
    TakeoverLate,
    /// The role moved for better health to a node that nobody had seen to be better.
    MoveUnproven,
    /// The role moved for better health more often than the flap limit allows.
    MovesTooMany,
    /// The role moved for better health, or back after that, sooner than it may.
    MoveTooSoon,
    /// The role moved by itself although an operator said that it may not.
    MoveForbidden,
    /// A process had to abort because its gates did not close.
    Aborted,
}

/// What the plant saw, and what the observer found.
#[derive(Debug, Default)]
pub struct Field {
    /// Each finding with what happened.
    pub findings: Vec<(Finding, String)>,
    /// The greatest epoch whose write arrived.
    pub newest: Epoch,
    /// How many writes arrived.
    pub writes: u64,
    /// How often voters changed or were learned, by kind of reason.
    pub members: BTreeMap<&'static str, u64>,
    /// The records of the voters.
    pub voters: VotersSeen,
    owners: BTreeMap<Epoch, (NodeRank, Incarnation)>,
}

impl Field {
    /// Notes a finding.
    pub fn note(&mut self, finding: Finding, what: String) {
        // Of each kind, so that what is common in a long run does not hide what is rare.
        if self.findings.iter().filter(|(kind, _)| *kind == finding).count() < FINDINGS_MAX {
            self.findings.push((finding, what));
        }
    }

    /// Whether there is a finding of this kind.
    pub fn has(&self, finding: Finding) -> bool {
        self.findings.iter().any(|(kind, _)| *kind == finding)
    }

    /// A write arrives. `token` is a plant that refuses older epochs.
    pub fn write(&mut self, epoch: Epoch, token: bool, now: u64) {
        if epoch < self.newest {
            if !token {
                let newest = self.newest;
                let at = instant(now);
                self.note(Finding::StaleWrite, format!("{at}: write of {epoch} after one of {newest}"));
            }
            return;
        }
        self.newest = epoch;
        self.writes += 1;
    }

    /// A process becomes active.
    pub fn activated(&mut self, epoch: Epoch, node: NodeRank, incarnation: Incarnation, now: u64) {
        let owner = *self.owners.entry(epoch).or_insert((node, incarnation));
        if owner != (node, incarnation) || epoch.rank() != node {
            let at = instant(now);
            self.note(Finding::EpochReused, format!("{at}: epoch {epoch} of {owner:?} by node {node}"));
        }
    }
}

/// A true time, for messages.
pub(crate) fn instant(now: u64) -> String {
    format!("{:.3} ms", Duration::from_nanos(now).as_secs_f64() * 1000.0)
}

/// Findings of one kind that are kept; more say nothing new.
const FINDINGS_MAX: usize = 8;
