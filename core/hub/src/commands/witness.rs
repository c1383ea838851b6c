//! `witness`: the third vote.

use twinhub_runtime::{WitnessOptions, pki, run_witness};

use super::run::{start_failure, stop_signal};
use crate::cli::{Global, WitnessArgs};
use crate::exit::{Code, Failure, Outcome};
use crate::paths::Paths;

pub(crate) fn run(global: &Global, args: &WitnessArgs) -> Outcome {
    let paths = Paths::of(global);
    pki::ensure(&paths.pki, &["witness"]).map_err(|error| Failure::of(Code::Configuration, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start the witness: {error}")))?;
    let options = WitnessOptions {
        listen: args.listen.clone(),
        state_dir: paths.node_state("witness"),
        pki_dir: paths.pki,
    };
    let shutdown = async {
        match stop_signal().await {
            Ok(signal) => tracing::info!(signal, "stopping"),
            Err(error) => tracing::error!(%error, "no signals can be received: stopping"),
        }
    };
    runtime.block_on(run_witness(options, shutdown)).map_err(|error| start_failure(&error))?;
    Ok(Code::Ok)
}
