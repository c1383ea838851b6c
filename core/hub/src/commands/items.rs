//! `items`: ls, get, set, watch.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message, WebSocket};
use twinhub_runtime::view::{ItemView, ItemsPage, StreamFrame, StreamItem, WriteView};

use crate::cli::{Global, ItemsLsArgs, ItemsSetArgs, ItemsWatchArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, table, value_text};

pub(crate) fn ls(global: &Global, args: &ItemsLsArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let mut items: Vec<ItemView> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let left = args.limit.map_or(PAGE, |limit| limit.saturating_sub(items.len()).min(PAGE));
        if left == 0 {
            break;
        }
        let mut path =
            format!("/api/v1/items?prefix={}&q={}&limit={left}", escape(&args.prefix), escape(&args.query));
        if let Some(after) = &after {
            path.extend(["&after=", &escape(after)]);
        }
        let page: ItemsPage = client.get(&path)?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    answer.give(&items, |items| items_text(items))
}

pub(crate) fn get(global: &Global, keys: &[String], answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let items: Vec<ItemView> = keys
        .iter()
        .map(|key| client.get(&format!("/api/v1/items/{}", escape(key))))
        .collect::<Result<_, _>>()?;
    answer.give(&items, |items| items_text(items))
}

fn items_text(items: &[ItemView]) -> String {
    let rows = items.iter().map(|item| {
        [
            item.key.clone(),
            value_text(&item.value),
            item.unit.clone(),
            if item.cause.is_empty() {
                item.quality.clone()
            } else {
                format!("{} ({})", item.quality, item.cause)
            },
            item.source_time.clone(),
            item.access.clone(),
            item.description.clone(),
        ]
    });
    table(["key", "value", "unit", "quality", "time", "access", "description"], rows)
}

pub(crate) fn set(global: &Global, args: &ItemsSetArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let forward = if args.forward { "?forward=1" } else { "" };
    let path = format!("/api/v1/items/{}/value{forward}", escape(&args.key));
    // In an object, so that a value that is an object itself with one key `value` is not taken apart.
    let written: WriteView = client.send("PUT", &path, &json!({ "value": value_of(&args.value) }))?;
    answer.give(&written, |written| {
        format!("{} = {}: {} ({})", written.key, plain(&args.value), written.outcome, written.intent)
    })
}

/// JSON if it is, else a text; so that `set a on` needs no quotes in quotes.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

pub(crate) fn watch(global: &Global, args: &ItemsWatchArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let mut watch =
        Watch { client, prefix: &args.prefix, cursor: args.from.clone(), left: args.count, is_new: true };
    loop {
        let lost = match watch.follow(answer) {
            Ok(()) => return Ok(Code::Ok),
            Err(failure) if failure.code == Code::Unreachable && !watch.is_new => failure,
            Err(failure) => return Err(failure),
        };
        tracing::warn!(
            cursor = watch.cursor,
            reason = lost.text,
            "stream ended, trying again from the last cursor"
        );
        std::thread::sleep(RETRY);
    }
}

/// A stream of values over any number of connections.
struct Watch<'a> {
    client: Client,
    prefix: &'a str,
    cursor: Option<String>,
    left: Option<u64>,
    /// Whether there was no connection yet.
    is_new: bool,
}

impl Watch<'_> {
    /// Follows one connection; `Ok` when enough values came.
    fn follow(&mut self, answer: Answer) -> Result<(), Failure> {
        let mut socket = self.connect()?;
        self.is_new = false;
        loop {
            let message = socket.read().map_err(|error| self.lost(&error))?;
            let text = match message {
                Message::Text(text) => text,
                Message::Close(_) => return Err(self.lost(&tungstenite::Error::ConnectionClosed)),
                // Reading answers pings.
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            let frame: StreamFrame = serde_json::from_str(&text)
                .map_err(|error| Failure::new(Code::Error, format!("a frame is not readable: {error}")))?;
            for item in &frame.items {
                if self.left == Some(0) {
                    return Ok(());
                }
                give(answer, &frame, item)?;
                self.left = self.left.map(|left| left - 1);
            }
            self.cursor = Some(frame.cursor);
            if self.left == Some(0) {
                return Ok(());
            }
        }
    }

    fn connect(&self) -> Result<WebSocket<TcpStream>, Failure> {
        let address = self.client.url().trim_start_matches("http://");
        let mut url = format!("ws://{address}/api/v1/stream?prefix={}", escape(self.prefix));
        if let Some(cursor) = &self.cursor {
            url.extend(["&from=", &escape(cursor)]);
        }
        let mut request = url.into_client_request().map_err(|error| self.lost(&error))?;
        if let Some(token) = self.client.token() {
            let value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Failure::new(Code::Usage, "the token has characters that cannot be sent"))?;
            request.headers_mut().insert("authorization", value);
        }
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let has_port = request.uri().port().is_some();
        let host = if has_port { host } else { format!("{host}:80") };
        let stream = TcpStream::connect(&host).map_err(|error| self.lost(&error.into()))?;
        // The hub sends a ping when it has nothing else.
        stream.set_read_timeout(Some(SILENCE_MAX)).map_err(|error| self.lost(&error.into()))?;
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let text = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let text = format!("{} refused the stream: {} {text}", self.client.url(), response.status());
                Err(Failure::new(Code::Error, text))
            }
            Err(HandshakeError::Failure(error)) => Err(self.lost(&error)),
            Err(HandshakeError::Interrupted(_)) => Err(self.lost(&tungstenite::Error::ConnectionClosed)),
        }
    }

    fn lost(&self, error: &tungstenite::Error) -> Failure {
        Failure::new(Code::Unreachable, format!("no stream of values from {}: {error}", self.client.url()))
    }
}

fn give(answer: Answer, frame: &StreamFrame, item: &StreamItem) -> Outcome {
    let line = json!({
        "key": item.key, "value": item.value, "quality": item.quality, "source_time": item.source_time,
        "epoch": frame.epoch, "cursor": frame.cursor,
    });
    answer.give_line(&line, |_| {
        let value = plain(&value_text(&item.value));
        format!("{}  {}  {value}  {}", item.source_time, item.key, item.quality)
    })
}

const PAGE: usize = 5000;
/// Longer than the hub is silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_a_text() {
        assert_eq!(value_of("21.5"), json!(21.5));
        assert_eq!(value_of("true"), json!(true));
        assert_eq!(value_of("-3"), json!(-3));
        assert_eq!(value_of("on"), json!("on"));
        assert_eq!(value_of("{\"a\":1}"), json!({"a": 1}));
    }
}
