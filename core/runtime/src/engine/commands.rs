//! Commands: journaled before they are written, their result after.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_config::OnUnprotected;
use twinhub_contract::code;
use twinhub_loader::WriteReq;
use twinhub_model::{
    Intent, IntentId, IntentKind, ItemId, Moment, Outcome, Position, Record, Value, WriteResult,
};

use super::Engine;
use super::effect::{outcome_of, to_contract};
use crate::clock;
use crate::error::CommandError;
use crate::inbox::Command;
use crate::instance::explain;
use crate::view::WriteView;

/// How long an intent waits for a standby's disk before it is written all the same.
pub(crate) const PEER_WAIT_MAX: Duration = Duration::from_millis(100);

/// Steps for one item that may wait.
const STEPS_MAX: usize = 256;

/// A plugin that answers this much after the write's own deadline has lost it.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

pub(crate) type Reply = oneshot::Sender<Result<WriteView, CommandError>>;

/// Commands of a group.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) next_id: u64,
    /// Per item: what is under way.
    pub(crate) busy: HashMap<ItemId, IntentId>,
    /// Per item: what comes next.
    pub(crate) waiting: HashMap<ItemId, VecDeque<Wanted>>,
    /// Intents that wait for a standby's disk, in journal order.
    pub(crate) unconfirmed: VecDeque<(Ready, Moment)>,
    /// As `unconfirmed`, of interfaces that do not go on without a standby.
    pub(crate) withheld: VecDeque<(Ready, Moment)>,
    /// Intents that wait for the guard or for their interface.
    pub(crate) held: VecDeque<Ready>,
    /// Under way in a plugin, by write number.
    pub(crate) sent: HashMap<u64, Sent>,
}

#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) value: Value,
    pub(crate) kind: IntentKind,
    pub(crate) cause: Position,
    pub(crate) origin: Arc<str>,
    pub(crate) reply: Option<Reply>,
}

#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) intent: IntentId,
    pub(crate) item: ItemId,
    pub(crate) value: Value,
    pub(crate) reply: Option<Reply>,
}

#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) intent: IntentId,
    pub(crate) item: ItemId,
    pub(crate) reply: Option<Reply>,
    pub(crate) lost_at: Moment,
}

impl Engine {
    /// Takes a command from the API.
    pub(crate) fn on_command(&mut self, command: Command) {
        let Command { item, value, origin, reply } = command;
        if !self.is_acting() {
            let refusal = self.not_active();
            drop(reply.send(Err(refusal)));
            return;
        }
        self.command(
            item,
            Wanted {
                value,
                kind: IntentKind::Set,
                cause: Position::START,
                origin: origin.into(),
                reply: Some(reply),
            },
        );
    }

    pub(crate) fn command(&mut self, item: ItemId, wanted: Wanted) {
        if let Some(refusal) = self.interface_of(item).and_then(|target| self.refusal(target, 1)) {
            answer(wanted.reply, Err(refusal));
            return;
        }
        if wanted.reply.is_some()
            && !self.is_answered()
            && let Some(number) = self.interface_of(item)
            && self.refuses_unprotected(number)
        {
            let refusal = self.unprotected_refusal(number);
            answer(wanted.reply, Err(refusal));
            return;
        }
        if self.commands.busy.contains_key(&item) {
            let queue = self.commands.waiting.entry(item).or_default();
            if wanted.kind == IntentKind::Set {
                let (superseded, steps) = std::mem::take(queue)
                    .into_iter()
                    .partition(|other: &Wanted| other.kind == IntentKind::Set);
                *queue = steps;
                let superseded: VecDeque<Wanted> = superseded;
                for old in superseded {
                    self.counters.superseded += 1;
                    answer(
                        old.reply,
                        Err(CommandError::Refused { why: "a newer command took its place".into() }),
                    );
                }
            } else if queue.len() >= STEPS_MAX {
                self.counters.dropped_commands += 1;
                answer(wanted.reply, Err(CommandError::Busy));
                return;
            }
            queue.push_back(wanted);
            return;
        }
        let Wanted { value, kind, cause, origin, reply } = wanted;
        let deadline = clock::utc();
        let intent = Intent { item, value: value.clone(), kind, cause, origin, deadline };
        let Some(position) = self.append(&Record::Intent(intent)) else {
            let why = "the journal takes nothing: see the event log".to_owned();
            answer(reply, Err(CommandError::Refused { why }));
            return;
        };
        self.commands.busy.insert(item, position);
        let ready = Ready { intent: position, item, value, reply };
        let deadline = clock::now() + PEER_WAIT_MAX;
        if self.interface_of(item).is_some_and(|number| self.refuses_unprotected(number)) {
            self.commands.withheld.push_back((ready, deadline));
        } else if self.is_answered() {
            self.commands.unconfirmed.push_back((ready, deadline));
        } else {
            self.note_unprotected(item);
            self.commands.held.push_back(ready);
        }
    }

