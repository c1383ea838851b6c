//! `history`.

use twinhub_runtime::view::RoleChangeView;

use crate::cli::{Global, HistoryArgs};
use crate::client::{Client, escape};
use crate::exit::Outcome;
use crate::output::{Answer, table};

pub(crate) fn history(global: &Global, args: &HistoryArgs, answer: Answer) -> Outcome {
    let mut path = format!("/api/v1/cluster/history?limit={}", args.limit);
    if let Some(group) = &args.group {
        path.extend(["&group=", &escape(group)]);
    }
    let list: Vec<RoleChangeView> = Client::new(global)?.get(&path)?;
    answer.give(&list, |list| {
        let rows = list.iter().cloned().map(|row| {
            [row.at, row.group, row.node, row.epoch, format!("{} > {}", row.from, row.to), row.reason]
        });
        table(["at", "group", "node", "epoch", "change", "reason"], rows)
    })
}
