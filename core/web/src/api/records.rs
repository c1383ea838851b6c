//! Role changes.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use twinhub_runtime::view::RoleChangeView;
use utoipa::IntoParams;

use super::page;
use super::query::Query;
use crate::web::Web;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// How many of the newest to give.
    limit: Option<usize>,
    /// Only of this group.
    group: Option<String>,
}

/// The last role changes of this node, and of others while they were alone during a split, oldest first.
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