    fn refuses_unprotected(&self, number: usize) -> bool {
        self.interfaces[number].port.setup.on_unprotected == OnUnprotected::Refuse
    }

    fn unprotected_refusal(&self, number: usize) -> CommandError {
        let port = &self.interfaces[number].port;
        port.counters.unprotected_refused.fetch_add(1, Ordering::Relaxed);
        let why = format!(
            "no standby has stored it within {} ms, and interface `{}` has `on_unprotected = \"refuse\"`; bring a \
             standby back",
            PEER_WAIT_MAX.as_millis(),
            port.setup.id
        );
        CommandError::Refused { why }
    }

    /// A command goes on that no standby has stored.
    fn note_unprotected(&self, item: ItemId) {
        if let Some(number) = self.interface_of(item) {
            self.interfaces[number].port.counters.unprotected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Releases intents that a standby has on disk, or that waited long enough.
    pub(crate) fn release_intents(&mut self, now: Moment) {
        let durable = self.durable_on_standby();
        if self.unanswered_since.is_some_and(|then| durable > then) {
            self.unanswered_since = None;
        }
        while let Some((ready, deadline)) = self.commands.unconfirmed.front() {
            let confirmed = ready.intent <= durable;
            if !confirmed && now < *deadline && self.has_standby_in_sync() {
                break;
            }
            if !confirmed {
                // Commands after this one do not wait until the standby answers again.
                if self.has_standby_in_sync() {
                    self.unanswered_since = Some(durable);
                }
                self.note_unprotected(ready.item);
            }
            if let Some((ready, _)) = self.commands.unconfirmed.pop_front() {
                self.commands.held.push_back(ready);
            }
        }
        self.release_withheld(durable, now);
        if self.commands.held.is_empty() || !self.is_acting() {
            return;
        }
        let held = std::mem::take(&mut self.commands.held);
        let mut batches: HashMap<usize, Vec<(u64, Ready)>> = HashMap::new();
        for ready in held {
            match self.interface_of(ready.item) {
                Some(target) if self.may_write(target, now) => {
                    self.commands.next_id += 1;
                    batches.entry(target).or_default().push((self.commands.next_id, ready));
                }
                Some(target) => match self.refusal(target, 1) {
                    Some(refusal) => {
                        answer(ready.reply, Err(refusal));
                        self.finish(ready.intent, ready.item, None, Outcome::Refused(code::NOT_ACTIVE));
                    }
                    None => self.commands.held.push_back(ready),
                },
                None => self.finish(ready.intent, ready.item, ready.reply, Outcome::Refused(code::INVALID)),
            }
        }
        for (target, batch) in batches {
            self.write_commands(target, batch, now);
        }
    }

    /// Releases what a standby has stored. What was asked for is refused when its time is over; what a link drives waits.
    fn release_withheld(&mut self, durable: Position, now: Moment) {
        for (ready, deadline) in std::mem::take(&mut self.commands.withheld) {
            if ready.intent <= durable {
                self.commands.held.push_back(ready);
            } else if ready.reply.is_some() && (now >= deadline || !self.has_standby_in_sync()) {
                if self.has_standby_in_sync() {
                    self.unanswered_since = Some(durable);
                }
                let refusal = self.interface_of(ready.item).map(|number| self.unprotected_refusal(number));
                answer(ready.reply, Err(refusal.unwrap_or(CommandError::Busy)));
                self.finish(ready.intent, ready.item, None, Outcome::Refused(code::AGAIN));
            } else {
                self.commands.withheld.push_back((ready, deadline));
            }
        }
    }

    fn write_commands(&mut self, target: usize, batch: Vec<(u64, Ready)>, now: Moment) {
        let port = Arc::clone(&self.interfaces[target].port);
        let deadline = now + port.setup.write_timeout;
        let deadline_ns = clock::contract_deadline(deadline);
        let requests = batch.iter().map(|(id, ready)| WriteReq {
            write_id: *id,
            item: ready.item.0 - port.setup.base,
            deadline_ns,
            flags: 0,
            value: to_contract(&ready.value),
        });
        let result = self.write_gated(target, requests);
        for (id, ready) in batch {
            match result {
                Ok(()) => {
                    let Ready { intent, item, reply, .. } = ready;
                    self.commands
                        .sent
                        .insert(id, Sent { intent, item, reply, lost_at: deadline + ANSWER_GRACE });
                }
                Err(refusal) => self.finish(ready.intent, ready.item, ready.reply, outcome_of(refusal)),
            }
        }
    }

    /// Gives up writes that a plugin never answered.
    pub(crate) fn expire_writes(&mut self, now: Moment) {
        let lost: Vec<u64> =
            self.commands.sent.iter().filter(|(_, sent)| now >= sent.lost_at).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(Sent { intent, item, reply, .. }) = self.commands.sent.remove(&id) {
                self.finish(intent, item, reply, Outcome::InDoubt);
            }
        }
    }

    pub(crate) fn finish(&mut self, intent: IntentId, item: ItemId, reply: Option<Reply>, outcome: Outcome) {
        if self.is_writer() && self.tracker.is_open(intent) {
            self.append(&Record::Result(WriteResult { intent, outcome }));
        }
        self.count_outcome(item, outcome);
        let key = self.table.key(item).to_owned();
        let view = WriteView {
            key,
            intent: intent.to_string(),
            outcome: outcome.to_string(),
            ok: matches!(outcome, Outcome::Done | Outcome::Confirmed),
        };
        let result = match outcome {
            Outcome::Done | Outcome::Confirmed => Ok(view),
            Outcome::Refused(code) => Err(CommandError::Refused { why: explain(code, "") }),
            Outcome::InDoubt => Err(CommandError::Timeout { seconds: self.write_timeout_of(item).as_secs() }),
            Outcome::Fenced => Err(self.not_active()),
            Outcome::Superseded => {
                Err(CommandError::Refused { why: "a newer command took its place".into() })
            }
        };
        answer(reply, result);
        self.commands.busy.remove(&item);
        if !self.is_acting() {
            return;
        }
        if let Some(queue) = self.commands.waiting.get_mut(&item) {
            let next = queue.pop_front();
            if queue.is_empty() {
                self.commands.waiting.remove(&item);
            }
            if let Some(next) = next {
                self.command(item, next);
            }
        }
    }

    /// Drops what was not handed to a plugin; what was is in doubt until the successor looks.
    pub(crate) fn abandon_commands(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        self.commands.next_id = commands.next_id;
        let refusal = self.not_active();
        let replies = commands
            .waiting
            .into_values()
            .flatten()
            .filter_map(|wanted| wanted.reply)
            .chain(commands.unconfirmed.into_iter().filter_map(|(ready, _)| ready.reply))
            .chain(commands.withheld.into_iter().filter_map(|(ready, _)| ready.reply))
            .chain(commands.held.into_iter().filter_map(|ready| ready.reply))
            .chain(commands.sent.into_values().filter_map(|sent| sent.reply));
        for reply in replies {
            answer(Some(reply), Err(refusal.clone()));
        }
    }

    /// Re-issues a command of the node before, under a new intent.
    pub(crate) fn reissue(&mut self, item: ItemId, value: Value, cause: Position, origin: Arc<str>) {
        self.command(item, Wanted { value, kind: IntentKind::Set, cause, origin, reply: None });
    }
}

fn answer(reply: Option<Reply>, result: Result<WriteView, CommandError>) {
    if let Some(reply) = reply {
        // Whoever asked may have gone.
        drop(reply.send(result));
    }
}
