//! Errors as RFC 9457 problem details.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use twinhub_runtime::{AskError, CommandError};
use utoipa::ToSchema;

/// What went wrong, in a form for programs (`code`, `status`) and for people (`title`, `detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:twinhub:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable code such as `TH-ITEM-001`.
    pub code: String,
    /// What happened this time, and what to do.
    pub detail: String,
    /// The node that is active, if the problem is that this one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// Where the request would succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_url: Option<String>,
}

impl Problem {
    /// A problem of that status, code and detail.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:twinhub:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            active: None,
            active_url: None,
        }
    }

    /// The request is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "TH-WEB-400", detail)
    }

    /// There is no such thing.
    pub fn not_found(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// The problem of a command, and for `NotActive` where `path` would succeed.
    pub fn of_command(error: &CommandError, path: &str) -> Problem {
        let mut problem = Problem::new(status_of(error), error.code(), error.to_string());
        if let CommandError::NotActive { active, url } = error {
            problem.active.clone_from(active);
            problem.active_url = url.as_ref().map(|url| format!("{url}{path}"));
            if problem.active_url.is_some() {
                problem.detail.push_str("; write there, or add ?forward=1");
            }
        }
        problem
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        let status = match error.code() {
            "TH-INTERFACE-001" => StatusCode::NOT_FOUND,
            "TH-INTERFACE-002" => StatusCode::NOT_IMPLEMENTED,
            "TH-INTERFACE-003" => StatusCode::CONFLICT,
            "TH-INTERFACE-004" | "TH-INTERFACE-005" => StatusCode::SERVICE_UNAVAILABLE,
            "TH-INTERFACE-008" => StatusCode::GATEWAY_TIMEOUT,
            "TH-INTERFACE-009" => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        };
        Problem::new(status, error.code(), error.to_string())
    }
}

fn status_of(error: &CommandError) -> StatusCode {
    match error.code() {
        "TH-ITEM-001" | "TH-ALARM-001" | "TH-DELIVERY-009" | "TH-NODE-002" | "TH-NODE-003"
        | "TH-PLUGIN-001" | "TH-DOC-001" => StatusCode::NOT_FOUND,
        "TH-ITEM-002" | "TH-JOIN-001" => StatusCode::FORBIDDEN,
        "TH-ITEM-003" | "TH-ALARM-002" | "TH-DOC-003" | "TH-CONFIG-001" => StatusCode::UNPROCESSABLE_ENTITY,
        "TH-ITEM-004" => StatusCode::BAD_GATEWAY,
        "TH-ITEM-005" | "TH-DOC-005" => StatusCode::GATEWAY_TIMEOUT,
        "TH-NODE-001" | "TH-NODE-004" | "TH-PLUGIN-008" | "TH-PLUGIN-009" | "TH-DOC-002" | "TH-JOIN-002" => {
            StatusCode::CONFLICT
        }
        "TH-AUTH-006" => StatusCode::UNAUTHORIZED,
        "TH-ITEM-006" | "TH-NODE-005" | "TH-DOC-004" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let location = self.active_url.as_deref().and_then(|url| HeaderValue::from_str(url).ok());
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"twinhub\""));
        }
        response
    }
}

/// Gives errors of the framework (no such path, body too large, bad query) the same form as all others.
pub(crate) async fn unify(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let has_form =
        content_type.is_some_and(|value| value == CONTENT_TYPE || value.starts_with("application/json"));
    if !is_error || has_form {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let bytes = axum::body::to_bytes(response.into_body(), DETAIL_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let detail = match (text.trim(), status) {
        ("", StatusCode::NOT_FOUND) => "there is nothing at this path; /openapi.json lists what there is",
        ("", StatusCode::METHOD_NOT_ALLOWED) => "this path does not take that method",
        ("", _) => status.canonical_reason().unwrap_or("error"),
        (text, _) => text,
    };
    let code = format!("TH-WEB-{}", status.as_u16());
    let mut response = Problem::new(status, &code, detail).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";
const DETAIL_BYTES_MAX: usize = 4096;
