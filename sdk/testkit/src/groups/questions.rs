//! Questions of people: what can be addressed, and how the instance is.

use serde_json::Value;
use twinhub_contract::constants::{BROWSE_NODES_MAX, inquiry};
use twinhub_contract::{code, extension};
use twinhub_loader::PluginError;

use super::{Group, Outcome, Stop, Test, failed, hold, skipped};
use crate::bench::{Bench, Unit, said};

pub(super) const TESTS: &[Test] = &[
    test("browse", "what it lists has the form of the contract, page by page and a folder down", browse),
    test("odd_browse", "it refuses nodes and cursors that it never gave, or lists nothing", odd_browse),
    test("diag", "what it says of itself is a JSON object, in every role", diag),
    test("inquiry", "its tests, finds and messages have the form of the contract, in every role", inquire),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Abi, name, about, run)
}

fn browse(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    if !unit.instance.has_extension(extension::BROWSE) {
        return skipped("it does not offer twinhub.browse/1");
    }
    let (mut parents, mut nodes) = (vec![String::new()], 0);
    // A way down, not all of them: a device may have thousands.
    for _ in 0..FOLDERS_MAX {
        let Some(parent) = parents.pop() else { break };
        let mut cursor = String::new();
        for limit in [BROWSE_NODES_MAX, 1, 1, 1] {
            let page = match ask_for(&unit, &parent, &cursor, limit)? {
                Ok(page) => page,
                Err(error) if error.code == code::UNSUPPORTED => {
                    return skipped("it answers twinhub.browse/1 with E_UNSUPPORTED");
                }
                // The device of the kit may be absent.
                Err(error) => return Ok(format!("refused with {}", said(&error))),
            };
            let list = checked(&page, limit)?;
            nodes += list.len();
            if limit == BROWSE_NODES_MAX {
                parents.extend(list.iter().filter_map(|node| node.get("parent")).map(Value::to_string));
                cursor.clear();
            } else if let Some(next) = page.get("cursor").and_then(Value::as_str) {
                hold(next != cursor, || format!("cursor `{next}` comes again and again"))?;
                next.clone_into(&mut cursor);
            } else {
                break;
            }
        }
    }
    Ok(format!("{nodes} nodes looked at"))
}

/// The nodes of a page, if it has the form that the contract says.
fn checked(page: &Value, limit: u32) -> Result<&[Value], Stop> {
    let bad = |what: &str| failed(format!("{what}: {page}"));
    let Some(nodes) = page.get("nodes").and_then(Value::as_array) else { return bad("no list `nodes`") };
    if nodes.len() > limit as usize {
        return failed(format!("{} nodes, {limit} were asked for", nodes.len()));
    }
    let is_text = |value: Option<&Value>| value.is_none_or(Value::is_string);
    if !is_text(page.get("cursor")) {
        return bad("`cursor` is no text");
    }
    for node in nodes {
        if node.get("name").and_then(Value::as_str).is_none() || !is_text(node.get("description")) {
            return bad("a node without a name, or with a description that is no text");
        }
        let row =
            node.get("row").map(|row| row.as_object().is_some_and(|row| row.values().all(Value::is_string)));
        if row == Some(false) {
            return bad("a `row` whose columns are not all texts");
        }
    }
    Ok(nodes)
}

