//! Which path leads where.

pub(crate) mod accounts;
pub(crate) mod alarms;
pub(crate) mod backups;
mod body;
pub(crate) mod change;
pub(crate) mod cluster;
pub(crate) mod configuration;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod interfaces;
pub(crate) mod items;
pub(crate) mod join;
pub(crate) mod merges;
pub(crate) mod page;
pub(crate) mod plugins;
mod query;
pub(crate) mod records;
pub(crate) mod stream;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};

use crate::access::{self, Caller, Peer};
use crate::problem::{self, Problem};
use crate::web::Web;
use crate::{forward, limits, metrics, openapi};

/// Where everything is that asks who one is.
const API: &str = "/api/v1";

pub(crate) fn router(web: Web, max_body: usize) -> Router {
    // A list of items may be long, and only who may change the configuration gets here.
    let large = DefaultBodyLimit::max(limits::CONFIGURATION_BYTES_MAX.max(max_body));
    let api = Router::new()
        .route("/cluster", get(cluster::show))
        .route("/cluster/history", get(records::history))
        .route("/cluster/switchover", post(cluster::switchover))
        .route("/cluster/drain", post(cluster::drain))
        .route("/cluster/shrink", post(cluster::shrink))
        .route("/cluster/grow", post(cluster::grow))
        .route("/cluster/failover", post(cluster::failover))
        .route("/cluster/pause", post(cluster::pause))
        .route("/cluster/resume", post(cluster::resume))
        .route("/cluster/resync", post(cluster::resync))
        .route("/operations/{id}", get(cluster::operation))
        .route("/nodes/{name}", get(cluster::node))
        .route("/nodes/{name}/test", post(cluster::test_node))
        .route("/interfaces", get(interfaces::list))
        .route("/interfaces/{id}", get(interfaces::one))
        .route("/interfaces/{id}/browse", get(interfaces::browse))
        .route("/interfaces/{id}/diag", get(interfaces::diag))
        .route("/interfaces/{id}/test", post(interfaces::test))
        .route("/interfaces/{id}/discover", post(interfaces::discover))
        .route("/interfaces/{id}/monitor", get(interfaces::monitor))
        .route("/interfaces/{id}/restart", post(interfaces::restart))
        .route("/items", get(items::list))
        .route("/items:bulk", post(items::write_bulk))
        .route("/items/{*key}", get(items::read).put(items::write))
        .route("/history", get(history::history))
        .route("/alarms", get(alarms::list))
        .route("/alarms/{id}/acknowledge", post(alarms::acknowledge))
        .route("/alarms/{id}/shelve", post(alarms::shelve))
        .route("/alarms/{id}/unshelve", post(alarms::unshelve))
        .route("/alarms/{id}/suppress", post(alarms::suppress))
        .route("/alarms/{id}/unsuppress", post(alarms::unsuppress))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{id}/retry", post(deliveries::retry))
        .route("/deliveries/{id}/drop", post(deliveries::drop))
        .route("/merges", get(merges::list))
        .route("/merges/{id}", get(merges::one))
        .route("/events", get(events::list))
        .route("/events/stream", get(events::stream))
        .route("/stream", get(stream::values))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{name}", get(plugins::one))
        .route("/plugins/{name}/schema", get(plugins::schema))
        .route("/plugins/{name}/upgrade", post(plugins::upgrade))
        .route("/plugins/{name}/release", post(plugins::release))
        .route("/plugins/{name}/rollback", post(plugins::rollback))
        .route("/plugins/{name}/keep", post(plugins::keep))
        .route("/matrix", get(interfaces::matrix))
        .route("/config", get(configuration::show).post(configuration::apply).layer(large))
        .route("/config/files", get(configuration::files))
        .route("/config/revisions/{number}", get(configuration::revision))
        .route("/config/rollback", post(configuration::roll_back))
        .route("/nodes/{name}/restart", post(cluster::restart))
        .route("/nodes/{name}/reload", post(cluster::reload))
        .route("/backups", get(backups::list).post(backups::create))
        .route("/backups/{backup}", get(backups::download))
        .route("/join/codes", post(join::make_code))
        .route("/me", get(accounts::me))
        .route("/logout", post(accounts::logout))
        .route("/users", get(accounts::users).post(accounts::add_user))
        .route("/users/{name}", delete(accounts::remove_user))
        .route("/users/{name}/role", put(accounts::set_role))
        .route("/users/{name}/password", put(accounts::set_password))
        .route("/tokens", get(accounts::tokens).post(accounts::create_token))
        .route("/tokens/{name}", delete(accounts::revoke_token))
        .route("/audit", get(accounts::audit));
    let guarded = Router::new()
        .nest(API, api)
        .route("/openapi.json", get(document))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn_with_state(web.clone(), guard));
    let open = Router::new()
        .route("/health/live", get(|| async { health(true) }))
        .route("/health/ready", get(|State(web): State<Web>| async move { health(web.handle.is_ready()) }))
        .route("/health/active", get(|State(web): State<Web>| async move { health(web.handle.is_active()) }))
        .route(
            "/health/standby",
            get(|State(web): State<Web>| async move { health(web.handle.is_standby()) }),
        )
        .route("/metrics", get(metrics_page))
        .route("/api/v1/login", post(accounts::login))
        .route("/api/v1/join", post(join::join))
        .route("/api/v1/join/plugins/{sha256}", get(join::plugin));
    let clients = web.doors.clients.clone();
    open.merge(guarded)
        .with_state(web)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(from_fn(move |request: Request, next: Next| in_size(max_body, request, next)))
        .layer(from_fn(in_time))
        .layer(map_response(problem::unify))
        .layer(map_response(harden))
        .layer(map_response(move |response: Response| {
            let clients = clients.clone();
            async move { clients.in_memory(response).await }
        }))
}

