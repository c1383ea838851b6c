//! `history` and `events`.

use std::time::Duration;

use serde::Deserialize;
use twinhub_runtime::view::{EventView, RoleChangeView};

use crate::cli::{EventsArgs, Global, HistoryArgs};
use crate::client::{Client, escape};
use crate::exit::Outcome;
use crate::output::{Answer, plain, table};

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

#[derive(Debug, Deserialize)]
struct Page {
    rows: Vec<EventView>,
    next: u64,
}

pub(crate) fn events(global: &Global, args: &EventsArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let ask = |after: u64| client.get::<Page>(&format!("/api/v1/events?after={after}&limit={}", args.limit));
    let mut page = ask(args.after)?;
    if !args.follow {
        return answer.give(&page.rows, |rows| {
            let rows = rows
                .iter()
                .cloned()
                .map(|row| [row.id.to_string(), row.at, row.severity, row.code, row.source, row.text]);
            table(["id", "at", "severity", "code", "source", "text"], rows)
        });
    }
    loop {
        for row in &page.rows {
            answer.give_line(row, |row| {
                plain(&format!(
                    "{} {} {} {} {} {}",
                    row.id, row.at, row.severity, row.code, row.source, row.text
                ))
            })?;
        }
        std::thread::sleep(Duration::from_millis(500));
        page = ask(page.next)?;
    }
}
