//! What a node says about itself.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The REST interface of one node.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    agent: ureq::Agent,
}

/// `GET /api/v1/cluster`, as far as it is used here.
#[derive(Clone, Debug, Deserialize)]
pub struct ClusterStatus {
    /// The node that answers.
    pub node: String,
    /// Version of the product.
    #[serde(default)]
    pub version: String,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
}

/// Interfaces that switch together.
#[derive(Clone, Debug, Deserialize)]
pub struct GroupStatus {
    /// Its id.
    pub id: String,
    /// Fencing number.
    pub epoch: String,
    /// Who is active, as far as this node knows.
    pub active: Option<String>,
    /// Whether a standby has everything.
    #[serde(default)]
    pub protected: bool,
    /// Why the role changed last.
    #[serde(default)]
    pub reason: String,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
}

/// One node of a group.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Whether it is heard.
    #[serde(default)]
    pub reachable: bool,
    /// Whether it has everything.
    #[serde(default)]
    pub in_sync: bool,
    /// Records it is behind.
    #[serde(default)]
    pub lag_records: Option<u64>,
}

impl GroupStatus {
    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl Rest {
    /// The node that serves at `host:port`.
    pub fn new(address: std::net::SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_LIMIT))
            .http_status_as_error(false)
            // A node that was stopped and continued has connections that answer late.
            .max_idle_connections(0)
            .build();
        Self { base: format!("http://{address}"), agent: config.into() }
    }

    /// Address for people and programs.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `GET /api/v1/cluster`.
    pub fn cluster(&self) -> Result<ClusterStatus> {
        let url = format!("{}/api/v1/cluster", self.base);
        let value = self.get(&url)?;
        serde_json::from_value(value).map_err(|error| Error::Rest { url, detail: error.to_string() })
    }

    /// Any resource below `/api/v1`.
    pub fn resource(&self, path: &str) -> Result<Value> {
        self.get(&format!("{}/api/v1{path}", self.base))
    }

    /// Orders a planned change.
    pub fn switchover(&self, to: &str) -> Result<Value> {
        let url = format!("{}/api/v1/cluster/switchover", self.base);
        let sent = self.agent.post(&url).send_json(json!({ "to": to }));
        answer(&url, sent)
    }

    /// `POST /api/v1/items:bulk`.
    pub fn write_bulk(&self, writes: &Value) -> Result<Value> {
        let url = format!("{}/api/v1/items:bulk", self.base);
        let sent = self.agent.post(&url).send_json(writes);
        answer(&url, sent)
    }

    /// Orders something of any resource below `/api/v1`.
    pub fn order(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/api/v1{path}", self.base);
        let sent = self.agent.post(&url).send_json(body);
        answer(&url, sent)
    }

    fn get(&self, url: &str) -> Result<Value> {
        answer(url, self.agent.get(url).call())
    }
}

fn answer(
    url: &str,
    response: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value> {
    let wrong = |detail: String| Error::Rest { url: url.to_owned(), detail };
    let mut response = response.map_err(|error| wrong(error.to_string()))?;
    let status = response.status();
    let text = response.body_mut().read_to_string().map_err(|error| wrong(error.to_string()))?;
    if !status.is_success() {
        return Err(wrong(format!("{status}: {text}")));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|error| wrong(format!("{error} in {text}")))
}

const ANSWER_LIMIT: Duration = Duration::from_secs(1);
