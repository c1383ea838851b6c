//! What readers get.

use twinhub_model::{NodeRank, Severity, Timestamp};

use crate::book::Book;
use crate::cursor::Cursor;
use crate::entry::{Entry, EventId};

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this bad or worse.
    pub severity: Option<Severity>,
    /// Only with a code that begins so.
    pub code: String,
    /// Only about this, or about items of this interface.
    pub about: String,
    /// Only of this node.
    pub node: Option<NodeRank>,
    /// Only of this group.
    pub group: String,
    /// Only with this in source, code or text, in letters of any case.
    pub text: String,
    /// Only then or later.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
}

/// From where on a reader wants what comes, in the order in which it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Following {
    /// Only with a greater number.
    pub after: u64,
    /// Only what this does not have.
    pub cursor: Cursor,
    /// So many at most.
    pub limit: usize,
}

/// One event of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number on this node.
    pub number: u64,
    /// The event.
    pub entry: Entry,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// The events, in the order in which they came.
    pub rows: Vec<Row>,
    /// What the reader had before them.
    pub base: Cursor,
    /// The number from which to go on here.
    pub after: u64,
    /// The cursor from which to go on anywhere.
    pub cursor: Cursor,
    /// Events that the reader did not have are gone: it asked too late. Said until all others were given. What was gone
    /// before the first question is not missed, and a node remembers what it forgot as long as its process runs.
    pub missed: bool,
}

/// The newest, page by page.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    /// The events, by their stamps, the newest first.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<EventId>,
}

impl Filter {
    fn fits(&self, entry: &Entry, needle: &str) -> bool {
        let (id, event) = (&entry.id, &entry.event);
        let has = |text: &str| text.to_lowercase().contains(needle);
        let is_about = || {
            let rest = event.source.strip_prefix(self.about.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.severity.is_none_or(|least| event.severity >= least)
            && event.code.starts_with(&self.code)
            && (self.about.is_empty() || is_about())
            && self.node.is_none_or(|node| node == id.node)
            && (self.group.is_empty() || *id.group == *self.group)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && (needle.is_empty() || has(&event.source) || has(&event.code) || has(&event.text))
    }
}

impl Book {
    /// What a reader has not got yet.
    pub fn following(&self, from: &Following, filter: &Filter) -> Next {
        let needle = filter.text.to_lowercase();
        let mut base = from.cursor.clone();
        let missed = self.gone.is_beyond(&from.cursor);
        if from.after >= self.last_number() {
            let mut cursor = base.clone();
            cursor.advance(&self.gone);
            return Next { rows: Vec::new(), after: from.after, cursor, base, missed };
        }
        if from.after > 0 {
            self.arrivals.range(..=from.after).for_each(|(_, id)| base.take(id));
        }
        let is_late = from.cursor.is_empty() && (1..self.gone_number).contains(&from.after);
        let missed = missed || is_late;
        let mut next = Next { rows: Vec::new(), after: from.after, cursor: base.clone(), base, missed };
        for (number, id) in self.arrivals.range(from.after.saturating_add(1)..) {
            if next.rows.len() >= from.limit {
                return next;
            }
            next.after = *number;
            if from.cursor.has(id) {
                continue;
            }
            next.cursor.take(id);
            if let Some((entry, _)) = self.events.get(id)
                && filter.fits(entry, &needle)
            {
                next.rows.push(Row { number: *number, entry: entry.clone() });
            }
        }
        // Nothing is left of what came before: what was missed was told.
        next.after = next.after.max(self.gone_number);
        next.cursor.advance(&self.gone);
        next
    }

    /// The newest that fit, before the event of this name.
    pub fn newest(&self, before: Option<&EventId>, limit: usize, filter: &Filter) -> Newest {
        let needle = filter.text.to_lowercase();
        let all = self.events.iter().rev().skip_while(|(id, _)| before.is_some_and(|before| *id >= before));
        let mut fitting = all.filter(|(_, (entry, _))| filter.fits(entry, &needle));
        let rows: Vec<Row> = fitting
            .by_ref()
            .take(limit)
            .map(|(_, (entry, number))| Row { number: *number, entry: entry.clone() })
            .collect();
        let has_more = fitting.next().is_some();
        let next = rows.last().filter(|_| has_more).map(|row| row.entry.id.clone());
        Newest { rows, next }
    }
}

#[cfg(test)]
mod tests {
    use twinhub_model::Event;

    use super::*;

    fn book() -> Book {
        let mut book = Book::new(NodeRank(0), 100, None);
        for (number, (severity, source, code)) in [
            (Severity::Info, "plc1", "TH-A-001"),
            (Severity::Error, "plc1/boiler", "TH-B-001"),
            (Severity::Warning, "plc10", "TH-A-002"),
            (Severity::Info, "site", "TH-A-001"),
        ]
        .into_iter()
        .enumerate()
        {
            let at = Timestamp(i64::try_from(number).unwrap() + 1);
            let text = format!("Text {number}").into();
            let event = Event { severity, source: source.into(), code: code.into(), text, at };
            book.note("site", event, "".into(), at).unwrap();
        }
        book
    }

    fn found(filter: &Filter) -> Vec<u64> {
        let from = Following { limit: 100, ..Following::default() };
        book().following(&from, filter).rows.iter().map(|row| row.number).collect()
    }

    #[test]
    fn events_are_found_by_what_they_say() {
        let all = Filter::default;
        assert_eq!(found(&Filter { severity: Some(Severity::Warning), ..all() }), [2, 3]);
        assert_eq!(found(&Filter { code: "TH-A".into(), ..all() }), [1, 3, 4]);
        assert_eq!(found(&Filter { about: "plc1".into(), ..all() }), [1, 2], "and not plc10");
        assert_eq!(found(&Filter { text: "TEXT 2".into(), ..all() }), [3]);
        assert_eq!(found(&Filter { since: Some(Timestamp(2)), until: Some(Timestamp(4)), ..all() }), [2, 3]);
        assert_eq!(found(&Filter { node: Some(NodeRank(1)), ..all() }), [0; 0]);
        assert_eq!(found(&Filter { group: "energy".into(), ..all() }), [0; 0]);
        assert_eq!(found(&Filter { group: "site".into(), ..all() }).len(), 4);
    }

    #[test]
    fn pages_of_the_newest_follow_each_other() {
        let book = book();
        let first = book.newest(None, 3, &Filter::default());
        assert_eq!(first.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [4, 3, 2]);
        let second = book.newest(first.next.as_ref(), 3, &Filter::default());
        assert_eq!(second.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1]);
        assert_eq!(second.next, None);
    }

    #[test]
    fn who_follows_only_some_goes_on_behind_the_others_too() {
        let book = book();
        let filter = Filter { severity: Some(Severity::Error), ..Filter::default() };
        let next = book.following(&Following { limit: 10, ..Following::default() }, &filter);
        assert_eq!((next.rows.len(), next.after, next.cursor.to_string()), (1, 4, "site.0.4".to_owned()));
        let by_number =
            book.following(&Following { after: 2, limit: 1, ..Following::default() }, &Filter::default());
        assert_eq!((by_number.rows[0].number, by_number.cursor.to_string()), (3, "site.0.3".to_owned()));
        let none = book
            .following(&Following { after: u64::MAX, limit: 9, ..Following::default() }, &Filter::default());
        assert_eq!((none.rows.len(), none.after), (0, u64::MAX));
    }
}
