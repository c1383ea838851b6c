//! `alarms`.

use serde_json::{Value, json};
use twinhub_runtime::view::{AlarmAnswer, AlarmView, AlarmsPage};

use crate::cli::Global;
use crate::cli::alarms::{AlarmsAckArgs, AlarmsCommand, AlarmsFilter};
use crate::client::{Client, escape};
use crate::exit::{Code, Outcome};
use crate::output::{Answer, table};

pub(crate) fn run(global: &Global, command: &AlarmsCommand, answer: Answer) -> Outcome {
    match command {
        AlarmsCommand::Ls(args) => list(global, &args.which, &args.filter, [None, None], answer),
        AlarmsCommand::History(args) => {
            list(global, "all", &args.filter, [args.since.as_deref(), args.until.as_deref()], answer)
        }
        AlarmsCommand::Ack(args) => acknowledge(global, args, answer),
        AlarmsCommand::Shelve(args) => {
            let body = json!({ "for": args.span, "comment": args.comment });
            order(global, &args.id, "shelve", &body, args.forward, answer)
        }
        AlarmsCommand::Unshelve(args) => {
            order(global, &args.id, "unshelve", &json!({}), args.forward, answer)
        }
        AlarmsCommand::Suppress(args) => {
            order(global, &args.id, "suppress", &json!({ "comment": args.comment }), args.forward, answer)
        }
        AlarmsCommand::Unsuppress(args) => {
            order(global, &args.id, "unsuppress", &json!({}), args.forward, answer)
        }
    }
}

fn list(
    global: &Global,
    state: &str,
    filter: &AlarmsFilter,
    [since, until]: [Option<&str>; 2],
    answer: Answer,
) -> Outcome {
    let client = Client::new(global)?;
    let mut base = format!("/api/v1/alarms?state={}&priority={}", escape(state), filter.priority);
    for (name, text) in [
        ("q", Some(filter.query.as_str())),
        ("area", Some(filter.area.as_str())),
        ("group", filter.group.as_deref()),
        ("since", since),
        ("until", until),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            base.extend(["&", name, "=", &escape(text)]);
        }
    }
    let mut rows: Vec<AlarmView> = Vec::new();
    let mut cursor = String::new();
    while rows.len() < filter.limit {
        let limit = (filter.limit - rows.len()).min(PAGE);
        let page: AlarmsPage = client.get(&format!("{base}&limit={limit}&cursor={}", escape(&cursor)))?;
        rows.extend(page.rows);
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    answer.give(&rows, |rows| {
        let rows = rows.iter().cloned().map(|row| {
            let state = match (row.shelved_until, row.suppressed_by) {
                (Some(until), _) => format!("{}, shelved until {until}", row.state),
                (None, Some(by)) => format!("{}, suppressed by {by}", row.state),
                (None, None) => row.state,
            };
            let since = row.onset.unwrap_or_default();
            let id = if row.id.is_empty() { row.alarm } else { row.id };
            [since, row.cleared_at.unwrap_or_default(), row.priority.to_string(), state, row.text, id]
        });
        table(["since", "until", "priority", "state", "text", "id"], rows)
    })
}

fn acknowledge(global: &Global, args: &AlarmsAckArgs, answer: Answer) -> Outcome {
    let all = ["*".to_owned()];
    let body = json!({ "comment": args.comment });
    for id in if args.all { &all[..] } else { &args.ids[..] } {
        order(global, id, "acknowledge", &body, args.forward, answer)?;
    }
    Ok(Code::Ok)
}

fn order(global: &Global, id: &str, verb: &str, body: &Value, forward: bool, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let forward = if forward { "?forward=1" } else { "" };
    let path = format!("/api/v1/alarms/{}/{verb}{forward}", escape(id).replace('/', "%2F"));
    let done: AlarmAnswer = client.send("POST", &path, body)?;
    answer.give(&done, |done| {
        if done.acknowledged.is_empty() {
            return format!("{id}: {}", if done.changed { "done" } else { "nothing to change" });
        }
        done.acknowledged.iter().map(|id| format!("acknowledged {id}")).collect::<Vec<_>>().join("\n")
    })
}

const PAGE: usize = 1000;
