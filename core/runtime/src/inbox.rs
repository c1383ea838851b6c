//! The one door into a group's engine.
//!
//! Values wait in a bounded lane; a plugin that meets a full lane is told to try again and keeps the newest
//! value of each item. Everything else (roles, results, peers, commands) waits in a lane of its own that is
//! served first, so that a flood of values never delays a role change.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_documents::Entry;
use twinhub_loader::Change;
use twinhub_model::{Epoch, Event, Moment, NodeRank, Position, Value};
use twinhub_redundancy::Reason;
use twinhub_replica::Message;

use crate::bundle::Bundle;
use crate::engine::alarms::AlarmJob;
use crate::engine::deliveries::{DeliveryOrder, Gifted};
use crate::engine::merging::MergesAsk;
use crate::engine::upgrade::UpgradeOrder;
use crate::error::CommandError;
use crate::history::{JournalAsk, Twins};
use crate::peer::Link;
use crate::view::{RoleChangeView, WriteView};

/// Values that may wait for one engine: about two seconds of the fastest published competitor.
pub(crate) const PENDING_VALUES_MAX: usize = 262_144;
/// Commands that may wait for one engine.
pub(crate) const PENDING_COMMANDS_MAX: usize = 4_096;

/// What an engine is asked to do or told about.
#[derive(Debug)]
pub(crate) enum Job {
    /// An active instance published changed values; they are in the item table already. `from` is the interface if it
    /// wants to know when they are accepted.
    Published { samples: Bundle, from: Option<usize> },
    /// A standby instance received values.
    Received { samples: Bundle, from: Option<usize> },
    /// A plugin finished writes.
    Written { results: Vec<Written> },
    /// An instance turned active: what it heard before stands before this, and it publishes nothing until the engine has
    /// come to it.
    Turned { interface: usize, turn: u64 },
    /// Nothing of an instance is heard in this epoch any more; what was taken before stands before this.
    InputsClosed { interface: usize, epoch: Epoch },
    /// An instance reached a role, or failed to.
    RoleReached { interface: usize, role: u32, epoch: Epoch, result: Result<(), String> },
    /// An instance is loaded, started and has its items, or failed to.
    Ready { interface: usize, result: Result<(), String> },
    /// An instance cannot go on.
    Faulted { interface: usize, cause: String },
    /// An instance changed what it keeps by key.
    Put { interface: usize, change: Change },
    /// An instance gave an event.
    Given(Box<Gifted>),
    /// An instance says what became of an event that it was brought. `life` tells it from its successors.
    Acknowledged { interface: usize, number: u64, code: i32, life: u64 },
    /// An operator wants something of an event that cannot be delivered.
    Delivery(DeliveryOrder),
    /// The state of its plugin, if it keeps one.
    State { interface: usize, state: Option<(u32, Vec<u8>)> },
    /// Its plugin did not take over a state.
    StateRefused { interface: usize, cause: String },
    /// Its plugin faulted too often in this process and goes on in one of its own.
    Quarantined { interface: usize, cause: String },
    /// An instance of another version of its plugin is ready to take its place, or cannot be.
    Prepared { interface: usize, result: Result<(), String> },
    /// That one has taken its place, or has not and the one before runs on.
    Swapped { interface: usize, result: Result<(), String> },
    /// The version on trial faulted, and the one before has its place again.
    FellBack { interface: usize, cause: String },
    /// A plugin has completed a batch of values of other interfaces.
    ValuesDone { interface: usize, op: u64, code: i32 },
    /// An operator wants another instance.
    Renew { interface: usize, operation: u64, by: String },
    /// The plugin of some interfaces is to be changed.
    Upgrade(Box<UpgradeOrder>),
    /// The control thread orders a role.
    Activate { epoch: Epoch, transfer: bool, guard_until: Moment, unquorate: bool, reason: Reason },
    /// The majority behind an epoch was lost, or is back.
    Quorum { epoch: Epoch, quorate: bool, reason: Reason },
    /// Stop acting in order.
    Drain { epoch: Epoch, to: Option<NodeRank>, deadline: Moment, reason: Reason },
    /// Stop acting at once.
    Close { epoch: Epoch, reason: Reason, abort_links: bool },
    /// Tell everyone again who acts.
    Announce { epoch: Epoch },
    /// Follow this node.
    Follow { active: Option<NodeRank>, epoch: Epoch },
    /// Someone wants an item written.
    Command(Command),
    /// A data connection came up.
    PeerUp { peer: NodeRank, link: Link },
    /// A data connection went down.
    PeerDown { peer: NodeRank, path: u8 },
    /// A peer's replication message.
    Peer { peer: NodeRank, message: Message },
    /// A reader wants journal entries after a position.
    Read { after: Position, reply: oneshot::Sender<ReadAnswer> },
    /// The history reads on.
    Journal(JournalAsk),
    /// The history says which telegrams that are taken in it has already.
    Twins { number: u32, twins: Twins },
    /// The disk has taken journal bytes, or refused them.
    Synced(twinhub_store::SyncOutcome),
    /// A closed file of the journal was read again.
    Scrubbed(twinhub_store::Scrubbed),
    /// About alarms.
    Alarms(Box<AlarmJob>),
    /// Start over with a full copy from the active node.
    Resync,
    /// Something worth keeping for an operator.
    Note(Box<Note>),
    /// A node is to be told of a request that is carried over to it; answers whether it was.
    Vouch { to: NodeRank, word: Vec<u8>, done: tokio::sync::oneshot::Sender<bool> },
    /// Someone wants to know what was joined after splits.
    Merges(MergesAsk),
    /// Someone wants to change documents.
    Propose(Box<Proposal>),
    /// Stop the instances and end.
    Stop { done: std::sync::mpsc::SyncSender<()> },
}

