//! The form of alarms and of what is kept of alarms and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scalar, Span};

/// What must not be of an item. Simple limits can stand in the items file as well.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// Its id: what is acknowledged and shelved under this name, on every node and over restarts.
    pub id: String,
    /// The item, `interface/path`.
    pub item: String,
    /// What must not be.
    pub when: AlarmWhen,
    /// What the value is compared with: a number for limits, anything for `equals` and `not_equals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Scalar>,
    /// By how much a value has to come back behind its limit. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub deadband: Option<f64>,
    /// How long an item may be silent or the same: `stale` and `unchanged` need it.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How long it must be so before the alarm is raised. Default `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_on: Option<Span>,
    /// How long it must be over before the alarm is cleared. Default `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_off: Option<Span>,
    /// 1 to 1000, the most urgent; as in OPC UA. Default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub priority: Option<u16>,
    /// What an operator reads; `{value}`, `{limit}` and `{item}` are filled in. Default: item, kind, value, limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub text: Option<String>,
    /// Part of the plant, to filter by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub area: Option<String>,
    /// Stays active until somebody acknowledges it. Default `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latching: Option<bool>,
    /// Whether somebody has to acknowledge it. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<bool>,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AlarmWhen {
    /// Greater than `value`, by far.
    HighHigh,
    /// Greater than `value`.
    High,
    /// Less than `value`.
    Low,
    /// Less than `value`, by far.
    LowLow,
    /// Equal to `value`.
    Equals,
    /// Anything but `value`.
    NotEquals,
    /// The quality is bad.
    BadQuality,
    /// Nothing is received.
    Stale,
    /// The value does not change.
    Unchanged,
}

/// What is kept of alarms.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Alarms {
    /// Occurrences that are kept, of each group; the oldest that are over are forgotten. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 100_000))]
    pub keep: Option<u32>,
}

/// What is kept of events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// Events that are kept; the oldest are forgotten. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1000, max = 100_000))]
    pub keep: Option<u32>,
    /// How long they are kept at most. Default: as long as there are not too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Span>,
}
