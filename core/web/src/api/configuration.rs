//! The configuration: revisions, applying, rolling back.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use twinhub_config::Files;
use twinhub_runtime::Draft;
use twinhub_runtime::view::{AppliedView, ConfigurationView};
use utoipa::ToSchema;

use super::change::{ChangeQuery, ChangeRequest};
use crate::problem::Problem;
use crate::web::Web;

/// The configuration in force, what this node runs, and the revisions that are kept.
#[utoipa::path(get, path = "/api/v1/config", responses((status = 200, body = ConfigurationView)))]
pub(crate) async fn show(State(web): State<Web>) -> Json<ConfigurationView> {
    Json(web.handle.configuration())
}

/// The files of a revision by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionFiles {
    /// None if no revision was applied yet.
    revision: Option<u64>,
    files: BTreeMap<String, String>,
}

/// The files of a revision.
#[utoipa::path(get, path = "/api/v1/config/revisions/{number}", params(("number" = u64, Path)),
    responses((status = 200, body = RevisionFiles), (status = 404, body = Problem)))]
pub(crate) async fn revision(
    State(web): State<Web>,
    Path(number): Path<u64>,
) -> Result<Json<RevisionFiles>, Problem> {
    let handle = web.handle.clone();
    let read = tokio::task::spawn_blocking(move || handle.configuration_files(Some(number))).await;
    let path = format!("/api/v1/config/revisions/{number}");
    let files = read
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "TH-WEB-500", error.to_string()))?
        .map_err(|error| Problem::of_command(&error, &path))?;
    Ok(Json(texts(Some(number), files)))
}

/// The files that this node runs after its next start: of the revision in force, or its own if none was applied.
#[utoipa::path(get, path = "/api/v1/config/files",
    responses((status = 200, body = RevisionFiles), (status = 422, body = Problem)))]
pub(crate) async fn files(State(web): State<Web>) -> Result<Json<RevisionFiles>, Problem> {
    let read = web.handle.next_files().await;
    let (revision, files) = read.map_err(|error| Problem::of_command(&error, "/api/v1/config/files"))?;
    Ok(Json(texts(revision, files)))
}

fn texts(revision: Option<u64>, files: Files) -> RevisionFiles {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    RevisionFiles { revision, files: files.0.into_iter().map(|(name, bytes)| (name, text(bytes))).collect() }
}

/// A configuration to apply.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    /// All files by name: `twinhub.toml`, and the items files that it names.
    files: BTreeMap<String, String>,
    /// Why.
    #[serde(default)]
    message: String,
    /// The revision it was made from; it is refused if another one is in force.
    base: Option<u64>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Checks a configuration and makes it the one in force; nodes run it when they are restarted.
#[utoipa::path(post, path = "/api/v1/config", params(ChangeQuery), request_body = ApplyBody,
    responses((status = 200, body = AppliedView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn apply(request: ChangeRequest) -> Result<Response, Problem> {
    let ApplyBody { files, message, base, dry_run, alone } = request.body()?;
    let files = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let draft = Draft { files, message, base, dry_run, alone };
    let done = request.web.handle.apply_configuration(&request.author(), draft).await;
    request.answer(done, StatusCode::OK).await
}

/// An earlier revision to be the one in force again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// Which one.
    revision: u64,
    /// Why.
    #[serde(default)]
    message: String,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Makes the files of an earlier revision the ones in force again, as a new revision.
#[utoipa::path(post, path = "/api/v1/config/rollback", params(ChangeQuery), request_body = RollbackBody,
    responses((status = 200, body = AppliedView), (status = 404, body = Problem)))]
pub(crate) async fn roll_back(request: ChangeRequest) -> Result<Response, Problem> {
    let RollbackBody { revision, message, alone } = request.body()?;
    let done = request.web.handle.roll_back(&request.author(), revision, message, alone).await;
    request.answer(done, StatusCode::OK).await
}
