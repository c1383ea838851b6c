//! One event with its name.

use std::fmt;
use std::sync::Arc;

use twinhub_model::{Event, NodeRank, Timestamp};

/// A text of an event is kept up to this many bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// What it is about and its code, likewise.
const NAME_BYTES_MAX: usize = 500;

/// An event's name, the same on every node. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// When, on the hybrid clock of the node.
    pub stamp: Timestamp,
    /// Where it happened.
    pub node: NodeRank,
    /// In which group.
    pub group: Arc<str>,
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub id: EventId,
    /// What happened.
    pub event: Event,
    /// The occurrence of an alarm that it tells of; empty if of none.
    pub alarm: Arc<str>,
}

impl EventId {
    /// From its text form, `group.node.stamp`.
    pub fn parse(text: &str) -> Option<EventId> {
        let (rest, stamp) = text.rsplit_once('.')?;
        let (group, node) = rest.rsplit_once('.')?;
        let id = EventId {
            stamp: Timestamp(stamp.parse().ok()?),
            node: NodeRank(node.parse().ok()?),
            group: group.into(),
        };
        (!group.is_empty() && group.len() <= NAME_BYTES_MAX).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.group, self.node, self.stamp.0)
    }
}

impl Entry {
    /// With texts that are not longer than is kept.
    pub(crate) fn new(id: EventId, event: Event, alarm: Arc<str>) -> Entry {
        let Event { severity, source, code, text, at } = event;
        let (source, code) = (cut(source, NAME_BYTES_MAX), cut(code, NAME_BYTES_MAX));
        let event = Event { severity, source, code, text: cut(text, TEXT_BYTES_MAX), at };
        Entry { id, event, alarm: cut(alarm, NAME_BYTES_MAX * 2) }
    }

    /// What it tells of, if that is to be told once.
    pub(crate) fn subject(&self) -> Option<(Arc<str>, Arc<str>)> {
        (!self.alarm.is_empty()).then(|| (Arc::clone(&self.event.code), Arc::clone(&self.alarm)))
    }
}

fn cut(text: Arc<str>, bytes_max: usize) -> Arc<str> {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use twinhub_model::Severity;

    use super::*;

    #[test]
    fn an_event_is_found_again_by_its_text() {
        for group in ["site", "north.1"] {
            let id = EventId { stamp: Timestamp(-5), node: NodeRank(2), group: group.into() };
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "site", "site.1", ".1.5", "site.300.5", "site.1.x"] {
            assert_eq!(EventId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let id = EventId { stamp: Timestamp(1), node: NodeRank(0), group: "site".into() };
        let text = "ß".repeat(TEXT_BYTES_MAX);
        let event = Event {
            severity: Severity::Info,
            source: text.as_str().into(),
            code: "TH-A-001".into(),
            text: text.as_str().into(),
            at: Timestamp(1),
        };
        let kept = Entry::new(id, event, "".into()).event;
        assert!(kept.text.len() <= TEXT_BYTES_MAX && kept.text.ends_with("ß…"));
        assert!(kept.source.len() <= NAME_BYTES_MAX);
    }
}
