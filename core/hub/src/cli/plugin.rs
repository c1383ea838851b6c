//! `plugin`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::seconds;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List plugin libraries that are found
    Ls,
    /// Show what a plugin declares
    Info {
        /// Short name, or a file
        plugin: String,
    },
    /// Check that the hub would load these libraries
    Check {
        /// Short names or files; all that are found if left out
        #[arg(value_name = "PLUGIN")]
        names: Vec<String>,
    },
    /// Check libraries against `plugins.lock`, as the hub does before it loads them
    Verify {
        /// Short names or files; those of the configuration if left out
        #[arg(value_name = "PLUGIN")]
        names: Vec<String>,
    },
    /// Put libraries into `plugins.lock`, with their hashes and who signed them
    Lock(PluginLockArgs),
    /// Make a project for a plugin of your own, which builds, passes `plugin test` and runs in a pair
    New(PluginNewArgs),
    /// Try a plugin as a hub would, and worse; fails if one test fails
    Test(PluginTestArgs),
    /// Bring the version into service whose file is where plugins are: on all nodes, those first that do not act
    Upgrade(PluginUpgradeArgs),
    /// Run the version again that ran before the last upgrade, while it is still at hand
    Rollback(PluginTrialArgs),
    /// Keep the version of the last upgrade: the one before goes
    Keep(PluginTrialArgs),
    /// End the quarantine of a plugin on a node: from its next start on it may run in the hub's process again
    Release {
        /// Short name
        plugin: String,
        /// On this node; on the asked one if left out
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
    /// What `plugin test` starts for each test
    #[command(hide = true)]
    TestOne {
        /// Folder that `plugin test` made
        dir: PathBuf,
        /// `group.name`
        test: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PluginLockArgs {
    /// Short names or files; those of the configuration if left out
    #[arg(value_name = "PLUGIN")]
    pub(crate) names: Vec<String>,
    /// Take over other content of a plugin that is there already
    #[arg(long, conflicts_with = "add")]
    pub(crate) update: bool,
    /// Add other content of a plugin beside what is there: for nodes of two versions or two kinds of machines
    #[arg(long)]
    pub(crate) add: bool,
    /// Let libraries run isolated that no known publisher signed
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
    /// Trust this publisher; its key is the second line of its `minisign.pub`. May be given several times
    #[arg(long, value_name = "NAME=KEY")]
    pub(crate) publisher: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginUpgradeArgs {
    /// Short name
    pub(crate) plugin: String,
    /// Only on this node, whether it acts or not
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Leave roles where they are: a node that acts changes while it acts
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Only look whether the file fits on every node, and what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long the version before can come back
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) trial: String,
    /// How long each node is watched, at least, before the next one changes
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) watch: Duration,
    /// How long to wait for each step
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PluginTrialArgs {
    /// Short name
    pub(crate) plugin: String,
    /// Only on this node; on all of them if left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// How long to wait for each node
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNewArgs {
    /// Its name: lower-case letters, digits and dashes
    pub(crate) name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = PluginLanguage::Rust)]
    pub(crate) lang: PluginLanguage,
    /// Folder of the project; one with the name of the plugin if left out
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The folder `sdk` of Twinhub's sources, for Rust; looked for above this folder and this program if left out
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PluginLanguage {
    /// Rust, with the author API
    Rust,
    /// C11, with the header
    C,
}

impl PluginLanguage {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            PluginLanguage::Rust => "Rust",
            PluginLanguage::C => "C",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Short name, or a file
    #[arg(required_unless_present = "list")]
    pub(crate) plugin: Option<String>,
    /// What its instances get as `settings`: a TOML or JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Items of its instances: CSV, as an interface has it
    #[arg(long, value_name = "FILE")]
    pub(crate) items: Option<PathBuf>,
    /// The library of the version before, from which the group `upgrade` takes over; the plugin itself if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) before: Option<PathBuf>,
    /// What simulates its device: a command for a shell, started for each test, that takes orders as lines of JSON; see the
    /// guide
    #[arg(long, value_name = "COMMAND")]
    pub(crate) device: Option<String>,
    /// Only this group, or this test, as `group.name`; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// End each test after so many seconds instead of after its own time
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit: Option<u64>,
    /// The plugin's sources; their hash stands in the report, so that a matrix knows whether it is stale
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Option<PathBuf>,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// List the tests instead
    #[arg(long)]
    pub(crate) list: bool,
}
