//! Which node acted last, and what that means for this node's session at the broker.
//!
//! A broker queues for a session whose node is away. What it queued while another node acted that node dealt with: given to
//! this one when it acts again, old commands would come behind newer ones, and no message says when it was sent. So the node
//! that acts keeps its name by key, which its successor has, and a node that stood by without hearing anything begins a new
//! session unless that name is its own. Then nobody acted meanwhile, and only the queue has what came.

use crate::config::Settings;
use crate::link::Role;

/// Under which the node that acts keeps [`name`].
pub const KEY: &str = "acted";

/// Whose session it is that was heard last.
pub fn name(settings: &Settings) -> Vec<u8> {
    let name = serde_json::json!({ "client_id": settings.client_id, "node": settings.placement.node });
    name.to_string().into_bytes()
}

/// What became of the name that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept before everything that is handed over from here on.
    Yes,
    /// The hub has no room for it at present, or the role is not there.
    NotYet,
    /// The hub keeps nothing.
    Never,
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With the session that the broker has.
    Resumed,
    /// With a new session, which the broker keeps; what it has of the one before is forgotten.
    Fresh,
    /// With a session that ends with the connection.
    Passing,
    /// Not yet: what the broker has is for this node if it acts next, and would be taken from it by looking.
    Later,
}

/// What a beginning depends on.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The role.
    pub role: Role,
    /// The one before the node acted.
    pub stood_by: Role,
    /// Whether the session has been heard since the node acts.
    pub is_current: bool,
    /// Whether this node acted last, as far as it knows.
    pub acted_last: bool,
}

impl Beginning {
    /// See the module.
    pub fn of(settings: &Settings, standing: Standing) -> Self {
        let Standing { role, stood_by, is_current, acted_last } = standing;
        if !settings.persistent {
            return Self::Passing;
        }
        if settings.is_session_shared {
            // Whoever acts takes it from the node before, with all that has no receipt.
            return Self::Resumed;
        }
        match role {
            // It hears what the active node hears, and the hub tells repeats from news.
            Role::Hot => Self::Resumed,
            Role::Active if stood_by == Role::Hot || is_current || acted_last => Self::Resumed,
            Role::Warm if acted_last => Self::Later,
            Role::Active | Role::Cold | Role::Warm => Self::Fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(more: &str) -> Settings {
        let text = format!(r#"{{"broker":"mqtt://b","client_id":"c","twinhub":{{"node":"main"}}{more}}}"#);
        serde_json::from_str::<Config>(&text).unwrap().validate("m").unwrap()
    }

    fn begins(more: &str, role: Role, stood_by: Role, is_current: bool, acted_last: bool) -> Beginning {
        Beginning::of(&settings(more), Standing { role, stood_by, is_current, acted_last })
    }

    #[test]
    fn a_cold_standby_takes_up_its_session_only_if_nobody_else_acted() {
        assert_eq!(begins("", Role::Active, Role::Cold, false, false), Beginning::Fresh);
        assert_eq!(begins("", Role::Active, Role::Cold, false, true), Beginning::Resumed);
        assert_eq!(begins("", Role::Active, Role::Cold, true, false), Beginning::Resumed, "a reconnect");
    }

    #[test]
    fn a_warm_standby_does_not_take_from_itself_what_nobody_else_has() {
        assert_eq!(begins("", Role::Warm, Role::Warm, false, true), Beginning::Later);
        assert_eq!(begins("", Role::Warm, Role::Warm, false, false), Beginning::Fresh);
        assert_eq!(begins("", Role::Active, Role::Warm, false, true), Beginning::Resumed);
    }

    #[test]
    fn a_hot_standby_and_a_shared_session_go_on() {
        assert_eq!(begins("", Role::Hot, Role::Hot, false, false), Beginning::Resumed);
        assert_eq!(begins("", Role::Active, Role::Hot, false, false), Beginning::Resumed);
        let shared = r#","shared_session":true"#;
        assert_eq!(begins(shared, Role::Active, Role::Cold, false, false), Beginning::Resumed);
        assert_eq!(
            begins(r#","persistent":false"#, Role::Active, Role::Cold, true, true),
            Beginning::Passing
        );
    }

    #[test]
    fn the_name_tells_nodes_and_clients_apart() {
        let name = |more| name(&settings(more));
        assert_eq!(name(""), br#"{"client_id":"c","node":"main"}"#);
        let mut other = settings("");
        other.placement.node = "backup".to_owned();
        assert_ne!(name(""), super::name(&other));
    }
}
