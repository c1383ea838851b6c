//! Becoming active: the order of actions.
//!
//! Begin the epoch in the journal, collect what the node before left in doubt, mark what is not fresh, order
//! `active`: first to interfaces that claim what only one node can hold, then one order class after the other.
//! Replay what the ring holds uncovered, let streams read on from their cursor behind the mirror, hold
//! outputs of guarded interfaces until the guard is over, then settle what is in doubt: a `set` is read back
//! and written again only if the device shows something else. Gates open in order of class, too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use twinhub_contract::role;
use twinhub_model::{
    Epoch, IntentId, IntentKind, ItemId, Moment, Outcome, Position, Quality, Record, Sample, SampleFlags,
    Severity, Timestamp, Value, WriteResult,
};
use twinhub_redundancy::{Input, Reason};

use super::quorum::ALONE;
use super::steps::Step;
use super::{Engine, Phase};
use crate::clock;
use crate::instance::ROLE_MAX;

/// A stage of the activation that has not answered holds up the next one for this long.
const STAGE_MAX: Duration = Duration::from_secs(1);
/// A command in doubt waits this long for the device to be read.
const READ_BACK_MAX: Duration = Duration::from_secs(30);

/// On the way to active.
#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) epoch: Epoch,
    pub(crate) reached: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    /// Interfaces that have not answered, ordered or not.
    pub(crate) left: BTreeSet<usize>,
    /// Interfaces to be ordered, one stage after the other.
    stages: VecDeque<Vec<usize>>,
    /// Those of the present stage that have not answered.
    waiting: BTreeSet<usize>,
    /// The next stage waits no longer than this.
    stage_until: Moment,
    /// Whether the present stage claims what only one node can hold.
    claims: bool,
    /// Whether inputs have begun.
    connected: bool,
    /// Interfaces that wait for that with what they publish.
    turned: Vec<(usize, u64)>,
}

/// A command that the node before may or may not have carried out, or never began.
#[derive(Debug)]
pub(crate) struct Recovering {
    /// The intent in doubt; `None` if there was none yet.
    intent: Option<IntentId>,
    item: ItemId,
    value: Value,
    cause: Position,
    origin: Arc<str>,
    readable: bool,
    since: Moment,
    /// When the item had been received last, by whatever clock. Any other time means that it was read since: which is
    /// the later one does not follow from wall clocks, which are set, and differ between nodes.
    received: Timestamp,
}

impl Engine {
    pub(crate) fn on_activate(
        &mut self,
        epoch: Epoch,
        transfer: bool,
        guard_until: Moment,
        unquorate: bool,
        reason: &Reason,
    ) {
        self.begin_steps(clock::now());
        tracing::info!(group = %self.group, %epoch, transfer, unquorate, reason = self.shared.say(reason), "taking over");
        let dictionary = self.table.dictionary();
        let begun = self.journal.set_dictionary(&dictionary).and_then(|()| self.journal.begin_epoch(epoch));
        if let Err(error) = begun {
            self.journal_failed(&error);
            self.tell(Input::StepFailed { step: format!("journal: {error}") });
            return;
        }
        if std::mem::take(&mut self.replication.lacks_copy) {
            let text = "this node acts with the values of its own journal, which does not begin at the beginning (a full copy \
                        was lost in a restart, or old records were deleted): items that did not change since are not known \
                        until they are read";
            self.event(Severity::Info, "journal", "TH-JOURNAL-004", text);
        }
        self.replication.become_sender();
        let resyncing: Vec<_> = self
            .interfaces
            .iter()
            .filter(|interface| interface.port.setup.resyncs)
            .map(|interface| interface.port.item_range())
            .collect();
        let table = &self.table;
        self.routes.begin_epoch(
            |item| resyncing.iter().any(|range| range.contains(&item.0)),
            |item| {
                let shown = table.read(item);
                if shown.quality.is_bad() { Value::Null } else { shown.value }
            },
        );
        self.guard_until = guard_until;
        self.set_quorate(!unquorate);
        let relevant: BTreeSet<usize> =
            self.relevant().filter(|number| !self.down.contains(number) && !self.is_off(*number)).collect();
        self.phase = Phase::Activating(Activation {
            epoch,
            reached: BTreeSet::new(),
            failed: BTreeSet::new(),
            left: relevant.clone(),
            stages: self.stages(&relevant),
            waiting: BTreeSet::new(),
            stage_until: Moment::ZERO,
            claims: false,
            connected: false,
            turned: Vec::new(),
        });
        self.step(Step::EpochBegun);
        self.role_record(epoch, "standby", if unquorate { ALONE } else { "active" }, reason);
        if unquorate {
            self.tell_restrictions();
        }
        let since = clock::now();
        // Before anybody is told to be active, and publishes: the item table takes values at once.
        self.begin_streams(since);
        self.collect_doubts(since);
        self.step(Step::DoubtsCollected);
        self.advance_activation(since);
    }

