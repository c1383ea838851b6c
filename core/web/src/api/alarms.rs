//! Alarms: lists, and what operators order.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use twinhub_alarms::{Order, PAGE_MAX, Target, Which};
use twinhub_config::parse_duration;
use twinhub_runtime::CommandError;
use twinhub_runtime::view::{AlarmAnswer, AlarmView, AlarmsPage};
use utoipa::{IntoParams, ToSchema};

use super::body::body_of;
use super::page;
use super::query::Query;
use crate::access::Peer;
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlarmsQuery {
    /// `open` (active or not acknowledged, the default), `active`, `unacknowledged`, `shelved`, `suppressed` or `all`
    /// that are kept.
    state: Option<String>,
    /// Of this priority or a more urgent one, 1 to 1000.
    #[serde(default)]
    priority: u16,
    /// Only with this in id, item, text or area, in letters of any case.
    #[serde(default)]
    q: String,
    /// Only of this part of the plant.
    #[serde(default)]
    area: String,
    /// Only of this group.
    group: Option<String>,
    /// Begun then or later, RFC 3339.
    since: Option<String>,
    /// Begun before then, RFC 3339.
    until: Option<String>,
    /// `next` of the page before, from this or another node.
    #[serde(default)]
    cursor: String,
    /// How many to give.
    limit: Option<usize>,
}

/// Alarms, the newest first.
#[utoipa::path(get, path = "/api/v1/alarms", params(AlarmsQuery),
    responses((status = 200, body = AlarmsPage, description = "JSON, or CSV by Accept"), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(web): State<Web>,
    Query(query): Query<AlarmsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let word = query.state.as_deref().unwrap_or("open");
    let which = Which::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Which::ALL.iter().map(|(word, _)| *word).collect();
        Problem::bad_request(format!("`{word}` is no state of alarms: write one of {}", words.join(", ")))
    })?;
    let wanted = twinhub_alarms::Query {
        which,
        priority_min: query.priority,
        text: query.q,
        area: query.area,
        since: page::time("since", query.since.as_deref())?,
        until: page::time("until", query.until.as_deref())?,
        cursor: query.cursor,
        limit: page::limit(query.limit).min(PAGE_MAX),
    };
    let found = web.handle.alarms(&wanted, query.group.as_deref()).await;
    let page = found.map_err(|error| Problem::of_command(&error, "/api/v1/alarms"))?;
    if !page::wants_csv(&headers) {
        return Ok(Json(page).into_response());
    }
    let mut response = page::csv(CSV_HEADER, page.rows.into_iter().map(csv_row));
    if let Some(next) = page.next.and_then(|next| next.parse().ok()) {
        response.headers_mut().insert(page::NEXT, next);
    }
    Ok(response)
}

const CSV_HEADER: [&str; 19] = [
    "id",
    "alarm",
    "group",
    "item",
    "kind",
    "limit",
    "value",
    "text",
    "area",
    "priority",
    "state",
    "onset",
    "raised_at",
    "cleared_at",
    "acknowledged_at",
    "acknowledged_by",
    "comment",
    "shelved_until",
    "suppressed_by",
];

fn csv_row(row: AlarmView) -> [String; 19] {
    let text = Option::unwrap_or_default;
    [
        row.id,
        row.alarm,
        row.group,
        row.item,
        row.kind,
        row.limit,
        row.value,
        row.text,
        row.area,
        row.priority.to_string(),
        row.state,
        text(row.onset),
        text(row.raised_at),
        text(row.cleared_at),
        text(row.acknowledged_at),
        text(row.acknowledged_by),
        text(row.comment),
        text(row.shelved_until),
        text(row.suppressed_by),
    ]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderQuery {
    /// `1`: a standby carries the order over to the active node.
    #[serde(default)]
    forward: u8,
}

/// What an operator says to an order.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderBody {
    /// Why, for others to read.
    #[serde(default)]
    comment: String,
    /// For how long it is shelved, such as `8h`; `shelve` needs it.
    #[serde(default, rename = "for")]
    span: Option<String>,
}

/// Acknowledges an occurrence, or all of an alarm by its id from the configuration, or with `*` all alarms in sight.
/// Answers when it is on disk, also on a standby's; repeating it changes nothing.
#[utoipa::path(post, path = "/api/v1/alarms/{id}/acknowledge", params(("id" = String, Path), OrderQuery),
    request_body = OrderBody,
    responses(
        (status = 200, body = AlarmAnswer),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "not active here; `active_url` and Location say where"),
    ))]
pub(crate) async fn acknowledge(request: OrderRequest) -> Result<Response, Problem> {
    let target = if request.id == ALL { Target::All } else { Target::parse(&request.id) };
    let comment = request.body()?.comment;
    request.carry_out("acknowledge", Order::Acknowledge { target, comment }).await
}

