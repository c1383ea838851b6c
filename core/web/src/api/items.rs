//! Items: reading, writing, carrying writes over to the active node.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;
use twinhub_runtime::CommandError;
use twinhub_runtime::view::{ItemView, ItemsPage, WriteView};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::page;
use super::query::Query;
use crate::access::Peer;
use crate::forward;
use crate::limits;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only keys that begin so.
    #[serde(default)]
    prefix: String,
    /// Only keys that contain this, in any case.
    #[serde(default)]
    q: String,
    /// `next` of the page before.
    after: Option<String>,
    /// How many to give.
    limit: Option<usize>,
}

/// A page of items.
#[utoipa::path(get, path = "/api/v1/items", params(ListQuery),
    responses((status = 200, body = ItemsPage, description = "JSON, or CSV by Accept")))]
pub(crate) async fn list(
    State(web): State<Web>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let limit = page::limit(query.limit);
    let page = web.handle.items(&query.prefix, &query.q, query.after.as_deref(), limit);
    if !page::wants_csv(&headers) {
        return Json(page).into_response();
    }
    let rows = page.items.into_iter().map(|item| {
        let value = match item.value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        };
        [
            item.key,
            value,
            item.quality,
            item.cause,
            item.source_time,
            item.server_time,
            item.unit,
            item.description,
        ]
    });
    let header = ["key", "value", "quality", "cause", "source_time", "server_time", "unit", "description"];
    page::csv(header, rows)
}

/// The value of an item without its description.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemValue {
    key: String,
    #[schema(value_type = Object)]
    value: Value,
    quality: String,
    cause: String,
    source_time: String,
    server_time: String,
}

impl From<ItemView> for ItemValue {
    fn from(item: ItemView) -> ItemValue {
        ItemValue {
            key: item.key,
            value: item.value,
            quality: item.quality,
            cause: item.cause,
            source_time: item.source_time,
            server_time: item.server_time,
        }
    }
}

/// One item, or with `/value` at the end only its value. Keys contain slashes, which are not escaped.
#[utoipa::path(get, path = "/api/v1/items/{key}", params(("key" = String, Path)),
    responses((status = 200, body = ItemView), (status = 404, body = Problem)))]
pub(crate) async fn read(State(web): State<Web>, Path(key): Path<String>) -> Result<Response, Problem> {
    if let Some(item) = web.handle.item(&key) {
        return Ok(Json(item).into_response());
    }
    let value_of = key.strip_suffix("/value").unwrap_or(&key);
    match web.handle.item(value_of).filter(|_| value_of != key) {
        Some(item) => Ok(Json(ItemValue::from(item)).into_response()),
        None => Err(Problem::not_found("TH-ITEM-001", format!("there is no item `{value_of}`"))),
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// `1`: a standby carries the write over to the active node.
    #[serde(default)]
    forward: u8,
}

/// Writes `/items/{key}/value` and answers when the device did. The body is the value, or `{"value": ..}`.
#[utoipa::path(put, path = "/api/v1/items/{key}/value", params(("key" = String, Path), WriteQuery),
    request_body = Object,
    responses(
        (status = 200, body = WriteView),
        (status = 409, body = Problem, description = "not active here; `active_url` and Location say where"),
    ))]
pub(crate) async fn write(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(key): Path<String>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let Some(item) = key.strip_suffix("/value") else {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "TH-WEB-405",
            format!("write /api/v1/items/{key}/value"),
        ));
    };
    let value = single_value(&bytes)?;
    let path = format!("/api/v1/items/{}/value", forward::escape(item));
    match web.handle.set(item, value, &peer.origin()).await {
        Ok(written) => Ok(answer(written)),
        Err(error) => match forward::target(&error, query.forward == 1, &headers)? {
            Some(active) => forward::send(&web, "PUT", &active, &path, &headers, bytes).await,
            None => Err(Problem::of_command(&error, &path)),
        },
    }
}

