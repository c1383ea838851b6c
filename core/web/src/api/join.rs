//! Letting a new machine join: codes, the welcome, plugin libraries.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::CommandError;
use twinhub_runtime::join::{CODE_TIME, JoinAnswer, JoinError, JoinRequest};
use utoipa::{IntoParams, ToSchema};

use super::accounts::too_many;
use super::body::body_of;
use super::query::Query;
use crate::access::Peer;
use crate::problem::Problem;
use crate::web::Web;

/// Whom a code is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeBody {
    /// The node that the machine will be.
    node: String,
    /// How long the code counts, such as `15m`; at most a day.
    lasts: Option<String>,
}

/// A join code. It counts once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CodeView {
    /// The node that the machine will be.
    node: String,
    /// The code.
    code: String,
    /// Seconds that it counts.
    lasts_s: u64,
}

/// Makes a code with which a machine becomes a node of this site.
#[utoipa::path(post, path = "/api/v1/join/codes", request_body = CodeBody,
    responses((status = 201, body = CodeView), (status = 404, body = Problem)))]
pub(crate) async fn make_code(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let CodeBody { node, lasts } = body_of(&bytes)?;
    let lasts = lasts.map_or(Ok(CODE_TIME), |text| {
        let wrong = || Problem::bad_request(format!("`lasts` is a time such as `15m`, not `{text}`"));
        twinhub_config::parse_duration(&text).ok_or_else(wrong)
    })?;
    let made = web.handle.make_join_code(&peer.author(), &node, lasts).await;
    let code = made.map_err(|error| Problem::of_command(&error, "/api/v1/join/codes"))?.to_string();
    let lasts_s = lasts.min(twinhub_runtime::join::CODE_TIME_MAX).as_secs();
    Ok((StatusCode::CREATED, Json(CodeView { node, code, lasts_s })).into_response())
}

/// Answers a machine that proves to know a code with what it needs, sealed for it.
#[utoipa::path(post, path = "/api/v1/join", request_body = JoinRequest,
    responses((status = 200, body = JoinAnswer), (status = 403, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn join(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let request: JoinRequest = body_of(&bytes)?;
    let address = peer.address.ip();
    let attempt = match web.doors.joins.begin(Some(address), GUESSED, Instant::now()) {
        Ok(attempt) => attempt,
        Err(wait) => return Ok(too_many(wait)),
    };
    match web.handle.join(&request, &address.to_canonical().to_string()).await {
        Ok(answer) => {
            attempt.right();
            Ok(Json(answer).into_response())
        }
        Err(error) => {
            if error == CommandError::Join(JoinError::Refused) {
                tracing::warn!(%address, "a wrong join code");
                if let Some(address) = attempt.wrong(Instant::now()) {
                    web.handle.tell_of_guessing(address, "join codes");
                }
            }
            Err(Problem::of_command(&error, "/api/v1/join"))
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TicketQuery {
    /// As the welcome has it.
    #[serde(default)]
    ticket: String,
}

/// A plugin library by its SHA-256, for a machine that has just joined.
#[utoipa::path(get, path = "/api/v1/join/plugins/{sha256}", params(("sha256" = String, Path), TicketQuery),
    responses((status = 200, description = "the library"), (status = 404, body = Problem)))]
pub(crate) async fn plugin(
    State(web): State<Web>,
    Path(sha256): Path<String>,
    Query(query): Query<TicketQuery>,
) -> Result<Response, Problem> {
    let none = || Problem::not_found("TH-JOIN-003", "there is no such library for this ticket: join anew");
    let path = web.handle.plugin_library(&query.ticket, &sha256).ok_or_else(none)?;
    let read =
        tokio::time::timeout(READ_TIME_MAX, tokio::task::spawn_blocking(move || std::fs::read(path))).await;
    match read {
        Ok(Ok(Ok(bytes))) => {
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
        }
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(none()),
    }
}

/// In place of a user: codes are guessed for all nodes together.
const GUESSED: &str = "(join code)";
const READ_TIME_MAX: Duration = Duration::from_secs(20);
