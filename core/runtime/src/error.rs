//! What can go wrong for whoever starts a node or orders something of it.

use std::path::PathBuf;

use twinhub_config::UnknownNode;
use twinhub_documents::Refusal;

use crate::join::JoinError;
use crate::pki::PkiError;

/// Why a node or a witness could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be run.
    #[error("{0}")]
    Config(String),
    /// What a restore put here is not whole.
    #[error("a restore into {path} was cut off: say the same `twinhub backup restore` again", path = path.display())]
    RestoreCutOff {
        /// The node's state.
        path: PathBuf,
    },
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The journal or the role file.
    #[error(transparent)]
    Store(#[from] twinhub_store::StoreError),
    /// A plugin.
    #[error("{0}")]
    Plugin(String),
    /// A file or directory.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// `create`, `read`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address.
    #[error(
        "cannot listen on {address}: {source}; is another hub running here, or is the address not of this machine?"
    )]
    Listen {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread or runtime.
    #[error("cannot start {what}: {source}")]
    Thread {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// Whether the configuration or what is installed is to blame, so that a new attempt would end the same.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            StartError::Config(_)
                | StartError::RestoreCutOff { .. }
                | StartError::Plugin(_)
                | StartError::Pki(_)
                | StartError::Store(twinhub_store::StoreError::NewerFormat { .. })
        )
    }
}

/// Why a command or an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No such item.
    #[error("there is no item `{key}`")]
    UnknownItem {
        /// The key.
        key: String,
    },
    /// No such group.
    #[error("there is no group `{group}`")]
    UnknownGroup {
        /// The id.
        group: String,
    },
    /// No interface uses such a plugin.
    #[error("no interface here uses a plugin `{plugin}`; used are: {}", .known.join(", "))]
    UnknownPlugin {
        /// Its short name.
        plugin: String,
        /// Those that are used.
        known: Vec<String>,
    },
    /// The library is what runs.
    #[error("{} is what runs already ({version}): put the file of the other version there first", .path.display())]
    PluginSame {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// A library cannot take the place of another one.
    #[error("{why}")]
    PluginUnfit {
        /// Why, and what to do.
        why: String,
    },
    /// No such node.
    #[error(transparent)]
    UnknownNode(#[from] UnknownNode),
    /// This node does not act.
    #[error("this node is not active{}", match .active { Some(name) => format!(", `{name}` is"), None => String::from(" and knows no active node") })]
    NotActive {
        /// Who is.
        active: Option<String>,
        /// Where its web interface listens.
        url: Option<String>,
    },
    /// No such alarm.
    #[error("{what}")]
    UnknownAlarm {
        /// What was asked for.
        what: String,
    },
    /// An alarm cannot be ordered so.
    #[error("{what}")]
    BadAlarmOrder {
        /// Why.
        what: String,
    },
    /// No such event is set aside.
    #[error("no event `{id}` is set aside: `twinhub deliveries ls dead` lists those that are")]
    UnknownDelivery {
        /// As it was asked for.
        id: String,
    },
    /// The item cannot be written.
    #[error("item `{key}` is read-only: its access is `r`")]
    ReadOnly {
        /// The key.
        key: String,
    },
    /// The value does not fit.
    #[error("{what}")]
    BadValue {
        /// Why.
        what: String,
    },
    /// Too many commands wait.
    #[error("too many commands wait: try again in a moment")]
    Busy,
    /// No answer in time; the command is in doubt.
    #[error("no answer within {seconds} s: the command is in doubt, read the item back")]
    Timeout {
        /// How long was waited.
        seconds: u64,
    },
    /// The device or the plugin said no.
    #[error("not written: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The role machine said no.
    #[error("{why}")]
    OrderRefused {
        /// Why.
        why: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The rules of documents do not allow it.
    #[error(transparent)]
    Document(#[from] Refusal),
    /// Too few nodes would have it.
    #[error(
        "{have} of {needed} nodes that must have it on disk are there: wait until a standby is in sync, take nodes that \
         are away out with `twinhub shrink`, or order it all the same with `--alone`"
    )]
    NoMajority {
        /// Nodes that are there.
        have: usize,
        /// Nodes that must be.
        needed: usize,
    },
    /// It is in the journal of this node, and no majority said in time that it has it.
    #[error(
        "it is on this node, but no majority of the nodes confirmed it within {seconds} s: look at it again"
    )]
    Unconfirmed {
        /// How long was waited.
        seconds: u64,
    },
    /// Name or password is wrong.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// A configuration that is to be applied is wrong.
    #[error("{report}")]
    Configuration {
        /// Everything that is wrong.
        report: String,
    },
    /// A machine does not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Something inside is not as it should be.
    #[error("{why}")]
    Internal {
        /// What.
        why: String,
    },
}

