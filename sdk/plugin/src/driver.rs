//! The instance's thread: one call at a time, each with a limit, writes give way to control calls.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::browse::{Browse, Question};
use crate::ctx::Ctx;
use crate::error::{Code, Error, Result};
use crate::events::{self, Delivery};
use crate::guard::{guarded, guarded_call};
use crate::mailbox::{Command, Next};
use crate::parcel::Writes;
use crate::plugin::Plugin;
use crate::shared::Shared;
use crate::time::Deadline;
use crate::value::{Epoch, Role};
use crate::values_in::ValuesIn;
use crate::write::{WriteBatch, refuse};

/// Body of the instance's thread.
pub(crate) fn run<P: Plugin>(runtime: &Runtime, shared: &Arc<Shared>, config: P::Config) {
    let local = LocalSet::new();
    let driven = guarded_call(|| runtime.block_on(local.run_until(drive::<P>(Arc::clone(shared), config))));
    if let Err(panic) = driven {
        shared.poison(Code::Panic, &panic);
    }
    // Cancels the tasks that are left, with the runtime's context for their destructors.
    let dropped = guarded_call(|| {
        let _context = runtime.enter();
        drop(local);
    });
    if let Err(panic) = dropped {
        shared.poison(Code::Panic, &panic);
    }
    let code = if shared.is_poisoned() { Code::Panic } else { Code::Stopped };
    let (commands, writes) = shared.mailbox.close();
    for command in commands {
        answer_unrun(shared, command, &Error::new(code, "the instance is gone"));
    }
    for writes in writes {
        refuse(shared, &writes, code);
    }
}

async fn drive<P: Plugin>(shared: Arc<Shared>, config: P::Config) {
    let cx = Ctx::new(Arc::clone(&shared));
    tokio::task::spawn_local(cx.publisher().run());
    let mut driver = Driver { plugin: create::<P>(&cx, &shared, config).await, cx, shared };
    loop {
        match driver.shared.mailbox.next().await {
            Next::Command(Command::Destroy) => break,
            Next::Command(command) => driver.command(command).await,
            Next::Writes(writes) => driver.write(writes).await,
        }
    }
    driver.shared.set_stopped();
    driver.cx.abort_tasks();
    driver.cx.outstanding().give_up(Code::Timeout);
}

async fn create<P: Plugin>(cx: &Ctx, shared: &Shared, config: P::Config) -> Result<P> {
    let create = guarded(P::create(cx.clone(), config));
    tokio::select! {
        biased;
        created = create => match created {
            Ok(created) => created,
            Err(panic) => {
                shared.poison(Code::Panic, &panic);
                Err(Error::new(Code::Panic, panic))
            }
        },
        () = shared.mailbox.destroy_pending() => Err(Error::new(Code::Stopped, "destroyed while being created")),
        () = sleep(LIFECYCLE_LIMIT) => Err(Error::timeout("create did not end in time")),
    }
}

struct Driver<P> {
    plugin: Result<P>,
    cx: Ctx,
    shared: Arc<Shared>,
}

