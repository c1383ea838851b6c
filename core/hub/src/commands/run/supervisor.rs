//! Starts the hub process again after a crash, and tells the voters that it is dead.
//!
//! A hub process that somebody stopped (SIGSTOP) counts as crashed: it may have been stopped between the question to
//! its gate and the effect, which would leave when it goes on, however much later. The lease cannot reach it there;
//! its parent can, and kills it. The order is safe without a clock: a rival's first grant is a margin away from any
//! permit, and the kernel tells the parent at once. A debugger's stops are none of these and not seen here.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::{refuse_suspension, stop_signal};
use twinhub_floating::Address;
use twinhub_runtime::Resigner;

use crate::cli::{Global, RunArgs};
use crate::exit::{Code, Failure, Outcome};
use crate::paths::Paths;

/// What happened first.
enum Happened {
    Ended(std::io::Result<ExitStatus>),
    ToldToStop(&'static str),
}

/// Runs on the main thread, whose end is what the kernel tells the hub process.
pub(super) fn run(global: &Global, args: &RunArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start the supervisor: {error}")))?;
    runtime.block_on(supervise(global, args))
}

async fn supervise(global: &Global, args: &RunArgs) -> Outcome {
    let mut backoff = Backoff::default();
    let mut stop = std::pin::pin!(stop_signal());
    let mut children = signal(SignalKind::child()).map_err(|error| internal(&error))?;
    refuse_suspension().map_err(|error| internal(&error))?;
    loop {
        let begun = Instant::now();
        let mut child = spawn()?;
        // While the process starts: what is wrong with the configuration is its to say.
        let (resigner, floating) = prepare(global, &args.node);
        let pid = pid_of(&child).filter(|_| !args.keep_stopped);
        let happened = tokio::select! {
            status = ended(&mut child, pid, &mut children, &args.node) => Happened::Ended(status),
            signal = &mut stop => Happened::ToldToStop(signal.unwrap_or("no signals")),
        };
        let status = match happened {
            Happened::ToldToStop(signal) => return stop_child(child, signal).await,
            Happened::Ended(status) => status.map_err(|error| internal(&error))?,
        };
        let ran = begun.elapsed();
        remove_floating(&floating);
        if status.success() {
            // It handed over by itself.
            return Ok(Code::Ok);
        }
        // At the very first start there were no certificates yet.
        if let Some(resigner) = resigner.or_else(|| prepare(global, &args.node).0) {
            resign(&resigner, &args.node).await;
            resigner.close().await;
        } else if ran >= STARTED_AFTER {
            let node = &args.node;
            tracing::warn!(node, "no word was ready: the voters wait for the lease of the dead hub process");
        }
        if status.code() == Some(i32::from(Code::Restart.number())) {
            tracing::info!(node = args.node, "hub process ended as ordered, it is started again");
            continue;
        }
        match status.code() {
            // The hub process said why on stderr.
            Some(code) if Code::is_final(code) => std::process::exit(code),
            // It never ran: the first start is the operator's, who is to see the error and not a loop.
            Some(code) if backoff.is_first() && ran < STARTED_AFTER => std::process::exit(code),
            Some(_) | None => {}
        }
        let pause = backoff.next(ran);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let ran_s = ran.as_secs();
        tracing::error!(node = args.node, %status, ran_s, pause_ms, "hub process ended, it is started again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut stop => return Ok(Code::Ok),
        }
    }
}

/// Waits for the end of the hub process, and makes one of a stop of it.
async fn ended(
    child: &mut Child,
    pid: Option<Pid>,
    children: &mut SignalStream,
    node: &str,
) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = children.recv() => {
                if let Some(pid) = pid && is_stopped(pid) {
                    tracing::error!(
                        node,
                        "the hub process was stopped and is killed: what it was about to send must not leave late; \
                         `--keep-stopped` leaves it alone"
                    );
                    // It may have ended by itself.
                    kill_process(pid, Signal::KILL).ok();
                }
            }
        }
    }
}

