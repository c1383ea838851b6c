//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod accounts;
pub(crate) mod alarms;
mod configuration;
pub(crate) mod deliveries;
pub(crate) mod events;
mod import;
mod interfaces;
pub(crate) mod merges;
mod plugin;

pub(crate) use accounts::{AuditArgs, TokensCommand, UsersCommand};
pub(crate) use configuration::{
    ActivateArgs, ApplyArgs, BackupCommand, DiffArgs, RestoreArgs, RollbackArgs, ShowArgs,
};
pub(crate) use import::ImportArgs;
pub(crate) use interfaces::{BrowseArgs, InterfacesCommand, MonitorArgs, RestartArgs};
pub(crate) use plugin::{
    PluginCommand, PluginLanguage, PluginLockArgs, PluginNewArgs, PluginTestArgs, PluginTrialArgs,
    PluginUpgradeArgs,
};

/// Integration hub for building automation with main/backup redundancy.
#[derive(Debug, Parser)]
#[command(
    name = "twinhub",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(after_help = "Exit codes: 0 ok, 1 error, 2 usage, 3 not active or not in sync, 4 unreachable, \
                        64 configuration, 70 internal.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Form of the answer
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    pub(crate) output: OutputForm,
    /// Web address of the node to talk to
    #[arg(
        long,
        global = true,
        env = "TWINHUB_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8620",
        help_heading = "Global options"
    )]
    pub(crate) url: String,
    /// Token of that node; this machine's own node needs none
    #[arg(
        long,
        global = true,
        env = "TWINHUB_TOKEN",
        hide_env_values = true,
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) token: Option<String>,
    /// Put DIR before every default path, for a site in a directory
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) root: Option<PathBuf>,
    /// Configuration [default: /etc/twinhub/twinhub.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TWINHUB_CONFIG",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Where nodes keep journal and role [default: /var/lib/twinhub]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) state: Option<PathBuf>,
    /// Where plugins are looked for first; may be given several times [default: /usr/lib/twinhub/plugins]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) plugins: Vec<PathBuf>,
    /// Form of log lines on stderr
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For spreadsheets; only `trend`
    Csv,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each event
    #[default]
    Text,
    /// One JSON object for each event
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: a supervisor and the hub process it restarts after a crash
    Run(RunArgs),
    /// Run a witness: the third vote, on any machine that is neither main nor backup
    Witness(WitnessArgs),
    /// Host a plugin for a running hub, which starts this itself
    #[command(hide = true)]
    PluginHost,
    /// Make certificates and, if there is none, a configuration to start from
    Init(InitArgs),
    /// Become a node of a site that runs, with a code of `init --code`
    Join(JoinArgs),
    /// Check, describe or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show who is active and how the nodes are
    Status(StatusArgs),
    /// Move the role to another node, planned and without loss
    Switchover(SwitchoverArgs),
    /// Give every role of a node away and keep it from taking one, also over a restart, for service
    Drain(DrainArgs),
    /// Take a voter out for a service of its machine, so that the others need no majority of it
    Shrink(ShrinkArgs),
    /// Take a voter in again that was shrunk
    Grow(GrowArgs),
    /// Make the asked node active although nothing is planned
    Failover(FailoverArgs),
    /// Keep the role where it is
    Pause(GroupArgs),
    /// Let the role move again
    Resume(GroupArgs),
    /// Make the asked node fetch a full copy from the active one
    Resync(GroupArgs),
    /// Test the paths to the other nodes and to the witness
    #[command(subcommand)]
    Peer(PeerCommand),
    /// List, read, write and follow items
    #[command(subcommand)]
    Items(ItemsCommand),
    /// List, acknowledge and shelve alarms
    #[command(subcommand)]
    Alarms(alarms::AlarmsCommand),
    /// Show events between interfaces that are not done, and what cannot be delivered
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    /// Show what nodes wrote alone during a split and what became of it
    #[command(subcommand)]
    Merge(merges::MergeCommand),
    /// Show interfaces
    #[command(subcommand)]
    Interfaces(InterfacesCommand),
    /// Take what engineering tools export into the items file of an interface, or print it as one
    Import(ImportArgs),
    /// Follow what goes over the line of an interface: telegrams, messages
    Monitor(MonitorArgs),
    /// Show and check plugin libraries, and make and try your own
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// The compatibility matrix: what plugins declare beside what was measured
    #[command(subcommand)]
    Matrix(MatrixCommand),
    /// Show what the values of an item were, or what they came to
    Trend(TrendArgs),
    /// Show role changes
    History(HistoryArgs),
    /// Show or export what happened
    Events(Box<events::EventsArgs>),
    /// Put the site into one file, or bring it back
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Show and change who may log in
    #[command(subcommand)]
    Users(UsersCommand),
    /// Show and change the secrets of programs
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Show who did what, and when
    Audit(AuditArgs),
    /// Look for what is wrong on this machine, and say what to do
    Doctor(DoctorArgs),
    /// Show takeovers with a main, a backup and a witness on this machine
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which of the configured nodes this is
    #[arg(long, env = "TWINHUB_NODE", hide_env_values = true, value_name = "NAME")]
    pub(crate) node: String,
    /// Run the hub in this process; whatever started it restarts it after a crash
    #[arg(long)]
    pub(crate) no_supervisor: bool,
    /// Leave a hub process alone that was stopped (SIGSTOP), which is killed and started again otherwise
    #[arg(long, conflicts_with = "no_supervisor")]
    pub(crate) keep_stopped: bool,
    /// Process id of the supervisor, set by it
    #[arg(long, hide = true, value_name = "PID", conflicts_with = "no_supervisor")]
    pub(crate) child: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Address to listen on [default: every address, at the port of `witness` in the configuration, else 7621]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// A node to make a certificate for, in the order of rank; of the configuration, or main and backup, if left out
    #[arg(long = "node", value_name = "NAME")]
    pub(crate) nodes: Vec<String>,
    /// Ask the node that runs here for a code with which another machine joins as NODE
    #[arg(long, value_name = "NODE", conflicts_with = "nodes")]
    pub(crate) code: Option<String>,
    /// How long the code counts, such as 15m
    #[arg(long, value_name = "TIME", requires = "code")]
    pub(crate) lasts: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Web address of the node that made the code; its port is 8620 if left out
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The code
    pub(crate) code: String,
    /// Also if this machine has a site already, which is replaced
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check configuration, items files and plugin settings
    Check,
    /// Make a configuration the one in force on all nodes, as a new revision
    Apply(ApplyArgs),
    /// Show what differs between revisions, or between the one in force and the files here
    Diff(DiffArgs),
    /// Make an earlier revision the one in force again, as a new one
    Rollback(RollbackArgs),
    /// List revisions
    History,
    /// Restart every node that runs another revision than the one in force, one after the other
    Activate(ActivateArgs),
    /// Print the JSON Schema of twinhub.toml
    Schema,
    /// Show what is in force
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Repeat until stopped
    #[arg(long)]
    pub(crate) watch: bool,
    /// Seconds between two looks with --watch
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) interval: f64,
}

