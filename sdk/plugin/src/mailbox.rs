//! What the hub's threads leave for the instance's thread.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::Result;
use crate::events::Brought;
use crate::inquiry::Asked;
use crate::parcel::Writes;
use crate::time::Deadline;
use crate::value::{Epoch, Item, ItemDef, Role};
use crate::values_in::ValueIn;

/// A control call.
#[derive(Debug)]
pub(crate) enum Command {
    Start { op: u64 },
    Items { op: u64, add: Vec<ItemDef>, remove: Vec<Item>, refused: Option<String> },
    Role { op: u64, from: Role, to: Role, epoch: Epoch, deadline: Deadline },
    Stop { op: u64 },
    Snapshot { reply: SyncSender<Result<(u32, Vec<u8>)>> },
    Apply { version: u32, bytes: Vec<u8>, reply: SyncSender<Result<()>> },
    Browse { op: u64, parent: serde_json::Value, cursor: String, limit: u32 },
    Diagnose { op: u64 },
    Inquire { op: u64, asked: Asked },
    Watch { op: u64, add: Vec<ItemDef>, remove: Vec<Item>, refused: Option<String> },
    Values { op: u64, epoch: Epoch, values: Vec<ValueIn> },
    Event(Box<Brought>),
    Destroy,
}

impl Command {
    /// Whether a running write may go on to its end before.
    const fn can_wait(&self) -> bool {
        matches!(
            self,
            Command::Browse { .. }
                | Command::Diagnose { .. }
                | Command::Inquire { .. }
                | Command::Values { .. }
                | Command::Event(_)
        )
    }
}

#[derive(Debug)]
pub(crate) enum Next {
    Command(Command),
    Writes(Writes),
}

#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queues: Mutex<Queues>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    control: VecDeque<Command>,
    writes: VecDeque<Writes>,
    writes_pending: usize,
    is_closed: bool,
}

impl Mailbox {
    /// Puts a control call in line; gives it back if the line is full or closed.
    pub(crate) fn send(&self, command: Command) -> std::result::Result<(), Command> {
        let mut queues = self.lock();
        let is_full = queues.control.len() >= CONTROL_PENDING_MAX && !matches!(command, Command::Destroy);
        if queues.is_closed || is_full {
            return Err(command);
        }
        queues.control.push_back(command);
        drop(queues);
        self.notify.notify_one();
        Ok(())
    }

    /// Puts writes in line; gives them back if the line is full or closed.
    pub(crate) fn send_writes(&self, writes: Writes) -> std::result::Result<(), Writes> {
        let mut queues = self.lock();
        if queues.is_closed || queues.writes_pending + writes.len() > WRITES_PENDING_MAX {
            return Err(writes);
        }
        queues.writes_pending += writes.len();
        queues.writes.push_back(writes);
        drop(queues);
        self.notify.notify_one();
        Ok(())
    }

    /// Lets a waiting instance look at its state again.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// The next thing to do, control calls first.
    pub(crate) async fn next(&self) -> Next {
        loop {
            {
                let mut queues = self.lock();
                if let Some(command) = queues.control.pop_front() {
                    return Next::Command(command);
                }
                if let Some(writes) = queues.writes.pop_front() {
                    queues.writes_pending = queues.writes_pending.saturating_sub(writes.len());
                    return Next::Writes(writes);
                }
            }
            self.notify.notified().await;
        }
    }

    /// Takes the writes that are in line.
    pub(crate) fn take_writes(&self) -> VecDeque<Writes> {
        let mut queues = self.lock();
        queues.writes_pending = 0;
        std::mem::take(&mut queues.writes)
    }

    /// Waits until a control call is in line, and says how long a running write may still take.
    pub(crate) async fn control_pending(&self) -> Duration {
        loop {
            // Questions, values and events wait until the write has ended.
            if let Some(command) = self.lock().control.iter().find(|command| !command.can_wait()) {
                return grace(command);
            }
            self.notify.notified().await;
        }
    }

    /// Waits until the instance is asked to stop or to go.
    pub(crate) async fn stop_pending(&self) {
        self.pending(|command| matches!(command, Command::Stop { .. } | Command::Destroy)).await;
    }

    /// Waits until the instance is asked to go.
    pub(crate) async fn destroy_pending(&self) {
        self.pending(|command| matches!(command, Command::Destroy)).await;
    }

    async fn pending(&self, is_wanted: fn(&Command) -> bool) {
        while !self.lock().control.iter().any(is_wanted) {
            self.notify.notified().await;
        }
    }

    /// Takes nothing more and gives what is in line.
    pub(crate) fn close(&self) -> (Vec<Command>, Vec<Writes>) {
        let mut queues = self.lock();
        queues.is_closed = true;
        queues.writes_pending = 0;
        (queues.control.drain(..).collect(), queues.writes.drain(..).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn grace(command: &Command) -> Duration {
    match command {
        Command::Role { deadline, .. } => {
            deadline.remaining().map_or(GRACE_MAX, |left| (left / 2).min(GRACE_MAX))
        }
        Command::Start { .. }
        | Command::Items { .. }
        | Command::Snapshot { .. }
        | Command::Apply { .. }
        | Command::Browse { .. }
        | Command::Diagnose { .. }
        | Command::Inquire { .. }
        | Command::Event(_)
        | Command::Watch { .. }
        | Command::Values { .. } => GRACE_MAX,
        Command::Stop { .. } | Command::Destroy => GRACE_STOP,
    }
}

/// Control calls in line; a host that serializes them has one or two.
const CONTROL_PENDING_MAX: usize = 1_024;
/// Writes in line; the host is answered `AGAIN` beyond.
const WRITES_PENDING_MAX: usize = 65_536;
/// How long a running write may delay a control call.
const GRACE_MAX: Duration = Duration::from_millis(500);
/// How long a running write may delay a stop.
const GRACE_STOP: Duration = Duration::from_millis(200);
