//! Values over WebSocket.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
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

/// How often room for a frame is looked for.
const ROOM_LOOK: Duration = Duration::from_millis(200);