fn odd_browse(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    if !unit.instance.has_extension(extension::BROWSE) {
        return skipped("it does not offer twinhub.browse/1");
    }
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let parents = ["{", "\u{0}", "\"there is no such node\"", "[1e999]", "{\"a\":{\"b\":[]}}", &deep];
    for parent in parents {
        // Whatever it says, it has to say something and go on.
        drop(ask_for(&unit, parent, "", 10)?);
    }
    for cursor in ["-1", "99999999999999999999", "\u{fffd}", &"9".repeat(10_000)] {
        drop(ask_for(&unit, "", cursor, 10)?);
    }
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn diag(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    if !unit.instance.has_extension(extension::DIAG) {
        return skipped("it does not offer twinhub.diag/1");
    }
    let mut bytes = 0;
    for role in bench.roles() {
        unit.role(role)?;
        let answered = unit.question("diagnose", twinhub_loader::Instance::diagnose)?;
        match answered {
            Ok(text) => {
                bytes = text.len();
                let document: Value = serde_json::from_slice(&text)
                    .or_else(|error| failed(format!("the diagnosis is no JSON: {error}")))?;
                hold(document.is_object(), || format!("the diagnosis is no object: {document}"))?;
            }
            Err(error) if error.code == code::UNSUPPORTED => {
                return skipped("it answers twinhub.diag/1 with E_UNSUPPORTED");
            }
            Err(error) => return failed(format!("{}: {}", crate::bench::name(role), said(&error))),
        }
    }
    Ok(format!("{bytes} bytes"))
}

fn inquire(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    if !unit.instance.has_extension(extension::INQUIRY) {
        return skipped("it does not offer twinhub.inquiry/1");
    }
    let mut answers = 0;
    for role in bench.roles() {
        unit.role(role)?;
        for (question, request, members) in INQUIRIES {
            let asked = unit.question("inquire", |instance, op| instance.inquire(op, question, request))?;
            // A device that is absent, a role without traffic, a question that it does not know.
            let Ok(bytes) = asked else { continue };
            let document: Value = serde_json::from_slice(&bytes)
                .or_else(|error| failed(format!("the answer to {request} is no JSON: {error}")))?;
            listed(&document, members)?;
            answers += 1;
        }
    }
    for (question, request) in [(inquiry::TEST, "{"), (inquiry::MONITOR, "[]"), (4_711, "{}"), (0, "")] {
        let asked = unit.question("inquire", |instance, op| instance.inquire(op, question, request))?;
        let is_refused = asked.is_err();
        hold(is_refused, || format!("it answers question {question} with request {request:?}"))?;
    }
    Ok(format!("{answers} answers looked at"))
}

/// Whether the list that an answer has is of objects with these texts.
fn listed(document: &Value, (list, texts): Members) -> Result<(), Stop> {
    let bad = |what: String| failed(format!("{what}: {document}"));
    let Some(entries) = document.get(list).and_then(Value::as_array) else {
        return bad(format!("no list `{list}`"));
    };
    for entry in entries {
        let missing = texts.iter().find(|text| entry.get(**text).and_then(Value::as_str).is_none());
        if let Some(missing) = missing {
            return bad(format!("an entry without the text `{missing}`"));
        }
    }
    let outcomes = entries.iter().filter_map(|entry| entry.get("outcome").and_then(Value::as_str));
    if let Some(odd) = outcomes.into_iter().find(|word| !["ok", "failed", "skipped"].contains(word)) {
        return bad(format!("`{odd}` is no outcome"));
    }
    let numbers: Vec<u64> =
        entries.iter().filter_map(|entry| entry.get("number").and_then(Value::as_u64)).collect();
    if list == "messages"
        && (numbers.len() != entries.len() || numbers.windows(2).any(|pair| pair[0] >= pair[1]))
    {
        return bad("messages whose numbers do not rise".to_owned());
    }
    Ok(())
}

/// A list of an answer, and texts that each of its entries has.
type Members = (&'static str, &'static [&'static str]);

/// Questions with a request, and what is answered.
const INQUIRIES: [(u32, &str, Members); 3] = [
    (inquiry::TEST, "{}", ("steps", &["name", "outcome"])),
    (inquiry::DISCOVER, "{\"wait_ms\":100}", ("found", &["address"])),
    (inquiry::MONITOR, "{\"limit\":20}", ("messages", &["direction"])),
];

/// One page, or why there is none.
fn ask_for(
    unit: &Unit<'_>,
    parent: &str,
    cursor: &str,
    limit: u32,
) -> Result<Result<Value, PluginError>, Stop> {
    let asked = unit.question("browse", |instance, op| instance.browse(op, parent, cursor, limit))?;
    match asked {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Ok)
            .or_else(|error| failed(format!("what it lists is no JSON: {error}"))),
        Err(error) => Ok(Err(error)),
    }
}

/// So many folders are opened.
const FOLDERS_MAX: usize = 5;
