//! What was joined after splits.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use twinhub_runtime::view::MergeView;
use utoipa::IntoParams;

use super::query::Query;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MergesQuery {
    /// Only of this group.
    group: Option<String>,
}

/// Reports of what nodes wrote alone during splits and what became of it, the newest first; the same on every node.
#[utoipa::path(get, path = "/api/v1/merges", params(MergesQuery),
    responses((status = 200, body = [MergeView]), (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Query(query): Query<MergesQuery>,
) -> Result<Json<Vec<MergeView>>, Problem> {
    let found = web.handle.merges(query.group.as_deref()).await;
    found.map(Json).map_err(|error| Problem::of_command(&error, "/api/v1/merges"))
}

/// One of these reports.
#[utoipa::path(get, path = "/api/v1/merges/{id}", params(("id" = String, Path)),
    responses((status = 200, body = MergeView), (status = 404, body = Problem)))]
pub(crate) async fn one(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<MergeView>, Problem> {
    let found = web.handle.merges(None).await;
    let reports = found.map_err(|error| Problem::of_command(&error, "/api/v1/merges"))?;
    let report = reports.into_iter().find(|report| report.id == id);
    report.map(Json).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "TH-MERGE-003",
            format!("there is no merge `{id}`; GET /api/v1/merges lists them"),
        )
    })
}
