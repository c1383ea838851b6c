//! Events for readers.

use twinhub_alarms::OccurrenceId;
use twinhub_events::{Cursor, EventId, Filter, Following, Row};
use twinhub_model::Severity;

use super::Handle;
use crate::event_log;
use crate::view::EventView;

/// What comes next for a reader who follows.
#[derive(Debug, Clone)]
pub struct EventsNext {
    /// The events, in the order in which they came.
    pub rows: Vec<EventView>,
    /// What the reader had before them.
    pub base: Cursor,
    /// The number from which to go on here.
    pub after: u64,
    /// The cursor from which to go on anywhere.
    pub cursor: Cursor,
    /// Events that the reader did not have are gone: it asked too late.
    pub missed: bool,
}

/// The newest events.
#[derive(Debug, Clone)]
pub struct EventsNewest {
    /// The events, the newest first.
    pub rows: Vec<EventView>,
    /// Behind which to go on; `None` at the end.
    pub next: Option<EventId>,
}

impl Handle {
    /// Events that a reader has not got yet.
    pub fn events(&self, from: &Following, filter: &Filter) -> EventsNext {
        let next = self.0.shared.events.following(from, filter);
        let rows = next.rows.into_iter().map(|row| self.event_view(row)).collect();
        EventsNext { rows, base: next.base, after: next.after, cursor: next.cursor, missed: next.missed }
    }

    /// The newest events, page by page.
    pub fn newest_events(&self, before: Option<&EventId>, limit: usize, filter: &Filter) -> EventsNewest {
        let newest = self.0.shared.events.newest(before, limit, filter);
        let rows = newest.rows.into_iter().map(|row| self.event_view(row)).collect();
        EventsNewest { rows, next: newest.next }
    }

    /// The severity with this word: `info`, `warning` or `error`.
    pub fn severity(word: &str) -> Option<Severity> {
        event_log::severity(word)
    }

    fn event_view(&self, row: Row) -> EventView {
        let (id, event, alarm) = (row.entry.id, row.entry.event, row.entry.alarm);
        EventView {
            id: row.number,
            at: event.at.to_string(),
            severity: event.severity.word().to_owned(),
            source: event.source.to_string(),
            code: event.code.to_string(),
            text: event.text.to_string(),
            node: self.0.shared.name_of(id.node),
            group: id.group.to_string(),
            key: id.to_string(),
            // A setting of a rule has a name, too, which nobody looks for.
            alarm: OccurrenceId::parse(&alarm).map(|id| id.to_string()),
        }
    }
}
