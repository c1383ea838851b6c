//! Pages of rows, as JSON or CSV.

use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use twinhub_model::Timestamp;

use crate::limits;
use crate::problem::Problem;

/// How many rows to give.
pub(crate) fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(limits::PAGE_DEFAULT).clamp(1, limits::PAGE_MAX)
}

/// With a page of CSV: what to pass to read on.
pub(crate) const NEXT: HeaderName = HeaderName::from_static("twinhub-next");
/// How many values an answer has, where its body does not show that at once.
pub(crate) const ROWS: HeaderName = HeaderName::from_static("twinhub-rows");

/// With a page of CSV: rows that the reader did not have are gone.
pub(crate) const MISSED: HeaderName = HeaderName::from_static("twinhub-missed");

/// A time of a query.
pub(crate) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    // A plus sign stands for a blank in a query.
    text.parse().map(Some).map_err(|_| {
        let detail = format!("`{name}={text}` is no time: write it as 2026-11-21T17:00:00Z");
        Problem::bad_request(detail)
    })
}

/// Whether the client prefers CSV.
pub(crate) fn wants_csv(headers: &HeaderMap) -> bool {
    wants(headers, "text/csv")
}

/// Whether the client names this kind.
pub(crate) fn wants(headers: &HeaderMap, wanted: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == wanted)
}

/// Rows as CSV (RFC 4180) with a header.
pub(crate) fn csv<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Response {
    csv_of(&header, rows.map(Vec::from))
}

/// As [`csv`], with a number of columns that is known only now.
pub(crate) fn csv_of(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Response {
    let mut text = String::new();
    push_row(&mut text, header.iter().copied());
    for row in rows {
        push_row(&mut text, row.iter().map(String::as_str));
    }
    ([(axum::http::header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
}

fn push_row<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_cell(text, cell);
    }
    text.push_str("\r\n");
}

fn push_cell(text: &mut String, cell: &str) {
    // A spreadsheet would take these for formulas.
    let is_formula =
        cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err() && cell != "-";
    if is_formula || cell.contains([',', '"', '\r', '\n']) {
        text.push('"');
        if is_formula {
            text.push('\'');
        }
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_texts() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=cmd()", "\"'=cmd()\""),
            ("-1.5", "-1.5"),
            ("-", "-"),
        ] {
            let mut text = String::new();
            push_cell(&mut text, cell);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn csv_is_given_only_when_asked_for() {
        let accept = |text: &str| wants_csv(&HeaderMap::from_iter([(header::ACCEPT, text.parse().unwrap())]));
        assert!(accept("text/csv"));
        assert!(accept("application/xml, text/csv;q=0.9"));
        assert!(!accept("*/*"));
        assert!(!wants_csv(&HeaderMap::new()));
    }
}