/// What happened on a thread that must not wait for a disk.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) event: Event,
    /// A role change that is remembered and not stored yet.
    pub(crate) role: Option<RoleChangeView>,
}

impl From<Event> for Job {
    fn from(event: Event) -> Job {
        Job::Note(Box::new(Note { event, role: None }))
    }
}

/// Finished writes with the same answer: one command, or neighbors of one batch of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Number of the first.
    pub(crate) id: u64,
    /// Contract code.
    pub(crate) code: i32,
    pub(crate) count: u32,
}

impl Written {
    /// Takes a plugin's answers together as far as the engine does not tell them apart.
    pub(crate) fn gather(answers: impl Iterator<Item = (u64, i32)>) -> Vec<Written> {
        let mut gathered: Vec<Written> = Vec::new();
        for (id, code) in answers {
            match gathered.last_mut() {
                Some(last) if is_stream(id) && batch_of(last.id) == batch_of(id) && last.code == code => {
                    last.count = last.count.saturating_add(1);
                }
                Some(_) | None => gathered.push(Written { id, code, count: 1 }),
            }
        }
        gathered
    }
}

/// A request to write one item.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) item: twinhub_model::ItemId,
    pub(crate) value: Value,
    pub(crate) origin: String,
    pub(crate) reply: oneshot::Sender<Result<WriteView, CommandError>>,
}

/// A change of documents, or a piece of a file that one will name.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) entry: Entry,
    /// Whether it is made only if a majority of the nodes can have it.
    pub(crate) majority: bool,
    pub(crate) reply: oneshot::Sender<Result<Recorded, CommandError>>,
}

/// A change of documents that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Where it is in the journal.
    pub(crate) position: Position,
    /// Whether a majority of the nodes has it on disk.
    pub(crate) confirmed: bool,
}

/// A part of the journal for a reader.
#[derive(Debug)]
pub(crate) struct ReadAnswer {
    /// Entries in order.
    pub(crate) entries: Vec<(Position, twinhub_model::Record)>,
    /// Whether the reader's position is no longer, or not, in this journal.
    pub(crate) gap: bool,
    /// The last position of the journal.
    pub(crate) last: Position,
}

/// The door.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    lanes: Mutex<Lanes>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    urgent: VecDeque<Job>,
    values: VecDeque<Job>,
    pending_values: usize,
    /// Room kept for values that are still being read.
    reserved_values: usize,
    pending_commands: usize,
    waiting: Waiting,
}

/// What the engine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Waiting {
    /// It works.
    #[default]
    No,
    /// For anything.
    Any,
    /// Only for urgent jobs: values are gathered for a moment.
    Urgent,
}

impl Inbox {
    /// Puts a job into the urgent lane.
    pub(crate) fn push(&self, job: Job) {
        let mut lanes = self.lanes();
        lanes.urgent.push_back(job);
        self.wake(lanes, true);
    }

    /// Puts a job that can wait as long as values can into the value lane.
    pub(crate) fn push_later(&self, job: Job) {
        let mut lanes = self.lanes();
        lanes.values.push_back(job);
        self.wake(lanes, false);
    }

    /// Puts a command into the urgent lane; gives it back if too many wait.
    pub(crate) fn push_command(&self, command: Command) -> Result<(), Command> {
        let mut lanes = self.lanes();
        if lanes.pending_commands >= PENDING_COMMANDS_MAX {
            return Err(command);
        }
        lanes.pending_commands += 1;
        lanes.urgent.push_back(Job::Command(command));
        self.wake(lanes, true);
        Ok(())
    }

    /// Keeps room for `count` more values, if they fit.
    pub(crate) fn reserve(&self, count: usize) -> bool {
        let mut lanes = self.lanes();
        let fits = lanes.pending_values + lanes.reserved_values + count <= PENDING_VALUES_MAX;
        if fits {
            lanes.reserved_values += count;
        }
        fits
    }

