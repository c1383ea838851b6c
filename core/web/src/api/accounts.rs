//! Logging in, users, tokens, the audit list.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::view::{AuditView, ChangeView, LoginView, TokenMadeView, TokenView, UserView};
use twinhub_runtime::{CommandError, Role, UserChange};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::change::{ChangeQuery, ChangeRequest};
use super::page;
use super::query::Query;
use crate::access::{self, Caller, Peer};
use crate::attempts::Attempt;
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
    access::same_origin(&headers)?;
    let LoginBody { user, password } = body_of(&bytes)?;
    let attempt = match begin(&web, &peer, &headers, &user) {
        Ok(attempt) => attempt,
        Err(refusal) => return Ok(refusal),
    };
    let origin = peer.address.ip().to_canonical().to_string();
    match web.handle.login(&user, &password, &origin).await {
        Ok(login) => {
            attempt.right();
            Ok(logged_in(&login))
        }
        Err(error) => {
            if let Some(active) = forward::target(&error, true, &headers)? {
                let sent = forward::send(&web, "POST", &active, "/api/v1/login", &headers, bytes).await?;
                return Ok(login_elsewhere(&web, attempt, sent).await);
            }
            if error == CommandError::WrongPassword {
                wrong(&web, attempt);
            }
            Err(Problem::of_command(&error, "/api/v1/login"))
        }
    }
}

/// An attempt to say a password, or the answer to who has to wait.
fn begin<'a>(web: &'a Web, peer: &Peer, headers: &HeaderMap, user: &str) -> Result<Attempt<'a>, Response> {
    let address = peer.address.ip();
    // A standby that carries logins over counts their addresses itself; its own would stand for all of them.
    let is_carried = headers.contains_key(forward::FORWARDED) && web.rules.is_node(address);
    web.doors.attempts.begin((!is_carried).then_some(address), user, Instant::now()).map_err(too_many)
}

fn wrong(web: &Web, attempt: Attempt<'_>) {
    if let Some(address) = attempt.wrong(Instant::now()) {
        web.handle.tell_of_guessing(address, "passwords");
    }
}

fn logged_in(login: &LoginView) -> Response {
    let mut response = Json(login).into_response();
    // A node of the version before does not say for how long: then until the browser ends.
    let age = if login.lasts_s == 0 { String::new() } else { format!("; Max-Age={}", login.lasts_s) };
    set_cookie(&mut response, &format!("{}{age}", login.session));
    response
}

/// The answer of the active node to a login, with this node's cookie and counted here, too.
async fn login_elsewhere(web: &Web, attempt: Attempt<'_>, sent: Response) -> Response {
    if sent.status() == StatusCode::UNAUTHORIZED {
        wrong(web, attempt);
        return sent;
    }
    if sent.status() != StatusCode::OK {
        return sent;
    }
    let body = axum::body::to_bytes(sent.into_body(), LOGIN_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(login) => {
            attempt.right();
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
pub(crate) async fn add_user(request: ChangeRequest) -> Result<Response, Problem> {
    let NewUser { name, role, password, alone } = request.body()?;
    let change = UserChange { role: Some(role_of(&role)?), password: Some(password) };
    let done = request.web.handle.add_user(&request.author(), &name, change, alone).await;
    request.answer(done, StatusCode::CREATED).await
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
pub(crate) async fn set_role(Path(name): Path<String>, request: ChangeRequest) -> Result<Response, Problem> {
    let RoleBody { role, alone } = request.body()?;
    let change = UserChange { role: Some(role_of(&role)?), password: None };
    let done = request.web.handle.set_user(&request.author(), &name, change, alone).await;
    request.answer(done, StatusCode::OK).await
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
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    request: ChangeRequest,
) -> Result<Response, Problem> {
    let PasswordBody { password, current, alone } = request.body()?;
    let is_own = caller.who.as_deref() == Some(name.as_str());
    if !is_own && caller.role < Role::Admin {
        let detail = "only an admin changes the password of somebody else";
        return Err(Problem::new(StatusCode::FORBIDDEN, "TH-AUTH-007", detail));
    }
    if is_own {
        let web = request.web.clone();
        let attempt = match begin(&web, &request.peer, &request.headers, &name) {
            Ok(attempt) => attempt,
            Err(refusal) => return Ok(refusal),
        };
        let is_right = web.handle.is_password(&name, &current.unwrap_or_default()).await;
        if !is_right.map_err(|error| Problem::of_command(&error, request.path()))? {
            wrong(&web, attempt);
            return Err(Problem::of_command(&CommandError::WrongPassword, request.path()));
        }
        attempt.right();
    }
    let change = UserChange { role: None, password: Some(password) };
    let done = request.web.handle.set_user(&request.author(), &name, change, alone).await;
    request.answer(done, StatusCode::OK).await
}

/// Removes a user and ends all its sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", params(("name" = String, Path), ChangeQuery),
    responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn remove_user(
    Path(name): Path<String>,
    request: ChangeRequest,
) -> Result<Response, Problem> {
    let done = request.web.handle.remove_user(&request.author(), &name).await;
    request.answer(done, StatusCode::OK).await
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
pub(crate) async fn create_token(request: ChangeRequest) -> Result<Response, Problem> {
    let NewToken { name, role, lasts, alone } = request.body()?;
    let lasts = lasts.map(|text| {
        twinhub_config::parse_duration(&text)
            .ok_or_else(|| Problem::bad_request(format!("`lasts` is a time such as `400d`, not `{text}`")))
    });
    let role = role_of(&role)?;
    let done =
        request.web.handle.create_token(&request.author(), &name, role, lasts.transpose()?, alone).await;
    request.answer(done, StatusCode::CREATED).await
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", params(("name" = String, Path), ChangeQuery),
    responses((status = 200, body = ChangeView), (status = 404, body = Problem)))]
pub(crate) async fn revoke_token(
    Path(name): Path<String>,
    request: ChangeRequest,
) -> Result<Response, Problem> {
    let done = request.web.handle.revoke_token(&request.author(), &name).await;
    request.answer(done, StatusCode::OK).await
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

fn role_of(word: &str) -> Result<Role, Problem> {
    word.parse().map_err(|error: twinhub_documents::UnknownRole| Problem::bad_request(error.to_string()))
}

/// An answer to a login is shorter.
const LOGIN_BYTES_MAX: usize = 16 * 1024;

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
