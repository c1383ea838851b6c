//! Logging in, users, tokens, the audit list.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::view::{AuditView, ChangeView, LoginView, TokenMadeView, TokenView, UserView};
use twinhub_runtime::{CommandError, Role, UserChange};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::page;
use crate::access::{self, Caller, Peer};
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    /// The user.
    user: String,
    /// The password.
    password: String,
}

/// Logs in. The session counts on every node of the site: as a cookie, or as `Authorization: Bearer`.
#[utoipa::path(post, path = "/api/v1/login", request_body = LoginBody,
    responses((status = 200, body = LoginView), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn login(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let LoginBody { user, password } = body_of(&bytes)?;
    let address = peer.address.ip();
    if let Some(wait) = web.attempts.wait(address, &user, Instant::now()) {
        return Ok(too_many(wait));
    }
    let origin = address.to_canonical().to_string();
    let login = match web.handle.login(&user, &password, &origin).await {
        Ok(login) => login,
        Err(error) => {
            if let Some(active) = forward::target(&error, true, &headers)? {
                let sent = forward::send(&web, "POST", &active, "/api/v1/login", &headers, bytes).await?;
                return Ok(login_elsewhere(&web, &peer, &user, sent).await);
            }
            if error == CommandError::WrongPassword {
                tracing::warn!(address = %origin, "wrong name or password at a login");
                web.attempts.wrong(address, &user, Instant::now());
            }
            return Err(Problem::of_command(&error, "/api/v1/login"));
        }
    };
    web.attempts.right(address, &user);
    Ok(logged_in(&login))
}

fn logged_in(login: &LoginView) -> Response {
    let mut response = Json(login).into_response();
    set_cookie(&mut response, &format!("{}; Max-Age={COOKIE_SECONDS}", login.session));
    response
}

/// The answer of the active node to a login, with this node's cookie and counted here, too.
async fn login_elsewhere(web: &Web, peer: &Peer, user: &str, sent: Response) -> Response {
    let address = peer.address.ip();
    if sent.status() == StatusCode::UNAUTHORIZED {
        web.attempts.wrong(address, user, Instant::now());
    }
    if sent.status() != StatusCode::OK {
        return sent;
    }
    let body = axum::body::to_bytes(sent.into_body(), LOGIN_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(login) => {
            web.attempts.right(address, user);
            logged_in(&login)
        }
        Err(error) => {
            Problem::new(StatusCode::BAD_GATEWAY, "TH-NODE-008", format!("the active node: {error}"))
                .into_response()
        }
    }
}

pub(crate) fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let detail = format!("too many wrong passwords: try again in {seconds} s");
    let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, "TH-AUTH-008", detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn set_cookie(response: &mut Response, value: &str) {
    let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict", access::COOKIE);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// Ends the session that asks.
#[utoipa::path(post, path = "/api/v1/logout", responses((status = 200)))]
pub(crate) async fn logout(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(secret) = access::secret_of(&headers)
        && let Err(error) = web.handle.logout(&peer.author(), secret).await
    {
        return match forward::target(&error, true, &headers)? {
            Some(active) => {
                forward::send(&web, "POST", &active, "/api/v1/logout", &headers, Bytes::new()).await
            }
            None => Err(Problem::of_command(&error, "/api/v1/logout")),
        };
    }
    let mut response = Json(serde_json::json!({})).into_response();
    set_cookie(&mut response, "; Max-Age=0");
    Ok(response)
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeView {
    /// The user, or `token NAME`; nothing for this machine and for the token of the node.
    name: Option<String>,
    /// `viewer operator engineer admin`.
    role: String,
}

/// Who asks, and what it may do.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = MeView)))]
pub(crate) async fn me(Extension(caller): Extension<Caller>) -> Json<MeView> {
    Json(MeView { name: caller.who, role: caller.role.word().to_owned() })
}

#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangeQuery {
    /// `1`: a standby carries the change over to the active node.
    #[serde(default)]
    forward: u8,
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", responses((status = 200, body = [UserView])))]
pub(crate) async fn users(State(web): State<Web>) -> Json<Vec<UserView>> {
    Json(web.handle.users())
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// 1 to 64 letters, digits, `.`, `-`, `_` and `@`.
    name: String,
    /// `viewer operator engineer admin`.
    role: String,
    /// At least 8 letters.
    password: String,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Makes a user.
#[utoipa::path(post, path = "/api/v1/users", params(ChangeQuery), request_body = NewUser,
    responses((status = 201, body = ChangeView), (status = 409, body = Problem)))]
pub(crate) async fn add_user(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let NewUser { name, role, password, alone } = body_of(&bytes)?;
    let change = UserChange { role: Some(role_of(&role)?), password: Some(password) };
    let done = web.handle.add_user(&peer.author(), &name, change, alone).await;
    let to = Elsewhere { method: "POST", path: "/api/v1/users".to_owned(), query, bytes };
    answer(&web, done, StatusCode::CREATED, to, &headers).await
}

/// Another role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBody {
    /// `viewer operator engineer admin`.
    role: String,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Gives a user another role.
#[utoipa::path(put, path = "/api/v1/users/{name}/role", params(("name" = String, Path), ChangeQuery),
    request_body = RoleBody, responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn set_role(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let RoleBody { role, alone } = body_of(&bytes)?;
    let change = UserChange { role: Some(role_of(&role)?), password: None };
    let done = web.handle.set_user(&peer.author(), &name, change, alone).await;
    let path = format!("/api/v1/users/{}/role", forward::escape(&name));
    answer(&web, done, StatusCode::OK, Elsewhere { method: "PUT", path, query, bytes }, &headers).await
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// At least 8 letters.
    password: String,
    /// The one before; an admin needs it only for itself.
    current: Option<String>,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Gives a user another password and ends all its sessions; its own with the one before, others' as an admin.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", params(("name" = String, Path), ChangeQuery),
    request_body = PasswordBody, responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn set_password(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let PasswordBody { password, current, alone } = body_of(&bytes)?;
    let path = format!("/api/v1/users/{}/password", forward::escape(&name));
    let is_own = caller.who.as_deref() == Some(name.as_str());
    if !is_own && caller.role < Role::Admin {
        let detail = "only an admin changes the password of somebody else";
        return Err(Problem::new(StatusCode::FORBIDDEN, "TH-AUTH-007", detail));
    }
    if is_own {
        let (address, now) = (peer.address.ip(), Instant::now());
        if let Some(wait) = web.attempts.wait(address, &name, now) {
            return Ok(too_many(wait));
        }
        let current = current.unwrap_or_default();
        let is_right = web.handle.is_password(&name, &current).await;
        if !is_right.map_err(|error| Problem::of_command(&error, &path))? {
            web.attempts.wrong(address, &name, now);
            return Err(Problem::of_command(&CommandError::WrongPassword, &path));
        }
    }
    let change = UserChange { role: None, password: Some(password) };
    let done = web.handle.set_user(&peer.author(), &name, change, alone).await;
    answer(&web, done, StatusCode::OK, Elsewhere { method: "PUT", path, query, bytes }, &headers).await
}

/// Removes a user and ends all its sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", params(("name" = String, Path), ChangeQuery),
    responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn remove_user(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let done = web.handle.remove_user(&peer.author(), &name).await;
    let path = format!("/api/v1/users/{}", forward::escape(&name));
    let to = Elsewhere { method: "DELETE", path, query, bytes: Bytes::new() };
    answer(&web, done, StatusCode::OK, to, &headers).await
}

/// All tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", responses((status = 200, body = [TokenView])))]
pub(crate) async fn tokens(State(web): State<Web>) -> Json<Vec<TokenView>> {
    Json(web.handle.tokens())
}

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// 1 to 64 letters, digits, `.`, `-`, `_` and `@`.
    name: String,
    /// `viewer operator engineer admin`.
    role: String,
    /// How long it counts, such as `400d`; for ever if left out.
    lasts: Option<String>,
    /// Also if no majority of the nodes is there.
    #[serde(default)]
    alone: bool,
}

/// Makes a token; its secret is in this answer only.
#[utoipa::path(post, path = "/api/v1/tokens", params(ChangeQuery), request_body = NewToken,
    responses((status = 201, body = TokenMadeView), (status = 409, body = Problem)))]