impl<P: Plugin> Driver<P> {
    async fn command(&mut self, command: Command) {
        if let Some(refusal) = self.refusal(&command) {
            answer_unrun(&self.shared, command, &refusal);
            return;
        }
        let Ok(plugin) = &mut self.plugin else { return };
        let shared = &*self.shared;
        match command {
            Command::Start { op } => {
                let started = until_stop(shared, plugin.start(), LIFECYCLE_LIMIT).await;
                // What a call published is with the hub when the call is done.
                self.cx.publisher().flush();
                finish(shared, op, started);
            }
            Command::Items { op, add, remove, refused } => {
                let taken = until_stop(shared, plugin.items(add, remove), LIFECYCLE_LIMIT).await;
                self.cx.publisher().flush();
                finish(shared, op, taken.and_then(|()| unless(refused)));
            }
            Command::Watch { op, add, remove, refused } => {
                let taken = until_stop(shared, plugin.watch(add, remove), LIFECYCLE_LIMIT).await;
                self.cx.publisher().flush();
                finish(shared, op, taken.and_then(|()| unless(refused)));
            }
            Command::Values { op, epoch, values } => {
                if epoch != shared.epoch() || shared.role() != Role::Active {
                    let gone = Error::new(Code::NotActive, "the role has changed");
                    return finish(shared, op, Err(gone));
                }
                let publisher = self.cx.publisher();
                let values = ValuesIn::new(Arc::clone(&self.shared), op, values, publisher);
                if let Err(panic) = guarded_call(|| plugin.values_in(values)) {
                    shared.poison(Code::Panic, &panic);
                }
            }
            Command::Role { op, from, to, epoch, deadline } => {
                let changed = change_role(shared, &self.cx, plugin, to, epoch, deadline).await;
                if changed.is_err() {
                    shared.fall_back(from, to, epoch);
                }
                finish(shared, op, changed);
            }
            Command::Stop { op } => {
                let stopped = timeout(STOP_LIMIT, guarded(plugin.stop())).await;
                self.cx.publisher().flush();
                self.cx.abort_tasks();
                self.cx.outstanding().give_up(Code::Timeout);
                shared.set_stopped();
                refuse_waiting(shared, Code::Stopped);
                finish(
                    shared,
                    op,
                    match stopped {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(panic)) => Err(poisoned(shared, panic)),
                        Err(_) => Err(Error::timeout("stop did not end in time; the instance was cut off")),
                    },
                );
            }
            Command::Snapshot { reply } => {
                let taken = guarded_call(|| plugin.snapshot()).unwrap_or_else(|p| Err(poisoned(shared, p)));
                drop(reply.try_send(taken));
            }
            Command::Apply { version, bytes, reply } => {
                let applied = guarded_call(|| plugin.apply(version, &bytes));
                drop(reply.try_send(applied.unwrap_or_else(|panic| Err(poisoned(shared, panic)))));
            }
            Command::Browse { op, parent, cursor, limit } => {
                let browse = Browse::new(Arc::clone(&self.shared), op, parent, cursor, limit);
                if let Err(panic) = guarded_call(|| plugin.browse(browse)) {
                    shared.poison(Code::Panic, &panic);
                }
            }
            Command::Diagnose { op } => {
                let question = Question::new(Arc::clone(&self.shared), op);
                match guarded_call(|| plugin.diagnose()).unwrap_or_else(|p| Err(poisoned(shared, p))) {
                    Ok(document) => question.answer(&document),
                    Err(error) => question.end(error.code(), error.detail()),
                }
            }
            Command::Inquire { op, asked } => {
                let question = Question::new(Arc::clone(&self.shared), op);
                if let Err(panic) = guarded_call(|| asked.put_to(plugin, question)) {
                    shared.poison(Code::Panic, &panic);
                }
            }
            Command::Event(brought) => {
                if let Some(code) = events::refusal(shared, &brought) {
                    return events::answer(shared, brought.number, code);
                }
                let event = Delivery::new(Arc::clone(&self.shared), brought);
                if let Err(panic) = guarded_call(|| plugin.event(event)) {
                    shared.poison(Code::Panic, &panic);
                }
            }
            Command::Destroy => {}
        }
    }

    /// Why a command is not run.
    fn refusal(&self, command: &Command) -> Option<Error> {
        if self.shared.is_poisoned() {
            return Some(Error::new(Code::Panic, "the instance has faulted"));
        }
        if let Err(error) = &self.plugin {
            return Some(Error::new(error.code(), error.detail()));
        }
        let is_stop = matches!(command, Command::Stop { .. });
        (self.shared.is_stopped() && !is_stop).then(|| Error::new(Code::Stopped, "the instance is stopped"))
    }

    async fn write(&mut self, writes: Writes) {
        let shared = &*self.shared;
        let epoch = writes.epoch;
        let refused = if !shared.is_running() {
            Some(Code::Stopped)
        } else if epoch != shared.epoch() {
            Some(Code::StaleEpoch)
        } else if shared.role() != Role::Active {
            Some(Code::NotActive)
        } else {
            None
        };
        let (Ok(plugin), None) = (&mut self.plugin, refused) else {
            shared.host.count("write.refused", writes.len() as u64);
            refuse(shared, &writes, refused.unwrap_or(Code::Stopped));
            return;
        };
        let limit = writes.deadline_max().remaining_up_to(WRITE_LIMIT);
        let writes = open_writes(shared, writes);
        if writes.is_empty() {
            return;
        }
        let batch = WriteBatch::new(Arc::clone(&self.shared), self.cx.outstanding(), writes);
        let handle = batch.handle();
        let outcome = {
            let mut writing = pin!(guarded(plugin.write(batch)));
            let started = tokio::select! {
                biased;
                outcome = &mut writing => Ok(outcome),
                grace = shared.mailbox.control_pending() => Err(grace),
                () = sleep(limit) => Err(Duration::ZERO),
            };
            let outcome = match started {
                Ok(outcome) => Some(outcome),
                Err(grace) => timeout(grace.min(limit), &mut writing).await.ok(),
            };
            if outcome.is_none() {
                // Before the future and the batch in it are dropped: their outcome is unknown.
                handle.returned(Err(Code::Timeout));
            }
            outcome
        };
        match outcome {
            Some(Ok(Ok(()))) => handle.returned(Ok(())),
            Some(Ok(Err(error))) => {
                tracing::debug!(error = %error, "write ended with an error");
                handle.returned(Err(error.code()));
            }
            Some(Err(panic)) => {
                handle.returned(Err(Code::Panic));
                shared.poison(Code::Panic, &panic);
            }
            None => {}
        }
    }
}

