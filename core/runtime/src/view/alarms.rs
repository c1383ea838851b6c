//! Alarms as interfaces show them.

use serde::{Deserialize, Serialize};
use twinhub_alarms::Row;
use utoipa::ToSchema;

/// How many alarms stand how. What is shelved or suppressed counts only as that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmCounts {
    /// Raised, acknowledged or not.
    pub active: u64,
    /// Raised or returned, and nobody acknowledged.
    pub unacknowledged: u64,
    /// Rules on the shelf.
    pub shelved: u64,
    /// Rules that are suppressed.
    pub suppressed: u64,
}

/// An occurrence of an alarm, or a rule out of sight that is not raised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmView {
    /// The occurrence, the same on every node: what is acknowledged. Empty for a rule that is not raised.
    pub id: String,
    /// The alarm's id from the configuration: what is shelved and suppressed.
    pub alarm: String,
    /// The group.
    pub group: String,
    /// The item.
    pub item: String,
    /// `high`, `bad_quality` and so on.
    pub kind: String,
    /// What the value was compared with.
    pub limit: String,
    /// The value that raised it.
    pub value: String,
    /// What it says.
    pub text: String,
    /// Part of the plant.
    pub area: String,
    /// 1 to 1000, the most urgent.
    pub priority: u16,
    /// `unacknowledged`, `acknowledged`, `returned` (over, not acknowledged) or `normal`.
    pub state: String,
    /// Whether it is raised.
    pub active: bool,
    /// Whether nobody has to acknowledge it any more.
    pub acknowledged: bool,
    /// Whether it stays active until it is acknowledged.
    pub latching: bool,
    /// Since when the item was as it must not be, RFC 3339.
    pub onset: Option<String>,
    /// When its delay was over.
    pub raised_at: Option<String>,
    /// When it ended.
    pub cleared_at: Option<String>,
    /// The value that ended it.
    pub cleared_value: Option<String>,
    /// Why it ended, if not because the value returned.
    pub cleared_cause: Option<String>,
    /// When it was acknowledged.
    pub acknowledged_at: Option<String>,
    /// By whom.
    pub acknowledged_by: Option<String>,
    /// What they wrote.
    pub comment: Option<String>,
    /// Until when its rule is on the shelf.
    pub shelved_until: Option<String>,
    /// Who put it there.
    pub shelved_by: Option<String>,
    /// Who suppressed its rule.
    pub suppressed_by: Option<String>,
    /// Why its rule is out of sight.
    pub hidden_comment: Option<String>,
    /// The occurrence that stands for this one: both sides of a split raised the same.
    pub joined: Option<String>,
    /// The epoch in which it was raised.
    pub epoch: Option<String>,
}

/// A part of the list of alarms, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmsPage {
    /// The rows.
    pub rows: Vec<AlarmView>,
    /// Pass this as `cursor` to read on, on this or another node; absent at the end.
    pub next: Option<String>,
}

/// What became of an order about alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmAnswer {
    /// Occurrences that it acknowledged.
    pub acknowledged: Vec<String>,
    /// Whether it changed anything; an order that is repeated does not.
    pub changed: bool,
}

impl AlarmCounts {
    /// Each with its word.
    pub const fn by_state(&self) -> [(&'static str, u64); 4] {
        [
            ("active", self.active),
            ("unacknowledged", self.unacknowledged),
            ("shelved", self.shelved),
            ("suppressed", self.suppressed),
        ]
    }
}

impl AlarmView {
    pub(crate) fn of(row: Row, group: &str) -> AlarmView {
        let Row { rule, id, raise, occurrence, shelf, suppression } = row;
        let is_raised = id.is_some();
        let cause = occurrence.clear.as_ref().map(|clear| clear.cause.to_string());
        let hidden = shelf.as_ref().map(|shelf| &shelf.comment);
        let hidden = hidden.or(suppression.as_ref().map(|suppression| &suppression.comment));
        AlarmView {
            alarm: rule.to_string(),
            group: group.to_owned(),
            item: raise.item.to_string(),
            kind: raise.kind.to_string(),
            limit: raise.limit.to_string(),
            value: raise.value.to_string(),
            text: raise.text.to_string(),
            area: raise.area.to_string(),
            priority: raise.priority,
            state: occurrence.state().word().to_owned(),
            active: occurrence.is_active(),
            acknowledged: !occurrence.needs_ack(),
            latching: raise.latching,
            onset: id.as_ref().map(|id| id.onset.to_string()),
            raised_at: is_raised.then(|| raise.at.to_string()),
            cleared_at: occurrence.clear.as_ref().map(|clear| clear.at.to_string()),
            cleared_value: occurrence.clear.as_ref().map(|clear| clear.value.to_string()),
            cleared_cause: cause.filter(|cause| !cause.is_empty()),
            acknowledged_at: occurrence.acknowledgment.as_ref().map(|known| known.at.to_string()),
            acknowledged_by: occurrence.acknowledgment.as_ref().map(|known| known.by.to_string()),
            comment: occurrence.acknowledgment.as_ref().map(|known| known.comment.to_string()),
            shelved_until: shelf.as_ref().map(|shelf| shelf.until.to_string()),
            shelved_by: shelf.as_ref().map(|shelf| shelf.by.to_string()),
            suppressed_by: suppression.as_ref().map(|suppression| suppression.by.to_string()),
            hidden_comment: hidden.map(ToString::to_string),
            joined: occurrence.joined.as_ref().map(ToString::to_string),
            epoch: is_raised.then(|| raise.epoch.to_string()),
            id: id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}
