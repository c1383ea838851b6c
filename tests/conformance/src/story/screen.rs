//! The status table of the demo.

use crate::stage::Stage;
use crate::table::table;

/// What each key does.
pub(super) const KEYS: &str = "keys: k kill the active node, r restart what was killed, c cut the links between the nodes, \
     h heal them, s switch over, q quit";

/// Nodes as they see themselves, and what flows.
pub(super) fn status(stage: &Stage) -> String {
    let cluster = stage.cluster();
    let view = cluster.active().and_then(|active| cluster.status(&active).ok());
    let rows: Vec<Vec<String>> = cluster
        .names()
        .into_iter()
        .map(|name| {
            let own = cluster.status(&name).ok();
            let state = own.as_ref().and_then(|group| group.node(&name)).map(|node| node.state.clone());
            let seen = view.as_ref().and_then(|group| group.node(&name));
            let sync = match (&state, seen) {
                (Some(state), _) if state == "active" => "-".to_owned(),
                (_, Some(node)) if node.in_sync => "in sync".to_owned(),
                (_, Some(node)) => {
                    node.lag_records.map_or_else(|| "no".to_owned(), |lag| format!("{lag} behind"))
                }
                (_, None) => "unknown".to_owned(),
            };
            let epoch = own.map_or_else(|| "-".to_owned(), |group| group.epoch);
            vec![name, state.unwrap_or_else(|| "down".to_owned()), epoch, sync]
        })
        .collect();
    let reason = view.map_or_else(|| "no node is active".to_owned(), |group| group.reason);
    format!("status\n\n{}\n\nlast change: {reason}\n", table(&["node", "state", "epoch", "copy"], &rows))
}
