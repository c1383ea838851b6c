//! The cluster, its nodes, and orders of operators.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, http::HeaderValue};
use serde::{Deserialize, Serialize};
use twinhub_runtime::Order;
use twinhub_runtime::view::{ClusterView, NodeView, OperationView, PathTestView, PathView, ReloadView};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::query::Query;
use crate::access::Peer;
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

/// The whole cluster as this node sees it.
#[utoipa::path(get, path = "/api/v1/cluster", responses((status = 200, body = ClusterView)))]
pub(crate) async fn show(State(web): State<Web>) -> Json<ClusterView> {
    Json(web.handle.cluster())
}

/// Which group an order is for, and what it needs besides.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderBody {
    /// Only this group; all if left out.
    group: Option<String>,
    /// Switchover: to this node; the best one if left out.
    to: Option<String>,
    /// Switchover, in place of `to`: to the node that each group prefers, or to the next one in its order.
    place: Option<Place>,
    /// Drain: this node; the one that answers if left out. The order is carried over to it.
    node: Option<String>,
    /// Drain: let the node be active again.
    #[serde(default)]
    end: bool,
    /// Failover: also without a majority.
    #[serde(default)]
    force: bool,
}

/// Whose vote an order is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoterBody {
    /// Only in this group; in all in which it votes if left out.
    group: Option<String>,
    /// The node, or `witness`.
    voter: String,
    /// Shrink: it is silent, and its machine is surely off.
    #[serde(default)]
    fenced: bool,
    /// Shrink: it stays out until it is grown again, also when it is back.
    #[serde(default)]
    hold: bool,
}

/// A place in the order of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// The first one.
    Primary,
    /// The one after the active one; after the last the first.
    Next,
}

/// Where to watch an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Id for `/operations/{id}`.
    operation: u64,
    /// The node that carries it out, for `/operations/{id}?node=`.
    node: String,
}

/// Moves the role, planned and without loss.
#[utoipa::path(post, path = "/api/v1/cluster/switchover", request_body = OrderBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn switchover(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: OrderBody = body_of(&body)?;
    let order = match (body.place, &body.to) {
        (None, to) => Order::Switchover { to: to.clone() },
        (Some(Place::Primary), None) => Order::SwitchoverToPrimary,
        (Some(Place::Next), None) => Order::SwitchoverToNext,
        (Some(_), Some(_)) => {
            let detail = "`to` and `place` both say where to: leave one of them out";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "TH-WEB-400", detail));
        }
    };
    give(&web, &peer, &body, &order)
}

/// Gives every role of a node away and keeps it from taking one until `end`; it goes on to follow orders, not the
/// active node. Survives a restart.
#[utoipa::path(post, path = "/api/v1/cluster/drain", request_body = OrderBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn drain(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: OrderBody = body_of(&bytes)?;
    if let Some(url) = elsewhere(&web, body.node.as_deref(), &headers)? {
        return forward::send(&web, "POST", &url, "/api/v1/cluster/drain", &headers, bytes).await;
    }
    give(&web, &peer, &body, if body.end { &Order::EndDrain } else { &Order::Drain })
}

/// Takes a voter out for a service of its machine: those that stay need no majority of it any more. It votes again when
/// it is back and in sync, unless held.
#[utoipa::path(post, path = "/api/v1/cluster/shrink", request_body = VoterBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn shrink(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    let VoterBody { group, voter, fenced, hold } = body_of(&body)?;
    let body = OrderBody { group, ..OrderBody::default() };
    give(&web, &peer, &body, &Order::Shrink { voter, fenced, hold })
}

/// Takes a voter in again that was shrunk and is ready.
#[utoipa::path(post, path = "/api/v1/cluster/grow", request_body = VoterBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn grow(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    let VoterBody { group, voter, fenced: _, hold: _ } = body_of(&body)?;
    let body = OrderBody { group, ..OrderBody::default() };
    give(&web, &peer, &body, &Order::Grow { voter })
}

fn unknown_node(web: &Web, name: &str) -> Problem {
    Problem::not_found("TH-NODE-002", web.handle.site().unknown_node(name).to_string())
}

