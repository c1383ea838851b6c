//! Events between interfaces: lists, and what operators order.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use twinhub_runtime::view::DeliveryView;
use utoipa::{IntoParams, ToSchema};

use super::page;
use super::query::Query;
use crate::access::Peer;
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// `waiting`, `dead` or `unlinked`; all of them if left out.
    state: Option<String>,
    /// Only those that this interface gave, or is to do.
    interface: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// How many to give: of each interface the oldest, dead ones first.
    limit: Option<usize>,
}

/// Events between interfaces that are not done; the same on every node. What they say is not shown.
#[utoipa::path(get, path = "/api/v1/deliveries", params(DeliveriesQuery),
    responses((status = 200, body = [DeliveryView]), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Vec<DeliveryView>>, Problem> {
    let state = query.state.as_deref();
    if let Some(word) = state.filter(|word| !STATES.contains(word)) {
        let text = format!("`{word}` is no state of events: write one of {}", STATES.join(", "));
        return Err(Problem::bad_request(text));
    }
    let mut rows = web.handle.deliveries(state, query.interface.as_deref(), query.group.as_deref());
    rows.truncate(page::limit(query.limit));
    Ok(Json(rows))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderQuery {
    /// `1`: a standby carries the order over to the active node.
    #[serde(default)]
    forward: u8,
}

/// Has an event that cannot be delivered tried again, behind all that waits for the same interface.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", params(("id" = String, Path), OrderQuery),
    responses(
        (status = 200, body = DeliveryOrdered),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "not active here; `active_url` and Location say where"),
    ))]
pub(crate) async fn retry(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    Query(query): Query<OrderQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    order(&web, &peer, &id, Verb::Retry, query.forward == 1, &headers, body).await
}

/// Drops an event that cannot be delivered.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/drop", params(("id" = String, Path), OrderQuery),
    responses((status = 200, body = DeliveryOrdered), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn drop(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    Query(query): Query<OrderQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    order(&web, &peer, &id, Verb::Drop, query.forward == 1, &headers, body).await
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryOrdered {
    /// The event.
    id: String,
    /// `retry` or `drop`.
    done: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Retry,
    Drop,
}

async fn order(
    web: &Web,
    peer: &Peer,
    id: &str,
    verb: Verb,
    forward: bool,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let word = match verb {
        Verb::Retry => "retry",
        Verb::Drop => "drop",
    };
    let path = format!("/api/v1/deliveries/{}/{word}", forward::escape(id).replace('/', "%2F"));
    match web.handle.order_delivery(&peer.author(), id, verb == Verb::Retry).await {
        Ok(()) => Ok(Json(DeliveryOrdered { id: id.to_owned(), done: word.to_owned() }).into_response()),
        Err(error) => match forward::target(&error, forward, headers)? {
            Some(active) => forward::send(web, "POST", &active, &path, headers, body).await,
            None => Err(Problem::of_command(&error, &path)),
        },
    }
}

const STATES: [&str; 3] = ["waiting", "dead", "unlinked"];