    /// What is not fresh is uncertain. An interface may publish as soon as it is told to be active, so this comes before.
    fn doubt_inputs(&mut self) {
        for number in self.relevant().collect::<Vec<_>>() {
            let port = Arc::clone(&self.interfaces[number].port);
            if port.setup.standby_role != role::HOT {
                for item in port.item_range().map(ItemId).filter(|item| self.table.quality(*item).is_good()) {
                    self.table.requalify(item, Quality::UNCERTAIN_LAST_USABLE);
                }
            }
        }
        self.doubt_inputs_that_are_off();
        self.step(Step::InputsDoubted);
    }

    /// Inputs begin: streams read on, and the ring gives what only this node has.
    fn connect_inputs(&mut self, epoch: Epoch) {
        self.begin_alarms(epoch);
        self.replay_ring();
        self.bury_orphans();
        self.give_heard(clock::now());
        self.step(Step::RingReplayed);
        if let Phase::Activating(activation) = &mut self.phase {
            for (interface, turn) in std::mem::take(&mut activation.turned) {
                self.interfaces[interface].port.begin(turn);
            }
        }
    }

    /// Whether inputs have begun: what comes from here on is news, and what was heard before is in the journal.
    pub(crate) const fn has_begun_inputs(&self) -> bool {
        match &self.phase {
            Phase::Activating(activation) => activation.connected,
            Phase::Active { .. } => true,
            Phase::Standby | Phase::Draining(_) | Phase::Closing(_) => false,
        }
    }

    /// An interface turned active, and what it heard before has been dealt with, unless inputs have not begun.
    pub(crate) fn on_turned(&mut self, interface: usize, turn: u64) {
        if let Phase::Activating(activation) = &mut self.phase
            && !activation.connected
        {
            activation.turned.push((interface, turn));
        } else {
            self.interfaces[interface].port.begin(turn);
        }
    }

    /// The order in which interfaces are told to be active: those first that claim what only one node can hold,
    /// which keeps the node before from acting, then one order class after the other.
    fn stages(&self, relevant: &BTreeSet<usize>) -> VecDeque<Vec<usize>> {
        let mut stages: BTreeMap<(bool, u8), Vec<usize>> = BTreeMap::new();
        for number in relevant {
            let setup = &self.interfaces[*number].port.setup;
            let class = if setup.sequence.exclusive { 0 } else { setup.sequence.order };
            stages.entry((!setup.sequence.exclusive, class)).or_default().push(*number);
        }
        stages.into_values().collect()
    }

