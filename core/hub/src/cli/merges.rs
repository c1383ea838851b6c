//! Arguments of `merge`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum MergeCommand {
    /// List what was joined after splits
    Ls(MergeLsArgs),
    /// Show one report: what was kept, joined and is in conflict
    Show(MergeShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MergeLsArgs {
    /// Only of this group
    #[arg(long)]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MergeShowArgs {
    /// Id of the report, as `merge ls` shows it
    pub(crate) id: String,
}
