//! Interfaces, and the compatibility matrix.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::view::{BrowseView, DiagView, DiscoverView, InterfaceView, MonitorView, TestView};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::cluster::{Accepted, accept, elsewhere};
use crate::access::Peer;
use crate::forward;
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

/// What below a node of a device is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BrowseQuery {
    /// The node, as JSON: `parent` of an answer before. The top without it.
    parent: Option<String>,
    /// `cursor` of the answer before, to read on.
    #[serde(default)]
    cursor: String,
    /// Most nodes of one answer, 1 to 1000.
    #[serde(default = "browse_limit")]
    limit: usize,
}

const fn browse_limit() -> usize {
    100
}

/// What can be addressed on the device of an interface: the instance of the asked node lists what is directly below a node.
#[utoipa::path(get, path = "/api/v1/interfaces/{id}/browse", params(("id" = String, Path), BrowseQuery),
    responses(
        (status = 200, body = BrowseView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "its plugin asks the device only while it is active"),
        (status = 501, body = Problem, description = "its plugin lists nothing"),
        (status = 502, body = Problem, description = "the plugin or the device refused"),
        (status = 504, body = Problem),
    ))]
pub(crate) async fn browse(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<BrowseQuery>,
) -> Result<Json<BrowseView>, Problem> {
    let parent = query.parent.filter(|parent| !parent.is_empty());
    let parent: Option<serde_json::Value> =
        parent.map(|parent| serde_json::from_str(&parent)).transpose().map_err(|error| {
            Problem::bad_request(format!("`parent` is no JSON: {error}; give `parent` of an answer as it is"))
        })?;
    Ok(Json(web.handle.browse(&id, parent.as_ref(), &query.cursor, query.limit).await?))
}

/// What the plugin of an interface says of itself on the asked node: connections, counters, last errors.
#[utoipa::path(get, path = "/api/v1/interfaces/{id}/diag", params(("id" = String, Path)),
    responses(
        (status = 200, body = DiagView),
        (status = 404, body = Problem),
        (status = 501, body = Problem, description = "its plugin does not say"),
        (status = 502, body = Problem),
        (status = 504, body = Problem),
    ))]
pub(crate) async fn diag(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<DiagView>, Problem> {
    Ok(Json(web.handle.diagnose(&id).await?))
}

/// Tries whether the device of an interface answers the instance of the asked node: reachable, credentials, versions, a
/// round trip. Changes nothing on the device.
#[utoipa::path(post, path = "/api/v1/interfaces/{id}/test", params(("id" = String, Path)),
    responses(
        (status = 200, body = TestView, description = "also if a step has failed"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "its plugin asks the device only while it is active"),
        (status = 501, body = Problem, description = "its plugin has no test"),
        (status = 502, body = Problem),
        (status = 504, body = Problem),
    ))]
pub(crate) async fn test(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<TestView>, Problem> {
    Ok(Json(web.handle.test_interface(&id).await?))
}

/// For how long to look for devices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscoverQuery {
    /// Milliseconds to wait for answers, 20000 at most.
    #[serde(default = "discover_wait_ms")]
    wait_ms: u64,
}

const fn discover_wait_ms() -> u64 {
    3_000
}

/// Looks for devices in reach that an interface like this one could connect to.
#[utoipa::path(post, path = "/api/v1/interfaces/{id}/discover", params(("id" = String, Path), DiscoverQuery),
    responses(
        (status = 200, body = DiscoverView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "its plugin asks the network only while it is active"),
        (status = 501, body = Problem, description = "its plugin cannot look for devices"),
        (status = 502, body = Problem),
        (status = 504, body = Problem),
    ))]
pub(crate) async fn discover(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<DiscoverQuery>,
) -> Result<Json<DiscoverView>, Problem> {
    Ok(Json(web.handle.discover(&id, Duration::from_millis(query.wait_ms)).await?))
}

/// Which messages of a line are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorQuery {
    /// Behind the message of this number; the last ones without it.
    after: Option<u64>,
    /// Most messages of one answer, 1 to 500.
    #[serde(default = "monitor_limit")]
    limit: usize,
}

const fn monitor_limit() -> usize {
    100
}

/// What went over the line of an interface, as the instance of the asked node keeps it: the last messages of both directions.
#[utoipa::path(get, path = "/api/v1/interfaces/{id}/monitor", params(("id" = String, Path), MonitorQuery),
    responses(
        (status = 200, body = MonitorView),
        (status = 404, body = Problem),
        (status = 501, body = Problem, description = "its plugin does not keep them"),
        (status = 502, body = Problem),
        (status = 504, body = Problem),
    ))]
pub(crate) async fn monitor(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<MonitorQuery>,
) -> Result<Json<MonitorView>, Problem> {
    Ok(Json(web.handle.monitor(&id, query.after, query.limit).await?))
}

/// A restart.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartBody {
    /// The node that is meant; the asked one if left out.
    #[serde(default)]
    node: Option<String>,
}

/// Gives an interface of a node another instance of its plugin, also one that stays down after faults. What the instance
/// knew is given to the new one; commands wait for it. The role stays where it is.
#[utoipa::path(post, path = "/api/v1/interfaces/{id}/restart", params(("id" = String, Path)), request_body = RestartBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn restart(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: RestartBody = body_of(&bytes)?;
    if let Some(url) = elsewhere(&web, body.node.as_deref(), &headers)? {
        let path = format!("/api/v1/interfaces/{}/restart", forward::escape(&id));
        return forward::send(&web, "POST", &url, &path, &headers, bytes).await;
    }
    Ok(accept(&web, web.handle.restart_interface(&id, &peer.origin())?))
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
