//! `interfaces`: the plugin instances of the asked node.

use twinhub_runtime::view::InterfaceView;

use crate::cli::Global;
use crate::client::Client;
use crate::exit::Outcome;
use crate::output::{Answer, table};

pub(crate) fn ls(global: &Global, answer: Answer) -> Outcome {
    let list: Vec<InterfaceView> = Client::new(global)?.get("/api/v1/interfaces")?;
    answer.give(&list, |list| {
        let rows = list.iter().map(|interface| {
            [
                interface.id.clone(),
                format!("{} {}", interface.plugin, interface.plugin_version),
                interface.hosting.clone(),
                interface.group.clone(),
                interface.role.clone(),
                interface.state.clone(),
                interface.items.to_string(),
                interface.values.to_string(),
                interface.writes.to_string(),
                interface.suppressed.to_string(),
                interface.last_ok.clone(),
                interface.fault_cause.clone(),
            ]
        });
        let header = [
            "interface",
            "plugin",
            "hosting",
            "group",
            "role",
            "state",
            "items",
            "values",
            "writes",
            "suppressed",
            "last ok",
            "cause",
        ];
        table(header, rows)
    })
}
