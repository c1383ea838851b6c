//! Values over WebSocket and events over SSE.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use twinhub_runtime::view::StreamFrame;
use twinhub_runtime::{Stream, StreamFilter};
use utoipa::IntoParams;

use crate::limits;
use crate::problem::Problem;
use crate::web::{Web, stopped};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// `cursor` of the last frame that was taken, from this or another node; left out, a snapshot comes first.
    from: Option<String>,
    /// Only keys that begin so.
    #[serde(default)]
    prefix: String,
}

/// Values as they come, over WebSocket: each message is a `StreamFrame` with epoch and cursor. A client that lost
/// its connection goes on from its last cursor, also on the other node, without a gap.
#[utoipa::path(get, path = "/api/v1/stream", params(StreamQuery),
    responses((status = 101, description = "messages are StreamFrame", body = StreamFrame),
        (status = 400, body = Problem)))]
pub(crate) async fn values(
    State(web): State<Web>,
    Query(query): Query<StreamQuery>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let from = match &query.from {
        Some(text) => Some(web.handle.cursor(text).ok_or_else(|| {
            let detail = format!("`{text}` is no cursor: send that of the last frame, or leave `from` out");
            Problem::new(StatusCode::BAD_REQUEST, "TH-WEB-400", detail)
        })?),
        None => None,
    };
    Ok(upgrade
        .max_message_size(limits::WEBSOCKET_MESSAGE_BYTES_MAX)
        .max_frame_size(limits::WEBSOCKET_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let filter = StreamFilter { prefix: query.prefix };
            let stream = web.handle.subscribe(filter, from);
            run_socket(socket, stream, web).await;
        }))
}

async fn run_socket(mut socket: WebSocket, mut stream: Stream, web: Web) {
    let mut stopping = web.stopping.clone();
    loop {
        let message = tokio::select! {
            frame = stream.next() => match frame {
                Some(frame) => match serde_json::to_string(&frame) {
                    Ok(text) => Message::Text(text.into()),
                    Err(_) => break,
                },
                None => goodbye(),
            },
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                // Nothing is expected from the client; pings are answered below this.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
            },
            () = tokio::time::sleep(limits::KEEP_ALIVE) => Message::Ping(Bytes::new()),
            () = stopped(&mut stopping) => goodbye(),
        };
        let is_last = matches!(message, Message::Close(_));
        // A large frame waits until others have taken theirs.
        let Some(_room) = room(&web, message_bytes(&message)).await else { break };
        match tokio::time::timeout(limits::BLOCKED_WRITE_MAX, socket.send(message)).await {
            Ok(Ok(())) if !is_last => {}
            Ok(Ok(()) | Err(_)) | Err(_) => break,
        }
    }
}

/// Memory for a frame, waited for as long as a slow client may hold its own.
async fn room(web: &Web, bytes: usize) -> Option<Option<OwnedSemaphorePermit>> {
    let until = tokio::time::Instant::now() + limits::BLOCKED_WRITE_MAX;
    loop {
        match web.doors.clients.room(bytes) {
            Ok(room) => return Some(room),
            Err(_) if tokio::time::Instant::now() >= until => return None,
            Err(_) => tokio::time::sleep(EVENT_LOOK).await,
        }
    }
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

fn goodbye() -> Message {
    let reason = Utf8Bytes::from_static("the node stops: go on from the last cursor on another node");
    Message::Close(Some(CloseFrame { code: close_code::AWAY, reason }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventStreamQuery {
    /// Number of the last event that was taken; the header Last-Event-ID does the same. Left out: all kept events.
    after: Option<u64>,
}

/// Events as they come, as server-sent events; each has the event's number as its id.
#[utoipa::path(get, path = "/api/v1/events/stream", params(EventStreamQuery),
    responses((status = 200, description = "text/event-stream of EventView")))]
pub(crate) async fn events(
    State(web): State<Web>,
    Query(query): Query<EventStreamQuery>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after = last.or(query.after).unwrap_or(0);
    let mut response = Response::new(Body::new(EventBody { next: Some(Box::pin(next_events(web, after))) }));
    let content_type = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Waits for events after `after`; `None` when the node stops.
async fn next_events(web: Web, after: u64) -> Option<(Web, u64, Bytes)> {
    let mut quiet = Duration::ZERO;
    let mut stopping = web.stopping.clone();
    loop {
        let events = web.handle.events(after, limits::PAGE_DEFAULT);
        if let Some(last) = events.last() {
            let mut text = String::new();
            for event in &events {
                let data = serde_json::to_string(event).ok()?;
                text.extend(["id: ", &event.id.to_string(), "\nevent: event\ndata: ", &data, "\n\n"]);
            }
            let last = last.id;
            return Some((web, last, text.into()));
        }
        if quiet >= limits::KEEP_ALIVE {
            return Some((web, after, Bytes::from_static(b": nothing new\n\n")));
        }
        tokio::select! {
            () = tokio::time::sleep(EVENT_LOOK) => quiet += EVENT_LOOK,
            () = stopped(&mut stopping) => return None,
        }
    }
}

type NextEvents = Pin<Box<dyn Future<Output = Option<(Web, u64, Bytes)>> + Send>>;

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
            Poll::Ready(Some((web, after, text))) => {
                self.next = Some(Box::pin(next_events(web, after)));
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
        }
    }
}

/// How often events are looked for.
const EVENT_LOOK: Duration = Duration::from_millis(200);
