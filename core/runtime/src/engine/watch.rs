//! One watched item: since when it is as it must not be.
//!
//! Only what this node received itself counts: on a standby that is what a hot interface hears. What the
//! active node sends says nothing of this node's field side.

use std::fmt;
use std::time::Duration;

use twinhub_config::Trigger;
use twinhub_model::{ItemId, Moment, Quality, Value};

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) item: ItemId,
    /// Number of the interface.
    pub(crate) interface: usize,
    trigger: Trigger,
    span: Duration,
    /// What was heard last; nothing before this node listens.
    heard: Option<(Value, Quality)>,
    /// Since when it is as it must not be.
    since: Option<Moment>,
}

/// What a watch finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing was heard yet.
    Nothing,
    /// It is as it should be, or not otherwise for long enough.
    Fine,
    /// It is as it must not be: what, in a few words.
    Tripped(String),
}

impl Watch {
    pub(crate) fn new(item: ItemId, interface: usize, monitor: &twinhub_config::Monitor) -> Watch {
        Watch {
            item,
            interface,
            trigger: monitor.trigger.clone(),
            span: monitor.duration.saturating_mul(monitor.failures),
            heard: None,
            since: None,
        }
    }

    /// Starts anew: from here on this node hears the item, beginning with what is known of it, if that counts.
    pub(crate) fn begin(&mut self, known: Option<(Value, Quality)>, now: Moment) {
        self.heard = None;
        self.since = (self.trigger == Trigger::Unchanged).then_some(now);
        if let Some((value, quality)) = known {
            self.hear(&value, quality, now);
        }
    }

    pub(crate) fn hear(&mut self, value: &Value, quality: Quality, now: Moment) {
        let is_wrong = match &self.trigger {
            Trigger::Unchanged => {
                let is_changed = self.heard.as_ref().is_none_or(|(last, _)| !last.is_same(value));
                self.since = if is_changed { Some(now) } else { self.since.or(Some(now)) };
                true
            }
            Trigger::Bad => quality.is_bad(),
            // A value that is bad says nothing; that it is bad is a trigger of its own.
            Trigger::Equals(wrong) => !quality.is_bad() && value.is_equivalent(wrong),
            Trigger::Above(limit) => !quality.is_bad() && value.as_f64().is_some_and(|value| value > *limit),
            Trigger::Below(limit) => !quality.is_bad() && value.as_f64().is_some_and(|value| value < *limit),
        };
        self.since = if is_wrong { self.since.or(Some(now)) } else { None };
        self.heard = Some((value.clone(), quality));
    }

    /// Why what was heard last is compared with nothing, if it is not.
    pub(crate) fn incomparable(&self) -> Option<String> {
        let (value, quality) = self.heard.as_ref().filter(|(_, quality)| !quality.is_bad())?;
        let is_structure = matches!(value, Value::Bytes(_) | Value::Json(_));
        let is_so = *value != Value::Null
            && match &self.trigger {
                Trigger::Equals(_) => is_structure,
                Trigger::Above(_) | Trigger::Below(_) => value.as_f64().is_none(),
                Trigger::Unchanged | Trigger::Bad => false,
            };
        let shown: String = value.to_string().chars().take(40).collect();
        is_so.then(|| format!("{self} compares one number or word, and not `{shown}` ({quality})"))
    }

    pub(crate) fn look(&self, now: Moment) -> Finding {
        match (self.since, &self.heard) {
            (Some(since), _) if now.since(since) >= self.span => Finding::Tripped(self.to_string()),
            (Some(_) | None, None) => Finding::Nothing,
            (Some(_) | None, Some(_)) => Finding::Fine,
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.trigger {
            Trigger::Unchanged => "unchanged".to_owned(),
            Trigger::Bad => "bad".to_owned(),
            Trigger::Equals(wrong) => format!("equal to {wrong}"),
            Trigger::Above(limit) => format!("above {limit}"),
            Trigger::Below(limit) => format!("below {limit}"),
        };
        write!(f, "{what} for {}", twinhub_config::duration_text(self.span))
    }
}

#[cfg(test)]
mod tests {
    use twinhub_model::ItemKey;

