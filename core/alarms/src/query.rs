//! Lists of alarms, page by page, the newest first.

use std::sync::Arc;

use twinhub_model::Timestamp;

use crate::alarms::Alarms;
use crate::change::{Raise, Shelf, Suppression};
use crate::id::OccurrenceId;
use crate::occurrence::Occurrence;

/// Rows of one page at most.
pub const PAGE_MAX: usize = 1000;

/// Which alarms are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// Active, or over and nobody took note; not what is out of sight.
    #[default]
    Open,
    /// Raised; not what is out of sight.
    Active,
    /// Nobody took note; not what is out of sight.
    Unacknowledged,
    /// Rules on the shelf, by name.
    Shelved,
    /// Rules that are suppressed, by name.
    Suppressed,
    /// Everything that is kept.
    All,
}

/// What is wanted of the alarms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Which.
    pub which: Which,
    /// Of this priority or a more urgent one.
    pub priority_min: u16,
    /// With this in name, item, text or area, in letters of any case.
    pub text: String,
    /// Of this part of the plant.
    pub area: String,
    /// Begun at this time or later.
    pub since: Option<Timestamp>,
    /// Begun before this time.
    pub until: Option<Timestamp>,
    /// Behind the row with this name.
    pub cursor: String,
    /// So many rows, [`PAGE_MAX`] at most.
    pub limit: usize,
}

/// One alarm of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The rule.
    pub rule: Arc<str>,
    /// The occurrence; `None` for a rule on the shelf that is not raised.
    pub id: Option<OccurrenceId>,
    /// How it was raised, or would be.
    pub raise: Raise,
    /// How it stands.
    pub occurrence: Occurrence,
    /// The shelf on which its rule is.
    pub shelf: Option<Shelf>,
    /// Why its rule is suppressed.
    pub suppression: Option<Suppression>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// The cursor of the next page; empty at the end.
    pub next: String,
}

impl Which {
    /// All of them with their words.
    pub const ALL: [(&'static str, Which); 6] = [
        ("open", Which::Open),
        ("active", Which::Active),
        ("unacknowledged", Which::Unacknowledged),
        ("shelved", Which::Shelved),
        ("suppressed", Which::Suppressed),
        ("all", Which::All),
    ];

    /// From its word.
    pub fn parse(word: &str) -> Option<Which> {
        Which::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, which)| which)
    }
}

impl Alarms {
    /// The part of the list that is asked for.
    pub fn page(&self, query: &Query) -> Page {
        match query.which {
            Which::Shelved => self.rules_page(query, self.book().shelved().map(|(rule, _)| rule)),
            Which::Suppressed => self.rules_page(query, self.book().suppressed().map(|(rule, _)| rule)),
            Which::Open | Which::Active | Which::Unacknowledged | Which::All => self.occurrences_page(query),
        }
    }

    fn occurrences_page(&self, query: &Query) -> Page {
        let last = OccurrenceId { onset: Timestamp(i64::MAX), rule: "\u{10ffff}".into() };
        let from = OccurrenceId::parse(&query.cursor).unwrap_or(last);
        let rows = self
            .book()
            .before(&from)
            .rev()
            .skip_while(|(id, _)| query.until.is_some_and(|until| id.onset >= until))
            .take_while(|(id, _)| query.since.is_none_or(|since| id.onset >= since))
            .filter(|(id, known)| self.is_wanted(query.which, id, known))
            .filter_map(|(id, known)| self.row(&id.rule, Some((id, known))));
        collect(rows, query, |row| row.id.as_ref().map_or_else(String::new, ToString::to_string))
    }

    fn is_wanted(&self, which: Which, id: &OccurrenceId, known: &Occurrence) -> bool {
        let is_so = match which {
            Which::Open => known.is_open(),
            Which::Active => known.is_active(),
            Which::Unacknowledged => known.needs_ack(),
            Which::All => return true,
            Which::Shelved | Which::Suppressed => false,
        };
        is_so && !self.book().is_hidden(&id.rule)
    }

    fn rules_page<'a>(&self, query: &Query, rules: impl Iterator<Item = &'a Arc<str>>) -> Page {
        let rows = rules.filter(|rule| ***rule > *query.cursor).filter_map(|rule| {
            let newest = self.book().open_of(rule).into_iter().next_back();
            let known = newest.as_ref().and_then(|id| Some((id, self.book().get(id)?)));
            self.row(rule, known)
        });
        collect(rows, query, |row| row.rule.to_string())
    }

    fn row(&self, rule: &Arc<str>, known: Option<(&OccurrenceId, &Occurrence)>) -> Option<Row> {
        let raise = match known.and_then(|(_, known)| known.raise.clone()) {
            Some(raise) => raise,
            // What came of an occurrence may be known before how it began.
            None if known.is_some() => return None,
            None => self.would_raise(rule),
        };
        Some(Row {
            rule: Arc::clone(rule),
            id: known.map(|(id, _)| id.clone()),
            raise,
            occurrence: known.map(|(_, known)| known.clone()).unwrap_or_default(),
            shelf: self.book().shelf(rule).cloned(),
            suppression: self.book().suppression(rule).cloned(),
        })
    }

    /// What a rule says while it is not raised.
    fn would_raise(&self, rule: &str) -> Raise {
        let rule = self.rule(rule);
        Raise {
            at: Timestamp::NONE,
            item: rule.map_or("", |rule| rule.item.as_str()).into(),
            kind: rule.map_or("", |rule| rule.condition.kind()).into(),
            limit: rule.map_or_else(String::new, |rule| rule.condition.limit_text()).into(),
            value: "".into(),
            text: rule.map_or("the rule was removed", |rule| &*rule.text).into(),
            area: rule.map_or("", |rule| &*rule.area).into(),
            priority: rule.map_or(0, |rule| rule.priority),
            needs_ack: rule.is_some_and(|rule| rule.needs_ack),
            latching: rule.is_some_and(|rule| rule.latching),
            epoch: twinhub_model::Epoch::NONE,
        }
    }
}

