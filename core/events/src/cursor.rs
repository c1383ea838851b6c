//! How far a reader is, in words that every node understands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use twinhub_model::{NodeRank, Timestamp};

use crate::EventId;

/// Nodes and groups that a cursor names at most.
const LANES_MAX: usize = 1024;
/// Bytes of a cursor's text at most.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Of each node in each group: up to which stamp a reader has everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    lanes: BTreeMap<(Arc<str>, NodeRank), Timestamp>,
}

impl Cursor {
    /// From its text form, `group.node.stamp` for each, with `~` between. An empty text has nothing.
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut cursor = Cursor::default();
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        for lane in text.split('~').filter(|_| !text.is_empty()) {
            cursor.take(&EventId::parse(lane)?);
        }
        Some(cursor)
    }

    /// Whether it is that of a reader who has nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether a reader has this event.
    pub fn has(&self, id: &EventId) -> bool {
        let lane = (Arc::clone(&id.group), id.node);
        self.lanes.get(&lane).is_some_and(|stamp| *stamp >= id.stamp)
    }

    /// Whether this one is further than `from` with a node that both name.
    pub(crate) fn is_beyond(&self, from: &Cursor) -> bool {
        self.lanes.iter().any(|(lane, stamp)| from.lanes.get(lane).is_some_and(|known| known < stamp))
    }

    /// Goes on to where `to` is, with each node that both name.
    pub(crate) fn advance(&mut self, to: &Cursor) {
        for (lane, stamp) in &mut self.lanes {
            *stamp = to.lanes.get(lane).copied().unwrap_or(*stamp).max(*stamp);
        }
    }

    /// The reader gets this event.
    pub fn take(&mut self, id: &EventId) {
        if let Some(stamp) = self.lanes.get_mut(&(Arc::clone(&id.group), id.node)) {
            *stamp = id.stamp.max(*stamp);
        } else if self.lanes.len() < LANES_MAX {
            self.lanes.insert((Arc::clone(&id.group), id.node), id.stamp);
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, ((group, node), stamp)) in self.lanes.iter().enumerate() {
            let between = if number == 0 { "" } else { "~" };
            write!(f, "{between}{group}.{node}.{}", stamp.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text_and_has_what_it_took() {
        let mut cursor = Cursor::default();
        assert_eq!(Cursor::parse(""), Some(cursor.clone()));
        for text in ["site.0.7", "site.1.9", "energy.0.3", "site.0.5"] {
            cursor.take(&EventId::parse(text).unwrap());
        }
        assert_eq!(cursor.to_string(), "energy.0.3~site.0.7~site.1.9");
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor.clone()));
        for (text, has) in [("site.0.6", true), ("site.0.8", false), ("site.2.1", false)] {
            assert_eq!(cursor.has(&EventId::parse(text).unwrap()), has, "{text}");
        }
        for text in ["~", "site.0", "site.0.1~", &"site.0.1~".repeat(5000)] {
            assert_eq!(Cursor::parse(text), None, "{:?}", &text[..text.len().min(20)]);
        }
    }
}
