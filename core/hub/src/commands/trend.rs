//! `trend`: what the values of an item were.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use twinhub_runtime::view::{BUCKET_COLUMNS, BucketColumn, BucketsView, TrendRowView, TrendView};

use super::join::write;
use crate::cli::{Global, TrendArgs};
use crate::client::{Client, Part, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, print, table, value_text};

/// Rows asked for at once; the node gives no more.
const PAGE: usize = 10_000;
/// Files of an export that may be there from an earlier one; each has a million values.
const PARTS_LOOKED_FOR: usize = 999;

pub(crate) fn trend(global: &Global, args: &TrendArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let mut path = format!("/api/v1/history?item={}&from={}", escape(&args.item), escape(&args.from));
    for (name, value) in [("to", &args.to), ("aggregate", &args.aggregate), ("interval", &args.interval)] {
        if let Some(value) = value {
            path.extend(["&", name, "=", &escape(value)]);
        }
    }
    match (&args.aggregate, &args.file) {
        (Some(names), _) => intervals(&client.get(&path)?, names, answer),
        (None, None) => values(&client, &path, rows_wanted(args.limit, answer.is_csv()), answer),
        (None, Some(file)) => {
            let fetch = |path: &str| client.download(path, "application/vnd.apache.parquet");
            let files = into_files(fetch, &path, file, args.limit, args.force)?;
            answer.give(&files, files_text)
        }
    }
}

/// What was written.
#[derive(Debug, Serialize)]
struct FilesView {
    files: Vec<PathBuf>,
    bytes: u64,
    is_complete: bool,
    /// Of an earlier export.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<PathBuf>,
}

/// Writes all values, or as many as are wanted. The node gives a part of them at once, which is a file of its own. Only
/// the first has the name that was said: what has another's is not written over, and no part of this export if it stays.
fn into_files(
    mut fetch: impl FnMut(&str) -> Result<Part, Failure>,
    path: &str,
    file: &Path,
    limit: Option<usize>,
    force: bool,
) -> Result<FilesView, Failure> {
    let mut made = FilesView { files: Vec::new(), bytes: 0, is_complete: false, deleted: Vec::new() };
    let earlier = (2..=PARTS_LOOKED_FOR).map(|number| numbered(file, number));
    let mut earlier: Vec<PathBuf> = earlier.filter(|path| path.symlink_metadata().is_ok()).collect();
    if !earlier.is_empty() && !force {
        let text = format!(
            "{}: there already, as of an earlier export into {}; delete it, name another file, or write --force to have \
             it deleted",
            listed(&earlier),
            file.display()
        );
        return Err(Failure::new(Code::Error, text));
    }
    let (mut left, mut cursor) = (limit, String::new());
    loop {
        let limit = left.map(|left| format!("&limit={left}")).unwrap_or_default();
        let part = fetch(&format!("{path}{limit}{cursor}"))?;
        for path in std::mem::take(&mut earlier) {
            let failure = |error| format!("cannot delete {}: {error}", path.display());
            std::fs::remove_file(&path).map_err(|error| Failure::new(Code::Error, failure(error)))?;
            made.deleted.push(path);
        }
        let name = numbered(file, made.files.len() + 1);
        write(&name, &part.bytes, 0o644)?;
        made.files.push(name);
        made.bytes += part.bytes.len() as u64;
        // A hub that does not say how many these are gave all that were wanted.
        left = left.map(|left| left.saturating_sub(part.rows.unwrap_or(left)));
        made.is_complete = part.next.is_none();
        match part.next.map(|next| format!("&cursor={}", escape(&next))) {
            Some(next) if left != Some(0) && next != cursor => cursor = next,
            Some(_) | None => return Ok(made),
        }
    }
}

/// `past.parquet`, `past-2.parquet`, and so on.
fn numbered(file: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return file.to_owned();
    }
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

fn files_text(made: &FilesView) -> String {
    let more =
        if made.is_complete { "" } else { "; there is more: write a later --from or a greater --limit" };
    let deleted = match &made.deleted[..] {
        [] => String::new(),
        deleted => format!("; deleted {}", listed(deleted)),
    };
    format!("{} bytes in {}{more}{deleted}", made.bytes, listed(&made.files))
}

fn listed(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    names.join(", ")
}

/// Another program reads CSV on, which is shown page by page: all of it, if no limit is said.
fn rows_wanted(limit: Option<usize>, is_csv: bool) -> usize {
    limit.unwrap_or(if is_csv { usize::MAX } else { PAGE })
}

