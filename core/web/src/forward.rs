//! Carries a write over to the active node, and an order to the node it names.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use twinhub_runtime::{CommandError, Identity, Role};

use crate::access;
use crate::problem::Problem;
use crate::web::Web;

/// Says that a request was carried over already, and by whom.
pub(crate) const FORWARDED: &str = "twinhub-forwarded";

/// The address to carry the request to, if it is to be; an error if it came from another node already.
pub(crate) fn target(
    error: &CommandError,
    wanted: bool,
    headers: &HeaderMap,
) -> Result<Option<String>, Problem> {
    let CommandError::NotActive { url: Some(url), .. } = error else { return Ok(None) };
    if !wanted {
        return Ok(None);
    }
    if headers.contains_key(FORWARDED) {
        let detail = "another node took this one for active, which it is not: the role is moving, try again";
        return Err(Problem::new(StatusCode::CONFLICT, "TH-NODE-007", detail));
    }
    Ok(Some(url.clone()))
}

/// Sends the request on and hands the answer back.
pub(crate) async fn send(
    web: &Web,
    method: &'static str,
    active: &str,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let seat = web
        .forwards
        .clone()
        .try_acquire_owned()
        .map_err(|_| unavailable("too many requests are being carried over: try again in a moment"))?;
    let url = format!("{active}{path}");
    // A session is known on the other node, too: it stands for who asks, the token of this node only for this machine.
    let token = match access::secret_of(headers) {
        Some(secret) if is_session(web, secret) => format!("Bearer {secret}"),
        // Who asks on this machine, or with its token, is let in there by the word of this node.
        Some(_) | None => match vouched(web, active, path).await {
            Some(secret) => format!("Bearer {secret}"),
            None => web.rules.token.header(),
        },
    };
    let node = web.handle.node_name().to_owned();
    let sent = tokio::task::spawn_blocking(move || {
        let _seat = seat;
        exchange(method, &url, &token, &node, &body).map_err(|error| (url, error))
    });
    let (status, content_type, body) = match sent.await {
        Ok(Ok(answer)) => answer,
        Ok(Err((url, error))) => return Err(unavailable(&format!("the node at {url}: {error}"))),
        Err(error) => return Err(unavailable(&error.to_string())),
    };
    if status == StatusCode::UNAUTHORIZED && !is_of_a_password(&body) {
        let detail = "the other node does not accept this node's token: name the same file in `[web] token_file` of both, \
                      or send the other node's token";
        return Err(Problem::new(StatusCode::BAD_GATEWAY, "TH-AUTH-005", detail));
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    Ok(response)
}

/// Whether the other node let the request in and found a password wrong.
fn is_of_a_password(body: &[u8]) -> bool {
    serde_json::from_slice::<Problem>(body).is_ok_and(|problem| problem.code == "TH-AUTH-006")
}

/// A secret for one request in the name of this node; none for what needs none.
async fn vouched(web: &Web, active: &str, path: &str) -> Option<String> {
    if path == LOGIN {
        return None;
    }
    let who = Identity { name: format!("node {}", web.handle.node_name()), role: Role::Admin };
    web.handle.vouch(active, &who).await
}

/// Everybody may ask this.
const LOGIN: &str = "/api/v1/login";

fn is_session(web: &Web, secret: &str) -> bool {
    web.handle.identify(secret).is_some()
}

/// Runs on a blocking thread.
fn exchange(
    method: &'static str,
    url: &str,
    token: &str,
    node: &str,
    body: &[u8],
) -> Result<(StatusCode, String, Vec<u8>), ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(FORWARD_TIME_MAX))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", token)
        .header("content-type", "application/json")
        .header(FORWARDED, node)
        .body(body)
        .map_err(ureq::Error::Http)?;
    let mut response = agent.run(request)?;
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let content_type = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/json")
        .to_owned();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok((status, content_type, body))
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "TH-NODE-008", detail)
}

/// Escapes a key for a path; slashes stay.
pub(crate) fn escape(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(text, "%{byte:02X}").ok();
        }
    }
    text
}

const FORWARD_TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_carried_over_once() {
        let error = CommandError::NotActive { active: Some("b".into()), url: Some("http://b:1".into()) };
        let mut headers = HeaderMap::new();
        assert_eq!(target(&error, false, &headers), Ok(None));
        assert_eq!(target(&error, true, &headers), Ok(Some("http://b:1".to_owned())));
        headers.insert(FORWARDED, HeaderValue::from_static("a"));
        assert_eq!(target(&error, true, &headers).unwrap_err().code, "TH-NODE-007");
        assert_eq!(target(&CommandError::Busy, true, &headers), Ok(None));
    }

    #[test]
    fn keys_are_escaped_but_not_their_slashes() {
        assert_eq!(escape("plc1/boiler/temp 1?#%ä"), "plc1/boiler/temp%201%3F%23%25%C3%A4");
    }
}
