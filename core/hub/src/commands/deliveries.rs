//! `deliveries`.

use serde_json::json;
use twinhub_runtime::view::DeliveryView;

use crate::cli::Global;
use crate::cli::deliveries::{DeliveriesCommand, DeliveriesLsArgs, DeliveriesOrderArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Outcome};
use crate::output::{Answer, plain, table};

pub(crate) fn run(global: &Global, command: &DeliveriesCommand, answer: Answer) -> Outcome {
    match command {
        DeliveriesCommand::Ls(args) => list(global, args, answer),
        DeliveriesCommand::Retry(args) => order(global, args, "retry", answer),
        DeliveriesCommand::Drop(args) => order(global, args, "drop", answer),
    }
}

fn list(global: &Global, args: &DeliveriesLsArgs, answer: Answer) -> Outcome {
    let mut path = format!("/api/v1/deliveries?limit={LIMIT}");
    for (name, text) in [("state", &args.which), ("interface", &args.interface), ("group", &args.group)] {
        if let Some(text) = text {
            path.extend(["&", name, "=", &escape(text)]);
        }
    }
    let list: Vec<DeliveryView> = Client::new(global)?.get(&path)?;
    answer.give(&list, |list| {
        let rows = list.iter().cloned().map(|row| {
            let state =
                if row.cause.is_empty() { row.state } else { format!("{}: {}", row.state, row.cause) };
            let texts = [row.id, row.given_at, row.from, row.stream, row.event, row.key, row.to, state];
            texts.map(|text| plain(&text))
        });
        table(["id", "given", "from", "stream", "event", "key", "to", "state"], rows)
    })
}

fn order(global: &Global, args: &DeliveriesOrderArgs, verb: &str, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let forward = if args.forward { "?forward=1" } else { "" };
    for id in &args.ids {
        let path = format!("/api/v1/deliveries/{}/{verb}{forward}", escape(id).replace('/', "%2F"));
        client.send::<serde_json::Value>("POST", &path, &json!({}))?;
    }
    answer.give(&json!({ "ids": args.ids, "done": verb }), |_| {
        let done = if verb == "retry" { "is tried again" } else { "is dropped" };
        args.ids.iter().map(|id| format!("{} {done}", plain(id))).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Code::Ok)
}

/// The most that the hub gives at once.
const LIMIT: usize = 1_000;
