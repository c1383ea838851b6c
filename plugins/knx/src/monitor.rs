//! What was seen on the bus: the last telegrams, the last of each group, and numbers.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;
use twinhub_knx_protocol::cemi::{Destination, Tpdu};
use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, LData, Payload, Priority};
use twinhub_plugin::unix_ns;

/// A telegram.
#[derive(Clone, Debug)]
pub(crate) struct Telegram {
    /// Grows by one with each.
    pub number: u64,
    pub unix_ns: i64,
    pub source: IndividualAddress,
    pub destination: Destination,
    pub service: &'static str,
    pub payload: Option<Payload>,
    pub priority: Priority,
    pub is_own: bool,
}

/// The last value of a group.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub count: u64,
    pub unix_ns: i64,
    pub source: IndividualAddress,
    pub payload: Option<Payload>,
}

/// Counted since the instance began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub received: u64,
    pub filtered: u64,
    pub sent: u64,
    pub refused: u64,
    pub unknown: u64,
    pub not_sent: u64,
    pub overflow: u64,
    pub suppressed: u64,
    pub expired: u64,
    pub reads_asked: u64,
    pub reads_answered: u64,
    pub reads_unanswered: u64,
    pub answers: u64,
    pub lost_by_routers: u64,
    pub attempts: u64,
    pub connections: u64,
}

/// The connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub way: String,
    pub address: Option<IndividualAddress>,
    pub channel: Option<u8>,
    pub since: Option<Instant>,
    pub last_error: Option<(Instant, String)>,
    pub machine: Vec<(&'static str, u64)>,
    pub foreign: u64,
    pub is_paused_until: Option<Instant>,
    pub reads: (usize, usize, usize),
    pub under_way: usize,
    pub reclaimed: Option<(u8, String)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    telegrams: VecDeque<Telegram>,
    number: u64,
    groups: BTreeMap<GroupAddress, Seen>,
    groups_left_out: u64,
    /// Telegrams of each of the last seconds, the present one last.
    seconds: VecDeque<u32>,
    second: Option<Instant>,
    pub counts: Counts,
    pub connection: Connection,
}

impl Monitor {
    /// A telegram of somebody else, or one of this node that the bus has.
    pub(crate) fn note(&mut self, telegram: &LData, source: IndividualAddress, is_own: bool) {
        let now = unix_ns();
        self.number += 1;
        let (service, payload) = match &telegram.tpdu {
            Tpdu::Data { apdu, .. } => match apdu {
                Apdu::GroupValueRead => ("read", None),
                Apdu::GroupValueResponse(payload) => ("response", Some(payload.clone())),
                Apdu::GroupValueWrite(payload) => ("write", Some(payload.clone())),
                Apdu::Other { .. } => ("other", None),
            },
            Tpdu::Control(_) => ("control", None),
        };
        if let Some((group, _)) = telegram.group_apdu() {
            self.note_group(group, source, payload.as_ref(), now);
        }
        if self.telegrams.len() >= TELEGRAMS_MAX {
            self.telegrams.pop_front();
        }
        self.telegrams.push_back(Telegram {
            number: self.number,
            unix_ns: now,
            source,
            destination: telegram.destination,
            service,
            payload,
            priority: telegram.control.priority,
            is_own,
        });
        self.turn();
        if let Some(second) = self.seconds.back_mut() {
            *second = second.saturating_add(1);
        }
    }

    fn note_group(
        &mut self,
        group: GroupAddress,
        source: IndividualAddress,
        payload: Option<&Payload>,
        now: i64,
    ) {
        if !self.groups.contains_key(&group) && self.groups.len() >= GROUPS_MAX {
            self.groups_left_out += 1;
            return;
        }
        let seen = self.groups.entry(group).or_insert(Seen { count: 0, unix_ns: now, source, payload: None });
        seen.count += 1;
        // A question has no value.
        if payload.is_some() {
            (seen.unix_ns, seen.source, seen.payload) = (now, source, payload.cloned());
        }
    }

    /// Lets seconds pass.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut second = *self.second.get_or_insert(now);
        if self.seconds.is_empty() {
            self.seconds.push_back(0);
        }
        let passed = now.saturating_duration_since(second).as_secs();
        if passed > SECONDS_MAX as u64 {
            self.seconds.clear();
            self.seconds.push_back(0);
            second = now;
        } else {
            for _ in 0..passed {
                self.seconds.push_back(0);
                second += std::time::Duration::from_secs(1);
            }
        }
        self.second = Some(second);
        while self.seconds.len() > SECONDS_MAX {
            self.seconds.pop_front();
        }
    }

    /// Telegrams per second, the mean of the last whole seconds.
    pub(crate) fn per_second(&mut self) -> f64 {
        self.turn();
        let whole = self.seconds.len().saturating_sub(1);
        let sum: u32 = self.seconds.iter().take(whole).sum();
        if whole == 0 { 0.0 } else { f64::from(sum) / f64::from(u32::try_from(whole).unwrap_or(u32::MAX)) }
    }

    /// Telegrams with a higher number, the oldest first.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Telegram> {
        self.telegrams.iter().filter(move |telegram| telegram.number > number)
    }

    /// Number of the last telegram.
    pub(crate) const fn last(&self) -> u64 {
        self.number
    }

    /// Groups behind one, with what was seen of them.
    pub(crate) fn groups_after(
        &self,
        after: Option<GroupAddress>,
    ) -> impl Iterator<Item = (GroupAddress, &Seen)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.groups.range((from, std::ops::Bound::Unbounded)).map(|(group, seen)| (*group, seen))
    }

    /// Groups seen, and telegrams to others for which there was no room.
    pub(crate) fn groups(&self) -> (usize, u64) {
        (self.groups.len(), self.groups_left_out)
    }

    pub(crate) fn failed(&mut self, cause: &str) {
        let text = cause.chars().take(ERROR_CHARS_MAX).collect();
        self.connection.last_error = Some((Instant::now(), text));
    }
}

/// Telegrams that are kept.
pub(crate) const TELEGRAMS_MAX: usize = 1_000;
/// Groups that are kept.
const GROUPS_MAX: usize = 20_000;
/// A minute of bus load.
const SECONDS_MAX: usize = 61;
const ERROR_CHARS_MAX: usize = 400;