    /// Orders the next stage when the one before has answered, and ends the activation after the last. One that
    /// does not answer holds the others up for a second at most.
    pub(crate) fn advance_activation(&mut self, now: Moment) {
        loop {
            let Phase::Activating(activation) = &mut self.phase else { return };
            if !activation.waiting.is_empty() && now < activation.stage_until {
                return;
            }
            let (epoch, claimed) = (activation.epoch, std::mem::take(&mut activation.claims));
            let next = activation.stages.pop_front();
            if let Some(stage) = &next {
                activation.waiting = stage.iter().copied().collect();
                activation.stage_until = now + STAGE_MAX;
            }
            if claimed {
                self.step(Step::ExclusiveClaimed);
            }
            let stage = next.unwrap_or_default();
            let is_last = stage.is_empty();
            let claims =
                stage.first().is_some_and(|number| self.interfaces[*number].port.setup.sequence.exclusive);
            let Phase::Activating(activation) = &mut self.phase else { return };
            activation.claims = claims;
            let begins = !claims && !std::mem::replace(&mut activation.connected, !claims);
            if begins {
                self.doubt_inputs();
            }
            for number in stage {
                self.give_state(number);
                self.interfaces[number].set_role(role::ACTIVE, epoch, now + ROLE_MAX);
            }
            if !claims && !is_last {
                self.step(Step::ClassOrdered);
            }
            // The orders are under way while the ring is replayed.
            if begins {
                self.connect_inputs(epoch);
            }
            if is_last {
                return self.finish_activation();
            }
        }
    }

    /// What the ring received and the node before did not journal goes through the same door as live values.
    fn replay_ring(&mut self) {
        let mut samples = self.replication.drain_ring(&self.table);
        mark_old(&mut samples);
        self.replay(samples);
    }

    /// Values of a hot interface that this node received while it was no active one go through the same door: all
    /// to the journal, the newest to table and links, and every one to links if every one counts.
    pub(crate) fn replay(&mut self, samples: Vec<Sample>) {
        let mut changed = Vec::new();
        // What went and came back is what the table has, and yet the end of what the journal gets.
        let mut went = BTreeSet::new();
        for mut sample in samples {
            sample.flags = sample.flags.with(SampleFlags::REPLAY);
            let is_old = sample.flags.contains(SampleFlags::OLD);
            let stored = !is_old
                && self.table.store(
                    sample.item,
                    &sample.value,
                    sample.quality,
                    sample.source,
                    sample.server,
                    sample.flags,
                );
            if is_old {
                went.insert(sample.item);
            }
            if stored || sample.flags.contains(SampleFlags::EVENT) || went.contains(&sample.item) {
                changed.push(sample);
            }
        }
        if !changed.is_empty() {
            tracing::info!(group = %self.group, values = changed.len(), "replaying what only this node received");
            self.on_published(&changed.into_iter().collect());
        }
    }

    /// Commands without a result, and driving items that are newer than the last command they caused.
    fn collect_doubts(&mut self, since: Moment) {
        let open: Vec<(IntentId, twinhub_model::Intent)> =
            self.tracker.open().map(|(position, intent)| (*position, intent.clone())).collect();
        for (position, intent) in open {
            if intent.item.index() >= self.table.len() {
                continue;
            }
            match intent.kind {
                IntentKind::Set => self.recovering.push(Recovering {
                    intent: Some(position),
                    item: intent.item,
                    value: intent.value,
                    cause: intent.cause,
                    origin: intent.origin,
                    readable: self.is_readable(intent.item),
                    since,
                    received: self.table.received(intent.item),
                }),
                IntentKind::Step => {
                    self.append(&Record::Result(WriteResult { intent: position, outcome: Outcome::InDoubt }));
                    self.doubt_event(intent.item, &intent.value);
                }
            }
        }
        self.collect_driven(since, |_| true);
    }

    /// A majority is back: what drives interfaces that were held back drives them once, and what they left in
    /// doubt has its time to be read.
    pub(crate) fn drive_again(&mut self, now: Moment) {
        let held_back: BTreeSet<usize> = self.restricted().into_iter().collect();
        for doubt in &mut self.recovering {
            doubt.since = now;
        }
        self.collect_driven(now, |target| held_back.contains(&target));
    }