impl CommandError {
    /// A stable code for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            CommandError::UnknownItem { .. } => "TH-ITEM-001",
            CommandError::UnknownAlarm { .. } => "TH-ALARM-001",
            CommandError::BadAlarmOrder { .. } => "TH-ALARM-002",
            CommandError::UnknownDelivery { .. } => "TH-DELIVERY-009",
            CommandError::ReadOnly { .. } => "TH-ITEM-002",
            CommandError::BadValue { .. } => "TH-ITEM-003",
            CommandError::Refused { .. } => "TH-ITEM-004",
            CommandError::Timeout { .. } => "TH-ITEM-005",
            CommandError::Busy => "TH-ITEM-006",
            CommandError::NotActive { .. } => "TH-NODE-001",
            CommandError::UnknownNode(_) => "TH-NODE-002",
            CommandError::UnknownGroup { .. } => "TH-NODE-003",
            CommandError::UnknownPlugin { .. } => "TH-PLUGIN-001",
            CommandError::PluginUnfit { .. } => "TH-PLUGIN-008",
            CommandError::PluginSame { .. } => "TH-PLUGIN-009",
            CommandError::OrderRefused { .. } => "TH-NODE-004",
            CommandError::Stopping => "TH-NODE-005",
            CommandError::Document(Refusal::Unknown { .. }) => "TH-DOC-001",
            CommandError::Document(Refusal::Stale { .. }) => "TH-DOC-002",
            CommandError::Document(_) => "TH-DOC-003",
            CommandError::NoMajority { .. } => "TH-DOC-004",
            CommandError::Unconfirmed { .. } => "TH-DOC-005",
            CommandError::Join(JoinError::Refused) => "TH-JOIN-001",
            CommandError::Join(_) => "TH-JOIN-002",
            CommandError::Configuration { .. } => "TH-CONFIG-001",
            CommandError::WrongPassword => "TH-AUTH-006",
            CommandError::Internal { .. } => "TH-NODE-009",
        }
    }
}

/// Why a plugin gave no answer to a question of a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No such interface.
    #[error("there is no interface `{id}`")]
    UnknownInterface {
        /// The id.
        id: String,
    },
    /// Its plugin has no such answers.
    #[error("interface `{interface}`: {why}")]
    NotOffered {
        /// The interface.
        interface: String,
        /// In words.
        why: String,
    },
    /// The device may not be asked in this role.
    #[error(
        "interface `{interface}` is not active on this node, and its plugin does not ask the device then: ask the node that is active"
    )]
    NotActive {
        /// The interface.
        interface: String,
    },
    /// There is no instance at present.
    #[error("interface `{interface}` does not run at present: `interfaces ls` says why")]
    NotRunning {
        /// The interface.
        interface: String,
    },
    /// The same question is under way.
    #[error("interface `{interface}` still works at the same question: try again in a moment")]
    Busy {
        /// The interface.
        interface: String,
    },
    /// The plugin or the device said no.
    #[error("interface `{interface}`: {why}")]
    Refused {
        /// The interface.
        interface: String,
        /// Why.
        why: String,
    },
    /// The plugin does not keep the contract.
    #[error("the plugin of interface `{interface}` does not answer as the contract says: {why}")]
    BadAnswer {
        /// The interface.
        interface: String,
        /// What is wrong.
        why: String,
    },
    /// No answer in time.
    #[error("interface `{interface}` did not answer within {seconds} s")]
    Timeout {
        /// The interface.
        interface: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The question is too long.
    #[error("parent and cursor have {limit} bytes at most")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
}

impl AskError {
    /// A stable code for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            AskError::UnknownInterface { .. } => "TH-INTERFACE-001",
            AskError::NotOffered { .. } => "TH-INTERFACE-002",
            AskError::NotActive { .. } => "TH-INTERFACE-003",
            AskError::NotRunning { .. } => "TH-INTERFACE-004",
            AskError::Busy { .. } => "TH-INTERFACE-005",
            AskError::Refused { .. } => "TH-INTERFACE-006",
            AskError::BadAnswer { .. } => "TH-INTERFACE-007",
            AskError::Timeout { .. } => "TH-INTERFACE-008",
            AskError::TooLong { .. } => "TH-INTERFACE-009",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor that started the process again would do so for ever.
    #[test]
    fn a_file_of_a_newer_version_is_no_matter_of_another_attempt() {
        let path = PathBuf::from("var/role");
        let newer = twinhub_store::StoreError::NewerFormat { path: path.clone(), got: 3, known: 2 };
        assert!(StartError::Store(newer).is_configuration());
        assert!(!StartError::Store(twinhub_store::StoreError::Locked { path }).is_configuration());
    }
}
