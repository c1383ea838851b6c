//! `events`.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use twinhub_runtime::view::{EventView, EventsPage};

use crate::cli::Global;
use crate::cli::events::{
    EventsArgs, EventsCommand, EventsExportArgs, EventsFilter, EventsFormat, EventsLsArgs,
};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, print, table};

/// Rows asked for at once; a node gives no more.
const PAGE: usize = 10_000;
/// While it waits for more, this long.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn run(global: &Global, args: &EventsArgs, answer: Answer) -> Outcome {
    match &args.command {
        None => list(global, &args.list, answer),
        Some(EventsCommand::Ls(list_args)) => list(global, list_args, answer),
        Some(EventsCommand::Export(export_args)) => export(global, export_args),
    }
}

fn list(global: &Global, args: &EventsLsArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let base = format!("/api/v1/events?limit={}{}", args.limit, query_of(&args.filter));
    if args.newest {
        let page: EventsPage = client.get(&format!("{base}&order=newest"))?;
        return show(&page.rows, answer);
    }
    let mut page: EventsPage = client.get(&format!("{base}&after={}", args.after))?;
    if !args.follow {
        return show(&page.rows, answer);
    }
    loop {
        warn_of_missed(&page);
        for row in &page.rows {
            answer.give_line(row, |row| {
                plain(&format!(
                    "{} {} {} {} {} {} {}",
                    row.id, row.at, row.node, row.severity, row.code, row.source, row.text
                ))
            })?;
        }
        std::thread::sleep(LOOK);
        page = client.get(&format!("{base}&after={}", page.next))?;
    }
}

fn warn_of_missed(page: &EventsPage) {
    if page.missed {
        tracing::warn!("events are missing: the node kept them no longer when they were asked for");
    }
}

fn show(rows: &[EventView], answer: Answer) -> Outcome {
    answer.give(&rows, |rows| {
        let rows = rows
            .iter()
            .cloned()
            .map(|row| [row.id.to_string(), row.at, row.node, row.severity, row.code, row.source, row.text]);
        table(["id", "at", "node", "severity", "code", "source", "text"], rows)
    })
}

/// Everything that fits, in the order in which it came.
fn export(global: &Global, args: &EventsExportArgs) -> Outcome {
    let client = Client::new(global)?;
    let base = format!("/api/v1/events?limit={PAGE}{}", query_of(&args.filter));
    let text = match args.format {
        EventsFormat::Csv => csv(&client, &base)?,
        EventsFormat::Json => json(&client, &base)?,
    };
    match &args.to {
        None => print(&text),
        Some(path) => write(path, &text),
    }
}

fn csv(client: &Client, base: &str) -> Result<String, Failure> {
    let mut all = String::new();
    let mut cursor = String::new();
    loop {
        let (page, next) = client.csv(&format!("{base}&cursor={}", escape(&cursor)))?;
        // Each page has the header.
        let rows = page.split_once("\r\n").map_or("", |(_, rows)| rows);
        all.push_str(if all.is_empty() { &page } else { rows });
        match next {
            Some(next) if !rows.is_empty() => cursor = next,
            Some(_) | None => return Ok(all),
        }
    }
}

fn json(client: &Client, base: &str) -> Result<String, Failure> {
    let mut all: Vec<EventView> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: EventsPage = client.get(&format!("{base}&cursor={}", escape(&cursor)))?;
        warn_of_missed(&page);
        let is_end = page.rows.is_empty();
        all.extend(page.rows);
        match page.cursor {
            Some(next) if !is_end => cursor = next,
            Some(_) | None => {
                return serde_json::to_string_pretty(&all)
                    .map_err(|error| Failure::of(Code::Internal, &error));
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    let failed = |error: std::io::Error| Failure::new(Code::Error, format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(Code::Ok)
}

fn query_of(filter: &EventsFilter) -> String {
    let mut query = String::new();
    for (name, value) in [
        ("severity", &filter.severity),
        ("code", &filter.code),
        ("item", &filter.item),
        ("node", &filter.node),
        ("group", &filter.group),
        ("q", &filter.query),
        ("since", &filter.since),
        ("until", &filter.until),
    ] {
        if let Some(value) = value {
            query.extend(["&", name, "=", &escape(value)]);
        }
    }
    query
}
