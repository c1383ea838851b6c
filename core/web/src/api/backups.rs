//! Backups on a node.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use twinhub_runtime::view::BackupView;
use utoipa::ToSchema;

use super::body::body_of;
use crate::access::Peer;
use crate::problem::Problem;
use crate::web::Web;

/// Backups on this node, oldest first.
#[utoipa::path(get, path = "/api/v1/backups", responses((status = 200, body = [BackupView])))]
pub(crate) async fn list(State(web): State<Web>) -> Json<Vec<BackupView>> {
    let handle = web.handle.clone();
    Json(tokio::task::spawn_blocking(move || handle.backups()).await.unwrap_or_default())
}

/// What a backup is sealed under.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupBody {
    /// At least 12 letters.
    passphrase: String,
}

/// Makes a backup: configuration, items, secrets, certificates, users, tokens and revisions. It stays on this node.
#[utoipa::path(post, path = "/api/v1/backups", request_body = BackupBody,
    responses((status = 201, body = BackupView), (status = 422, body = Problem)))]
pub(crate) async fn create(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let BackupBody { passphrase } = body_of(&bytes)?;
    let made = web.handle.make_backup(&peer.author(), passphrase).await;
    let view = made.map_err(|error| Problem::of_command(&error, "/api/v1/backups"))?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// A backup as a file.
#[utoipa::path(get, path = "/api/v1/backups/{backup}", params(("backup" = String, Path)),
    responses((status = 200, description = "the file"), (status = 404, body = Problem)))]
pub(crate) async fn download(State(web): State<Web>, Path(name): Path<String>) -> Result<Response, Problem> {
    let (handle, wanted) = (web.handle.clone(), name.clone());
    let read = tokio::task::spawn_blocking(move || std::fs::read(handle.backup_file(&wanted)?).ok()).await;
    let none = || Problem::not_found("TH-BACKUP-001", format!("there is no backup `{name}` on this node"));
    let bytes = read.ok().flatten().ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
