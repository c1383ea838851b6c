//! Interfaces, and what goes over their lines.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::seconds;

#[derive(Debug, Subcommand)]
pub(crate) enum InterfacesCommand {
    /// List interfaces of the asked node
    Ls,
    /// List what can be addressed on the device of an interface
    Browse(BrowseArgs),
    /// Show what the plugin of an interface says of itself: connections, counters, last errors
    Diag {
        /// The interface
        #[arg(value_name = "NAME")]
        interface: String,
    },
    /// Try whether the device of an interface answers, without changing anything there
    Test {
        /// The interface
        #[arg(value_name = "NAME")]
        interface: String,
    },
    /// Look for devices in reach that an interface like this one could connect to
    Discover {
        /// The interface
        #[arg(value_name = "NAME")]
        interface: String,
        /// For how long to wait for answers, 20 at most
        #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
        wait: Duration,
    },
    /// Give an interface another instance of its plugin, also one that stays down after faults
    Restart(RestartArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The interface
    #[arg(value_name = "NAME")]
    pub(crate) interface: String,
    /// On this node; on the asked one if left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// How long to wait
    #[arg(long, default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct BrowseArgs {
    /// The interface
    #[arg(value_name = "NAME")]
    pub(crate) interface: String,
    /// What is below this node, as the column PARENT shows it; the top without it
    #[arg(long, value_name = "JSON")]
    pub(crate) parent: Option<String>,
    /// Read on from here
    #[arg(long, value_name = "CURSOR", default_value = "")]
    pub(crate) cursor: String,
    /// Most nodes of one answer, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    /// The interface
    #[arg(value_name = "NAME")]
    pub(crate) interface: String,
    /// Begin with so many messages that were there before, 500 at most
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) last: u32,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    /// Only messages to this address or name, or whose address or name begins with it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) to: Option<String>,
}
