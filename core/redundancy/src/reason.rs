//! Why a role changed, with the numbers.

use std::fmt;

use serde::Serialize;
use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};

use crate::members::Ground;
use crate::policy::Policy;
use crate::setup::VoterId;

/// Why something changed: one sentence with its numbers, for log, status, history and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the sentence of each variant stands in `Display`")]
pub enum Reason {
    Booted { incarnation: Incarnation },
    Loaded,
    FirstStart { waited_ms: u64, nodes_seen: usize, nodes: usize },
    ActiveFound { active: NodeRank, epoch: Epoch },
    ActiveLost { active: NodeRank, silent_ms: u64 },
    CaughtUp { lag_records: u64, limit_records: u64 },
    FellBehind { lag_records: u64, limit_records: u64, config_matches: bool },
    PeerSilent { peer: NodeRank, silent_ms: u64, limit_ms: u64 },
    Resigned { node: NodeRank, epoch: Epoch, incarnation: Incarnation },
    Elected { epoch: Epoch, votes: usize, needed: usize, took_ms: u64 },
    VoteLost { epoch: Epoch, votes: usize, needed: usize, waited_ms: u64 },
    TransferReceived { from: NodeRank, epoch: Epoch, drained: bool },
    OperatorSwitchover { by: NodeRank, to: NodeRank },
    OperatorFailover { silent_ms: u64 },
    ForcedFailover { votes: usize, needed: usize },
    Failback { to: NodeRank, stable_ms: u64 },
    BetterScore { to: NodeRank, mine: u8, theirs: u8, why: String },
    StepFailed { step: String },
    GatesOpened { epoch: Epoch, took_ms: u64 },
    Drained { position: Position, took_ms: u64 },
    DrainTimeout { limit_ms: u64 },
    LeaseLost { epoch: Epoch, votes: usize, needed: usize, late_ms: u64 },
    HigherEpoch { mine: Epoch, seen: Epoch, from: VoterId },
    EvidenceLost { reference_ok: bool, field_ok_percent: u8, needed_percent: u8, age_ms: u64 },
    Unquorate { policy: Policy, silent_ms: u64, limit_ms: u64 },
    QuorumRegained { votes: usize, needed: usize },
    Rejoined { voters_seen: usize, needed: usize },
    Healed { node: NodeRank, silent_ms: u64 },
    Vacant { epoch: Epoch, since_ms: u64 },
    Diverged { position: Position, common: Position },
    Merged { position: Position, set_aside: u64 },
    MaintenanceOn { by_pin: bool },
    MaintenanceOff,
    Paused { version: u64 },
    Resumed { version: u64 },
    SelfCheckFailed { what: String },
    GatesNotClosed { limit_ms: u64 },
    FlapLimit { moves: u8, window_s: u64 },
    Shutdown,
    MembersLearned { revision: u64, voters: usize, configured: usize, from: VoterId },
    Shrunk { voter: VoterId, ground: Ground, revision: u64, voters: usize, configured: usize, took_ms: u64 },
    Grown { voter: VoterId, revision: u64, voters: usize, configured: usize, took_ms: u64 },
    MembersKept { voter: VoterId, why: String },
}

