//! From what was seen of plugins under taps to the figures of one scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::align::align;
use super::log::{Answer, Deed, What};
use crate::figures::{Commands, Deed as Act, IN_FLIGHT, Side, Window, millis};

/// Everything seen of one plugin in one mode.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Path of the item whose values are counted.
    pub(super) value: String,
    /// What the plugin did on any node, in order of time.
    pub(super) deeds: Vec<Deed>,
    /// Messages with its values that nodes sent to the broker.
    pub(super) sent: Vec<(Instant, String)>,
    /// Its values that reached the subscriber.
    pub(super) arrivals: Vec<(Instant, u64)>,
    /// Numbered commands that were published.
    pub(super) commands: Vec<(Instant, u16)>,
}

/// What an outsider saw, by interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TappedFigures {
    /// One for each plugin and mode.
    pub parts: BTreeMap<String, PartFigures>,
}

/// What an outsider saw of one plugin in one mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartFigures {
    /// From the last act of the plugin on the old node to the first value of the new one's at the subscriber, in
    /// milliseconds.
    pub takeover_ms: Option<f64>,
    /// From the fault to that value, in milliseconds.
    pub from_fault_ms: Option<f64>,
    /// At the contract: what plugins did.
    pub contract: Side,
    /// At the broker: what nodes sent of it.
    pub broker: Side,
    /// What a plugin did without having been told to act, whether or not the hub took it.
    pub untold: u64,
    /// What plugins that believed to act were kept from.
    pub fenced: u64,
    /// Values that the hub took.
    pub values: u64,
    /// Of those, values that never reached the subscriber.
    pub values_lost: u64,
    /// Values that reached the subscriber once too often.
    pub values_doubled: u64,
    /// Values that the hub took less than `IN_FLIGHT` before its node died.
    pub values_died_with_node: u64,
    /// What became of the commands.
    pub commands: Commands,
}

impl TappedFigures {
    pub(super) fn of(evidence: &BTreeMap<String, Evidence>, window: &Window) -> Self {
        let part = |(id, seen): (&String, &Evidence)| (id.clone(), PartFigures::of(seen, window));
        Self { parts: evidence.iter().map(part).collect() }
    }

    /// Every figure that is not as it must be, in words; `limit` is the longest takeover.
    pub(super) fn problems(&self, window: &Window, limit: Duration) -> Vec<String> {
        let named = |(id, part): (&String, &PartFigures)| {
            part.problems(window, limit).into_iter().map(|what| format!("{id}: {what}")).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(named).collect()
    }
}

impl Evidence {
    /// When a command was carried out first after `since`, on that node or any.
    pub(super) fn first_carried_out(&self, node: Option<&str>, since: Instant) -> Option<Instant> {
        let deeds = self.deeds.iter().filter(|deed| deed.what == What::Wrote && deed.answer == Answer::Ok);
        let mut deeds = deeds.filter(|deed| deed.at >= since && node.is_none_or(|node| node == deed.node));
        deeds.next().map(|deed| deed.at)
    }

    /// When the hub took a counted value first after `since` on that node.
    pub(super) fn first_value(&self, node: &str, since: Instant) -> Option<Instant> {
        let mut given = self.given().into_iter().filter(|(deed, _)| deed.node == node && deed.at >= since);
        given.next().map(|(deed, _)| deed.at)
    }

    /// Whether the last command was carried out, and the last value of before `now` has arrived.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        let newest = self.commands.last().map_or(0, |(_, number)| *number);
        let given = self.given();
        let last = given.iter().rev().find(|(deed, _)| deed.at < now);
        let has_arrived = |(deed, number): &(&Deed, u64)| {
            self.arrivals.iter().rev().any(|(at, arrived)| *at >= deed.at && arrived == number)
        };
        self.carried_out().contains(&newest) && last.is_none_or(has_arrived)
    }

    /// Counted values that the hub took, or of which it is not known because the process ended.
    fn given(&self) -> Vec<(&Deed, u64)> {
        let values = self.deeds.iter().filter(|deed| deed.what == What::Gave && deed.item == self.value);
        let values = values.filter(|deed| !deed.is_marked_standby);
        let taken = values.filter(|deed| matches!(deed.answer, Answer::Ok | Answer::Unknown));
        taken.filter_map(|deed| Some((deed, deed.text.parse().ok()?))).collect()
    }

    /// Numbers of the commands in the order in which they were carried out.
    fn carried_out(&self) -> Vec<u16> {
        let writes = self.deeds.iter().filter(|deed| deed.what == What::Wrote && deed.answer == Answer::Ok);
        writes.filter_map(|deed| deed.text.parse().ok()).collect()
    }
}

