//! Interfaces, and the compatibility matrix.

use axum::Json;
use axum::extract::{Path, State};
use twinhub_runtime::view::InterfaceView;

use crate::problem::Problem;
use crate::web::Web;

/// Every interface on this node.
#[utoipa::path(get, path = "/api/v1/interfaces", responses((status = 200, body = [InterfaceView])))]
pub(crate) async fn list(State(web): State<Web>) -> Json<Vec<InterfaceView>> {
    Json(web.handle.interfaces())
}

/// One interface.
#[utoipa::path(get, path = "/api/v1/interfaces/{id}", params(("id" = String, Path)),
    responses((status = 200, body = InterfaceView), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(web): State<Web>,
    Path(id): Path<String>,
) -> Result<Json<InterfaceView>, Problem> {
    let found = web.handle.interfaces().into_iter().find(|interface| interface.id == id);
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("TH-INTERFACE-001", format!("there is no interface `{id}`")))
}

/// The compatibility matrix: declared and measured.
#[utoipa::path(get, path = "/api/v1/matrix", responses((status = 200, body = Object)))]
pub(crate) async fn matrix(State(web): State<Web>) -> Json<serde_json::Value> {
    let declared: Vec<serde_json::Value> = web
        .handle
        .plugins()
        .into_iter()
        .map(|plugin| {
            serde_json::json!({
                "plugin": plugin.name,
                "version": plugin.version,
                "declared": plugin.manifest.get("mb").cloned().unwrap_or_default(),
            })
        })
        .collect();
    Json(serde_json::json!({ "declared": declared, "rows": web.matrix }))
}
