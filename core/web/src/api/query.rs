//! The parameters of a query. One whose name is not known is refused, with the names that there are: a filter that is
//! misspelled would give everything, as if it were right.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::problem::Problem;

/// All parameters as one struct.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// All parameters as two structs.
#[derive(Debug)]
pub(crate) struct Queries<A, B>(pub(crate) A, pub(crate) B);

impl<T: DeserializeOwned + IntoParams, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Response> {
        check(&parts.uri, &names::<T>())?;
        read(&parts.uri).map(Query)
    }
}

impl<A, B, S> FromRequestParts<S> for Queries<A, B>
where
    A: DeserializeOwned + IntoParams,
    B: DeserializeOwned + IntoParams,
    S: Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Queries<A, B>, Response> {
        check(&parts.uri, &[names::<A>(), names::<B>()].concat())?;
        Ok(Queries(read(&parts.uri)?, read(&parts.uri)?))
    }
}

fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Response> {
    let query = axum::extract::Query::try_from_uri(uri).map_err(IntoResponse::into_response)?;
    Ok(query.0)
}

fn check(uri: &Uri, known: &[String]) -> Result<(), Response> {
    let given: Vec<(String, String)> = read(uri)?;
    match given.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => {
            let detail = format!("there is no parameter `{name}` here; there are: {}", known.join(", "));
            Err(Problem::bad_request(detail).into_response())
        }
        None => Ok(()),
    }
}

/// The names that the API's description has.
fn names<T: IntoParams>() -> Vec<String> {
    T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
}