impl Row {
    fn fits(&self, query: &Query, needle: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(needle);
        self.raise.priority >= query.priority_min
            && (query.area.is_empty() || *self.raise.area == *query.area)
            && (needle.is_empty()
                || has(&self.rule)
                || has(&self.raise.item)
                || has(&self.raise.text)
                || has(&self.raise.area))
    }
}

fn collect(rows: impl Iterator<Item = Row>, query: &Query, name: impl Fn(&Row) -> String) -> Page {
    let limit = query.limit.clamp(1, PAGE_MAX);
    let needle = query.text.to_lowercase();
    let mut fitting = rows.filter(|row| row.fits(query, &needle));
    let rows: Vec<Row> = fitting.by_ref().take(limit).collect();
    let has_more = fitting.next().is_some();
    let next = rows.last().filter(|_| has_more).map(name).unwrap_or_default();
    Page { rows, next }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use twinhub_model::{Epoch, ItemKey, Moment};

    use super::*;
    use crate::{Acknowledgment, Change, Clear, Condition, Now, Order, Rule, Side};

    fn rule(id: &str, priority: u16, area: &str) -> Rule {
        Rule {
            id: id.into(),
            item: ItemKey::parse("plc1/boiler").unwrap(),
            condition: Condition::Limit { side: Side::High, limit: 90.0, deadband: 0.0 },
            delay_on: Duration::ZERO,
            delay_off: Duration::ZERO,
            priority,
            text: format!("Boiler of {area}").into(),
            area: area.into(),
            latching: false,
            needs_ack: true,
        }
    }

    /// Ten occurrences of `a`, one after the other, the last one active; one of `b`; `c` on the shelf.
    fn site() -> Alarms {
        let rules = [rule("a", 300, "cellar"), rule("b", 900, "roof"), rule("c", 500, "roof")];
        let mut alarms = Alarms::new(rules.into_iter().map(|rule| (rule, None)), 1000);
        let now = Now { moment: Moment::ZERO, utc: Timestamp(0) };
        alarms.begin(Epoch(1), now, &|_| None);
        for onset in 0..10 {
            let id = OccurrenceId { onset: Timestamp(onset), rule: "a".into() };
            let raise = Raise { at: Timestamp(onset), ..alarms.would_raise("a") };
            alarms.apply(&Change::Raised(id.clone(), raise));
            if onset < 9 {
                let clear = Clear { at: Timestamp(onset + 1), value: "".into(), cause: "".into() };
                alarms.apply(&Change::Cleared(id.clone(), clear));
                let by = Acknowledgment { at: Timestamp(onset), by: "ann".into(), comment: "".into() };
                alarms.apply(&Change::Acknowledged(id, by));
            }
        }
        let id = OccurrenceId { onset: Timestamp(5), rule: "b".into() };
        alarms.apply(&Change::Raised(id, alarms.would_raise("b")));
        let span = Duration::from_secs(9);
        let shelve = Order::Shelve { rule: "c".into(), span, comment: String::new() };
        alarms.order(&shelve, "ann", now, &mut Vec::new()).unwrap();
        alarms
    }

    /// Names of all rows, page by page.
    fn listed(query: Query) -> Vec<String> {
        let alarms = site();
        let mut query = Query { limit: 4, ..query };
        let mut names = Vec::new();
        loop {
            let page = alarms.page(&query);
            assert!(page.rows.len() <= 4);
            let name = |row: &Row| row.id.as_ref().map_or_else(|| row.rule.to_string(), ToString::to_string);
            names.extend(page.rows.iter().map(name));
            if page.next.is_empty() {
                return names;
            }
            query.cursor = page.next;
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let all = listed(Query { which: Which::All, ..Query::default() });
        let expected =
            ["a@9", "a@8", "a@7", "a@6", "b@5", "a@5", "a@4", "a@3", "a@2", "a@1", "a@0"].map(str::to_owned);
        assert_eq!(all, expected);
    }

    #[test]
    fn lists_hold_what_is_asked_for() {
        let with = |which, query: Query| listed(Query { which, ..query });
        assert_eq!(with(Which::Open, Query::default()), ["a@9", "b@5"]);
        assert_eq!(with(Which::Active, Query { priority_min: 301, ..Query::default() }), ["b@5"]);
        assert_eq!(with(Which::All, Query { text: "ROOF".into(), ..Query::default() }), ["b@5"]);
        assert_eq!(with(Which::Unacknowledged, Query { area: "cellar".into(), ..Query::default() }), ["a@9"]);
        let from_to = Query { since: Some(Timestamp(4)), until: Some(Timestamp(6)), ..Query::default() };
        assert_eq!(with(Which::All, from_to), ["b@5", "a@5", "a@4"]);
        assert_eq!(with(Which::Shelved, Query::default()), ["c"]);
        assert_eq!(with(Which::Suppressed, Query::default()), [""; 0]);
    }
}
