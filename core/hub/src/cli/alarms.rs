//! Arguments of `twinhub alarms`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmsCommand {
    /// List alarms that are active or not acknowledged, the newest first
    Ls(AlarmsLsArgs),
    /// List everything that is kept, the newest first
    History(AlarmsHistoryArgs),
    /// Acknowledge alarms: by their id, one occurrence of it, or all in sight
    Ack(AlarmsAckArgs),
    /// Put an alarm out of sight for a time
    Shelve(AlarmsShelveArgs),
    /// Take an alarm off the shelf
    Unshelve(AlarmsOrderArgs),
    /// Put an alarm out of sight until further notice
    Suppress(AlarmsSuppressArgs),
    /// Bring a suppressed alarm back
    Unsuppress(AlarmsOrderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsLsArgs {
    /// open, active, unacknowledged, shelved, suppressed or all
    #[arg(default_value = "open", value_name = "STATE")]
    pub(crate) which: String,
    #[command(flatten)]
    pub(crate) filter: AlarmsFilter,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsHistoryArgs {
    /// Begun then or later, such as 2026-11-21T17:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Begun before then
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) filter: AlarmsFilter,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsFilter {
    /// Of this priority or a more urgent one
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) priority: u16,
    /// Only with this in id, item, text or area
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub(crate) query: String,
    /// Only of this part of the plant
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) area: String,
    /// Only of this group
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// So many at most
    #[arg(long, default_value_t = 200, value_name = "COUNT")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsAckArgs {
    /// Ids of alarms or occurrences
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Everything in sight
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// What to write beside it
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub(crate) comment: String,
    /// If the asked node is standby, carry the order over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsShelveArgs {
    /// Id of the alarm
    pub(crate) id: String,
    /// For how long, such as 30m or 8h
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) span: String,
    /// Why
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub(crate) comment: String,
    /// If the asked node is standby, carry the order over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsSuppressArgs {
    /// Id of the alarm
    pub(crate) id: String,
    /// Why
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub(crate) comment: String,
    /// If the asked node is standby, carry the order over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AlarmsOrderArgs {
    /// Id of the alarm
    pub(crate) id: String,
    /// If the asked node is standby, carry the order over to the active one
    #[arg(long)]
    pub(crate) forward: bool,
}