/// Where the web interface of `node` is, if it is another one than this.
pub(super) fn elsewhere(
    web: &Web,
    node: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<String>, Problem> {
    let Some(node) = node.filter(|node| *node != web.handle.node_name()) else { return Ok(None) };
    let unknown = || unknown_node(web, node);
    let url = web.handle.web_url(node).ok_or_else(unknown)?;
    if headers.contains_key(forward::FORWARDED) {
        let detail =
            format!("this is `{}`, not `{node}`: the nodes' configurations differ", web.handle.node_name());
        return Err(Problem::new(StatusCode::CONFLICT, "TH-NODE-007", detail));
    }
    Ok(Some(url))
}

/// Makes this node active now; `force` also without a majority.
#[utoipa::path(post, path = "/api/v1/cluster/failover", request_body = OrderBody,
    responses((status = 202, body = Accepted), (status = 404, body = Problem)))]
pub(crate) async fn failover(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: OrderBody = body_of(&body)?;
    give(&web, &peer, &body, &Order::Failover { force: body.force })
}

/// Stops moves of the role by itself.
#[utoipa::path(post, path = "/api/v1/cluster/pause", request_body = OrderBody,
    responses((status = 202, body = Accepted)))]
pub(crate) async fn pause(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    give(&web, &peer, &body_of(&body)?, &Order::Pause)
}

/// Allows moves again.
#[utoipa::path(post, path = "/api/v1/cluster/resume", request_body = OrderBody,
    responses((status = 202, body = Accepted)))]
pub(crate) async fn resume(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    give(&web, &peer, &body_of(&body)?, &Order::Resume)
}

/// Makes this node fetch a full copy from the active one.
#[utoipa::path(post, path = "/api/v1/cluster/resync", request_body = OrderBody,
    responses((status = 202, body = Accepted)))]
pub(crate) async fn resync(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Problem> {
    give(&web, &peer, &body_of(&body)?, &Order::Resync)
}

fn give(web: &Web, peer: &Peer, body: &OrderBody, order: &Order) -> Result<Response, Problem> {
    let by = peer.origin();
    tracing::info!(?order, group = body.group, by, "order");
    let operation = web
        .handle
        .order(body.group.as_deref(), order, &by)
        .map_err(|error| Problem::of_command(&error, "/api/v1/cluster"))?;
    Ok(accept(web, operation))
}

/// An order is on its way: where to watch it.
pub(super) fn accept(web: &Web, operation: u64) -> Response {
    let mut response =
        (StatusCode::ACCEPTED, Json(Accepted { operation, node: web.handle.node_name().to_owned() }))
            .into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/operations/{operation}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Which node carries an operation out.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperationQuery {
    /// As the answer to the order named it; the one that is asked if left out.
    node: Option<String>,
}

/// What became of an order.
#[utoipa::path(get, path = "/api/v1/operations/{id}", params(("id" = u64, Path), OperationQuery),
    responses((status = 200, body = OperationView), (status = 404, body = Problem)))]
pub(crate) async fn operation(
    State(web): State<Web>,
    Path(id): Path<u64>,
    Query(query): Query<OperationQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(url) = elsewhere(&web, query.node.as_deref(), &headers)? {
        let path = format!("/api/v1/operations/{id}");
        return forward::send(&web, "GET", &url, &path, &headers, Bytes::new()).await;
    }
    let forgotten = || {
        Problem::not_found("TH-NODE-006", format!("this node keeps no operation {id}; it forgets old ones"))
    };
    web.handle.operation(id).map(|view| Json(view).into_response()).ok_or_else(forgotten)
}

/// One node over all groups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeDetails {
    /// Its name.
    name: String,
    /// Its product version, if known.
    version: String,
    /// The protocol it and the answering node agreed on, if known.
    protocol: Option<u16>,
    /// Where its web interface listens.
    web: String,
    /// Whether it answers on at least one path.
    reachable: bool,
    /// Why not: whether its process ended or nothing is heard of its machine.
    unreachable: Option<String>,
    /// Its part in each group.
    groups: Vec<NodeInGroup>,
    /// Every path to it.
    paths: Vec<PathView>,
}