/// The writes whose time is not over. Nobody waits for the others any more; nothing of them was sent.
fn open_writes(shared: &Shared, writes: Writes) -> Writes {
    let now = crate::time::boottime_ns();
    if !writes.has_expired(now) {
        return writes;
    }
    let (mut expired, mut open) =
        (Writes::with_capacity(writes.epoch, 0), Writes::with_capacity(writes.epoch, writes.len()));
    for write in writes.iter() {
        let is_expired = write.deadline.boottime_ns().is_some_and(|at| at <= now);
        if is_expired { expired.push(&write) } else { open.push(&write) }
    }
    refuse(shared, &expired, Code::Expired);
    shared.host.count("write.expired", expired.len() as u64);
    open
}

async fn change_role<P: Plugin>(
    shared: &Shared,
    cx: &Ctx,
    plugin: &mut P,
    to: Role,
    epoch: Epoch,
    deadline: Deadline,
) -> Result<()> {
    if deadline.has_passed() {
        cx.outstanding().give_up(Code::Timeout);
        return Err(Error::timeout("the deadline of the role change had passed before it began"));
    }
    cx.publisher().flush();
    let limit = deadline.remaining_up_to(LIFECYCLE_LIMIT);
    let changed = until_stop(shared, plugin.role(to, epoch, deadline), limit).await;
    if to != Role::Active {
        // The role is left only when nothing is in flight, or what is left is reported.
        let limit = deadline.remaining_up_to(DRAIN_LIMIT);
        if timeout(limit, cx.outstanding().drained()).await.is_err() {
            cx.outstanding().give_up(Code::Timeout);
        }
        refuse_waiting(shared, Code::NotActive);
    }
    cx.publisher().flush();
    changed
}

/// Writes that a control call has overtaken are answered before it is done: whoever waits for it relies on that.
fn refuse_waiting(shared: &Shared, code: Code) {
    for writes in shared.mailbox.take_writes() {
        shared.host.count("write.refused", writes.len() as u64);
        refuse(shared, &writes, code);
    }
}

/// Runs a lifecycle call until it ends, its time is over, or the instance is asked to stop.
async fn until_stop(shared: &Shared, call: impl Future<Output = Result<()>>, limit: Duration) -> Result<()> {
    tokio::select! {
        biased;
        outcome = guarded(call) => outcome.unwrap_or_else(|panic| Err(poisoned(shared, panic))),
        () = shared.mailbox.stop_pending() => Err(Error::new(Code::Stopped, "cut off by a stop")),
        () = sleep(limit) => Err(Error::timeout(format!("did not end within {} ms", limit.as_millis()))),
    }
}

/// Not well, if one of the items was none.
fn unless(refused: Option<String>) -> Result<()> {
    refused.map_or(Ok(()), |why| Err(Error::invalid(why)))
}

fn poisoned(shared: &Shared, panic: String) -> Error {
    shared.poison(Code::Panic, &panic);
    Error::new(Code::Panic, panic)
}

fn finish(shared: &Shared, op: u64, outcome: Result<()>) {
    match outcome {
        Ok(()) => shared.host.op_done(op, Code::Ok.raw(), ""),
        Err(error) => shared.host.op_done(op, error.code().raw(), error.detail()),
    }
}

fn answer_unrun(shared: &Shared, command: Command, error: &Error) {
    match command {
        Command::Start { op }
        | Command::Items { op, .. }
        | Command::Role { op, .. }
        | Command::Browse { op, .. }
        | Command::Diagnose { op }
        | Command::Inquire { op, .. }
        | Command::Watch { op, .. }
        | Command::Values { op, .. }
        | Command::Stop { op } => {
            shared.host.op_done(op, error.code().raw(), error.detail());
        }
        Command::Snapshot { reply } => drop(reply.try_send(Err(Error::new(error.code(), error.detail())))),
        Command::Apply { reply, .. } => drop(reply.try_send(Err(Error::new(error.code(), error.detail())))),
        // Its successor gets it.
        Command::Event(brought) => events::answer(shared, brought.number, Code::Stopped.raw()),
        Command::Destroy => {}
    }
}

/// Limit of create, start, items and of a role change without a deadline.
const LIFECYCLE_LIMIT: Duration = Duration::from_secs(30);
/// Limit of a write without a deadline.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Limit of stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long a role change without a deadline waits for writes in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