    /// Puts values into the room that was kept for `reserved`, or none of them.
    pub(crate) fn push_reserved(&self, reserved: usize, job: Option<(Job, usize)>) {
        let mut lanes = self.lanes();
        lanes.reserved_values -= reserved;
        let Some((job, count)) = job else { return };
        lanes.pending_values += count;
        lanes.values.push_back(job);
        self.wake(lanes, false);
    }

    /// Takes all waiting jobs, urgent ones first; waits for one for at most `patience`. Values alone are taken
    /// only after `gather`, so that under load many are taken at once.
    pub(crate) fn take(&self, out: &mut Vec<Job>, patience: Duration, gather: Duration) {
        let mut lanes = self.lanes();
        if lanes.urgent.is_empty() && !gather.is_zero() {
            lanes = self.wait(lanes, gather.min(patience), Waiting::Urgent);
        }
        let patience = patience.saturating_sub(gather);
        if lanes.urgent.is_empty() && lanes.values.is_empty() && !patience.is_zero() {
            lanes = self.wait(lanes, patience, Waiting::Any);
        }
        out.extend(lanes.urgent.drain(..));
        out.extend(lanes.values.drain(..));
        lanes.pending_values = 0;
        lanes.pending_commands = 0;
    }

    fn wait<'a>(
        &self,
        mut lanes: MutexGuard<'a, Lanes>,
        patience: Duration,
        waiting: Waiting,
    ) -> MutexGuard<'a, Lanes> {
        lanes.waiting = waiting;
        lanes = self.arrived.wait_timeout(lanes, patience).unwrap_or_else(PoisonError::into_inner).0;
        lanes.waiting = Waiting::No;
        lanes
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, lanes: MutexGuard<'_, Lanes>, urgent: bool) {
        let waited_for = match lanes.waiting {
            Waiting::No => false,
            Waiting::Any => true,
            Waiting::Urgent => urgent,
        };
        drop(lanes);
        if waited_for {
            self.arrived.notify_one();
        }
    }
}

/// Marks the number of a write that belongs to a stream.
pub(crate) const STREAM_BIT: u64 = 1 << 63;

/// The stream and batch that a write number belongs to.
pub(crate) const fn batch_of(id: u64) -> u64 {
    id >> 16
}

/// Whether this write number belongs to a stream.
pub(crate) const fn is_stream(id: u64) -> bool {
    id & STREAM_BIT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_change_overtakes_values() {
        let inbox = Inbox::default();
        assert!(inbox.reserve(1));
        inbox.push_reserved(1, Some((values(), 1)));
        inbox.push(Job::Resync);
        let mut jobs = Vec::new();
        inbox.take(&mut jobs, Duration::ZERO, Duration::ZERO);
        assert!(matches!(jobs[..], [Job::Resync, Job::Published { .. }]));
    }

    #[test]
    fn answers_to_one_batch_of_a_stream_come_together() {
        let batch = |stream: u64, batch: u64, place: u64| STREAM_BIT | stream << 48 | batch << 16 | place;
        let answers = [
            (batch(0, 1, 7), 0),
            (batch(0, 1, 8), 0),
            (batch(0, 1, 9), 2),
            (batch(0, 2, 9), 2),
            (batch(1, 2, 9), 2),
            (5, 0),
            (5, 0),
        ];
        let gathered = Written::gather(answers.into_iter());
        let seen: Vec<_> = gathered.iter().map(|written| (written.id, written.code, written.count)).collect();
        let expected = [
            (batch(0, 1, 7), 0, 2),
            (batch(0, 1, 9), 2, 1),
            (batch(0, 2, 9), 2, 1),
            (batch(1, 2, 9), 2, 1),
            (5, 0, 1),
            (5, 0, 1),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_full_lane_takes_no_values_until_it_is_emptied() {
        let inbox = Inbox::default();
        assert!(inbox.reserve(PENDING_VALUES_MAX));
        assert!(!inbox.reserve(1), "the room is kept");
        inbox.push_reserved(PENDING_VALUES_MAX, Some((values(), PENDING_VALUES_MAX)));
        assert!(!inbox.reserve(1), "and taken");
        inbox.take(&mut Vec::new(), Duration::ZERO, Duration::ZERO);
        assert!(inbox.reserve(1));
        inbox.take(&mut Vec::new(), Duration::ZERO, Duration::ZERO);
        assert!(!inbox.reserve(PENDING_VALUES_MAX), "kept while others are taken");
        inbox.push_reserved(1, None);
        assert!(inbox.reserve(PENDING_VALUES_MAX));
    }

    fn values() -> Job {
        Job::Published { samples: Bundle::default(), from: None }
    }
}