    /// Driving items that are newer than the last command they caused.
    fn collect_driven(&mut self, since: Moment, wanted: impl Fn(usize) -> bool) {
        let driven: Vec<(u32, ItemId, ItemId, Arc<str>, IntentKind)> = self
            .routes
            .iter()
            .filter(|(_, route)| !route.way.stream && wanted(route.way.target))
            .map(|(number, route)| {
                (number, route.from, route.to, Arc::clone(&route.way.origin), route.way.kind)
            })
            .collect();
        for (number, from, to, origin, kind) in driven {
            let Some(at) = self.tracker.source(from) else { continue };
            let last = self.tracker.last(to);
            let newer = last.is_none_or(|last| at > last.cause);
            if !newer || kind == IntentKind::Step || self.recovering.iter().any(|other| other.item == to) {
                continue;
            }
            let source = self.table.read(from);
            if source.quality.is_bad() || source.value == Value::Null {
                continue;
            }
            let Some(value) = self.routes.pass(number, &source.value, at, since) else { continue };
            if last
                .is_some_and(|last| last.value.is_equivalent(&value) && last.outcome == Some(Outcome::Done))
            {
                continue;
            }
            let readable = self.is_readable(to);
            self.recovering.push(Recovering {
                intent: None,
                item: to,
                value,
                cause: at,
                origin,
                readable,
                since,
                received: self.table.received(to),
            });
        }
    }

    fn is_readable(&self, item: ItemId) -> bool {
        self.table.meta(item).access.contains('r')
    }

    /// Settles doubts whose item was read, and reports that the gates are open.
    pub(crate) fn advance_takeover(&mut self, now: Moment) {
        if !self.is_acting() {
            return;
        }
        self.advance_activation(now);
        if !self.recovering.is_empty() {
            self.settle_doubts(now);
        }
        if self.timeline.settling && self.recovering.is_empty() && self.is_guard_over(now) {
            self.timeline.settling = false;
            self.step(Step::DoubtsSettled);
            tracing::info!(group = %self.group, steps = %self.timeline, "nothing is in doubt");
        }
    }

    fn settle_doubts(&mut self, now: Moment) {
        let doubts = std::mem::take(&mut self.recovering);
        for doubt in doubts {
            if self.is_overtaken(&doubt) {
                if let Some(intent) = doubt.intent {
                    self.append(&Record::Result(WriteResult { intent, outcome: Outcome::Superseded }));
                    self.count_outcome(doubt.item, Outcome::Superseded);
                }
                continue;
            }
            let writable = self.interface_of(doubt.item).is_some_and(|target| self.may_write(target, now));
            let fresh =
                self.table.received(doubt.item) != doubt.received && self.table.quality(doubt.item).is_good();
            let overdue = now.since(doubt.since) > READ_BACK_MAX;
            if !writable || (doubt.readable && !fresh && !overdue) {
                self.recovering.push(doubt);
                continue;
            }
            let shown = fresh && self.table.read(doubt.item).value.is_equivalent(&doubt.value);
            if let Some(intent) = doubt.intent {
                let outcome = if shown { Outcome::Confirmed } else { Outcome::InDoubt };
                self.append(&Record::Result(WriteResult { intent, outcome }));
                self.count_outcome(doubt.item, outcome);
            }
            if doubt.readable && !fresh {
                self.doubt_event(doubt.item, &doubt.value);
            } else if !shown {
                self.reissue(doubt.item, doubt.value, doubt.cause, doubt.origin);
            }
        }
    }

    /// Whether a newer command for the same item has been given since: writing the older one after it would
    /// turn the item back.
    fn is_overtaken(&self, doubt: &Recovering) -> bool {
        self.tracker.last(doubt.item).is_some_and(|last| match doubt.intent {
            Some(intent) => last.intent > intent,
            None => last.cause > doubt.cause,
        })
    }

    fn doubt_event(&mut self, item: ItemId, value: &Value) {
        let key = self.table.key(item).to_owned();
        let text = format!(
            "it is not known whether {value} was written to `{key}` before the takeover: look at the device and \
             repeat the command if needed"
        );
        self.event(Severity::Warning, &key, "TH-COMMAND-001", &text);
    }

