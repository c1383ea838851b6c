//! Log lines on stderr, chosen by `TWINHUB_LOG`.

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging; without `TWINHUB_LOG` from `info` on.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("TWINHUB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // It fails only if there is a subscriber, which then logs.
    match format {
        LogFormat::Text => builder.try_init().ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().ok(),
    };
}
