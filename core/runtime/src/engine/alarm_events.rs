//! What alarms tell, for those who read what happened.
//!
//! The node that evaluates tells it with each change. If it dies between the change and the word, its successor makes up
//! for it: what was told is known by code and occurrence, so nothing is told twice.

use std::sync::Arc;

use twinhub_alarms::{Alarms, Change, Occurrence, OccurrenceId};
use twinhub_model::{Event, Severity, Timestamp};

use super::Engine;
use super::alarms::AlarmState;

/// What a dead node did not come to tell is not older than this, compared with its last change.
const UNTOLD_NS_MAX: i64 = 10_000_000_000;

/// Something to tell, and the occurrence that it is about, if it is to be told of that only once.
type Word = (Event, String);

impl Engine {
    /// Tells of changes that are in the book.
    pub(super) fn tell_alarms(&mut self, changes: &[Change]) {
        let Some(state) = self.parts.get::<AlarmState>() else { return };
        let words: Vec<Word> = changes.iter().filter_map(|change| word_of(change, state.alarms())).collect();
        self.say(words);
    }

    /// Makes up for what the node before did not come to tell.
    pub(super) fn tell_untold_alarms(&mut self) {
        let Some(state) = self.parts.get::<AlarmState>() else { return };
        let alarms = state.alarms();
        let changes = alarms.book().occurrences().flat_map(|(id, occurrence)| changes_of(id, occurrence));
        let changes: Vec<(Timestamp, Change)> = changes.collect();
        let Some(last) = changes.iter().map(|(at, _)| *at).max() else { return };
        let is_late = |at: &Timestamp| last.0.saturating_sub(at.0) <= UNTOLD_NS_MAX;
        let late = changes.iter().filter(|(at, _)| is_late(at));
        let words: Vec<Word> = late.filter_map(|(_, change)| word_of(change, alarms)).collect();
        self.say(words);
    }

    fn say(&mut self, words: Vec<Word>) {
        let mut any = false;
        for (event, alarm) in words {
            any |= self.shared.events.note(&self.group, event, &alarm);
        }
        if any {
            self.journal_events();
        }
    }
}

fn changes_of(id: &OccurrenceId, occurrence: &Occurrence) -> Vec<(Timestamp, Change)> {
    let Occurrence { raise, clear, acknowledgment, joined: _ } = occurrence;
    let raised = raise.iter().map(|raise| (raise.at, Change::Raised(id.clone(), raise.clone())));
    let cleared = clear.iter().map(|clear| (clear.at, Change::Cleared(id.clone(), clear.clone())));
    let known =
        acknowledgment.iter().map(|known| (known.at, Change::Acknowledged(id.clone(), known.clone())));
    raised.chain(cleared).chain(known).collect()
}

/// What a change tells.
fn word_of(change: &Change, alarms: &Alarms) -> Option<Word> {
    let raise = |id: &OccurrenceId| alarms.book().get(id).and_then(|known| known.raise.as_ref());
    let item =
        |id: &OccurrenceId| raise(id).map_or_else(|| Arc::clone(&id.rule), |raise| Arc::clone(&raise.item));
    let rule_item = |rule: &Arc<str>| {
        alarms.rule(rule).map_or_else(|| Arc::clone(rule), |rule| rule.item.as_str().into())
    };
    let event = |severity, code: &str, at: Timestamp, source: Arc<str>, text: String| Event {
        severity,
        source,
        code: code.into(),
        text: text.into(),
        at,
    };
    Some(match change {
        Change::Raised(id, raise) => {
            let text = format!("alarm `{}`: {}", id.rule, raise.text);
            let severity = severity_of(raise.priority);
            (event(severity, "TH-ALARM-101", raise.at, Arc::clone(&raise.item), text), id.to_string())
        }
        Change::Cleared(id, clear) => {
            let why = match (&*clear.cause, &*clear.value) {
                ("", "") => String::new(),
                ("", value) => format!(": {value}"),
                (cause, _) => format!(": {cause}"),
            };
            let text = format!("alarm `{}` is over{why}", id.rule);
            (event(Severity::Info, "TH-ALARM-102", clear.at, item(id), text), id.to_string())
        }
        Change::Acknowledged(id, known) => {
            let text =
                format!("alarm `{}` is acknowledged by {}{}", id.rule, known.by, comment(&known.comment));
            (event(Severity::Info, "TH-ALARM-103", known.at, item(id), text), id.to_string())
        }
        Change::Joined(id, into) => {
            let text = format!("{id} was raised on another side of a split as {into}, which stands for both");
            (event(Severity::Info, "TH-ALARM-108", raise(id)?.at, item(id), text), id.to_string())
        }
        Change::Shelved { rule, stamp, shelf } => {
            let (code, text) = match shelf {
                Some(shelf) => {
                    let (by, until) = (&shelf.by, shelf.until);
                    let why = comment(&shelf.comment);
                    ("TH-ALARM-104", format!("alarm `{rule}` is shelved by {by} until {until}{why}"))
                }
                None => ("TH-ALARM-105", format!("alarm `{rule}` is no longer shelved")),
            };
            (event(Severity::Info, code, stamp.at, rule_item(rule), text), String::new())
        }
        Change::Suppressed { rule, stamp, suppression } => {
            let (code, text) = match suppression {
                Some(known) => {
                    let why = comment(&known.comment);
                    ("TH-ALARM-106", format!("alarm `{rule}` is suppressed by {}{why}", known.by))
                }
                None => ("TH-ALARM-107", format!("alarm `{rule}` is no longer suppressed")),
            };
            (event(Severity::Info, code, stamp.at, rule_item(rule), text), String::new())
        }
        Change::Rules { .. } | Change::Watched(_) => return None,
    })
}

/// A third of the priorities for each severity.
const fn severity_of(priority: u16) -> Severity {
    match priority {
        667.. => Severity::Error,
        334..667 => Severity::Warning,
        0..334 => Severity::Info,
    }
}

fn comment(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
