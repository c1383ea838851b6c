//! `interfaces`: the plugin instances of the asked node.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use twinhub_runtime::view::{BrowseView, DiagView, DiscoverView, InterfaceView, TestView};

use super::operation::{self, Accepted};
use crate::cli::{BrowseArgs, Global, RestartArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Outcome};
use crate::output::{Answer, plain, table, value_text};

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

/// What became of a restart.
#[derive(Debug, Serialize)]
struct Restarted {
    node: String,
    state: String,
    detail: String,
}

/// Another instance of its plugin.
pub(crate) fn restart(global: &Global, args: &RestartArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let path = format!("/api/v1/interfaces/{}/restart", escape(&args.interface));
    let accepted: Accepted = client.send("POST", &path, &json!({ "node": args.node }))?;
    let operation = operation::wait(&client, &accepted, args.timeout)?;
    let is_done = operation.state == "done";
    let restarted = Restarted { node: accepted.node, state: operation.state, detail: operation.detail };
    answer.give(&restarted, |restarted| {
        format!("restart on {} {}: {}", restarted.node, restarted.state, plain(&restarted.detail))
    })?;
    Ok(if is_done { Code::Ok } else { Code::Error })
}

/// What can be addressed on the device of an interface.
pub(crate) fn browse(global: &Global, args: &BrowseArgs, answer: Answer) -> Outcome {
    let parent = args.parent.as_ref().map(|parent| format!("&parent={}", escape(&json_of(parent))));
    let path = format!(
        "/api/v1/interfaces/{}/browse?limit={}&cursor={}{}",
        escape(&args.interface),
        args.limit,
        escape(&args.cursor),
        parent.unwrap_or_default()
    );
    let view: BrowseView = Client::new(global)?.get(&path)?;
    answer.give(&view, |view| {
        let rows = view.nodes.iter().map(|node| {
            let column = |name: &str| node.row.get(name).cloned().unwrap_or_default();
            let parent = node.parent.as_ref().map(Value::to_string).unwrap_or_default();
            [
                node.name.clone(),
                parent,
                column("path"),
                column("address"),
                column("type"),
                column("access"),
                column("unit"),
                node.description.clone(),
            ]
        });
        let text =
            table(["name", "parent", "path", "address", "type", "access", "unit", "description"], rows);
        match &view.cursor {
            Some(cursor) => format!("{text}\nthere is more: --cursor {}", plain(cursor)),
            None => text,
        }
    })
}

/// A text that is no JSON stands for itself.
fn json_of(parent: &str) -> String {
    match serde_json::from_str::<Value>(parent) {
        Ok(_) => parent.to_owned(),
        Err(_) => Value::from(parent).to_string(),
    }
}

/// What a plugin says of itself.
pub(crate) fn diag(global: &Global, interface: &str, answer: Answer) -> Outcome {
    let interface = escape(interface);
    let view: DiagView = Client::new(global)?.get(&format!("/api/v1/interfaces/{interface}/diag"))?;
    answer.give(&view, |view| {
        let mut rows = Vec::new();
        for (key, value) in &view.diag {
            flatten(key, value, &mut rows);
        }
        table(["what", "value"], rows)
    })
}

/// A line for each value, under its path. The depth is that which the JSON reader lets through.
fn flatten(path: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, rows));
        }
        Value::Array(members) if !members.is_empty() => {
            members
                .iter()
                .enumerate()
                .for_each(|(number, value)| flatten(&format!("{path}[{number}]"), value, rows));
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            rows.push([path.to_owned(), value_text(value)]);
        }
    }
}

/// Whether the device answers.
pub(crate) fn test(global: &Global, interface: &str, answer: Answer) -> Outcome {
    let path = format!("/api/v1/interfaces/{}/test", escape(interface));
    let view: TestView = Client::new(global)?.ask("POST", &path)?;
    answer.give(&view, |view| {
        let rows = view.steps.iter().map(|step| {
            let took = step.took_ms.map(|took| format!("{took:.1} ms")).unwrap_or_default();
            [step.name.clone(), step.outcome.word().to_owned(), took, step.detail.clone()]
        });
        table(["step", "outcome", "took", "detail"], rows)
    })?;
    Ok(if view.is_ok() { Code::Ok } else { Code::Error })
}

/// What is in reach.
pub(crate) fn discover(global: &Global, interface: &str, wait: Duration, answer: Answer) -> Outcome {
    let path = format!("/api/v1/interfaces/{}/discover?wait_ms={}", escape(interface), wait.as_millis());
    let view: DiscoverView = Client::new(global)?.ask("POST", &path)?;
    answer.give(&view, |view| {
        if view.found.is_empty() {
            return format!("nothing answered within {} s", wait.as_secs_f64());
        }
        let rows = view.found.iter().map(|found| {
            let settings = if found.settings.is_empty() {
                String::new()
            } else {
                Value::Object(found.settings.clone()).to_string()
            };
            [found.address.clone(), found.name.clone(), settings, found.detail.clone()]
        });
        table(["address", "name", "settings", "detail"], rows)
    })
}