/// Puts an alarm out of sight for a time; it is evaluated and kept all the same.
#[utoipa::path(post, path = "/api/v1/alarms/{id}/shelve", params(("id" = String, Path), OrderQuery),
    request_body = OrderBody,
    responses((status = 200, body = AlarmAnswer), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn shelve(request: OrderRequest) -> Result<Response, Problem> {
    let OrderBody { comment, span } = request.body()?;
    let span = span.as_deref().and_then(parse_duration).ok_or_else(|| {
        Problem::bad_request("say for how long it is shelved: {\"for\": \"8h\", \"comment\": \"service\"}")
    })?;
    let rule = request.rule();
    request.carry_out("shelve", Order::Shelve { rule, span, comment }).await
}

/// Takes an alarm off the shelf.
#[utoipa::path(post, path = "/api/v1/alarms/{id}/unshelve", params(("id" = String, Path), OrderQuery),
    responses((status = 200, body = AlarmAnswer), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn unshelve(request: OrderRequest) -> Result<Response, Problem> {
    let rule = request.rule();
    request.carry_out("unshelve", Order::Unshelve { rule }).await
}

/// Puts an alarm out of sight until further notice.
#[utoipa::path(post, path = "/api/v1/alarms/{id}/suppress", params(("id" = String, Path), OrderQuery),
    request_body = OrderBody,
    responses((status = 200, body = AlarmAnswer), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn suppress(request: OrderRequest) -> Result<Response, Problem> {
    let (rule, comment) = (request.rule(), request.body()?.comment);
    request.carry_out("suppress", Order::Suppress { rule, comment }).await
}

/// Brings a suppressed alarm back.
#[utoipa::path(post, path = "/api/v1/alarms/{id}/unsuppress", params(("id" = String, Path), OrderQuery),
    responses((status = 200, body = AlarmAnswer), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn unsuppress(request: OrderRequest) -> Result<Response, Problem> {
    let rule = request.rule();
    request.carry_out("unsuppress", Order::Unsuppress { rule }).await
}

/// Everything an order comes with.
#[derive(Debug)]
pub(crate) struct OrderRequest {
    web: Web,
    peer: Peer,
    id: String,
    forward: bool,
    headers: HeaderMap,
    bytes: Bytes,
}

impl axum::extract::FromRequest<Web> for OrderRequest {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, web: &Web) -> Result<OrderRequest, Response> {
        use axum::RequestExt as _;
        use axum::extract::FromRequestParts as _;
        let (mut parts, body) = request.into_parts();
        let Path(id) =
            Path::<String>::from_request_parts(&mut parts, web).await.map_err(IntoResponse::into_response)?;
        let Query(query) = Query::<OrderQuery>::from_request_parts(&mut parts, web).await?;
        let Extension(peer) = Extension::<Peer>::from_request_parts(&mut parts, web)
            .await
            .map_err(IntoResponse::into_response)?;
        let headers = parts.headers.clone();
        let request = axum::extract::Request::from_parts(parts, body);
        let bytes = request.extract::<Bytes, _>().await.map_err(IntoResponse::into_response)?;
        Ok(OrderRequest { web: web.clone(), peer, id, forward: query.forward == 1, headers, bytes })
    }
}

impl OrderRequest {
    fn body(&self) -> Result<OrderBody, Problem> {
        body_of(&self.bytes)
    }

    /// The alarm that is named, by itself or by an occurrence of it.
    fn rule(&self) -> String {
        match Target::parse(&self.id) {
            Target::Occurrence(id) => id.rule.to_string(),
            Target::Rule(_) | Target::All => self.id.clone(),
        }
    }

    async fn carry_out(self, verb: &str, order: Order) -> Result<Response, Problem> {
        let path = format!("/api/v1/alarms/{}/{verb}", forward::escape(&self.id).replace('/', "%2F"));
        let by = self.peer.who.as_deref().map_or_else(|| self.peer.origin(), str::to_owned);
        match self.web.handle.order_alarms(order, &by).await {
            Ok(answer) => Ok(Json::<AlarmAnswer>(answer).into_response()),
            Err(error) => self.elsewhere(&error, &path).await,
        }
    }

    async fn elsewhere(self, error: &CommandError, path: &str) -> Result<Response, Problem> {
        match forward::target(error, self.forward, &self.headers)? {
            Some(active) => forward::send(&self.web, "POST", &active, path, &self.headers, self.bytes).await,
            None => Err(Problem::of_command(error, path)),
        }
    }
}

/// In place of an id: every alarm in sight.
const ALL: &str = "*";