    pub(crate) fn on_role_reached(
        &mut self,
        interface: usize,
        reached: u32,
        epoch: Epoch,
        result: &Result<(), String>,
    ) {
        if let Err(why) = result {
            let id = self.interfaces[interface].port.setup.id.clone();
            tracing::warn!(interface = %id, why, "interface did not reach its role");
        }
        match &mut self.phase {
            Phase::Activating(activation) if activation.epoch == epoch && reached == role::ACTIVE => {
                if activation.left.remove(&interface) {
                    activation.waiting.remove(&interface);
                    if result.is_ok() {
                        activation.reached.insert(interface);
                    } else {
                        activation.failed.insert(interface);
                    }
                }
                self.advance_activation(clock::now());
            }
            Phase::Closing(_) | Phase::Draining(_) => self.on_left(interface, reached),
            Phase::Standby | Phase::Activating(_) | Phase::Active { .. } => {}
        }
    }

    /// Orders the role that interfaces have already, which makes them announce themselves again. One that only
    /// polls has told nobody anything.
    pub(crate) fn on_announce(&mut self, epoch: Epoch) {
        if !matches!(self.phase, Phase::Active { epoch: acting } if acting == epoch) {
            return;
        }
        for number in self.relevant().filter(|number| !self.down.contains(number) && !self.is_off(*number)) {
            let interface = &self.interfaces[number];
            if !interface.port.setup.resyncs {
                interface.set_role(role::ACTIVE, epoch, clock::now() + ROLE_MAX);
            }
        }
    }

    fn finish_activation(&mut self) {
        let Phase::Activating(activation) = &self.phase else { return };
        if !activation.left.is_empty() {
            return;
        }
        let epoch = activation.epoch;
        let broken = activation
            .failed
            .iter()
            .chain(self.down.iter())
            .find(|number| self.interfaces[**number].port.setup.required)
            .map(|number| self.interfaces[*number].port.setup.id.clone());
        if let Some(id) = broken {
            self.tell(Input::StepFailed { step: format!("interface `{id}` did not become active") });
        }
        self.phase = Phase::Active { epoch };
        self.step(Step::GatesOpen);
        self.tell(Input::GatesOpen);
        tracing::info!(group = %self.group, %epoch, steps = %self.timeline, "gates are open");
        self.timeline.settling = true;
    }

    /// Whether all required interfaces of lower order classes are open: field before logic before messengers.
    pub(crate) fn is_turn_of(&self, target: usize, activation: &Activation) -> bool {
        let order = self.interfaces[target].port.setup.sequence.order;
        activation.left.iter().all(|number| {
            let setup = &self.interfaces[*number].port.setup;
            !setup.required || setup.sequence.order >= order
        })
    }

    pub(crate) fn takeover_due(&self) -> Option<Moment> {
        if !self.recovering.is_empty() {
            return Some(clock::now() + Duration::from_millis(5));
        }
        match &self.phase {
            Phase::Draining(_) => Some(clock::now() + Duration::from_millis(2)),
            Phase::Activating(activation) => Some(activation.stage_until),
            Phase::Active { .. } if self.timeline.settling => Some(clock::now() + Duration::from_millis(2)),
            Phase::Standby | Phase::Active { .. } | Phase::Closing(_) => None,
        }
    }

    /// Interfaces that switch with the group.
    pub(crate) fn relevant(&self) -> impl Iterator<Item = usize> + '_ {
        self.interfaces
            .iter()
            .enumerate()
            .filter(|(_, interface)| interface.port.setup.relevant)
            .map(|(number, _)| number)
    }
}

/// Marks what is older than another sample of its item as that, unless every one counts.
fn mark_old(samples: &mut [Sample]) {
    let mut seen = BTreeSet::new();
    for sample in samples.iter_mut().rev() {
        let is_last = seen.insert(sample.item);
        if !is_last && !sample.flags.contains(SampleFlags::EVENT) {
            sample.flags = sample.flags.with(SampleFlags::OLD);
        }
    }
}
