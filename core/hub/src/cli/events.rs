//! Arguments of `twinhub events`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EventsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<EventsCommand>,
    #[command(flatten)]
    pub(crate) list: EventsLsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List what happened, on the asked node and on the others
    Ls(EventsLsArgs),
    /// Write everything that is kept into a file, or to the standard output
    Export(EventsExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EventsLsArgs {
    /// Only events with a greater number on the asked node
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) after: u64,
    /// So many at most
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    pub(crate) limit: usize,
    /// The newest, the newest first
    #[arg(long, conflicts_with_all = ["after", "follow"])]
    pub(crate) newest: bool,
    /// Wait for more
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) filter: EventsFilter,
}

#[derive(Debug, Args)]
pub(crate) struct EventsExportArgs {
    /// As what it is written
    #[arg(long, value_enum, default_value_t = EventsFormat::Csv)]
    pub(crate) format: EventsFormat,
    /// Where to; the standard output if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) filter: EventsFilter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventsFormat {
    /// A line for each event, with a header
    Csv,
    /// One list of objects
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct EventsFilter {
    /// Only this bad or worse: info, warning or error
    #[arg(long, value_name = "WORD")]
    pub(crate) severity: Option<String>,
    /// Only with a code that begins so, such as TH-ROLE
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Only about this item, or this interface and its items
    #[arg(long, value_name = "KEY")]
    pub(crate) item: Option<String>,
    /// Only what happened on this node
    #[arg(long = "on", value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Only of this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// Only with this in what it is about, code or text
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) query: Option<String>,
    /// Then or later, such as 2026-11-21T17:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}