fn values(client: &Client, path: &str, limit: usize, answer: Answer) -> Outcome {
    let mut all = TrendView::default();
    let ask = |wanted, cursor: &str| client.get(&format!("{path}&limit={wanted}{cursor}"));
    read_on(limit, ask, |page, is_first| {
        if answer.is_csv() {
            print(&csv(&page.rows, is_first))?;
        } else {
            all.rows.extend(page.rows);
        }
        all.item = page.item;
        all.next = page.next;
        all.damaged += page.damaged;
        Ok(())
    })?;
    if all.damaged > 0 {
        tracing::warn!(blocks = all.damaged, "values are missing: blocks of the history are damaged");
    }
    if answer.is_csv() {
        if all.next.is_some() {
            tracing::warn!(limit, "values are left out: there is more than --limit says");
        }
        return Ok(Code::Ok);
    }
    answer.give(&all, |all| {
        let rows = all.rows.iter().map(|row| {
            let quality = if row.cause.is_empty() {
                row.quality.clone()
            } else {
                format!("{} ({})", row.quality, row.cause)
            };
            let origin = if row.replayed { format!("{}, replayed", row.origin) } else { row.origin.clone() };
            [row.source_time.clone(), value_text(&row.value), quality, origin]
        });
        let text = table(["time", "value", "quality", "origin"], rows);
        match &all.next {
            Some(_) => format!("{text}\nthere is more: write a later --from or a greater --limit"),
            None => text,
        }
    })
}

/// Asks for page after page until there are so many rows, or no more. The first of what `take` gets is marked.
fn read_on(
    limit: usize,
    ask: impl Fn(usize, &str) -> Result<TrendView, Failure>,
    mut take: impl FnMut(TrendView, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut left, mut cursor, mut is_first) = (limit, String::new(), true);
    loop {
        let page = ask(left.min(PAGE), &cursor)?;
        left = left.saturating_sub(page.rows.len());
        let next = page.next.as_deref().map(|next| format!("&cursor={}", escape(next)));
        take(page, is_first)?;
        is_first = false;
        match next {
            Some(next) if left > 0 && next != cursor => cursor = next,
            Some(_) | None => return Ok(()),
        }
    }
}

fn intervals(view: &BucketsView, names: &str, answer: Answer) -> Outcome {
    let columns: Vec<BucketColumn> = BUCKET_COLUMNS
        .into_iter()
        .filter(|column| names == "all" || names.split(',').any(|name| name.trim() == column.0))
        .collect();
    if answer.is_csv() {
        let header = ["start", "end"].into_iter().chain(columns.iter().map(|column| column.0));
        let mut lines = vec![header.collect::<Vec<_>>().join(",")];
        for row in &view.rows {
            let numbers = columns.iter().map(|column| number(column.1(row), ""));
            let cells = [row.start.clone(), row.end.clone()].into_iter().chain(numbers);
            lines.push(cells.collect::<Vec<_>>().join(","));
        }
        return print(&lines.join("\n"));
    }
    answer.give(view, |view| {
        let rows = view.rows.iter().map(|row| {
            let mut cells: [String; 10] = Default::default();
            cells[0].clone_from(&row.start);
            cells[1].clone_from(&row.end);
            for (cell, column) in cells[2..].iter_mut().zip(&columns) {
                *cell = number(column.1(row), "-");
            }
            cells
        });
        let mut header = [""; 10];
        (header[0], header[1]) = ("start", "end");
        for (name, column) in header[2..].iter_mut().zip(&columns) {
            *name = column.0;
        }
        table(header, rows)
    })
}

