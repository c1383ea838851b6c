//! Arguments of `deliveries`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesCommand {
    /// List events that wait, cannot be delivered, or are for nobody
    Ls(DeliveriesLsArgs),
    /// Have an event that cannot be delivered tried again
    Retry(DeliveriesOrderArgs),
    /// Drop an event that cannot be delivered
    Drop(DeliveriesOrderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesLsArgs {
    /// waiting, dead or unlinked; all of them if left out
    #[arg(value_name = "STATE")]
    pub(crate) which: Option<String>,
    /// Only those that this interface gave, or is to do
    #[arg(long)]
    pub(crate) interface: Option<String>,
    /// Only of this group
    #[arg(long)]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesOrderArgs {
    /// Ids, as `deliveries ls` shows them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// If the asked node is standby, carry the order over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}