pub(crate) async fn create_token(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let NewToken { name, role, lasts, alone } = body_of(&bytes)?;
    let lasts = lasts.map(|text| {
        twinhub_config::parse_duration(&text)
            .ok_or_else(|| Problem::bad_request(format!("`lasts` is a time such as `400d`, not `{text}`")))
    });
    let role = role_of(&role)?;
    let done = web.handle.create_token(&peer.author(), &name, role, lasts.transpose()?, alone).await;
    let to = Elsewhere { method: "POST", path: "/api/v1/tokens".to_owned(), query, bytes };
    answer(&web, done, StatusCode::CREATED, to, &headers).await
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", params(("name" = String, Path), ChangeQuery),
    responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn revoke_token(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let done = web.handle.revoke_token(&peer.author(), &name).await;
    let path = format!("/api/v1/tokens/{}", forward::escape(&name));
    let to = Elsewhere { method: "DELETE", path, query, bytes: Bytes::new() };
    answer(&web, done, StatusCode::OK, to, &headers).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only entries behind this `position`.
    after: Option<String>,
    /// How many to give; without `after` the newest.
    limit: Option<usize>,
}

/// Who did what and when, oldest first.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery),
    responses((status = 200, body = [AuditView], description = "JSON, or CSV by Accept")))]
pub(crate) async fn audit(
    State(web): State<Web>,
    Query(query): Query<AuditQuery>,
    headers: HeaderMap,
) -> Response {
    let rows = web.handle.audit(query.after.as_deref(), page::limit(query.limit));
    if !page::wants_csv(&headers) {
        return Json(rows).into_response();
    }
    let rows = rows.into_iter().map(|row| [row.position, row.at, row.author, row.origin, row.text]);
    page::csv(["position", "at", "author", "origin", "text"], rows)
}

/// The same request for the active node.
pub(crate) struct Elsewhere {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: ChangeQuery,
    pub(crate) bytes: Bytes,
}

/// What was done, or where it can be.
pub(crate) async fn answer<T: Serialize>(
    web: &Web,
    done: Result<T, CommandError>,
    status: StatusCode,
    to: Elsewhere,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    match done {
        Ok(view) => Ok((status, Json(view)).into_response()),
        Err(error) => match forward::target(&error, to.query.forward == 1, headers)? {
            Some(active) => forward::send(web, to.method, &active, &to.path, headers, to.bytes).await,
            None => Err(Problem::of_command(&error, &to.path)),
        },
    }
}

fn role_of(word: &str) -> Result<Role, Problem> {
    word.parse().map_err(|error: twinhub_documents::UnknownRole| Problem::bad_request(error.to_string()))
}

/// An answer to a login is shorter.
const LOGIN_BYTES_MAX: usize = 16 * 1024;
/// As long as a session.
const COOKIE_SECONDS: u32 = 12 * 3600;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_body_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(body_of::<LoginBody>(&bytes));
            drop(body_of::<NewUser>(&bytes));
            drop(body_of::<NewToken>(&bytes));
        }
    }
}
