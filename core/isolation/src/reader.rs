//! The hub's threads of a child: one hears values, one hears answers, one watches.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::set_current_timer_slack;
use twinhub_contract::extension::{self, Acceptance, Answer, Metrics, Status};
use twinhub_contract::{Batch, Str, Update, code, level};

use crate::batch;
use crate::events::EventRow;
use crate::lane::{Receiver, STACK};
use crate::message::{Order, Put, Report, kind, unpack};
use crate::offered::Offers;
use crate::process::Process;
use crate::proxy::Remote;
use crate::ring::Alarm;

/// The threads of one child.
#[derive(Debug)]
pub(crate) struct Threads {
    watch: JoinHandle<()>,
}

impl Threads {
    /// Waits for the end of all three.
    pub(crate) fn join(self) {
        // A panic was reported when it happened.
        drop(self.watch.join());
    }
}

/// Begins to hear and to watch a child.
pub(crate) fn start(
    remote: &Arc<Remote>,
    process: Process,
    values: Receiver,
    answers: Receiver,
) -> io::Result<Threads> {
    let shared = Arc::new(Progress::default());
    let alarms = [values.consumer().alarm(), answers.consumer().alarm()];
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body)
    };
    let (hub, progress) = (Arc::clone(remote), Arc::clone(&shared));
    let first = spawn("isolated-values", Box::new(move || Values::new(hub, progress).run(values)))?;
    let (hub, progress) = (Arc::clone(remote), Arc::clone(&shared));
    let second = spawn("isolated-said", Box::new(move || Answers::new(hub, progress).run(answers)))?;
    let hub = Arc::clone(remote);
    let readers = Readers { progress: shared, alarms, threads: [first, second] };
    let watch = spawn("isolated-watch", Box::new(move || Watch::new(hub, process).run(readers)))?;
    Ok(Threads { watch })
}

/// How far the reader of values is.
#[derive(Debug, Default)]
struct Progress {
    at: Mutex<At>,
    changed: Condvar,
    /// The child has ended: what is in the rings is all there will be.
    has_ended: AtomicBool,
}

