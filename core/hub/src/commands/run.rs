//! `run`: the supervisor and the hub process.
//!
//! The supervisor only starts, watches and stops, and speaks for a dead hub process; it holds no configuration and no
//! port, so that nothing in it can break. The hub process ends with it: the kernel kills it when the supervisor is gone, so that no node acts
//! without its owner knowing.

mod hub;
mod supervisor;

use crate::cli::{Global, RunArgs};
use crate::exit::Outcome;

pub(crate) use hub::start_failure;

pub(crate) fn run(global: &Global, args: &RunArgs) -> Outcome {
    match args.child {
        Some(supervisor) => hub::run_child(global, &args.node, supervisor),
        None if args.no_supervisor => hub::run(global, &args.node),
        None => supervisor::run(global, args),
    }
}

/// A terminal's Ctrl-Z stops neither process: a plant is not to be suspended by a slip, and what a hub process was about
/// to send would leave when it goes on. Call it within a tokio runtime.
pub(crate) fn refuse_suspension() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when nobody listens any more.
    signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw())).map(drop)
}

/// Ends with the first signal that asks the process to stop.
pub(crate) async fn stop_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
