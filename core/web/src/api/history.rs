//! What values were.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use twinhub_runtime::clock;
use twinhub_runtime::view::{BUCKET_COLUMNS, BucketColumn, BucketsView, TrendView};
use twinhub_runtime::{Timestamp, TrendCursor, TrendError, TrendFile, TrendQuery};
use utoipa::IntoParams;

use super::page;
use super::query::Query;
use crate::limits;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendParams {
    /// The item's key.
    item: String,
    /// From this time on: RFC 3339, a date, `now`, or so long ago, `-24h`. Default `-24h`.
    from: Option<String>,
    /// Before this time. Default: now for aggregates, no end for values.
    to: Option<String>,
    /// Gives one row for each interval instead of values: `all`, or with commas between `count min max mean
    /// time_weighted_mean sum first last`, which a CSV has as columns. JSON has all.
    aggregate: Option<String>,
    /// Length of an interval, such as `5m`. Default: the whole time.
    interval: Option<String>,
    /// How many rows to give.
    limit: Option<usize>,
    /// `next` of the part before.
    cursor: Option<String>,
}

/// Values of an item with `historize`, in order of time, or what they came to over intervals. Every node answers from
/// its own copy. A CSV and a Parquet file name the next part in their `Link`; a Parquet file has up to a million values. An answer ends earlier after 32 MiB of text.
#[utoipa::path(get, path = "/api/v1/history", params(TrendParams),
    responses(
        (status = 200, body = TrendView,
            description = "JSON, or by Accept CSV or Parquet (`application/vnd.apache.parquet`); with `aggregate` a `BucketsView`"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem),
    ))]
pub(crate) async fn history(
    State(web): State<Web>,
    Query(params): Query<TrendParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut asked = Asked::of(&params)?;
    let is_csv = page::wants_csv(&headers);
    let is_file = page::wants(&headers, PARQUET);
    if is_file {
        if asked.buckets.is_some() {
            return Err(Problem::bad_request("a Parquet file has values: leave out `aggregate`"));
        }
        asked.query.limit = params.limit.unwrap_or(limits::FILE_ROWS_MAX).clamp(1, limits::FILE_ROWS_MAX);
    }
    let permit = web
        .queries
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TH-NODE-005", "the node stops"))?;
    let handle = web.handle.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        match asked.buckets {
            None if is_file => handle.trend_file(&asked.query).map(|made| file(made, &uri)),
            None => handle.trend(&asked.query).map(|view| values(view, is_csv, &uri)),
            Some(buckets) => handle
                .trend_buckets(&asked.query, buckets.interval_ns)
                .map(|view| intervals(view, is_csv, &buckets.columns)),
        }
    });
    match answer.await {
        Ok(answer) => answer.map_err(|error| problem_of(&error)),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "TH-WEB-500",
            "the history could not be read",
        )),
    }
}

fn values(view: TrendView, is_csv: bool, uri: &Uri) -> Response {
    if !is_csv {
        return Json(view).into_response();
    }
    let next = view.next.as_deref().and_then(|next| link(uri, next));
    let rows = view.rows.into_iter().map(|row| {
        let replayed = if row.replayed { "true" } else { "" };
        let value = cell(&row.value);
        [row.source_time, row.server_time, value, row.quality, row.cause, row.origin, replayed.to_owned()]
    });
    let header = ["source_time", "server_time", "value", "quality", "cause", "origin", "replayed"];
    let mut response = page::csv(header, rows);
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    response
}

fn file(made: TrendFile, uri: &Uri) -> Response {
    let next = made.next.as_deref();
    let mut response = ([(header::CONTENT_TYPE, PARQUET)], made.bytes).into_response();
    response.headers_mut().insert(page::ROWS, made.rows.into());
    if let Some(link) = next.and_then(|next| link(uri, next)) {
        response.headers_mut().insert(header::LINK, link);
    }
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(next).ok()) {
        response.headers_mut().insert(page::NEXT, next);
    }
    response
}

/// `Link` to the next part.
fn link(uri: &Uri, next: &str) -> Option<HeaderValue> {
    let asked = uri.query().unwrap_or_default().split('&').filter(|part| !part.starts_with("cursor="));
    let query: Vec<&str> = asked.collect();
    // A cursor consists of digits and `-.:@/`, which a query may hold.
    let text = format!("<{}?{}&cursor={next}>; rel=\"next\"", uri.path(), query.join("&"));
    HeaderValue::from_str(&text).ok()
}