impl PartFigures {
    pub(super) fn of(seen: &Evidence, window: &Window) -> Self {
        let within = |at: Instant| (window.from..window.until).contains(&at);
        let deeds: Vec<&Deed> = seen.deeds.iter().filter(|deed| within(deed.at)).collect();
        let done: Vec<Act<'_>> = deeds
            .iter()
            .filter(|deed| deed.answer == Answer::Ok && !deed.is_marked_standby)
            .map(|deed| Act { at: deed.at, node: &deed.node, is_output: true })
            .collect();
        let sent = seen.sent.iter().filter(|(at, _)| within(*at));
        let sent: Vec<Act<'_>> = sent.map(|(at, node)| Act { at: *at, node, is_output: true }).collect();
        // What was answered with a refusal was not done.
        let is_untold =
            |deed: &&&Deed| !deed.is_told_to_act && (deed.what == What::Gave || deed.answer == Answer::Ok);
        let is_fenced = |deed: &&&Deed| deed.is_told_to_act && deed.answer == Answer::Fenced;
        let mut figures = Self {
            contract: Side::of_deeds(&done, window),
            broker: Side::of_deeds(&sent, window),
            untold: deeds.iter().filter(is_untold).count() as u64,
            fenced: deeds.iter().filter(is_fenced).count() as u64,
            commands: Commands::of(&seen.commands, &seen.carried_out(), window),
            ..Self::default()
        };
        figures.count_values(seen, window, &done);
        figures
    }

    /// What was done to or by a node that does not act, however it was seen.
    pub fn stray(&self) -> u64 {
        self.contract.stray + self.broker.stray + self.untold
    }

    /// What the old node did after the first act of the new one.
    pub fn two_writers(&self) -> u64 {
        self.contract.two_writers + self.broker.two_writers
    }

    fn count_values(&mut self, seen: &Evidence, window: &Window, done: &[Act<'_>]) {
        let within = |at: Instant| (window.from..window.until).contains(&at);
        let given = seen.given();
        let numbers: Vec<u64> = given.iter().map(|(_, number)| *number).collect();
        let arrived: Vec<u64> = seen.arrivals.iter().map(|(_, number)| *number).collect();
        let pairs: BTreeMap<usize, usize> = align(&numbers, &arrived).into_iter().collect();
        for (place, (deed, _)) in given.iter().enumerate().filter(|(_, (deed, _))| within(deed.at)) {
            let is_known = deed.answer == Answer::Ok;
            self.values += u64::from(is_known);
            // The successor gave what its predecessor had given last: the broker shows it, and it is not sent once more.
            let is_shown = || {
                let neighbors = [place.checked_sub(1), place.checked_add(1)].into_iter().flatten();
                let mut neighbors = neighbors.filter_map(|other| Some((other, given.get(other)?)));
                neighbors.any(|(other, (next, number))| {
                    next.node != deed.node && *number == numbers[place] && pairs.contains_key(&other)
                })
            };
            if is_known && !pairs.contains_key(&place) && !is_shown() {
                let is_late = deed.at + IN_FLIGHT >= window.fault && deed.at <= window.fault + IN_FLIGHT;
                let died = window.is_abrupt && deed.node == window.old && is_late;
                *(if died { &mut self.values_died_with_node } else { &mut self.values_lost }) += 1;
            }
        }
        let paired: BTreeSet<usize> = pairs.values().copied().collect();
        let extra = |(place, (at, _)): &(usize, &(Instant, u64))| within(*at) && !paired.contains(place);
        self.values_doubled = seen.arrivals.iter().enumerate().filter(extra).count() as u64;

        let Some(new) = &window.new else { return };
        let is_of_new =
            |(_, (deed, _)): &(usize, &(&Deed, u64))| deed.node == *new && deed.at >= window.fault;
        let mut of_new = given.iter().enumerate().filter(is_of_new);
        let first = of_new.find_map(|(place, _)| pairs.get(&place));
        let Some((at, _)) = first.and_then(|place| seen.arrivals.get(*place)) else { return };
        let last = done.iter().rev().find(|act| act.node == window.old && act.at < *at);
        self.takeover_ms = last.map(|last| millis(*at - last.at));
        self.from_fault_ms = Some(millis(*at - window.fault));
    }

    fn problems(&self, window: &Window, limit: Duration) -> Vec<String> {
        let zero = [
            ("values lost", self.values_lost),
            ("values doubled", self.values_doubled),
            ("commands lost", self.commands.lost),
            ("commands doubled", self.commands.doubled),
            ("commands carried out after a newer one", self.commands.stale),
            ("acts by two nodes", self.contract.two_writers),
            ("messages to the broker by two nodes", self.broker.two_writers),
            ("acts on an inactive node", self.contract.stray),
            ("messages to the broker by an inactive node", self.broker.stray),
            ("acts of a plugin that was not told to act", self.untold),
        ];
        let mut problems: Vec<String> = zero
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if self.values == 0 || self.commands.sent == 0 {
            problems
                .push(format!("nothing measured: {} values, {} commands", self.values, self.commands.sent));
        }
        if window.new.is_some() {
            match self.from_fault_ms {
                None => problems.push("no takeover seen at the subscriber".to_owned()),
                Some(ms) if ms > limit.as_secs_f64() * 1000.0 => {
                    problems.push(format!("takeover took {ms:.0} ms, limit {} ms", limit.as_millis()));
                }
                Some(_) => {}
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests;
