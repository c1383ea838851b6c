//! What a request carries.

use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Reads a JSON body; an empty one counts as `{}`.
pub(crate) fn body_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not usable: {error}")))
}
