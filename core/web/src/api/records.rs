//! What happened: role changes and events.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use twinhub_runtime::view::{EventView, RoleChangeView};
use utoipa::IntoParams;

use super::page::{self, Page};
use crate::web::Web;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// How many of the newest to give.
    limit: Option<usize>,
    /// Only of this group.
    group: Option<String>,
}

/// The last role changes, oldest first.
#[utoipa::path(get, path = "/api/v1/cluster/history", params(HistoryQuery),
    responses((status = 200, body = [RoleChangeView], description = "JSON, or CSV by Accept")))]
pub(crate) async fn history(
    State(web): State<Web>,
    Query(query): Query<HistoryQuery>,
    headers: HeaderMap,
) -> Response {
    let mut rows = web.handle.history(page::limit(query.limit));
    if let Some(group) = &query.group {
        rows.retain(|row| row.group == *group);
    }
    if !page::wants_csv(&headers) {
        return Json(rows).into_response();
    }
    let rows =
        rows.into_iter().map(|row| [row.at, row.group, row.node, row.epoch, row.from, row.to, row.reason]);
    page::csv(["at", "group", "node", "epoch", "from", "to", "reason"], rows)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events with a greater number.
    #[serde(default)]
    after: u64,
    /// How many to give.
    limit: Option<usize>,
}

/// Events of this node, oldest first.
#[utoipa::path(get, path = "/api/v1/events", params(EventsQuery),
    responses((status = 200, body = Page<EventView>, description = "JSON, or CSV by Accept")))]
pub(crate) async fn events(
    State(web): State<Web>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let rows = web.handle.events(query.after, page::limit(query.limit));
    let next = rows.last().map_or(query.after, |row| row.id);
    if !page::wants_csv(&headers) {
        return Json(Page { rows, next }).into_response();
    }
    let rows = rows
        .into_iter()
        .map(|row| [row.id.to_string(), row.at, row.severity, row.source, row.code, row.text]);
    page::csv(["id", "at", "severity", "source", "code", "text"], rows)
}