/// Refuses a body by its announced length before any of it arrives; the limit on the way stops all others.
async fn in_size(max_body: usize, request: Request, next: Next) -> Response {
    let is_configuration = request.uri().path() == "/api/v1/config";
    let max_body = if is_configuration { limits::CONFIGURATION_BYTES_MAX.max(max_body) } else { max_body };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max_body) {
        let detail = format!("the body is larger than the {max_body} bytes of `[web] max_body`");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TH-WEB-413", detail).into_response();
    }
    next.run(request).await
}

/// Ends requests that take too long; streams answer at once and run on.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(limits::REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "TH-WEB-408", "the request took too long")
            .into_response(),
    }
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Load balancers look at the status; `problem::unify` leaves JSON alone.
fn health(is_so: bool) -> Response {
    let status = if is_so { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(is_so)).into_response()
}

async fn metrics_page(State(web): State<Web>) -> Response {
    let text = metrics::render(web.handle.metrics(), &web.doors);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn document() -> Response {
    axum::Json(openapi::document()).into_response()
}

/// Lets in whom the rules of access let in, as far as its role goes.
async fn guard(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "TH-WEB-500", "the peer is not known")
            .into_response();
    };
    let address = peer.address.ip();
    let headers = request.headers().clone();
    let check = || web.rules.check(address, &headers, |secret| web.handle.identify(secret));
    let mut checked = check();
    // The word of the node that carries it over comes by another way.
    let until = tokio::time::Instant::now() + limits::VOUCH_TIME_MAX;
    while checked.is_err()
        && headers.contains_key(forward::FORWARDED)
        && web.rules.is_node(address)
        && tokio::time::Instant::now() < until
    {
        tokio::time::sleep(limits::VOUCH_LOOK).await;
        checked = check();
    }
    let checked = checked.and_then(|caller| may(caller, request.method(), request.uri().path()));
    match checked {
        Ok(caller) => {
            let who = caller.who.clone().map(Into::into);
            request.extensions_mut().insert(Peer { who, ..peer });
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            tracing::debug!(peer = %address, code = problem.code, "request refused");
            problem.into_response()
        }
    }
}

fn may(caller: Caller, method: &Method, path: &str) -> Result<Caller, Problem> {
    let needed = access::needed(method, path);
    if caller.role >= needed {
        return Ok(caller);
    }
    let detail =
        format!("this takes the role {needed}, `{}` is {}", caller.who.unwrap_or_default(), caller.role);
    Err(Problem::new(StatusCode::FORBIDDEN, "TH-AUTH-007", detail))
}
