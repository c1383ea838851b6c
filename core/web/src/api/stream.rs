//! Values over WebSocket, and what else a client subscribes to.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use twinhub_runtime::view::StreamFrame;
use twinhub_runtime::{Stream, StreamFilter};
use utoipa::IntoParams;

use super::query::Query;
use crate::access::Caller;
use crate::limits;
use crate::problem::Problem;
use crate::standing::Standing;
use crate::web::{Web, stopped};

mod told;

use told::Told;

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
///
/// A client that wants events, too, sends `{"subscribe": {"to": "events", "from": "CURSOR", "filter": {"severity":
/// "warning"}}}`: `filter` takes what `/events` takes, and `from` the `cursor` of the last `EventsFrame`; without it all
/// that is kept comes first. `"to": "alarms"` is what alarms tell (raised, over, acknowledged, shelved …, each with its
/// occurrence). `{"unsubscribe": "events"}` ends it. Such messages are `EventsFrame`, which have `topic`; a message that
/// is not understood is answered with `{"problem": …}`.
///
/// When the session or token with which the client came counts no more, the connection is closed with 1008.
#[utoipa::path(get, path = "/api/v1/stream", params(StreamQuery),
    responses((status = 101, description = "messages are StreamFrame", body = StreamFrame),
        (status = 400, body = Problem)))]
pub(crate) async fn values(
    State(web): State<Web>,
    Query(query): Query<StreamQuery>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let from = match &query.from {
        Some(text) => Some(web.handle.cursor(text).ok_or_else(|| {
            let detail = format!("`{text}` is no cursor: send that of the last frame, or leave `from` out");
            Problem::new(StatusCode::BAD_REQUEST, "TH-WEB-400", detail)
        })?),
        None => None,
    };
    let standing = Standing::of(&caller, &headers);
    Ok(upgrade
        .max_message_size(limits::WEBSOCKET_MESSAGE_BYTES_MAX)
        .max_frame_size(limits::WEBSOCKET_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let filter = StreamFilter { prefix: query.prefix };
            let stream = web.handle.subscribe(filter, from);
            run_socket(socket, stream, standing, web).await;
        }))
}

async fn run_socket(mut socket: WebSocket, stream: Stream, mut standing: Standing, web: Web) {
    let mut stopping = web.stopping.clone();
    let mut told = Told::default();
    // What it reads from a journal is not begun anew for each message of others.
    let mut values = Box::pin(next_values(stream));
    let mut ping_at = Instant::now() + limits::KEEP_ALIVE;
    loop {
        let message = tokio::select! {
            (stream, frame) = &mut values => {
                values = Box::pin(next_values(stream));
                match frame {
                    Some(frame) => text(&frame),
                    None => Some(goodbye()),
                }
            }
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(Message::Text(wish))) => match told.hear(&wish, &web) {
                    Ok(()) => continue,
                    Err(problem) => text(&json!({ "problem": problem })),
                },
                // Pings are answered below this.
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
            },
            () = told.due() => match told.next(&web) {
                Some(frame) => text(&frame),
                None => continue,
            },
            () = tokio::time::sleep_until(ping_at) => Some(Message::Ping(Bytes::new())),
            () = standing.lost(&web) => Some(refusal()),
            () = stopped(&mut stopping) => Some(goodbye()),
        };
        let Some(message) = message else { break };
        ping_at = Instant::now() + limits::KEEP_ALIVE;
        let is_last = matches!(message, Message::Close(_));
        // A large frame waits until others have taken theirs.
        let Some(_room) = room(&web, message_bytes(&message)).await else { break };
        match tokio::time::timeout(limits::BLOCKED_WRITE_MAX, socket.send(message)).await {
            Ok(Ok(())) if !is_last => {}
            Ok(Ok(()) | Err(_)) | Err(_) => break,
        }
    }
}

async fn next_values(mut stream: Stream) -> (Stream, Option<StreamFrame>) {
    let frame = stream.next().await;
    (stream, frame)
}

fn text(frame: &impl Serialize) -> Option<Message> {
    serde_json::to_string(frame).ok().map(|text| Message::Text(text.into()))
}

/// Memory for a frame, waited for as long as a slow client may hold its own.
async fn room(web: &Web, bytes: usize) -> Option<Option<OwnedSemaphorePermit>> {
    let until = Instant::now() + limits::BLOCKED_WRITE_MAX;
    loop {
        match web.doors.clients.room(bytes) {
            Ok(room) => return Some(room),
            Err(_) if Instant::now() >= until => return None,
            Err(_) => tokio::time::sleep(ROOM_LOOK).await,
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

fn refusal() -> Message {
    let reason =
        Utf8Bytes::from_static("the session or token counts no more: log in, and go on from the last cursor");
    Message::Close(Some(CloseFrame { code: close_code::POLICY, reason }))
}

/// How often room for a frame is looked for.
const ROOM_LOOK: Duration = Duration::from_millis(200);
