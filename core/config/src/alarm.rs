//! Checks alarms, those of the file and those of items files, and makes rules of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use twinhub_alarms::{Condition, PRIORITY_MAX, Rule, Side};
use twinhub_model::{ItemKey, Value};

use crate::assembly::{Assembly, span};
use crate::diagnostic::{Diagnostic, with_nearest};
use crate::duration::{DURATION_HELP, parse_duration};
use crate::file::{self, AlarmWhen};
use crate::items::ALARM_COLUMNS;
use crate::link::scalar_value;
use crate::site::{Events, Interface, Item};
use crate::tree::Step;

impl Assembly<'_> {
    pub(crate) fn alarms(&mut self, file: &file::File, interfaces: &[Interface]) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut lines: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        for (index, form) in file.alarm.iter().enumerate() {
            let at = |key: &'static str| [Step::Key("alarm"), index.into(), Step::Key(key)];
            self.identifier(&at("id"), "an alarm", &form.id);
            let line = self.line(&at("id"));
            if let Some(first) = lines.insert(form.id.as_str().into(), line) {
                let help = format!("it is in line {first} already; give one of them another id");
                self.error(&at("id"), format!("alarm `{}` is there twice", form.id), "again", help);
                continue;
            }
            let item = self.alarm_item(&at("item"), form, interfaces);
            let condition = self.condition(index, form);
            let delays = [("delay_on", form.delay_on.as_ref()), ("delay_off", form.delay_off.as_ref())]
                .map(|(key, given)| self.alarm_span(&at(key), given));
            let latching = form.latching.unwrap_or(false);
            if latching && form.acknowledge == Some(false) {
                let help = "leave `acknowledge` out: what latches is ended by acknowledging it";
                self.error(&at("acknowledge"), "nothing would end this alarm".to_owned(), "here", help);
            }
            if let (Some(item), Some(condition)) = (item, condition) {
                rules.push(Rule {
                    id: form.id.as_str().into(),
                    item,
                    condition,
                    delay_on: delays[0],
                    delay_off: delays[1],
                    priority: form.priority.unwrap_or(PRIORITY).clamp(1, PRIORITY_MAX),
                    text: form.text.as_deref().unwrap_or_default().into(),
                    area: form.area.as_deref().unwrap_or_default().into(),
                    latching,
                    needs_ack: form.acknowledge.unwrap_or(true),
                });
            }
        }
        for interface in interfaces {
            let name = interface.origin.items_file.as_deref().unwrap_or("items");
            for item in &interface.items {
                rules.extend(item_alarms(item, name, &mut self.found));
            }
        }
        rules
    }

    fn alarm_item(
        &mut self,
        place: &[Step<'_>],
        form: &file::Alarm,
        interfaces: &[Interface],
    ) -> Option<ItemKey> {
        let (id, _) = form.item.split_once('/').unwrap_or((form.item.as_str(), ""));
        let Some(interface) = interfaces.iter().find(|interface| interface.id == id) else {
            let help = with_nearest(id, interfaces.iter().map(|known| known.id.as_str()), |names| {
                format!("write `interface/path`; the interfaces are: {names}")
            });
            let message = format!("no interface is called `{}`", id.escape_debug());
            self.error(place, message, "unknown interface", help);
            return None;
        };
        let Some(item) = interface.items.iter().find(|item| item.key.as_str() == form.item) else {
            let keys = interface.items.iter().map(|item| item.key.as_str());
            let help = with_nearest(&form.item, keys, |names| format!("the items are: {names}"));
            self.error(
                place,
                format!("no item is called `{}`", form.item.escape_debug()),
                "unknown item",
                help,
            );
            return None;
        };
        if !item.access.is_readable() {
            let message = format!("item `{}` is never read, so it raises no alarm", item.key);
            self.error(place, message, "written only", "name an item with access `r` or `rw`");
        }
        Some(item.key.clone())
    }

    fn condition(&mut self, index: usize, form: &file::Alarm) -> Option<Condition> {
        let at = |key: &'static str| [Step::Key("alarm"), index.into(), Step::Key(key)];
        let (side, wants_value, wants_span) = match form.when {
            AlarmWhen::HighHigh => (Some(Side::HighHigh), true, false),
            AlarmWhen::High => (Some(Side::High), true, false),
            AlarmWhen::Low => (Some(Side::Low), true, false),
            AlarmWhen::LowLow => (Some(Side::LowLow), true, false),
            AlarmWhen::Equals | AlarmWhen::NotEquals => (None, true, false),
            AlarmWhen::BadQuality => (None, false, false),
            AlarmWhen::Stale | AlarmWhen::Unchanged => (None, false, true),
        };
        for (key, is_there, is_used) in [
            ("value", form.value.is_some(), wants_value),
            ("for", form.duration.is_some(), wants_span),
            ("deadband", form.deadband.is_some(), side.is_some()),
        ] {
            if is_there && !is_used {
                let help = "leave it out, or write another `when`";
                self.error(&at(key), format!("this alarm has no use for `{key}`"), "not used", help);
            }
        }
        if wants_span && form.duration.is_none() {
            let help = "write `for`, such as `for = \"10m\"`: as long as it may be so";
            self.error(&at("when"), "this alarm needs a time".to_owned(), "for how long?", help);
            return None;
        }
        if wants_value && form.value.is_none() {
            let help = "write what it is compared with, such as `value = 90`";
            self.error(&at("when"), "this alarm needs a value".to_owned(), "compared with what?", help);
            return None;
        }
        let silence = self.alarm_span(&at("for"), form.duration.as_ref());
        if wants_span && silence < SILENCE_MIN {
            self.error(&at("for"), "`for` is out of range".to_owned(), "here", "write \"100ms\" to \"30d\"");
        }
        let value = form.value.as_ref().map(scalar_value);
        match (form.when, value) {
            (AlarmWhen::BadQuality, _) => Some(Condition::BadQuality),
            (AlarmWhen::Stale, _) => Some(Condition::Stale(silence)),
            (AlarmWhen::Unchanged, _) => Some(Condition::Unchanged(silence)),
            (AlarmWhen::Equals, value) => value.map(Condition::Equals),
            (AlarmWhen::NotEquals, value) => value.map(Condition::NotEquals),
            (AlarmWhen::HighHigh | AlarmWhen::High | AlarmWhen::Low | AlarmWhen::LowLow, value) => {
                let number = match value? {
                    Value::I64(_) | Value::F64(_) => {
                        form.value.as_ref().and_then(|value| scalar_value(value).as_f64())
                    }
                    Value::Null
                    | Value::Bool(_)
                    | Value::U64(_)
                    | Value::Str(_)
                    | Value::Bytes(_)
                    | Value::Time(_)
                    | Value::Json(_) => None,
                };
                let Some(limit) = number.filter(|number| number.is_finite()) else {
                    let help = "write a number, such as `value = 90`";
                    self.error(&at("value"), "a limit is a number".to_owned(), "here", help);
                    return None;
                };
                let deadband = form.deadband.unwrap_or(0.0);
                side.map(|side| Condition::Limit { side, limit, deadband })
            }
        }
    }

    fn alarm_span(&mut self, place: &[Step<'_>], given: Option<&file::Span>) -> Duration {
        let duration = span(given, Duration::ZERO);
        if duration > SPAN_MAX {
            self.error(place, "the time is out of range".to_owned(), "here", "write at most \"30d\"");
        }
        duration.min(SPAN_MAX)
    }

    pub(crate) fn events(&mut self, file: &file::File) -> Events {
        let retain = file.events.as_ref().and_then(|events| events.retain.as_ref());
        let retain = retain.and_then(|span| parse_duration(&span.0));
        if retain.is_some_and(|retain| retain < RETAIN_MIN) {
            let place = ["events".into(), "retain".into()];
            let help = "write at least \"1h\", or leave it out";
            self.error(&place, "`events.retain` is too short".to_owned(), "here", help);
        }
        let keep = file.events.as_ref().and_then(|events| events.keep).unwrap_or(KEEP);
        Events { keep: keep as usize, retain }
    }
}

/// Alarms that stand in the columns of an item.
fn item_alarms(item: &Item, file: &str, found: &mut Vec<Diagnostic>) -> Vec<Rule> {
    let has_any = item.columns.iter().any(|(name, _)| ALARM_COLUMNS.contains(&&**name));
    if !has_any {
        return Vec::new();
    }
    let mut fault = |column: &str, text: &str, help: &str| {
        let message =
            format!("`{}` in column `{column}` of item `{}` cannot be", text.escape_debug(), item.key);
        found.push(Diagnostic::error(message).help(help).at_line(file, item.line));
    };
    let mut number = |column: &str| {
        let text = item.column(column);
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        if !text.is_empty() && number.is_none() {
            fault(column, text, "write a number such as 90 or -5.5, or leave it empty");
        }
        number
    };
    let deadband = number("alarm_deadband").unwrap_or(0.0).abs();
    let limits = [
        ("alarm_high_high", Side::HighHigh),
        ("alarm_high", Side::High),
        ("alarm_low", Side::Low),
        ("alarm_low_low", Side::LowLow),
    ]
    .map(|(column, side)| (side, number(column)));
    let mut conditions: Vec<Condition> = limits
        .into_iter()
        .filter_map(|(side, limit)| Some(Condition::Limit { side, limit: limit?, deadband }))
        .collect();
    let equals = item.column("alarm_equals");
    if !equals.is_empty() {
        conditions.push(Condition::Equals(value_of(equals)));
    }
    match item.column("alarm_bad_quality") {
        "true" | "1" | "yes" => conditions.push(Condition::BadQuality),
        "" | "false" | "0" | "no" => {}
        other => fault("alarm_bad_quality", other, "write `true` or `false`, or leave it empty"),
    }
    let delay = item.column("alarm_delay");
    let delay_on = parse_duration(delay).filter(|delay| *delay <= SPAN_MAX);
    if !delay.is_empty() && delay_on.is_none() {
        fault("alarm_delay", delay, DURATION_HELP);
    }
    let priority = item.column("alarm_priority");
    let rank = priority.parse().ok().filter(|rank| (1..=PRIORITY_MAX).contains(rank));
    if !priority.is_empty() && rank.is_none() {
        fault("alarm_priority", priority, "write a number from 1 to 1000, or leave it empty");
    }
    if !item.access.is_readable() && !conditions.is_empty() {
        fault("access", item.access.word(), "an item that is never read raises no alarm: write `r` or `rw`");
    }
    conditions
        .into_iter()
        .map(|condition| Rule {
            id: format!("{}:{}", item.key, condition.kind()).into(),
            item: item.key.clone(),
            condition,
            delay_on: delay_on.unwrap_or_default(),
            delay_off: Duration::ZERO,
            priority: rank.unwrap_or(PRIORITY),
            text: item.column("alarm_text").into(),
            area: item.column("alarm_area").into(),
            latching: false,
            needs_ack: true,
        })
        .collect()
}

/// A cell as a value: what looks like a number or a flag is one.
fn value_of(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text
            .parse()
            .map(Value::I64)
            .or_else(|_| text.parse().map(Value::F64))
            .unwrap_or_else(|_| Value::Str(text.into())),
    }
}

/// Occurrences and events that are kept if nothing is written.
pub(crate) const KEEP: u32 = 10_000;
const PRIORITY: u16 = 500;
const SPAN_MAX: Duration = Duration::from_secs(30 * 86_400);
const SILENCE_MIN: Duration = Duration::from_millis(100);
const RETAIN_MIN: Duration = Duration::from_secs(3600);