/// Whether a child was stopped by a signal. The stops of a tracer are hidden from the parent by the kernel.
fn is_stopped(pid: Pid) -> bool {
    let asked = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
    asked.is_ok_and(|found| found.is_some_and(|status| status.stopped()))
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Makes ready what is to be said when the hub process dies, and what is to be taken off this machine then.
fn prepare(global: &Global, node: &str) -> (Option<Resigner>, Vec<Address>) {
    let paths = Paths::of(global);
    let site = match twinhub_config::load_cluster(&paths.config) {
        Ok(site) => site,
        Err(failure) => {
            // The hub process says the same in full.
            tracing::debug!(node, %failure, "no word is ready for the end of the hub process");
            return (None, Vec::new());
        }
    };
    let resigner = match Resigner::new(&site, node, &paths.node_state(node), &paths.pki) {
        Ok(resigner) => Some(resigner),
        Err(error) => {
            tracing::debug!(node, %error, "no word is ready for the end of the hub process");
            None
        }
    };
    (resigner, twinhub_runtime::floating::addresses(&site))
}

/// Takes off what a dead hub process held. Without the right to, the kernel lets it expire after a few seconds.
fn remove_floating(addresses: &[Address]) {
    for address in addresses {
        match twinhub_floating::remove(address) {
            Ok(0) => {}
            Ok(_) => tracing::warn!(%address, "floating address of the dead hub process removed"),
            Err(error) => tracing::error!(%address, %error, "floating address of the dead hub process"),
        }
    }
}

/// Tells the voters that the hub process is dead, so that a backup need not wait for its lease to end.
async fn resign(resigner: &Resigner, node: &str) {
    match resigner.resign().await {
        Ok(told) => tracing::info!(node, told, "told the voters that the hub process is dead"),
        Err(error) => tracing::warn!(node, %error, "the voters wait for the lease of the dead hub process"),
    }
}

/// The same command line, so that the hub process sees the same options.
fn spawn() -> Result<Child, Failure> {
    let executable = std::env::current_exe().map_err(|error| internal(&error))?;
    let mut command = Command::new(executable);
    command
        .args(std::env::args_os().skip(1))
        .arg(format!("--child={}", std::process::id()))
        // Many short-lived threads of plugins would otherwise each keep a heap of their own.
        .env("MALLOC_ARENA_MAX", "1")
        // Large blocks go back when they are free. Left alone, the allocator raises the limit to the largest block
        // that was ever free, a plugin library read at start, and keeps all up to that size.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.spawn().map_err(|error| internal(&error))
}

async fn stop_child(mut child: Child, signal: &'static str) -> Outcome {
    tracing::info!(signal, "stopping");
    if let Some(pid) = pid_of(&child) {
        // It may have ended by itself.
        kill_process(pid, Signal::TERM).ok();
    }
    match tokio::time::timeout(STOP_TIME_MAX, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(Code::Ok),
        Ok(Ok(status)) => Err(Failure::new(Code::Error, format!("the hub process ended with {status}"))),
        Ok(Err(error)) => Err(internal(&error)),
        Err(_) => {
            child.kill().await.map_err(|error| internal(&error))?;
            let text =
                format!("the hub process did not stop within {} s and was killed", STOP_TIME_MAX.as_secs());
            Err(Failure::new(Code::Error, text))
        }
    }
}

fn internal(error: &std::io::Error) -> Failure {
    Failure::new(Code::Internal, format!("cannot run the hub process: {error}"))
}

/// How long to wait before the next start.
#[derive(Debug, Default)]
struct Backoff {
    ends: u32,
}

impl Backoff {
    fn is_first(&self) -> bool {
        self.ends == 0
    }

    fn next(&mut self, ran: Duration) -> Duration {
        self.ends = if ran >= STEADY_AFTER { 1 } else { self.ends.saturating_add(1) };
        PAUSE_MIN.saturating_mul(1 << (self.ends - 1).min(16)).min(PAUSE_MAX)
    }
}

/// A process that ends sooner has not got to work.
const STARTED_AFTER: Duration = Duration::from_secs(2);
/// A process that ran so long starts the pauses anew.
const STEADY_AFTER: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A graceful stop hands the role over first.
const STOP_TIME_MAX: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_start_anew_after_a_steady_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(Duration::from_secs(60)).as_millis(), 100);
    }
}