fn number(value: Option<f64>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn csv(rows: &[TrendRowView], has_header: bool) -> String {
    let mut text = String::new();
    if has_header {
        text.push_str("source_time,server_time,value,quality,cause,origin,replayed\n");
    }
    for row in rows {
        let value = if row.value == Value::Null { String::new() } else { value_text(&row.value) };
        let replayed = if row.replayed { "true" } else { "" };
        let cells =
            [&row.source_time, &row.server_time, &value, &row.quality, &row.cause, &row.origin, replayed];
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// A cell (RFC 4180); what a spreadsheet would take for a formula is a text.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err();
    if !is_formula && !cell.contains([',', '"', '\r', '\n']) {
        return cell.to_owned();
    }
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> TrendRowView {
        let text = String::new;
        TrendRowView {
            source_time: text(),
            server_time: text(),
            value: Value::Null,
            quality: text(),
            cause: text(),
            origin: text(),
            position: text(),
            replayed: false,
        }
    }

    #[test]
    fn so_many_rows_are_read_as_are_wanted_also_over_several_pages() {
        const THERE: usize = 32_000;
        for (limit, pages) in [
            (rows_wanted(Some(15_000), true), vec![10_000, 5_000]),
            (rows_wanted(None, false), vec![10_000]),
            (7, vec![7]),
            (rows_wanted(None, true), vec![10_000, 10_000, 10_000, 2_000]),
        ] {
            let ask = |wanted: usize, cursor: &str| {
                let before: usize = cursor.strip_prefix("&cursor=").map_or(0, |text| text.parse().unwrap());
                let count = wanted.min(THERE - before);
                let next = (before + count < THERE).then(|| (before + count).to_string());
                Ok(TrendView { rows: vec![row(); count], next, ..TrendView::default() })
            };
            let mut got = Vec::new();
            read_on(limit, ask, |page, is_first| {
                assert_eq!(is_first, got.is_empty());
                got.push(page.rows.len());
                Ok(())
            })
            .unwrap();
            assert_eq!(got, pages, "{limit}");
        }
    }

    /// The hub gives two values at a time.
    #[test]
    fn a_file_goes_on_in_others_until_all_values_that_are_wanted_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("past.parquet");
        for (limit, asked, sizes, is_complete) in [
            (None, &["/x", "/x&cursor=2%40", "/x&cursor=4%40"][..], &[2, 2, 1][..], true),
            (Some(3), &["/x&limit=3", "/x&limit=1&cursor=2%40"], &[2, 1], false),
            (Some(2), &["/x&limit=2"], &[2], false),
            (Some(9), &["/x&limit=9", "/x&limit=7&cursor=2%40", "/x&limit=5&cursor=4%40"], &[2, 2, 1], true),
        ] {
            let (mut paths, mut given, mut wanted) = (Vec::new(), 0, limit.unwrap_or(usize::MAX));
            let fetch = |path: &str| {
                paths.push(path.to_owned());
                let rows = wanted.min(2).min(5 - given);
                (given, wanted) = (given + rows, wanted - rows);
                let next = (given < 5).then(|| format!("{given}@"));
                Ok(Part { bytes: vec![0; rows], rows: Some(rows), next })
            };
            let made = into_files(fetch, "/x", &file, limit, true).unwrap();
            let names =
                ["past.parquet", "past-2.parquet", "past-3.parquet"].map(|name| dir.path().join(name));
            for (number, name) in names.iter().enumerate() {
                assert_eq!(name.exists(), number < sizes.len(), "no part of another export stays");
            }
            assert_eq!(paths, asked);
            assert_eq!(made.is_complete, is_complete);
            assert_eq!(made.files, names[..sizes.len()]);
            let written: Vec<u64> =
                made.files.iter().map(|file| std::fs::metadata(file).unwrap().len()).collect();
            assert_eq!((written, made.bytes), (sizes.to_vec(), sizes.iter().sum()));
        }
    }

    #[test]
    fn files_that_nobody_named_are_neither_written_over_nor_taken_for_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let fetch = |_: &str| Ok(Part { bytes: b"new".to_vec(), rows: Some(1), next: None });
        for name in ["past.parquet", "past-3.parquet", "past-2026.parquet", "past-3.csv"] {
            std::fs::write(path(name), b"old").unwrap();
        }
        let never = |_: &str| panic!("nothing is asked for");
        let refused = into_files(never, "/x", &path("past.parquet"), None, false).unwrap_err();
        assert!(refused.text.contains("past-3.parquet: there already") && refused.text.contains("--force"));
        assert_eq!(std::fs::read(path("past.parquet")).unwrap(), b"old");
        let away = |_: &str| Err(Failure::new(Code::Error, "the hub is away"));
        into_files(away, "/x", &path("past.parquet"), None, true).unwrap_err();
        assert!(path("past-3.parquet").exists());
        let made = into_files(fetch, "/x", &path("past.parquet"), None, true).unwrap();
        assert_eq!(
            (&made.files, &made.deleted),
            (&vec![path("past.parquet")], &vec![path("past-3.parquet")])
        );
        assert!(files_text(&made).ends_with("past-3.parquet"));
        assert!(path("past-2026.parquet").exists() && path("past-3.csv").exists());
        into_files(fetch, "/x", &path("past.parquet"), None, false).unwrap();
    }

    #[test]
    fn a_text_stays_in_its_cell() {
        for (cell, expected) in [
            ("21.5", "21.5"),
            ("-3", "-3"),
            ("a,b", "\"a,b\""),
            ("=1+1", "\"'=1+1\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }
}
