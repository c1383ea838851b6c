//! Talks to a node's web interface.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use twinhub_web::problem::Problem;
use ureq::http;

use crate::cli::Global;
use crate::exit::{Code, Failure};

/// A part of an answer that is no JSON.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Values in it, if the hub says so.
    pub(crate) rows: Option<usize>,
    /// Where the next part begins.
    pub(crate) next: Option<String>,
}

/// A node's web interface.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(global: &Global) -> Result<Client, Failure> {
        let url = global.url.trim_end_matches('/').to_owned();
        if let Some(rest) = url.strip_prefix("https://") {
            let text =
                format!("the hub speaks http: use --url http://{rest}, through a tunnel where others listen");
            return Err(Failure::new(Code::Usage, text));
        }
        let host = url.strip_prefix("http://").unwrap_or_default();
        let is_url = !host.is_empty() && url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some());
        if !is_url {
            let text = format!("`{}` is no web address: write for example http://127.0.0.1:8620", global.url);
            return Err(Failure::new(Code::Unreachable, text));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_global(Some(ANSWER_TIME_MAX))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build()
            .into();
        Ok(Client { agent, url, token: global.token.clone() })
    }

    /// Same node options, other node.
    pub(crate) fn at(global: &Global, url: &str) -> Result<Client, Failure> {
        Client::new(&Global { url: url.to_owned(), ..global.clone() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.exchange("GET", path, Vec::new())
    }

    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::of(Code::Internal, &error))?;
        self.exchange(method, path, body)
    }

    /// Asks for something without a body, such as `DELETE`.
    pub(crate) fn ask<T: DeserializeOwned>(&self, method: &'static str, path: &str) -> Result<T, Failure> {
        self.exchange(method, path, Vec::new())
    }

    /// The bytes at a path.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.raw("GET", path, Vec::new())
    }

    /// CSV at a path, and what to pass to read on.
    pub(crate) fn csv(&self, path: &str) -> Result<(String, Option<String>), Failure> {
        let Part { bytes, next, .. } = self.respond("GET", path, Vec::new(), "text/csv")?;
        let text = String::from_utf8(bytes).map_err(|error| Failure::of(Code::Error, &error))?;
        Ok((text, next))
    }

    /// A file of this media type, and what to pass to read on.
    pub(crate) fn download(&self, path: &str, kind: &str) -> Result<Part, Failure> {
        self.respond("GET", path, Vec::new(), kind)
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        let bytes = self.raw(method, path, body)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("{}{path} did not answer as a hub of this version does: {error}", self.url);
            Failure::new(Code::Error, text)
        })
    }

    fn raw(&self, method: &'static str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.respond(method, path, body, "application/json").map(|part| part.bytes)
    }

    /// What is answered, and where the answer says that it goes on.
    fn respond(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
        accept: &str,
    ) -> Result<Part, Failure> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|error| Failure::of(Code::Usage, &error))?;
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let bytes = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            let rows = header("twinhub-rows").and_then(|rows| rows.parse().ok());
            return Ok(Part { bytes, rows, next: header("twinhub-next") });
        }
        if let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
            return Err(failure_of(&problem));
        }
        let text = format!("{}{path} answered {}; is this a hub?", self.url, response.status());
        Err(Failure::new(Code::Error, text))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let text = format!(
            "no hub answers at {}: {error}; start it with `twinhub run --node NAME`, or name another with --url",
            self.url
        );
        Failure::new(Code::Unreachable, text)
    }
}

fn failure_of(problem: &Problem) -> Failure {
    let code = if problem.code == "TH-NODE-001" || problem.code == "TH-NODE-007" {
        Code::NotActive
    } else {
        Code::Error
    };
    Failure::new(code, format!("{} ({})", problem.detail, problem.code))
}

/// Escapes text for the query of a URL.
pub(crate) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longer than a node takes for a write that times out.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(65);
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
