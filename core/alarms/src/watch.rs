//! How a watched item stands for one rule: a pure function of the samples, so that every node knows it.

use twinhub_model::{Moment, Quality, Sample, SampleFlags, Timestamp, Value};

use crate::change::Watched;
use crate::id::OccurrenceId;
use crate::rule::{Condition, Finding, Rule};

/// Of a longer text a copy does not say what it was; the next sample then counts as a change.
const TEXT_KEPT_MAX: usize = 4096;
/// A device's clock is believed as far as this behind the hub's; beyond it the time of receipt counts, so that a
/// device in the wrong year raises nothing in the wrong year.
const SOURCE_AGE_NS_MAX: i64 = 60_000_000_000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Watch {
    /// Whether the item is as it must not be; `None` until that is known.
    pub(crate) is_wrong: Option<bool>,
    /// Since when.
    pub(crate) since: Timestamp,
    /// For rules about silence: when the item was heard, or changed.
    pub(crate) heard: Timestamp,
    pub(crate) value: Value,
    pub(crate) quality: Quality,
    /// Nothing valid is known at present: nothing is raised or cleared.
    pub(crate) is_held: bool,
    /// The occurrence in which the rule is raised, and whether somebody took note: what the book says.
    pub(crate) raised: Option<(OccurrenceId, Option<Timestamp>)>,
    /// When the acting node looks again, and the time for which it does.
    pub(crate) due: Option<(Moment, Timestamp)>,
    /// When the acting node sees to it that the part knows since when it waits.
    pub(crate) keep_due: Option<Moment>,
    /// What the part knows: how it stood and since when the node that acted waited.
    pub(crate) kept: Option<(Option<bool>, Timestamp, Timestamp)>,
    /// By how many nanoseconds the clock was set forward since the rule was raised.
    pub(crate) shift: i64,
}

impl Watch {
    /// What was seen under other rules says nothing.
    pub(crate) fn forget(&mut self) {
        *self = Watch {
            raised: self.raised.take(),
            due: self.due.take(),
            keep_due: self.keep_due.take(),
            shift: self.shift,
            ..Watch::default()
        };
    }

    /// Takes a sample in, at its own time.
    pub(crate) fn see(&mut self, condition: &Condition, sample: &Sample, at: Timestamp) {
        let is_heard = !sample.quality.is_bad();
        match condition {
            Condition::Stale(_) if is_heard => self.heard = self.heard.max(sample.server.or(at)),
            Condition::Unchanged(_) if is_heard && !self.value.is_same(&sample.value) => self.heard = at,
            Condition::Stale(_)
            | Condition::Unchanged(_)
            | Condition::Limit { .. }
            | Condition::Equals(_)
            | Condition::NotEquals(_)
            | Condition::BadQuality => {}
        }
        let was_wrong = self.is_wrong.unwrap_or(self.raised.is_some());
        match condition.look(&sample.value, sample.quality, was_wrong) {
            Finding::Nothing => self.is_held = true,
            found @ (Finding::Right | Finding::Wrong) => {
                self.is_held = false;
                let is_wrong = found == Finding::Wrong;
                if self.is_wrong != Some(is_wrong) {
                    (self.is_wrong, self.since) = (Some(is_wrong), at);
                }
            }
        }
        self.value.clone_from(&sample.value);
        self.quality = sample.quality;
    }

    pub(crate) fn to_watched(&self, rule: &Rule) -> Option<Watched> {
        (self.is_wrong.is_some() || self.heard.is_some()).then(|| Watched {
            rule: rule.id.clone(),
            is_wrong: self.is_wrong,
            since: self.since,
            heard: self.heard,
            value: if self.value.text_bytes() > TEXT_KEPT_MAX { Value::Null } else { self.value.clone() },
            quality: self.quality.0,
            is_kept: (self.kept == Some(self.standing())).then_some(true),
            shift: (self.shift != 0).then_some(self.shift),
        })
    }

    /// How it stands, and since when.
    pub(crate) const fn standing(&self) -> (Option<bool>, Timestamp, Timestamp) {
        (self.is_wrong, self.since, self.heard)
    }

    /// The clock was set: what was dated by it is dated anew.
    pub(crate) fn set_clock(&mut self, shift: i64) {
        for time in [&mut self.since, &mut self.heard] {
            if time.is_some() {
                time.0 = time.0.saturating_add(shift);
            }
        }
        self.shift = if self.raised.is_some() { self.shift.saturating_add(shift) } else { 0 };
    }

    pub(crate) fn take_watched(&mut self, watched: &Watched) {
        self.is_wrong = watched.is_wrong;
        self.since = watched.since;
        self.heard = watched.heard;
        self.value.clone_from(&watched.value);
        self.quality = Quality(watched.quality);
        self.kept = (watched.is_kept == Some(true)).then(|| self.standing());
        self.shift = watched.shift.unwrap_or(0);
    }
}

/// The time at which a sample was so: its source's, unless that cannot be.
pub(crate) fn time_of(sample: &Sample) -> Timestamp {
    let (source, server) = (sample.source, sample.server);
    if !source.is_some() || (sample.flags.contains(SampleFlags::LOCAL_TIME) && server.is_some()) {
        return server;
    }
    if !server.is_some() {
        return source;
    }
    let is_kept = sample.flags.contains(SampleFlags::REPLAY) || sample.flags.contains(SampleFlags::OLD);
    let age = server.0.saturating_sub(source.0);
    if age < 0 || (age > SOURCE_AGE_NS_MAX && !is_kept) { server } else { source }
}

#[cfg(test)]
mod tests {
    use twinhub_model::ItemId;

    use super::*;

    fn sample(source: i64, server: i64, flags: SampleFlags) -> Sample {
        Sample {
            item: ItemId(0),
            value: Value::F64(1.0),
            quality: Quality::GOOD,
            source: Timestamp(source),
            server: Timestamp(server),
            flags,
        }
    }

    #[test]
    fn a_source_time_that_cannot_be_gives_way_to_the_time_of_receipt() {
        let live = SampleFlags::default();
        let second = 1_000_000_000;
        let of = |source, server, flags| time_of(&sample(source, server, flags)).0;
        assert_eq!(of(99 * second, 100 * second, live), 99 * second);
        assert_eq!(of(101 * second, 100 * second, live), 100 * second, "from the future");
        assert_eq!(of(10 * second, 100 * second, live), 100 * second, "from long ago");
        assert_eq!(of(10 * second, 100 * second, SampleFlags::REPLAY), 10 * second, "kept for that long");
        assert_eq!(of(i64::MIN, 100, live), 100);
        assert_eq!(of(99 * second, 100 * second, SampleFlags::LOCAL_TIME), 100 * second);
        assert_eq!(of(7, i64::MIN, live), 7);
        assert_eq!(of(i64::MAX, i64::MIN + 1, SampleFlags::OLD), i64::MIN + 1);
    }
}