fn answer(written: WriteView) -> Response {
    let status = if written.ok { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
    if written.ok {
        return (status, Json(written)).into_response();
    }
    let detail = format!("command {} for `{}`: {}", written.intent, written.key, written.outcome);
    Problem::new(status, "TH-ITEM-004", detail).into_response()
}

/// The value of a body: itself, or what `{"value": ..}` holds.
fn single_value(bytes: &[u8]) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not JSON: {error}; write for example 21.5, true or {{\"value\": 21.5}}"
        ))
    })?;
    Ok(match value {
        Value::Object(mut map) if map.len() == 1 && map.contains_key("value") => {
            map.remove("value").unwrap_or_default()
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => other,
    })
}

/// One write of many.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkWrite {
    /// The item.
    key: String,
    /// The value.
    #[schema(value_type = Object)]
    value: Value,
}

/// What became of one write of many.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkResult {
    key: String,
    ok: bool,
    /// Number of the command, if one was made.
    intent: Option<String>,
    /// `done`, or why not.
    outcome: String,
    /// Stable code, if it was refused.
    code: Option<String>,
}

/// Writes many items; each has its own result. No item may be there twice, since the order is not kept.
#[utoipa::path(post, path = "/api/v1/items:bulk", params(WriteQuery), request_body = [BulkWrite],
    responses((status = 200, body = [BulkResult]), (status = 409, body = Problem)))]
pub(crate) async fn write_bulk(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let writes: Vec<BulkWrite> = body_of(&bytes)?;
    if writes.len() > limits::BULK_ITEMS_MAX {
        let detail = format!("{} values, at most {} go in one request", writes.len(), limits::BULK_ITEMS_MAX);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TH-WEB-413", detail));
    }
    let mut keys = BTreeSet::new();
    if let Some(twice) = writes.iter().find(|write| !keys.insert(write.key.as_str())) {
        return Err(Problem::bad_request(format!("item `{}` is there twice", twice.key)));
    }
    let mut results = Vec::with_capacity(writes.len());
    let mut errors: Vec<CommandError> = Vec::new();
    for chunk in writes.chunks(limits::BULK_PARALLEL) {
        let mut tasks = JoinSet::new();
        for (index, write) in chunk.iter().cloned().enumerate() {
            let (handle, origin) = (web.handle.clone(), peer.origin());
            tasks.spawn(async move { (index, handle.set(&write.key, write.value, &origin).await) });
        }
        let mut done = tasks.join_all().await;
        done.sort_by_key(|(index, _)| *index);
        for ((_, result), write) in done.into_iter().zip(chunk) {
            results.push(bulk_result(&write.key, &result));
            errors.extend(result.err());
        }
        // The whole request belongs to the active node if nothing of it was done here.
        if errors.len() == results.len()
            && let Some(error) = errors.iter().find(|error| matches!(error, CommandError::NotActive { .. }))
        {
            let path = "/api/v1/items:bulk";
            return match forward::target(error, query.forward == 1, &headers)? {
                Some(active) => forward::send(&web, "POST", &active, path, &headers, bytes).await,
                None => Err(Problem::of_command(error, path)),
            };
        }
    }
    Ok(Json(results).into_response())
}

fn bulk_result(key: &str, result: &Result<WriteView, CommandError>) -> BulkResult {
    let key = key.to_owned();
    match result {
        Ok(written) => BulkResult {
            key,
            ok: written.ok,
            intent: Some(written.intent.clone()),
            outcome: written.outcome.clone(),
            code: None,
        },
        Err(error) => BulkResult {
            key,
            ok: false,
            intent: None,
            outcome: error.to_string(),
            code: Some(error.code().to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_may_stand_alone_or_in_an_object() {
        for (body, expected) in [
            ("21.5", serde_json::json!(21.5)),
            ("{\"value\": true}", serde_json::json!(true)),
            ("{\"value\": 1, \"unit\": 2}", serde_json::json!({"value": 1, "unit": 2})),
            ("\"text\"", serde_json::json!("text")),
        ] {
            assert_eq!(single_value(body.as_bytes()).unwrap(), expected);
        }
        assert_eq!(single_value(b"21,5").unwrap_err().status, 400);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _value = single_value(&bytes);
            let _bulk: Result<Vec<BulkWrite>, _> = body_of(&bytes);
        }
    }
}
