//! The hub process: a node and its web interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::net::TcpListener;
use twinhub_runtime::{HostProgram, NodeOptions, StartError};
use twinhub_web::WebOptions;

use super::{refuse_suspension, stop_signal};
use crate::cli::Global;
use crate::commands::matrix;
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::print;
use crate::paths::Paths;

/// Under the supervisor with that process id.
pub(super) fn run_child(global: &Global, node: &str, supervisor: i32) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::new(Code::Internal, format!("cannot bind to the supervisor: {error}")))?;
    // It may have ended before the line above.
    if getppid().map(Pid::as_raw_pid) != Some(supervisor) {
        return Err(Failure::new(Code::Internal, "the supervisor is gone"));
    }
    run(global, node)
}

pub(super) fn run(global: &Global, node: &str) -> Outcome {
    let paths = Paths::of(global);
    let loaded = paths.load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let site = loaded.site;
    // The node itself says so if it is not in the configuration.
    let web_address = site.node(node).map_or_else(|| "127.0.0.1:0".to_owned(), |node| node.web.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("web")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start the web runtime: {error}")))?;
    runtime.block_on(async {
        // Watched from the start on, so that a stop while starting is not lost.
        let stop = tokio::spawn(stop_signal());
        if let Err(error) = refuse_suspension() {
            tracing::warn!(%error, "Ctrl-Z would stop this process");
        }
        let listener = TcpListener::bind(&web_address).await.map_err(|error| {
            let text = format!(
                "cannot listen on {web_address} for the web interface: {error}; is another hub running here?"
            );
            Failure::new(Code::Error, text)
        })?;
        let options = NodeOptions {
            site,
            node: node.to_owned(),
            state_dir: paths.node_state(node),
            plugin_dirs: paths.plugins.clone(),
            plugin_host: HostProgram::default(),
            pki_dir: paths.pki.clone(),
            config_dir: paths.config_dir(),
            config_file: paths.config.clone(),
        };
        let handle = tokio::task::spawn_blocking(move || twinhub_runtime::start(options))
            .await
            .map_err(|error| Failure::of(Code::Internal, &error))?
            .map_err(|error| start_failure(&error))?;
        let web = WebOptions::new(&handle, &paths.config_dir(), &paths.node_state(node));
        let web = match web {
            Ok(web) => WebOptions { matrix: matrix::installed(&paths), ..web },
            Err(error) => {
                handle.shutdown().await;
                return Err(Failure::of(Code::Configuration, &error));
            }
        };
        let bound = listener.local_addr().map_or(web_address, |address| address.to_string());
        print(&format!("twinhub {node} runs: web http://{bound}, process {}", std::process::id()))?;
        let stopping = handle.clone();
        let again = Arc::new(AtomicBool::new(false));
        let restart = Arc::clone(&again);
        let served = twinhub_web::serve(handle.clone(), listener, web, async move {
            let signal = tokio::select! {
                signal = stop => signal,
                () = stopping.restart_ordered() => {
                    restart.store(true, Ordering::Release);
                    Ok(Ok("restart"))
                }
            };
            match signal {
                Ok(Ok(signal)) => tracing::info!(signal, "stopping"),
                Ok(Err(error)) => tracing::error!(%error, "no signals can be received: stopping"),
                Err(error) => tracing::error!(%error, "no signals can be received: stopping"),
            }
            // Requests are still answered while the role is handed over.
            stopping.shutdown().await;
        })
        .await;
        handle.shutdown().await;
        served.map_err(|error| Failure::of(Code::Error, &error))?;
        tracing::info!("stopped");
        Ok(if again.load(Ordering::Acquire) { Code::Restart } else { Code::Ok })
    })
}

/// Configuration and everything else that a new attempt would not change end with 64.
pub(crate) fn start_failure(error: &StartError) -> Failure {
    let code = if error.is_configuration() { Code::Configuration } else { Code::Error };
    Failure::new(code, chain(error))
}
