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
