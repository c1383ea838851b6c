//! What happened to alarms. A book is a fold of these.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Timestamp, Value};

use crate::field::{text, time, value};
use crate::id::OccurrenceId;

/// One thing that happened; the journal holds these.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An alarm was raised.
    Raised(OccurrenceId, Raise),
    /// It is over.
    Cleared(OccurrenceId, Clear),
    /// Somebody took note of it.
    Acknowledged(OccurrenceId, Acknowledgment),
    /// The second stands for the first, too.
    Joined(OccurrenceId, OccurrenceId),
    /// A rule was put on the shelf, or taken off it.
    Shelved {
        /// The rule.
        rule: Arc<str>,
        /// Which of two holds.
        stamp: Stamp,
        /// `None` takes it off.
        shelf: Option<Shelf>,
    },
    /// A rule was suppressed, or is no more.
    Suppressed {
        /// The rule.
        rule: Arc<str>,
        /// Which of two holds.
        stamp: Stamp,
        /// `None` ends it.
        suppression: Option<Suppression>,
    },
    /// From here on rules with this hash are evaluated: what was seen under others says nothing.
    Rules {
        /// Over all that evaluation depends on.
        hash: u64,
    },
    /// How an item stood when a copy was made of the book.
    Watched(Watched),
}

impl Change {
    /// Whether it is about the book, and not about how one node evaluates.
    pub const fn is_of_book(&self) -> bool {
        match self {
            Change::Raised(..)
            | Change::Cleared(..)
            | Change::Acknowledged(..)
            | Change::Joined(..)
            | Change::Shelved { .. }
            | Change::Suppressed { .. } => true,
            Change::Rules { .. } | Change::Watched(_) => false,
        }
    }
}

/// How an alarm was raised. Everything that an operator reads is kept, since rules change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Raise {
    /// When its delay was over.
    #[cbor(n(0), with = "time")]
    pub at: Timestamp,
    /// The item.
    #[cbor(n(1), with = "text")]
    pub item: Arc<str>,
    /// Kind of the rule, such as `high`.
    #[cbor(n(2), with = "text")]
    pub kind: Arc<str>,
    /// The limit, in words.
    #[cbor(n(3), with = "text")]
    pub limit: Arc<str>,
    /// The value, in words.
    #[cbor(n(4), with = "text")]
    pub value: Arc<str>,
    /// What an operator reads.
    #[cbor(n(5), with = "text")]
    pub text: Arc<str>,
    /// Part of the plant.
    #[cbor(n(6), with = "text")]
    pub area: Arc<str>,
    /// How urgent it is.
    #[n(7)]
    pub priority: u16,
    /// Whether somebody has to take note.
    #[n(8)]
    pub needs_ack: bool,
    /// Stays active until somebody takes note.
    #[n(9)]
    pub latching: bool,
    /// Who evaluated.
    #[n(10)]
    pub epoch: Epoch,
}

/// How an occurrence ended. Of two the earlier one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Clear {
    /// When.
    #[cbor(n(0), with = "time")]
    pub at: Timestamp,
    /// The value, in words.
    #[cbor(n(1), with = "text")]
    pub value: Arc<str>,
    /// Why, if not because the value returned.
    #[cbor(n(2), with = "text")]
    pub cause: Arc<str>,
}

/// Somebody took note. Of two the earlier one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Acknowledgment {
    /// When.
    #[cbor(n(0), with = "time")]
    pub at: Timestamp,
    /// Who.
    #[cbor(n(1), with = "text")]
    pub by: Arc<str>,
    /// What they wrote.
    #[cbor(n(2), with = "text")]
    pub comment: Arc<str>,
}

/// Which of two settings of one thing holds: the later; a hybrid clock, so that a later order has a later stamp
/// also if the wall clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(map)]
pub struct Stamp {
    /// The time, or a nanosecond after the stamp before.
    #[cbor(n(0), with = "time")]
    pub at: Timestamp,
    /// Who set it.
    #[n(1)]
    pub epoch: Epoch,
}

/// A rule out of sight for a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Shelf {
    /// Until when.
    #[cbor(n(0), with = "time")]
    pub until: Timestamp,
    /// Who put it there.
    #[cbor(n(1), with = "text")]
    pub by: Arc<str>,
    /// Why.
    #[cbor(n(2), with = "text")]
    pub comment: Arc<str>,
}

/// A rule out of sight until further notice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Suppression {
    /// Who ordered it.
    #[cbor(n(0), with = "text")]
    pub by: Arc<str>,
    /// Why.
    #[cbor(n(1), with = "text")]
    pub comment: Arc<str>,
}

/// How a watched item stands for one rule: what follows from the samples.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Watched {
    /// The rule.
    #[cbor(n(0), with = "text")]
    pub rule: Arc<str>,
    /// Whether the item is as it must not be; `None` if that is not known.
    #[n(1)]
    pub is_wrong: Option<bool>,
    /// Since when.
    #[cbor(n(2), with = "time")]
    pub since: Timestamp,
    /// When it was heard last, or changed last, whichever the rule is about.
    #[cbor(n(3), with = "time")]
    pub heard: Timestamp,
    /// What it was.
    #[cbor(n(4), with = "value")]
    pub value: Value,
    /// How far that is to be trusted: bits of an OPC UA status code.
    #[n(5)]
    pub quality: u32,
    /// Whether a node that acted has waited since then, so that its successor goes on.
    #[n(6)]
    pub is_kept: Option<bool>,
    /// By how many nanoseconds these times are later than when the rule was raised: the clock was set since.
    #[n(7)]
    pub shift: Option<i64>,
}