    use super::*;

    /// What is found second by second, while these values are heard, one each second.
    fn story(trigger: Trigger, span_s: u64, failures: u32, heard: &[Option<(f64, Quality)>]) -> String {
        let monitor = twinhub_config::Monitor {
            item: ItemKey::new("plc1", "a").unwrap(),
            trigger,
            duration: Duration::from_secs(span_s),
            failures,
        };
        let mut watch = Watch::new(ItemId(0), 0, &monitor);
        let at = |second| Moment::from_millis(1_000_000) + Duration::from_secs(second);
        watch.begin(None, at(0));
        let mut story = String::new();
        for (second, sample) in (0..).zip(heard) {
            if let Some((value, quality)) = sample {
                watch.hear(&Value::F64(*value), *quality, at(second));
            }
            story.push(match watch.look(at(second)) {
                Finding::Nothing => '?',
                Finding::Fine => '.',
                Finding::Tripped(_) => '!',
            });
        }
        story
    }

    #[test]
    fn what_must_not_be_counts_after_its_time_and_ends_at_once() {
        let good = |value| Some((value, Quality::GOOD));
        let bad = Some((1.0, Quality::BAD_NOT_CONNECTED));
        let values = [None, good(1.0), bad, None, None, bad, good(1.0), bad];
        assert_eq!(story(Trigger::Bad, 2, 1, &values), "?...!!..");
        let values = [good(91.0), None, good(89.0), good(90.0), good(95.0), None, good(96.0), None];
        assert_eq!(story(Trigger::Above(90.0), 2, 1, &values), "......!!");
        let values = [good(4.0), None, None, None, None, good(5.0)];
        assert_eq!(story(Trigger::Below(5.0), 1, 3, &values), "...!!.");
        let values = [good(0.0), None, good(1.0), good(0.0), None];
        assert_eq!(story(Trigger::Equals(Value::Bool(false)), 1, 1, &values), ".!..!");
    }

    #[test]
    fn a_value_that_stays_the_same_counts_from_its_last_change() {
        let good = |value| Some((value, Quality::GOOD));
        let values = [good(1.0), good(1.0), good(2.0), None, good(2.0), None, good(3.0)];
        assert_eq!(story(Trigger::Unchanged, 3, 1, &values), ".....!.");
        assert_eq!(
            story(Trigger::Unchanged, 3, 1, &[None; 5]),
            "???!!",
            "one that never comes does not change"
        );
    }

    #[test]
    fn a_list_or_a_word_is_not_compared_with_a_number() {
        let found = |trigger: Trigger, value: Value, quality| {
            let item = ItemKey::new("plc1", "a").unwrap();
            let monitor = twinhub_config::Monitor { item, trigger, duration: Duration::ZERO, failures: 1 };
            let mut watch = Watch::new(ItemId(0), 0, &monitor);
            watch.hear(&value, quality, Moment::ZERO);
            watch.incomparable().is_some()
        };
        let list = Value::Json("[1,2]".into());
        let one = Trigger::Equals(Value::I64(1));
        assert!(found(one.clone(), list.clone(), Quality::GOOD));
        assert!(found(Trigger::Above(1.0), list.clone(), Quality::GOOD));
        assert!(found(Trigger::Below(1.0), Value::Str("off".into()), Quality::GOOD));
        assert!(!found(one.clone(), Value::Str("off".into()), Quality::GOOD), "a word is another word");
        assert!(!found(one, list.clone(), Quality::BAD_NOT_CONNECTED));
        assert!(!found(Trigger::Unchanged, list, Quality::GOOD));
        assert!(!found(Trigger::Above(1.0), Value::Null, Quality::GOOD), "nothing was read yet");
    }

    #[test]
    fn a_bad_value_is_compared_with_nothing() {
        let values = [Some((95.0, Quality::BAD_NOT_CONNECTED)), None, None];
        assert_eq!(story(Trigger::Above(90.0), 1, 1, &values), "...");
    }
}
