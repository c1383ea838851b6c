//! Plugins of this node: what they declare, and another version in the place of the one that runs.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::view::{PluginView, UpgradeView};
use twinhub_runtime::{CommandError, TRIAL_MAX, TrialEnd};
use utoipa::ToSchema;

use super::body::body_of;
use super::cluster::{Accepted, accept, elsewhere};
use crate::access::Peer;
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

/// An upgrade of a plugin.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpgradeBody {
    /// The node that is meant; the asked one if left out.
    #[serde(default)]
    node: Option<String>,
    /// How long the version before can come back, such as `10m`, which is the default.
    #[serde(default)]
    trial: Option<String>,
    /// Only look: answers what would change, with status 200.
    #[serde(default)]
    dry_run: bool,
}

/// The end of a trial, or of a quarantine.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialBody {
    /// The node that is meant; the asked one if left out.
    #[serde(default)]
    node: Option<String>,
}

/// Every plugin library in use.
#[utoipa::path(get, path = "/api/v1/plugins", responses((status = 200, body = [PluginView])))]
pub(crate) async fn list(State(web): State<Web>) -> Json<Vec<PluginView>> {
    Json(web.handle.plugins())
}

/// One plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", params(("name" = String, Path)),
    responses((status = 200, body = PluginView), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Json<PluginView>, Problem> {
    find(&web, &name).map(Json)
}

/// JSON Schema of a plugin's settings (`config`) and of the columns of its items file (`items`).
#[utoipa::path(get, path = "/api/v1/plugins/{name}/schema", params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn schema(
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let plugin = find(&web, &name)?;
    let part = |key: &str| plugin.manifest.get(key).cloned().unwrap_or_default();
    Ok(Json(serde_json::json!({ "config": part("config_schema"), "items": part("item_address_schema") })))
}

/// Brings the version into service whose file is where plugins are now. The version before can come back for a while, and
/// does so by itself if the new one faults.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/upgrade", params(("name" = String, Path)),
    request_body = UpgradeBody,
    responses((status = 200, body = UpgradeView), (status = 202, body = Accepted), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(crate) async fn upgrade(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: UpgradeBody = body_of(&bytes)?;
    if let Some(url) = elsewhere(&web, body.node.as_deref(), &headers)? {
        let path = format!("/api/v1/plugins/{}/upgrade", forward::escape(&name));
        return forward::send(&web, "POST", &url, &path, &headers, bytes).await;
    }
    let trial = body.trial.map(|text| {
        let wrong = format!(
            "`{text}` is no time of at most {} days; write for example \"10m\"",
            TRIAL_MAX.as_secs() / 86_400
        );
        let time = twinhub_config::parse_duration(&text).filter(|time| *time <= TRIAL_MAX);
        time.ok_or_else(|| Problem::bad_request(wrong))
    });
    let trial = trial.transpose()?;
    if body.dry_run {
        let found = web.handle.check_upgrade(&name).await.map_err(|error| refused(&error))?;
        return Ok(Json(found).into_response());
    }
    let operation =
        web.handle.upgrade_plugin(&name, trial, &peer.origin()).await.map_err(|error| refused(&error))?;
    Ok(accept(&web, operation))
}

/// Puts the version in charge again that ran before the last upgrade, while it is still at hand.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/rollback", params(("name" = String, Path)),
    request_body = TrialBody, responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn rollback(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    end_trial(&web, &peer, &name, TrialEnd::Rollback, &headers, bytes).await
}

/// Ends the trial of the last upgrade: the version before goes.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/keep", params(("name" = String, Path)),
    request_body = TrialBody, responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn keep(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    end_trial(&web, &peer, &name, TrialEnd::Keep, &headers, bytes).await
}

/// What was released.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Released {
    /// The node.
    node: String,
    /// So many libraries of the plugin were in quarantine there.
    released: usize,
}

/// Ends the quarantine of a plugin on a node: from the next start of the node on its instances may run in the hub's process
/// again.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/release", params(("name" = String, Path)),
    request_body = TrialBody, responses((status = 200, body = Released), (status = 404, body = Problem)))]
pub(crate) async fn release(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: TrialBody = body_of(&bytes)?;
    if let Some(url) = elsewhere(&web, body.node.as_deref(), &headers)? {
        let path = format!("/api/v1/plugins/{}/release", forward::escape(&name));
        return forward::send(&web, "POST", &url, &path, &headers, bytes).await;
    }
    let released = web.handle.release_plugin(&name, &peer.origin()).map_err(|error| refused(&error))?;
    Ok(Json(Released { node: web.handle.node_name().to_owned(), released }).into_response())
}

async fn end_trial(
    web: &Web,
    peer: &Peer,
    name: &str,
    end: TrialEnd,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: TrialBody = body_of(&bytes)?;
    if let Some(url) = elsewhere(web, body.node.as_deref(), headers)? {
        let word = match end {
            TrialEnd::Rollback => "rollback",
            TrialEnd::Keep => "keep",
        };
        let path = format!("/api/v1/plugins/{}/{word}", forward::escape(name));
        return forward::send(web, "POST", &url, &path, headers, bytes).await;
    }
    let operation = web.handle.end_trial(name, end, &peer.origin()).map_err(|error| refused(&error))?;
    Ok(accept(web, operation))
}

fn refused(error: &CommandError) -> Problem {
    Problem::of_command(error, "/api/v1/plugins")
}

fn find(web: &Web, name: &str) -> Result<PluginView, Problem> {
    web.handle.plugins().into_iter().find(|plugin| plugin.name == name).ok_or_else(|| {
        Problem::not_found("TH-PLUGIN-001", format!("no interface here uses a plugin `{name}`"))
    })
}
