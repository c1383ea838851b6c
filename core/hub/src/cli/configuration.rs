//! Revisions of the configuration: `config apply`, `diff`, `rollback`, `activate`; and `backup`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::seconds;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A folder with twinhub.toml, or the file; the configuration of this machine if left out
    #[arg(value_name = "PATH")]
    pub(crate) from: Option<PathBuf>,
    /// Why it is changed
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) message: String,
    /// Only check it and say what would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse if another revision than this one is in force
    #[arg(long, value_name = "REVISION")]
    pub(crate) base: Option<u64>,
    /// Also if no majority of the nodes is there; it may be a conflict later
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// With the overrides of this node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// What the hub at --url has in force, not what is in the files here
    #[arg(long)]
    pub(crate) remote: bool,
    /// This revision of it
    #[arg(long, value_name = "REVISION", requires = "remote")]
    pub(crate) revision: Option<u64>,
    /// The text of `twinhub.toml`
    #[arg(long)]
    pub(crate) text: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A revision; the one in force against the files here if left out
    #[arg(value_name = "A")]
    pub(crate) a: Option<u64>,
    /// Another one; the one in force if left out
    #[arg(value_name = "B")]
    pub(crate) b: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The revision, as `config history` lists it
    pub(crate) revision: u64,
    /// Why
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) message: String,
    /// Also if no majority of the nodes is there; it may be a conflict later
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// How long to wait for each node
    #[arg(long, default_value = "120", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Make a backup on the asked node, under a passphrase that is asked for or read from standard input
    Create {
        /// Fetch it into this file, too
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// List the backups of the asked node
    Ls,
    /// Bring a site back on this machine, where no node of it has run
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// The node that this machine is; the one that made the backup if left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Also if there is a configuration here, which is replaced
    #[arg(long)]
    pub(crate) force: bool,
}