impl Reason {
    /// A short fixed name, for metric labels.
    pub const fn kind(&self) -> &'static str {
        match self {
            Reason::Booted { .. } => "booted",
            Reason::Loaded => "loaded",
            Reason::FirstStart { .. } => "first_start",
            Reason::ActiveFound { .. } => "active_found",
            Reason::ActiveLost { .. } => "active_lost",
            Reason::CaughtUp { .. } => "caught_up",
            Reason::FellBehind { .. } => "fell_behind",
            Reason::PeerSilent { .. } => "peer_silent",
            Reason::Resigned { .. } => "resigned",
            Reason::Elected { .. } => "elected",
            Reason::VoteLost { .. } => "vote_lost",
            Reason::TransferReceived { .. } => "transfer_received",
            Reason::OperatorSwitchover { .. } => "operator_switchover",
            Reason::OperatorFailover { .. } => "operator_failover",
            Reason::ForcedFailover { .. } => "forced_failover",
            Reason::Failback { .. } => "failback",
            Reason::BetterScore { .. } => "better_score",
            Reason::StepFailed { .. } => "step_failed",
            Reason::GatesOpened { .. } => "gates_opened",
            Reason::Drained { .. } => "drained",
            Reason::DrainTimeout { .. } => "drain_timeout",
            Reason::LeaseLost { .. } => "lease_lost",
            Reason::HigherEpoch { .. } => "higher_epoch",
            Reason::EvidenceLost { .. } => "evidence_lost",
            Reason::Unquorate { .. } => "unquorate",
            Reason::QuorumRegained { .. } => "quorum_regained",
            Reason::Rejoined { .. } => "rejoined",
            Reason::Healed { .. } => "healed",
            Reason::Vacant { .. } => "vacant",
            Reason::Diverged { .. } => "diverged",
            Reason::Merged { .. } => "merged",
            Reason::MaintenanceOn { .. } => "maintenance_on",
            Reason::MaintenanceOff => "maintenance_off",
            Reason::Paused { .. } => "paused",
            Reason::Resumed { .. } => "resumed",
            Reason::SelfCheckFailed { .. } => "self_check_failed",
            Reason::GatesNotClosed { .. } => "gates_not_closed",
            Reason::FlapLimit { .. } => "flap_limit",
            Reason::Shutdown => "shutdown",
            Reason::MembersLearned { .. } => "members_learned",
            Reason::Shrunk { .. } => "shrunk",
            Reason::Grown { .. } => "grown",
            Reason::MembersKept { .. } => "members_kept",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Booted { incarnation } => write!(f, "process started, incarnation {}", incarnation.0),
            Reason::Loaded => f.write_str("plugins loaded and journal recovered"),
            Reason::FirstStart { waited_ms, nodes_seen, nodes } => {
                write!(f, "no active node found in {waited_ms} ms, {nodes_seen} of {nodes} nodes seen")
            }
            Reason::ActiveFound { active, epoch } => write!(f, "node {active} is active in epoch {epoch}"),
            Reason::ActiveLost { active, silent_ms } => {
                write!(f, "active node {active} silent for {silent_ms} ms before the copy was complete")
            }
            Reason::CaughtUp { lag_records, limit_records } => {
                write!(f, "caught up: {lag_records} records behind, limit {limit_records}")
            }
            Reason::FellBehind { lag_records, limit_records, config_matches: true } => {
                write!(f, "fell behind: {lag_records} records, limit {limit_records}")
            }
            Reason::FellBehind { lag_records, config_matches: false, .. } => {
                write!(f, "configuration differs from the active node's, {lag_records} records behind")
            }
            Reason::PeerSilent { peer, silent_ms, limit_ms } => {
                write!(f, "node {peer} silent for {silent_ms} ms, limit {limit_ms} ms")
            }
            Reason::Resigned { node, epoch, incarnation } => {
                write!(f, "process {} of node {node} is dead, it held epoch {epoch}", incarnation.0)
            }
            Reason::Elected { epoch, votes, needed, took_ms } => {
                write!(f, "won epoch {epoch} with {votes} votes, {needed} needed, in {took_ms} ms")
            }
            Reason::VoteLost { epoch, votes, needed, waited_ms } => {
                write!(f, "lost epoch {epoch}: {votes} votes of {needed} needed in {waited_ms} ms")
            }
            Reason::TransferReceived { from, epoch, drained: true } => {
                write!(f, "node {from} handed over epoch {epoch}, nothing in flight")
            }
            Reason::TransferReceived { from, epoch, drained: false } => {
                write!(f, "node {from} handed over epoch {epoch}, outputs may be in flight")
            }
            Reason::OperatorSwitchover { by, to } => {
                write!(f, "operator ordered a switchover to node {to} on node {by}")
            }
            Reason::OperatorFailover { silent_ms } => {
                write!(f, "operator ordered a failover, last active node silent for {silent_ms} ms")
            }
            Reason::ForcedFailover { votes, needed } => {
                write!(f, "operator forced a failover with {votes} votes of {needed} needed")
            }
            Reason::Failback { to, stable_ms } => {
                write!(f, "preferred node {to} has been a caught-up standby for {stable_ms} ms")
            }
            Reason::BetterScore { to, mine, theirs, why } => {
                write!(f, "node {to} is in better health: {theirs} against {mine}")?;
                if why.is_empty() { Ok(()) } else { write!(f, ", {why}") }
            }
            Reason::StepFailed { step } => write!(f, "activation step failed: {step}"),
            Reason::GatesOpened { epoch, took_ms } => {
                write!(f, "all required outputs open in epoch {epoch} after {took_ms} ms")
            }
            Reason::Drained { position, took_ms } => {
                write!(f, "outputs drained at {position} in {took_ms} ms")
            }
            Reason::DrainTimeout { limit_ms } => {
                write!(f, "outputs not drained in {limit_ms} ms, the rest is in doubt")
            }
            Reason::LeaseLost { epoch, votes, needed, late_ms } => write!(
                f,
                "lease of epoch {epoch} ended {late_ms} ms ago: {votes} votes of {needed} needed in the last round"
            ),
            Reason::HigherEpoch { mine, seen, from } => {
                write!(f, "{from} knows epoch {seen}, higher than {mine}")
            }
            Reason::EvidenceLost { reference_ok, field_ok_percent, needed_percent, age_ms } => write!(
                f,
                "alone without evidence: reference hosts {}, {field_ok_percent} % of field probes, \
                 {needed_percent} % needed, seen {age_ms} ms ago",
                if *reference_ok { "answer" } else { "silent" }
            ),
            Reason::Unquorate { policy, silent_ms, limit_ms } => write!(
                f,
                "other node silent for {silent_ms} ms, limit {limit_ms} ms: acts without majority by policy {policy}"
            ),
            Reason::QuorumRegained { votes, needed } => {
                write!(f, "majority is back: {votes} votes, {needed} needed")
            }
            Reason::Healed { node, silent_ms } => {
                write!(f, "node {node} is heard again after {silent_ms} ms, it may have told others who acts")
            }
            Reason::Rejoined { voters_seen, needed } => {
                write!(f, "{voters_seen} voters seen again, {needed} needed")
            }
            Reason::Vacant { epoch, since_ms } => {
                write!(f, "node {} gave up epoch {epoch} {since_ms} ms ago and nobody followed", epoch.rank())
            }
            Reason::Diverged { position, common } => {
                write!(f, "own journal forked after {common}, its end is {position}")
            }
            Reason::Merged { position, set_aside } => {
                write!(f, "journals agree at {position}, {set_aside} records of this node alone set aside")
            }
            Reason::MaintenanceOn { by_pin: false } => f.write_str("operator ordered maintenance"),
            Reason::MaintenanceOn { by_pin: true } => f.write_str("in maintenance since before the restart"),
            Reason::MaintenanceOff => f.write_str("operator ended maintenance"),
            Reason::Paused { version } => write!(f, "operator paused automatic moves, order {version}"),
            Reason::Resumed { version } => write!(f, "operator resumed automatic moves, order {version}"),
            Reason::SelfCheckFailed { what } => write!(f, "self-check failed: {what}"),
            Reason::GatesNotClosed { limit_ms } => {
                write!(f, "outputs not confirmed closed within {limit_ms} ms")
            }
            Reason::FlapLimit { moves, window_s } => {
                write!(
                    f,
                    "{moves} moves within {window_s} s that no operator ordered: nothing moves back or for \
                     better health until an operator resumes"
                )
            }
            Reason::Shutdown => f.write_str("process stops in order"),
            Reason::MembersLearned { revision, voters, configured, from } => {
                write!(f, "learned from {from}: {voters} of {configured} voters, revision {revision}")
            }
            Reason::Shrunk { voter, ground, revision, voters, configured, took_ms } => write!(
                f,
                "shrunk {voter}, {ground}: {voters} of {configured} voters, revision {revision}, in {took_ms} ms"
            ),
            Reason::Grown { voter, revision, voters, configured, took_ms } => {
                write!(
                    f,
                    "{voter} votes again: {voters} of {configured} voters, revision {revision}, in {took_ms} ms"
                )
            }
            Reason::MembersKept { voter, why } => write!(f, "the vote of {voter} stays as it was: {why}"),
        }
    }
}

/// Milliseconds from `earlier` to `later`.
pub(crate) fn millis(later: Moment, earlier: Moment) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
