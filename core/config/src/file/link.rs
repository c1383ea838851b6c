//! The form of links.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// One item drives another.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// What drives: `interface/path`, or `interface/part/*` for all items under it.
    pub from: String,
    /// What is driven; with `*` if `from` has one.
    pub to: String,
    /// What is done to the value on its way.
    #[serde(default)]
    pub convert: Convert,
    /// Two-way. Default `false`.
    #[serde(default)]
    pub both: bool,
    /// Whether every value counts, or the newest. Default: as the driven plugin declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What a repetition would do. Default `set`.
    #[serde(default)]
    pub kind: Kind,
}

/// What a link's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Delivery {
    /// Commands, each with a result of its own; a newer one takes the place of an older one that waits.
    Command,
    /// A stream: every value, in order, with a cursor that both nodes know.
    Stream,
}

/// What a repetition of a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Kind {
    /// Nothing: a write sets a state.
    #[default]
    Set,
    /// It moves a state once more; never repeated.
    Step,
}

/// What is done to a value, in this order: `map`, `invert`, `scale`, `offset`, `clamp`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Convert {
    /// Factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Summand, after scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// Negates a bool, or swaps zero and one. Default `false`.
    #[serde(default)]
    pub invert: bool,
    /// Replaces values by their text form: `{ open = true, shut = false }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, Scalar>,
    /// Smallest and greatest result: `[0, 100]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 2))]
    pub clamp: Option<Vec<f64>>,
    /// Passes only what differs by more than this from what was passed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub deadband: Option<f64>,
    /// Passes at most one value in this time; the newest waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<Span>,
}

/// A text, a number or a bool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}
