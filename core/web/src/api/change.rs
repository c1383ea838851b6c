//! A request that changes what the site's nodes share: who asks for it, and where it can be done.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twinhub_runtime::{Author, CommandError};
use utoipa::IntoParams;

use super::API;
use super::body::body_of;
use super::query::Query;
use crate::access::Peer;
use crate::forward;
use crate::problem::Problem;
use crate::web::Web;

#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangeQuery {
    /// `1`: a standby carries the change over to the active node.
    #[serde(default)]
    forward: u8,
}

/// See the module; for paths below [`API`].
#[derive(Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) web: Web,
    pub(crate) peer: Peer,
    pub(crate) headers: HeaderMap,
    method: &'static str,
    /// As the client wrote it, so that it can be carried over as it is.
    path: String,
    forward: bool,
    bytes: Bytes,
}

impl FromRequest<Web> for ChangeRequest {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<ChangeRequest, Response> {
        let (mut parts, body) = request.into_parts();
        let Query(query) = Query::<ChangeQuery>::from_request_parts(&mut parts, web).await?;
        // Nesting has taken its part off.
        let path = format!("{API}{}", parts.uri.path());
        let peer = parts.extensions.get::<Peer>().cloned().ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "TH-WEB-500", "the peer is not known")
                .into_response()
        })?;
        let (method, headers) = (word_of(&parts.method), parts.headers.clone());
        let bytes = Bytes::from_request(Request::from_parts(parts, body), web)
            .await
            .map_err(IntoResponse::into_response)?;
        let (web, forward) = (web.clone(), query.forward == 1);
        Ok(ChangeRequest { web, peer, headers, method, path, forward, bytes })
    }
}

const fn word_of(method: &Method) -> &'static str {
    match *method {
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "POST",
    }
}

impl ChangeRequest {
    /// Who asks, as the audit list names it.
    pub(crate) fn author(&self) -> Author {
        self.peer.author()
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What is to be changed.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        body_of(&self.bytes)
    }

    /// What was done, or where it can be.
    pub(crate) async fn answer<T: Serialize>(
        self,
        done: Result<T, CommandError>,
        status: StatusCode,
    ) -> Result<Response, Problem> {
        match done {
            Ok(view) => Ok((status, Json(view)).into_response()),
            Err(error) => match forward::target(&error, self.forward, &self.headers)? {
                Some(active) => {
                    forward::send(&self.web, self.method, &active, &self.path, &self.headers, self.bytes)
                        .await
                }
                None => Err(Problem::of_command(&error, &self.path)),
            },
        }
    }
}