#[derive(Debug, Args)]
pub(crate) struct SwitchoverArgs {
    /// Only this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// To this node; the best one if left out
    #[arg(long, value_name = "NAME", group = "target")]
    pub(crate) to: Option<String>,
    /// To the node that each group prefers
    #[arg(long, group = "target")]
    pub(crate) to_primary: bool,
    /// To the node after the active one in the order of each group
    #[arg(long, group = "target")]
    pub(crate) to_next: bool,
    /// How long to wait for the end
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub(crate) name: String,
    /// Only of this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// Let the node take roles again
    #[arg(long)]
    pub(crate) end: bool,
    /// How long to wait for the end
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The node, or `witness`
    #[arg(value_name = "VOTER")]
    pub(crate) name: String,
    /// Only in this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// It is silent and did not leave in order: make sure yourself that its machine is off
    #[arg(long)]
    pub(crate) fenced: bool,
    /// Leave it out until `grow`, also when it is back
    #[arg(long)]
    pub(crate) hold: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GrowArgs {
    /// The node, or `witness`
    #[arg(value_name = "VOTER")]
    pub(crate) name: String,
    /// Only in this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FailoverArgs {
    /// Only this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// Also without a majority: make sure yourself that the other node does not act
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait for the end
    #[arg(long, default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    /// Only this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Try every path from the asked node: connection, certificate, version, round trip, clock, configuration
    Test(PeerTestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PeerTestArgs {
    /// Only to this node, or `witness`; to everyone if left out
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ItemsCommand {
    /// List items with their values
    Ls(ItemsLsArgs),
    /// Show items
    Get {
        /// Keys, `interface/path`
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Write an item and wait for the device's answer
    Set(ItemsSetArgs),
    /// Print values as they come
    Watch(ItemsWatchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ItemsLsArgs {
    /// Only keys that begin so
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Only keys that contain this
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub(crate) query: String,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ItemsSetArgs {
    /// Key, `interface/path`
    pub(crate) key: String,
    /// JSON such as 21.5 or true; what is not JSON is a text
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,
    /// If the asked node is standby, carry the write over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ItemsWatchArgs {
    /// Only keys that begin so
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Go on after this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) from: Option<String>,
    /// End after so many values
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MatrixCommand {
    /// Show the matrix
    Show(MatrixArgs),
    /// Write COMPATIBILITY.md, .json and .html
    Build(MatrixArgs),
    /// Fail if the written files are not up to date
    Verify(MatrixArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// Folder of the matrix with its `results`
    #[arg(long, default_value = "matrix", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TrendArgs {
    /// Key, `interface/path`
    pub(crate) item: String,
    /// From this time on: 2026-11-21T09:30:00Z, 2026-11-21, or how long ago, -24h
    #[arg(long, default_value = "-1h", allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: String,
    /// Before this time
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// One row for each interval: all, or of `count min max mean time_weighted_mean sum first last`
    #[arg(long, value_name = "LIST", num_args = 0..=1, default_missing_value = "all")]
    pub(crate) aggregate: Option<String>,
    /// Length of an interval, such as 5m; the whole time if left out
    #[arg(long, value_name = "SPAN")]
    pub(crate) interval: Option<String>,
    /// At most so many values; 10,000 if left out, or all as CSV and in files
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Write the values into a Parquet file, of which a node fills one at a time: FILE, FILE-2, and so on
    #[arg(long, value_name = "FILE", conflicts_with_all = ["aggregate", "interval"])]
    pub(crate) file: Option<PathBuf>,
    /// Delete FILE-2 and on of an earlier export, which are in the way otherwise
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only of this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// So many of the newest
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Which of the configured nodes this is; the files and ports of all are looked at if left out
    #[arg(long, env = "TWINHUB_NODE", hide_env_values = true, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Run the story: cut, kill, freeze, switch
    #[arg(long)]
    pub(crate) story: bool,
    /// Without keys and colors, for scripts
    #[arg(long)]
    pub(crate) headless: bool,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Two arguments of one name are one to the parser, which then panics on its type.
    #[test]
    fn no_command_has_an_argument_named_like_a_global_one() {
        fn check(command: &clap::Command, global: &[String]) {
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                let id = argument.get_id().to_string();
                assert!(!global.contains(&id), "{}: {id}", command.get_name());
            }
            for below in command.get_subcommands() {
                check(below, global);
            }
        }
        let command = Cli::command();
        let global: Vec<String> = command
            .get_arguments()
            .filter(|argument| argument.is_global_set())
            .map(|argument| argument.get_id().to_string())
            .collect();
        assert!(global.len() >= 8, "{global:?}");
        check(&command, &global);
    }
}