fn intervals(view: BucketsView, is_csv: bool, columns: &[BucketColumn]) -> Response {
    if !is_csv {
        return Json(view).into_response();
    }
    let header: Vec<&str> =
        ["start", "end"].into_iter().chain(columns.iter().map(|column| column.0)).collect();
    let rows = view.rows.iter().map(|row| {
        let numbers =
            columns.iter().map(|column| column.1(row).map_or(String::new(), |number| number.to_string()));
        [row.start.clone(), row.end.clone()].into_iter().chain(numbers).collect()
    });
    page::csv_of(&header, rows)
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

fn problem_of(error: &TrendError) -> Problem {
    let status = match error {
        TrendError::UnknownItem { .. } | TrendError::NotKept { .. } => StatusCode::NOT_FOUND,
        TrendError::Closed { .. } => StatusCode::SERVICE_UNAVAILABLE,
        TrendError::Read(_) | _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.code(), error.to_string())
}

const PARQUET: &str = "application/vnd.apache.parquet";

/// A request that makes sense.
#[derive(Debug)]
struct Asked {
    query: TrendQuery,
    buckets: Option<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    interval_ns: u64,
    columns: Vec<BucketColumn>,
}

impl Asked {
    fn of(params: &TrendParams) -> Result<Asked, Problem> {
        let now = clock::utc();
        let from = time(params.from.as_deref().unwrap_or("-24h"), "from", now)?;
        let to = match params.to.as_deref() {
            Some(to) => time(to, "to", now)?,
            None if params.aggregate.is_some() => now,
            None => Timestamp(i64::MAX),
        };
        if from >= to {
            return Err(Problem::bad_request("`from` is not before `to`"));
        }
        let after = params.cursor.as_deref().map(|cursor| {
            TrendCursor::parse(cursor)
                .ok_or_else(|| Problem::bad_request("`cursor` is not one that an answer showed as `next`"))
        });
        let buckets = match params.aggregate.as_deref() {
            Some(names) => {
                Some(Buckets { interval_ns: interval(params, from, to)?, columns: columns(names)? })
            }
            None if params.interval.is_some() => {
                return Err(Problem::bad_request("`interval` needs `aggregate`, such as aggregate=mean"));
            }
            None => None,
        };
        let limit = if buckets.is_some() { limits::PAGE_MAX } else { page::limit(params.limit) };
        let query = TrendQuery { item: params.item.clone(), from, to, after: after.transpose()?, limit };
        Ok(Asked { query, buckets })
    }
}

fn interval(params: &TrendParams, from: Timestamp, to: Timestamp) -> Result<u64, Problem> {
    let whole = to.0.saturating_sub(from.0).unsigned_abs();
    let Some(text) = params.interval.as_deref() else { return Ok(whole) };
    let interval = twinhub_config::parse_duration(text)
        .and_then(|duration| u64::try_from(duration.as_nanos()).ok())
        .filter(|interval| *interval > 0)
        .ok_or_else(|| {
            Problem::bad_request(format!("`{text}` is no interval: write for example 5m or 1h"))
        })?;
    if whole.div_ceil(interval) > limits::PAGE_MAX as u64 {
        let detail = format!(
            "that makes {} intervals, at most {} go in one answer: write a longer `interval` or less time",
            whole.div_ceil(interval),
            limits::PAGE_MAX
        );
        return Err(Problem::bad_request(detail));
    }
    Ok(interval)
}

fn columns(names: &str) -> Result<Vec<BucketColumn>, Problem> {
    if names == "all" {
        return Ok(BUCKET_COLUMNS.to_vec());
    }
    let find = |name: &str| {
        BUCKET_COLUMNS.into_iter().find(|column| column.0 == name).ok_or_else(|| {
            let known: Vec<&str> = BUCKET_COLUMNS.iter().map(|column| column.0).collect();
            Problem::bad_request(format!(
                "there is no aggregate `{name}`; there are: all, {}",
                known.join(", ")
            ))
        })
    };
    names.split(',').map(|name| find(name.trim())).collect()
}

/// A time, or how long ago it was.
fn time(text: &str, name: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    if text == "now" {
        return Ok(now);
    }
    let ago = text.strip_prefix('-').and_then(twinhub_config::parse_duration);
    if let Some(ago) = ago {
        let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(ago)));
    }
    text.parse().map_err(|error| {
        Problem::bad_request(format!("`{name}` is `{text}`: {error}, or how long ago as -24h, or now"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params() -> TrendParams {
        TrendParams {
            item: "plc1/a".into(),
            from: None,
            to: None,
            aggregate: None,
            interval: None,
            limit: None,
            cursor: None,
        }
    }

    #[test]
    fn what_makes_no_sense_says_what_to_write() {
        let some = |text: &str| Some(text.to_owned());
        for (wrong, says) in [
            (TrendParams { from: some("yesterday"), ..params() }, "2026-11-21T09:30:00Z"),
            (TrendParams { from: some("now"), to: some("-1h"), ..params() }, "not before"),
            (TrendParams { interval: some("5m"), ..params() }, "needs `aggregate`"),
            (TrendParams { aggregate: some("median"), ..params() }, "time_weighted_mean"),
            (TrendParams { aggregate: some("all"), interval: some("0s"), ..params() }, "no interval"),
            (TrendParams { aggregate: some("all"), interval: some("1ms"), ..params() }, "at most 10000"),
            (TrendParams { cursor: some("7"), ..params() }, "cursor"),
        ] {
            let problem = Asked::of(&wrong).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(says), "{} lacks {says}", problem.detail);
        }
        let asked = Asked::of(&TrendParams { aggregate: some("mean, max"), ..params() }).unwrap();
        let columns: Vec<&str> = asked.buckets.unwrap().columns.iter().map(|column| column.0).collect();
        assert_eq!(columns, ["mean", "max"]);
    }

    #[test]
    fn a_part_links_to_the_next_one() {
        let uri: Uri = "/api/v1/history?item=plc1/a&cursor=1@1.0:1/0&limit=2".parse().unwrap();
        let link = link(&uri, "5@1.0:9/0").unwrap();
        assert_eq!(link, "</api/v1/history?item=plc1/a&limit=2&cursor=5@1.0:9/0>; rel=\"next\"");
    }

    proptest! {
        #[test]
        fn any_request_is_asked_or_refused(from in ".{0,30}", to in ".{0,30}", aggregate in proptest::option::of(".{0,12}"), interval in proptest::option::of(".{0,12}"), cursor in proptest::option::of(".{0,30}")) {
            Asked::of(&TrendParams { from: Some(from), to: Some(to), aggregate, interval, cursor, ..params() }).ok();
        }
    }
}
