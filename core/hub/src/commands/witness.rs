//! `witness`: the third vote.

use std::net::IpAddr;

use twinhub_config::Witness;
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
        listen: args.listen.clone().unwrap_or_else(|| listen(&paths)),
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

const DEFAULT_PORT: &str = "7621";

/// Where the nodes look for the witness, if its machine has the configuration too.
fn listen(paths: &Paths) -> String {
    let everywhere = format!("0.0.0.0:{DEFAULT_PORT}");
    if !paths.config.exists() {
        return everywhere;
    }
    match twinhub_config::load_cluster(&paths.config) {
        Ok(site) => match site.cluster.witness {
            Some(Witness::Address(address)) => listen_for(&address),
            Some(Witness::Etcd(_)) | None => {
                let config = paths.config.display().to_string();
                tracing::warn!(
                    config,
                    "no node asks this witness: write `witness = \"HOST:7621\"` in [cluster]"
                );
                everywhere
            }
        },
        Err(failure) => {
            // A third vote at the usual port is worth more than none.
            let config = paths.config.display().to_string();
            tracing::warn!(
                config,
                listen = everywhere,
                error = %failure,
                "the configuration is not readable: correct it and start again, or say with --listen where the nodes \
                 look for this witness"
            );
            everywhere
        }
    }
}

/// The port that the nodes are told, on every address of the kind: a name may be another one here. What is on this
/// machine only stays so.
fn listen_for(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, DEFAULT_PORT));
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => address.to_owned(),
        Ok(IpAddr::V6(_)) => format!("[::]:{port}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("0.0.0.0:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_listens_at_the_port_that_the_nodes_are_told() {
        let cases = [
            ("10.0.0.13:7621", "0.0.0.0:7621"),
            ("witness.hotel.example:7700", "0.0.0.0:7700"),
            ("[fd00::13]:7700", "[::]:7700"),
            ("127.0.0.1:7630", "127.0.0.1:7630"),
            ("[::1]:7630", "[::1]:7630"),
        ];
        for (address, wanted) in cases {
            assert_eq!(listen_for(address), wanted, "{address}");
        }
    }
}
