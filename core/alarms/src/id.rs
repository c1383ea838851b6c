//! The name of one time that an alarm was raised.

use std::fmt;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use twinhub_model::Timestamp;

use crate::field::{text, time};

/// An occurrence's name: the rule, and when the item came to be as it must not be. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct OccurrenceId {
    /// The time of the sample that began it.
    #[cbor(n(0), with = "time")]
    pub onset: Timestamp,
    /// The rule.
    #[cbor(n(1), with = "text")]
    pub rule: Arc<str>,
}

impl OccurrenceId {
    /// From its text form, `rule@nanoseconds`.
    pub fn parse(text: &str) -> Option<OccurrenceId> {
        let (rule, onset) = text.rsplit_once('@')?;
        let onset = onset.parse().ok().map(Timestamp)?;
        (!rule.is_empty()).then(|| OccurrenceId { onset, rule: rule.into() })
    }
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.rule, self.onset.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occurrence_is_found_again_by_its_text() {
        let id = OccurrenceId { onset: Timestamp(1_763_744_635_123_456_789), rule: "plc1/a@b:high".into() };
        assert_eq!(OccurrenceId::parse(&id.to_string()), Some(id));
        for text in ["", "@", "a@", "@5", "a@5x", "boiler"] {
            assert_eq!(OccurrenceId::parse(text), None, "{text:?}");
        }
    }
}