/// A node's part in one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeInGroup {
    /// The group.
    group: String,
    /// Its place in the order.
    rank: u8,
    /// Its state.
    state: String,
    /// Records it lacks against the active node.
    lag_records: Option<u64>,
    /// Whether it holds everything that the active node holds.
    in_sync: bool,
}

/// One node.
#[utoipa::path(get, path = "/api/v1/nodes/{name}", params(("name" = String, Path)),
    responses((status = 200, body = NodeDetails), (status = 404, body = Problem)))]
pub(crate) async fn node(
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Json<NodeDetails>, Problem> {
    details(&web, &name).map(Json)
}

fn details(web: &Web, name: &str) -> Result<NodeDetails, Problem> {
    let views: Vec<(String, NodeView)> = web
        .handle
        .cluster()
        .groups
        .into_iter()
        .flat_map(|group| group.nodes.into_iter().map(move |node| (group.id.clone(), node)))
        .filter(|(_, node)| node.name == name)
        .collect();
    let Some((_, first)) = views.first().cloned() else {
        return Err(unknown_node(web, name));
    };
    let groups = views
        .into_iter()
        .map(|(group, node)| NodeInGroup {
            group,
            rank: node.rank,
            state: node.state,
            lag_records: node.lag_records,
            in_sync: node.in_sync,
        })
        .collect();
    Ok(NodeDetails {
        name: first.name,
        version: first.version,
        protocol: first.protocol,
        web: first.web,
        reachable: first.reachable,
        unreachable: first.unreachable,
        groups,
        paths: first.paths,
    })
}

/// What a test of the paths to a node found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeTest {
    /// The node.
    name: String,
    /// The node that tried.
    from: String,
    /// Hash of the configuration of the node that tried; a node with another one is not in sync.
    config_hash: String,
    /// Each path.
    paths: Vec<PathTestView>,
}

/// Starts a node again, after it has given its roles away in order. It is carried over to the node.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/restart", params(("name" = String, Path)),
    responses((status = 202), (status = 404, body = Problem)))]
pub(crate) async fn restart(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(url) = elsewhere(&web, Some(&name), &headers)? {
        let path = format!("/api/v1/nodes/{}/restart", forward::escape(&name));
        return forward::send(&web, "POST", &url, &path, &headers, Bytes::new()).await;
    }
    web.handle.restart(&peer.origin()).await;
    Ok((StatusCode::ACCEPTED, Json(serde_json::json!({ "node": name }))).into_response())
}

/// Takes the configuration in force into service on a node without a restart, if it differs in nothing but alarms, their
/// texts and limits, how long a login counts, and units and descriptions of items. Otherwise the answer says what needs
/// one, and nothing is changed. It is carried over to the node.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/reload", params(("name" = String, Path)),
    responses((status = 200, body = ReloadView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn reload(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let path = format!("/api/v1/nodes/{}/reload", forward::escape(&name));
    if let Some(url) = elsewhere(&web, Some(&name), &headers)? {
        return forward::send(&web, "POST", &url, &path, &headers, Bytes::new()).await;
    }
    let done = web.handle.reload(&peer.author()).await;
    Ok(Json(done.map_err(|error| Problem::of_command(&error, &path))?).into_response())
}

/// Tries every path to a node, or to `witness`, on connections of their own.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/test", params(("name" = String, Path)),
    responses((status = 200, body = NodeTest), (status = 404, body = Problem)))]
pub(crate) async fn test_node(
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Json<NodeTest>, Problem> {
    let cluster = web.handle.cluster();
    let is_witness = name == "witness" && cluster.witness.is_some();
    if !is_witness && web.handle.site().node(&name).is_none() {
        return Err(unknown_node(&web, &name));
    }
    let paths = web.handle.test_paths(&name).await;
    Ok(Json(NodeTest { name, from: cluster.node, config_hash: cluster.config_hash, paths }))
}
