//! What happened: lists of events, and events as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use hyper::body::Frame;
use serde::Deserialize;
use twinhub_events::{Cursor, EventId, Filter, Following};
use twinhub_runtime::view::{EventView, EventsPage};
use twinhub_runtime::{EventsNext, Handle};
use utoipa::IntoParams;

use super::page;
use super::query::Queries;
use crate::access::Caller;
use crate::limits;
use crate::problem::Problem;
use crate::standing::Standing;
use crate::web::{Web, stopped};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events with a greater number on this node.
    #[serde(default)]
    after: u64,
    /// `cursor` of the page before, from this or another node.
    #[serde(default)]
    cursor: String,
    /// `newest`: the newest first, whatever way they came to this node. Left out: in the order in which they came.
    order: Option<String>,
    /// How many to give.
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsFilter {
    /// Only this bad or worse: `info`, `warning` or `error`.
    severity: Option<String>,
    /// Only with a code that begins so, such as `TH-ROLE`.
    #[serde(default)]
    code: String,
    /// Only about this item or interface, and about items of the interface.
    #[serde(default)]
    item: String,
    /// Only what happened on this node.
    node: Option<String>,
    /// Only of this group.
    #[serde(default)]
    group: String,
    /// Only with this in source, code or text, in letters of any case.
    #[serde(default)]
    q: String,
    /// Only then or later, RFC 3339.
    since: Option<String>,
    /// Only before then, RFC 3339.
    until: Option<String>,
}

impl EventsFilter {
    /// Of its fields.
    pub(super) const NAMES: [&str; 8] = ["severity", "code", "item", "node", "group", "q", "since", "until"];

    pub(super) fn read(self, web: &Web) -> Result<Filter, Problem> {
        let severity = self.severity.as_deref().map(|word| {
            Handle::severity(word).ok_or_else(|| {
                Problem::bad_request(format!("`{word}` is no severity: write info, warning or error"))
            })
        });
        let node = self.node.as_deref().map(|name| {
            web.handle.rank_of(name).map_err(|_| Problem::bad_request(format!("no node is called `{name}`")))
        });
        Ok(Filter {
            severity: severity.transpose()?,
            code: self.code,
            about: self.item,
            node: node.transpose()?,
            group: self.group,
            text: self.q,
            since: page::time("since", self.since.as_deref())?,
            until: page::time("until", self.until.as_deref())?,
        })
    }
}

