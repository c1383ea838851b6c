//! What alarms tell, for those who read what happened.
//!
//! The node that evaluates tells it with each change. If it dies between the change and the word, its successor makes up
//! for it: what was told is known by code and occurrence, or setting of a rule, so nothing is told twice.

use std::sync::Arc;

use twinhub_alarms::{Alarms, Change, OccurrenceId, Stamp};
use twinhub_model::{Event, Severity, Timestamp};

use super::Engine;
use super::alarms::AlarmState;

/// What a dead node did not come to tell is not older than this, compared with its last change.
const UNTOLD_NS_MAX: i64 = 10_000_000_000;

/// Something to tell, and the occurrence or the setting that it is about: of that it is told only once.
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
        let dated =
            alarms.book().changes().into_iter().filter_map(|change| Some((time_of(&change)?, change)));
        let changes: Vec<(Timestamp, Change)> = dated.collect();
        let Some(last) = changes.iter().map(|(at, _)| *at).max() else { return };
        let is_late = |at: &Timestamp| last.0.saturating_sub(at.0) <= UNTOLD_NS_MAX;
        let late = changes.iter().filter(|(at, _)| is_late(at));
        let joined = state.just_joined().iter();
        let words = late.map(|(_, change)| change).chain(joined).filter_map(|change| word_of(change, alarms));
        let words: Vec<Word> = words.collect();
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

/// When it was; `None` for what has no time of its own.
const fn time_of(change: &Change) -> Option<Timestamp> {
    match change {
        Change::Raised(_, raise) => Some(raise.at),
        Change::Cleared(_, clear) => Some(clear.at),
        Change::Acknowledged(_, known) => Some(known.at),
        Change::Shelved { stamp, .. } | Change::Suppressed { stamp, .. } => Some(stamp.at),
        Change::Joined(..) | Change::Rules { .. } | Change::Watched(_) => None,
    }
}

/// A name for one setting of a rule, which that of no occurrence equals.
fn setting(rule: &str, stamp: Stamp) -> String {
    format!("{rule}@{}.{}", stamp.at.0, stamp.epoch.0)
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
            (event(Severity::Info, code, stamp.at, rule_item(rule), text), setting(rule, *stamp))
        }
        Change::Suppressed { rule, stamp, suppression } => {
            let (code, text) = match suppression {
                Some(known) => {
                    let why = comment(&known.comment);
                    ("TH-ALARM-106", format!("alarm `{rule}` is suppressed by {}{why}", known.by))
                }
                None => ("TH-ALARM-107", format!("alarm `{rule}` is no longer suppressed")),
            };
            (event(Severity::Info, code, stamp.at, rule_item(rule), text), setting(rule, *stamp))
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

#[cfg(test)]
mod tests {
    use twinhub_model::{Epoch, NodeRank};

    use super::*;

    #[test]
    fn the_name_of_a_setting_is_that_of_no_occurrence_and_of_no_other_setting() {
        let of = |rule: &str, at: i64, counter: u64| {
            setting(rule, Stamp { at: Timestamp(at), epoch: Epoch::new(counter, NodeRank(1)) })
        };
        let names = [of("a", 5, 1), of("a", 5, 2), of("a", 6, 1), of("b", 5, 1), of("a@5", 5, 1)];
        for (number, name) in names.iter().enumerate() {
            assert_eq!(OccurrenceId::parse(name), None, "{name}");
            assert!(!names[..number].contains(name), "{name}");
        }
    }
}