#[derive(Debug, Default)]
struct At {
    done: u64,
    /// The hub has no room for the next batch.
    is_stalled: bool,
    /// How many wait for a change: to tell nobody would cost a system call for each batch.
    waiting: usize,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut At)) {
        let mut at = self.lock();
        change(&mut at);
        if at.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until so many messages of values are dealt with, unless there is no room for one.
    fn wait(&self, count: u64) {
        let mut at = self.lock();
        while at.done < count && !at.is_stalled {
            at.waiting += 1;
            at = self.changed.wait(at).unwrap_or_else(PoisonError::into_inner);
            at.waiting -= 1;
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}

/// Reads a lane to its end; `take` says whether the message keeps the format.
fn read(
    mut lane: Receiver,
    remote: &Remote,
    progress: &Progress,
    mut take: impl FnMut(u16, &[u64]) -> Option<()>,
) {
    // A nap would last twice as long otherwise; where that is refused, it does.
    set_current_timer_slack(NonZeroU64::new(1)).ok();
    let mut words = Vec::new();
    // Words since the last sleep.
    let mut run = 0_usize;
    loop {
        // Before the look into the ring: what was written before the end is read.
        let is_last = progress.has_ended();
        match lane.next(&mut words) {
            Ok(Some(kind)) => {
                run = run.saturating_add(words.len());
                if take(kind, &words).is_none() {
                    remote.condemn("it said what the format does not know, and was killed");
                    return;
                }
                if words.capacity() > WORDS_KEPT {
                    words = Vec::new();
                }
            }
            Ok(None) if is_last => return,
            // In a stream it looks again soon, instead of being woken for each batch.
            Ok(None) if run >= STREAM => {
                run = 0;
                std::thread::sleep(NAP);
            }
            Ok(None) => {
                run = 0;
                lane.consumer().wait(Duration::from_secs(3600));
            }
            Err(broken) => {
                remote.condemn(&format!("{broken}; it was killed"));
                return;
            }
        }
    }
}

/// Publishes what the child publishes.
struct Values {
    remote: Arc<Remote>,
    progress: Arc<Progress>,
    updates: Vec<Update>,
    acceptance: Option<&'static Acceptance>,
    batches: u64,
}

impl Values {
    fn new(remote: Arc<Remote>, progress: Arc<Progress>) -> Self {
        Self { remote, progress, updates: Vec::new(), acceptance: None, batches: 0 }
    }

    fn run(mut self, lane: Receiver) {
        let (remote, progress) = (Arc::clone(&self.remote), Arc::clone(&self.progress));
        read(lane, &remote, &progress, |kind, words| {
            match kind {
                kind::VALUES => self.publish(words)?,
                kind::PUT => self.put(&unpack::<Put>(words)?),
                kind::GIVE => self.give(&unpack::<EventRow>(words)?),
                kind::ACKNOWLEDGE => self.acknowledge(words)?,
                kind::HUSHED => self.remote.op_done(*words.first()?, code::OK, ""),
                kind::ACCEPTANCE => self.acceptance = remote.host.extension(extension::ACCEPTANCE),
                _ => return None,
            }
            progress.set(|at| at.done += 1);
            Some(())
        });
        // Nobody waits for what does not come.
        progress.set(|at| at.done = u64::MAX);
    }

    fn publish(&mut self, words: &[u64]) -> Option<()> {
        let epoch = batch::updates(words, &mut self.updates)?;
        self.batches += 1;
        let batch = Batch {
            size: size(size_of::<Batch>()),
            stride: size(size_of::<Update>()),
            count: size(self.updates.len()),
            flags: 0,
            epoch,
            items: self.updates.as_ptr(),
        };
        let host = self.remote.host.0;
        // SAFETY: a host's table lives for ever.
        let publish = unsafe { (*host).publish }?;
        // SAFETY: the updates and what their values point to live for the call.
        if let Some(code) = self.hand_over(epoch, || unsafe { publish(host, &raw const batch) }) {
            self.note(code);
        }
        Some(())
    }

    /// What the child keeps by key. One that the hub refuses is corrected with the next role.
    fn put(&self, put: &Put) {
        let Some(store) = self.remote.store else { return };
        self.hand_over(put.epoch, || store.put(put));
    }

    /// An event of the child, which is told what became of it: the hub does so itself, or the answer is here.
    fn give(&self, row: &EventRow) {
        let Some(events) = self.remote.events else { return };
        let code = loop {
            let code = events.give(row);
            let is_early = code == code::STALE_EPOCH && self.remote.is_new(row.epoch);
            if !is_early || self.progress.has_ended() {
                break code;
            }
            std::thread::sleep(PAUSE);
        };
        if code != code::PENDING {
            self.remote.order(&Order::Taken { number: row.number, code });
        }
    }

    /// What became of an event that was brought to the child.
    fn acknowledge(&self, words: &[u64]) -> Option<()> {
        let [number, code] = *words else { return None };
        let code = i32::from_ne_bytes(u32::try_from(code).ok()?.to_ne_bytes());
        if let Some(events) = self.remote.events {
            events.acknowledge(number, code);
        }
        Some(())
    }

    /// Calls the hub until it answers for good; `None` if it has no room and the child is gone.
    fn hand_over(&self, epoch: u64, call: impl Fn() -> i32) -> Option<i32> {
        let mut patience = PATIENCE_AT_END;
        let answer = loop {
            let code = call();
            let is_early = code == code::STALE_EPOCH && self.remote.is_new(epoch);
            if code != code::AGAIN && !is_early {
                break Some(code);
            }
            if self.progress.has_ended() {
                if patience.is_zero() {
                    break None;
                }
                patience = patience.saturating_sub(PAUSE);
            }
            if !self.progress.lock().is_stalled {
                self.progress.set(|at| at.is_stalled = true);
            }
            std::thread::sleep(PAUSE);
        };
        if self.progress.lock().is_stalled {
            self.progress.set(|at| at.is_stalled = false);
        }
        answer
    }

    /// Remembers which of the hub's batches this one of the child is.
    fn note(&self, code: i32) {
        let Some(Acceptance { taken: Some(taken), accepted: Some(accepted), .. }) = self.acceptance else {
            return;
        };
        if code != code::OK {
            // After a stop nothing is acknowledged any more.
            if code != code::STOPPED {
                self.remote.condemn(
                    "the hub refused a batch that the plugin waits for, so its process is replaced and the values come \
                     again",
                );
            }
            return;
        }
        let host = self.remote.host.0;
        // SAFETY: a host's table lives for ever.
        self.remote.acceptances.push(self.batches, unsafe { taken(host) });
        // It may have been accepted before this took a note of it.
        // SAFETY: as above.
        if let Some(through) = self.remote.acceptances.through(unsafe { accepted(host) }) {
            self.remote.tell_accepted(through);
        }
    }
}

/// Which of the hub's batches the child's are, until they are accepted.
#[derive(Debug, Default)]
pub(crate) struct Acceptances {
    /// Number of the child's batch, number of the hub's.
    waiting: Mutex<VecDeque<(u64, u64)>>,
}

impl Acceptances {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, theirs: u64, ours: u64) {
        self.lock().push_back((theirs, ours));
    }

    /// The last of the child's batches that is accepted, if that is news.
    pub(crate) fn through(&self, ours: u64) -> Option<u64> {
        let mut waiting = self.lock();
        let mut last = None;
        while let Some((theirs, _)) = waiting.front().copied().filter(|(_, number)| *number <= ours) {
            waiting.pop_front();
            last = Some(theirs);
        }
        last
    }
}

/// Passes on what the child answers and tells.
struct Answers {
    remote: Arc<Remote>,
    progress: Arc<Progress>,
    results: Vec<twinhub_contract::WriteResult>,
    status: Option<&'static Status>,
    metrics: Option<&'static Metrics>,
    answer: Option<&'static Answer>,
}

impl Answers {
    fn new(remote: Arc<Remote>, progress: Arc<Progress>) -> Self {
        let status = remote.host.extension(extension::STATUS);
        let metrics = remote.host.extension(extension::METRICS);
        let answer = remote.host.extension(extension::ANSWER);
        Self { remote, progress, results: Vec::new(), status, metrics, answer }
    }

    fn run(mut self, lane: Receiver) {
        let (remote, progress) = (Arc::clone(&self.remote), Arc::clone(&self.progress));
        read(lane, &remote, &progress, |kind, words| {
            let (before, rest) = words.split_first()?;
            match kind {
                kind::RESULTS => {
                    batch::results(rest, &mut self.results)?;
                    self.progress.wait(*before);
                    self.write_done()
                }
                kind::REPORT => {
                    let report = unpack::<Report>(rest)?;
                    if !matches!(report, Report::Pong { .. } | Report::Log { .. }) {
                        self.progress.wait(*before);
                    }
                    self.tell(report);
                    Some(())
                }
                _ => None,
            }
        });
    }

    fn write_done(&self) -> Option<()> {
        let host = self.remote.host.0;
        // SAFETY: a host's table lives for ever; the results live for the call.
        unsafe { ((*host).write_done?)(host, self.results.as_ptr(), size(self.results.len())) };
        Some(())
    }

    fn tell(&self, report: Report) {
        let host = self.remote.host;
        match report {
            Report::Created { code, detail, offers } => self.remote.created(code, detail, Offers(offers)),
            Report::Answer { op, bytes } => {
                if let Some(append) = self.answer.and_then(|table| table.append) {
                    // SAFETY: a host's table lives for ever; the bytes live for the call.
                    unsafe { append(host.0, op, bytes.as_ptr(), bytes.len()) };
                }
            }
            Report::OpDone { op, code, detail } => self.remote.op_done(op, code, &detail),
            Report::Fault { code, detail } => host.fault(code, &detail),
            Report::Log { level, target, message, fields } => host.log(level, &target, &message, &fields),
            Report::State { state, cause } => {
                if let Some(tell) = self.status.and_then(|table| table.state) {
                    // SAFETY: a host's table lives for ever; the text lives for the call.
                    unsafe { tell(host.0, state, Str::new(&cause)) };
                }
            }
            Report::Count { name, add } => {
                if let Some(count) = self.metrics.and_then(|table| table.count) {
                    // SAFETY: as above.
                    unsafe { count(host.0, Str::new(&name), add) };
                }
            }
            Report::State1 { call, code, version, bytes } => {
                self.remote.answered(call, (code, version, bytes));
            }
            Report::Pong { number } => self.remote.pong(number),
        }
    }
}

/// The two readers, as the watch ends them.
struct Readers {
    progress: Arc<Progress>,
    alarms: [Alarm; 2],
    threads: [JoinHandle<()>; 2],
}

impl Readers {
    /// Lets them read to the end, and waits for that.
    fn end(self) {
        self.progress.has_ended.store(true, Ordering::Release);
        self.progress.set(|_| ());
        for thread in self.threads {
            while !thread.is_finished() {
                self.alarms.iter().for_each(Alarm::ring);
                std::thread::sleep(Duration::from_micros(200));
            }
            // A panic was reported when it happened.
            drop(thread.join());
        }
    }
}

/// Notices the end of the child and its silence, and hears what it prints.
struct Watch {
    remote: Arc<Remote>,
    process: Process,
    line: Vec<u8>,
    lines: u32,
    last: Option<String>,
}

impl Watch {
    fn new(remote: Arc<Remote>, process: Process) -> Self {
        Self { remote, process, line: Vec::new(), lines: 0, last: None }
    }

    fn run(mut self, readers: Readers) {
        let (mut pings, mut next) = (0, Instant::now() + PING);
        // How often in a row it was looked for an answer in vain. A hub that was stopped itself looks once and asks on: the
        // time that has passed would accuse a child that it did not hear.
        let mut missed = 0;
        let mut is_printing = true;
        loop {
            let now = Instant::now();
            if now >= next {
                next = now + PING;
                self.lines = 0;
                if let Some(kib) = self.process.memory_kib().filter(|kib| *kib > MEMORY_KIB_MAX) {
                    let (mib, limit) = (kib / 1024, MEMORY_KIB_MAX / 1024);
                    self.remote
                        .condemn(&format!("it took {mib} MiB of memory, may have {limit}, and was killed"));
                }
                match self.remote.last_pong() {
                    Some(pong) if pong == pings => {
                        missed = 0;
                        pings += 1;
                        self.remote.order(&Order::Ping { number: pings });
                    }
                    Some(_) if missed == MISSED_MAX && !self.remote.is_leaving() => {
                        let limit_s = (PING * MISSED_MAX).as_secs();
                        self.remote.condemn(&format!("it did not answer for {limit_s} s and was killed"));
                    }
                    Some(_) => missed += 1,
                    // Until the instance is made, `create` counts the time.
                    None => {}
                }
            }
            let patience = next.saturating_duration_since(Instant::now());
            if self.wait(patience, &mut is_printing) {
                break;
            }
        }
        let mut how = self.process.how_it_ended();
        self.hear();
        if let Some(last) = &self.last {
            how = format!("{how}; it printed: {last}");
        }
        readers.end();
        self.remote.ended(&how);
    }

    /// Whether the child has ended.
    fn wait(&mut self, patience: Duration, is_printing: &mut bool) -> bool {
        let limit =
            Timespec { tv_sec: 0, tv_nsec: patience.min(PING).subsec_nanos().min(999_999_999).into() };
        let pidfd = self.process.pidfd();
        let output = self.process.output.as_fd();
        let mut all =
            [PollFd::from_borrowed_fd(pidfd, PollFlags::IN), PollFd::from_borrowed_fd(output, PollFlags::IN)];
        let wanted = if *is_printing { &mut all[..] } else { &mut all[..1] };
        if poll(wanted, Some(&limit)).is_err() {
            return false;
        }
        let has_ended = !all[0].revents().is_empty();
        if !all[1].revents().is_empty() && *is_printing {
            *is_printing = self.hear();
        }
        has_ended
    }

    /// Reads what was printed; whether more may come.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // Not for ever: one that prints without an end must not keep this thread from its other duties.
        for _ in 0..16 {
            match rustix::io::read(&self.process.output, &mut bytes) {
                Ok(0) => return false,
                Ok(count) => bytes[..count].iter().for_each(|byte| self.take(*byte)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return error == rustix::io::Errno::AGAIN,
            }
        }
        true
    }

    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            if self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
            return;
        }
        let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines <= LINES_MAX {
            self.remote.host.log(level::WARN, "printed", &line, "");
        }
        // What a panic says comes before the advice about it.
        if !line.starts_with("note: ") {
            self.last = Some(line);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by the format, or the size of a small struct")]
const fn size(size: usize) -> u32 {
    size as u32
}

/// So many words without a pause are a stream: about 200 values …
const STREAM: usize = 1_000;
/// … and there is no need to hear of the next one at once.
const NAP: Duration = Duration::from_micros(20);
/// How often the child has to answer.
const PING: Duration = Duration::from_millis(500);
/// A child that is silent for so many times of [`PING`] is killed. Longer than the contract allows any call to take.
const MISSED_MAX: u32 = 6;
/// A thousand times what an instance needs; without a limit a leak would take the memory of the whole machine.
const MEMORY_KIB_MAX: u64 = 1 << 20;
/// Between two tries to publish.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a hub without room is waited for after the child has ended.
const PATIENCE_AT_END: Duration = Duration::from_millis(200);
/// Longest line that is kept of what a child prints.
const LINE_MAX: usize = 1_024;
/// Lines of one child that are logged between two pings.
const LINES_MAX: u32 = 50;
/// Room for messages that is kept.
const WORDS_KEPT: usize = 64 * 1024;