/// What happened, on this node and on the others.
#[utoipa::path(get, path = "/api/v1/events", params(EventsQuery, EventsFilter),
    responses((status = 200, body = EventsPage, description = "JSON, or CSV by Accept"), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Queries(query, filter): Queries<EventsQuery, EventsFilter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit);
    let filter = filter.read(&web)?;
    let page = match query.order.as_deref() {
        None => {
            let cursor = cursor(&query.cursor)?;
            let next = web.handle.events(&Following { after: query.after, cursor, limit }, &filter);
            let cursor = Some(next.cursor.to_string());
            EventsPage { rows: next.rows, next: next.after, cursor, missed: next.missed }
        }
        Some("newest") => {
            let before = match query.cursor.as_str() {
                "" => None,
                text => Some(EventId::parse(text).ok_or_else(|| no_cursor(text))?),
            };
            let newest = web.handle.newest_events(before.as_ref(), limit, &filter);
            let cursor = newest.next.map(|id| id.to_string());
            EventsPage { rows: newest.rows, next: query.after, cursor, missed: false }
        }
        Some(other) => {
            let detail = format!("`{other}` is no order of events: write `newest`, or leave it out");
            return Err(Problem::bad_request(detail));
        }
    };
    if !page::wants_csv(&headers) {
        return Ok(Json(page).into_response());
    }
    let mut response = page::csv(CSV_HEADER, page.rows.into_iter().map(csv_row));
    if let Some(next) = page.cursor.and_then(|next| next.parse().ok()) {
        response.headers_mut().insert(page::NEXT, next);
    }
    if page.missed {
        response.headers_mut().insert(page::MISSED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

const CSV_HEADER: [&str; 10] =
    ["id", "at", "severity", "source", "code", "text", "node", "group", "alarm", "key"];

fn csv_row(row: EventView) -> [String; 10] {
    let EventView { id, at, severity, source, code, text, node, group, key, alarm } = row;
    [id.to_string(), at, severity, source, code, text, node, group, alarm.unwrap_or_default(), key]
}

pub(super) fn cursor(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text).ok_or_else(|| no_cursor(text))
}

fn no_cursor(text: &str) -> Problem {
    let shown: String = text.chars().take(80).collect();
    Problem::bad_request(format!("`{shown}` is no cursor: send that of the page before, or leave it out"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventStreamQuery {
    /// Number of the last event that was taken from this node. Left out: all kept events.
    after: Option<u64>,
    /// Id of the last event that was taken, from this or another node; the header Last-Event-ID does the same.
    from: Option<String>,
}

/// Events as they come, as server-sent events. Each has a cursor as its id: a client that lost its connection goes on
/// from there, also on another node, without a gap. One that comes too late, for events that are gone, first gets an
/// event `missed`. The stream ends when the session or token with which the client came counts no more.
#[utoipa::path(get, path = "/api/v1/events/stream", params(EventStreamQuery, EventsFilter),
    responses((status = 200, description = "text/event-stream of EventView"), (status = 400, body = Problem)))]
pub(crate) async fn stream(
    State(web): State<Web>,
    Queries(query, filter): Queries<EventStreamQuery, EventsFilter>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut from = Following { after: query.after.unwrap_or(0), limit: AT_ONCE, ..Following::default() };
    match last.or(query.from) {
        // A number, as `after`.
        Some(text) if text.parse::<u64>().is_ok() => from.after = text.parse().unwrap_or(0),
        Some(text) => from.cursor = cursor(&text)?,
        None => {}
    }
    let filter = filter.read(&web)?;
    let next = next_events(Follower {
        standing: Standing::of(&caller, &headers),
        web,
        from,
        filter,
        is_told: false,
    });
    let mut response = Response::new(Body::new(EventBody { next: Some(Box::pin(next)) }));
    let content_type = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

/// Who follows, and from where on.
struct Follower {
    web: Web,
    standing: Standing,
    from: Following,
    filter: Filter,
    /// That events are gone, so that it is said once.
    is_told: bool,
}

/// Waits for events; `None` when the node stops, or the reader may read no more.
async fn next_events(mut follower: Follower) -> Option<(Follower, Bytes)> {
    let mut quiet = Duration::ZERO;
    let mut stopping = follower.web.stopping.clone();
    loop {
        if follower.standing.is_lost(&follower.web) {
            return None;
        }
        let next = follower.web.handle.events(&follower.from, &follower.filter);
        let mut text = frames(&next)?;
        if next.missed && !follower.is_told {
            text.insert_str(0, MISSED);
        }
        follower.is_told = next.missed;
        follower.from = Following { after: next.after, cursor: next.cursor, ..follower.from };
        if !text.is_empty() {
            return Some((follower, text.into()));
        }
        if quiet >= limits::KEEP_ALIVE {
            return Some((follower, Bytes::from_static(b": nothing new\n\n")));
        }
        tokio::select! {
            () = tokio::time::sleep(EVENT_LOOK) => quiet += EVENT_LOOK,
            () = stopped(&mut stopping) => return None,
        }
    }
}

fn frames(next: &EventsNext) -> Option<String> {
    let mut text = String::new();
    let mut cursor = next.base.clone();
    for event in &next.rows {
        cursor.take(&EventId::parse(&event.key)?);
        let data = serde_json::to_string(event).ok()?;
        text.extend(["id: ", &cursor.to_string(), "\nevent: event\ndata: ", &data, "\n\n"]);
    }
    Some(text)
}

type NextEvents = Pin<Box<dyn Future<Output = Option<(Follower, Bytes)>> + Send>>;

/// A body that asks for the next events each time the client took the last.
struct EventBody {
    next: Option<NextEvents>,
}

impl hyper::body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        match next.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.next = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((follower, text))) => {
                self.next = Some(Box::pin(next_events(follower)));
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
        }
    }
}

/// To a reader for whom events are gone.
const MISSED: &str = "event: missed\ndata: {}\n\n";
/// Events at once: what a slow reader has not taken counts towards no limit.
const AT_ONCE: usize = 100;
/// How often events are looked for.
const EVENT_LOOK: Duration = Duration::from_millis(200);
