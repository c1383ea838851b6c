//! What was joined after splits, as interfaces show it.

use serde::{Deserialize, Serialize};
use twinhub_model::Timestamp;
use twinhub_replica::{Counts, Report};
use utoipa::ToSchema;

/// How far the joining of what a node wrote alone is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeProgress {
    /// The node that wrote alone.
    pub node: String,
    /// The last record that its journal has in common with that of the active node, `epoch:seq`.
    pub after: String,
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that the active node still has to look at; only it knows.
    pub remaining_bytes: u64,
    /// Bytes per second so far; only the active node knows.
    pub bytes_per_second: u64,
}

/// What became of what a node wrote alone during a split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeView {
    /// Its name, the same on every node.
    pub id: String,
    /// The group.
    pub group: String,
    /// The node that wrote alone.
    pub node: String,
    /// The last record that its journal had in common with that of the active node, `epoch:seq`.
    pub after: String,
    /// `running` or `complete`.
    pub state: String,
    /// The node that takes its records in.
    pub active: String,
    /// Where the journal of that node stood: what it has up to there is kept as it is.
    pub kept_through: String,
    /// The last record that was looked at.
    pub through: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// When it was complete.
    pub ended: Option<String>,
    /// Files in which the node keeps what it set aside.
    pub files: Vec<String>,
    /// Bytes of these files.
    pub bytes: u64,
    /// How much of what.
    pub counts: MergeCountsView,
    /// What an operator should read: each document, and each command without a known result.
    pub lines: Vec<String>,
    /// Lines that are not kept.
    pub more_lines: u64,
}

/// How much of what was joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeCountsView {
    /// Values that joined the history.
    pub values: u64,
    /// Values that both sides heard: one telegram, which is kept once.
    #[serde(default)]
    pub twins: u64,
    /// Events.
    pub events: u64,
    /// Changes of roles.
    pub roles: u64,
    /// Commands.
    pub commands: u64,
    /// Of these, those that were carried out.
    pub commands_done: u64,
    /// Of these, those whose result is not known: they are not repeated.
    pub commands_in_doubt: u64,
    /// Records about alarms.
    pub alarms: u64,
    /// Alarms that both sides had raised for one condition.
    pub alarms_joined: u64,
    /// Documents that joined: sessions, removals, revocations.
    pub documents: u64,
    /// Documents that are kept as conflicts and are not in force.
    pub conflicts: u64,
    /// Entries of the audit list.
    pub audit: u64,
    /// Records that were there already.
    pub known: u64,
    /// Records that say nothing to other nodes; they stay in the files.
    pub left: u64,
    /// Values and commands of items that are not configured on the active node; they stay in the files.
    pub unknown: u64,
    /// Damaged places in the files.
    pub damaged: u64,
    /// Places where the files lack records.
    pub gaps: u64,
}

impl MergeView {
    pub(crate) fn of(report: &Report, group: &str) -> MergeView {
        let Report {
            id,
            files,
            bytes,
            active,
            kept,
            began,
            ended,
            through,
            counts,
            lines,
            more_lines,
            unanswered: _,
            has_parts: _,
            ended_at: _,
        } = report;
        MergeView {
            id: format!("{group}-{}-{}-{}", id.node, id.common.epoch, id.common.seq),
            group: group.to_owned(),
            node: id.node.clone(),
            after: id.common.to_string(),
            state: if ended.is_some() { "complete" } else { "running" }.to_owned(),
            active: active.clone(),
            kept_through: kept.to_string(),
            through: through.to_string(),
            began: Timestamp(*began).to_string(),
            ended: ended.map(|ended| Timestamp(ended).to_string()),
            files: files.clone(),
            bytes: *bytes,
            counts: MergeCountsView::of(counts),
            lines: lines.clone(),
            more_lines: *more_lines,
        }
    }
}

impl MergeCountsView {
    fn of(counts: &Counts) -> MergeCountsView {
        MergeCountsView {
            values: counts.values,
            twins: counts.twins,
            events: counts.events,
            roles: counts.roles,
            commands: counts.commands,
            commands_done: counts.done,
            commands_in_doubt: counts.in_doubt,
            alarms: counts.alarms,
            alarms_joined: counts.alarms_joined,
            documents: counts.documents,
            conflicts: counts.conflicts,
            audit: counts.audit,
            known: counts.known,
            left: counts.left,
            unknown: counts.unknown,
            damaged: counts.damaged,
            gaps: counts.gaps,
        }
    }

    /// Each number with its name, in the order of the list.
    pub fn named(&self) -> [(&'static str, u64); 17] {
        [
            ("values", self.values),
            ("values that both sides heard, kept once", self.twins),
            ("events", self.events),
            ("role changes", self.roles),
            ("commands", self.commands),
            ("commands carried out", self.commands_done),
            ("commands without a known result", self.commands_in_doubt),
            ("records of alarms", self.alarms),
            ("alarms raised on both sides", self.alarms_joined),
            ("documents", self.documents),
            ("conflicts to look at", self.conflicts),
            ("audit entries", self.audit),
            ("records that were here already", self.known),
            ("records that stay in the files", self.left),
            ("values of items that are not configured", self.unknown),
            ("damaged places", self.damaged),
            ("places where records are missing", self.gaps),
        ]
    }
}
