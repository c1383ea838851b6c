//! What the plugins of this node are asked for people.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use twinhub_contract::code;
use twinhub_contract::constants::{BROWSE_NODES_MAX, TEXT_BYTES_MAX, inquiry};
use twinhub_loader::{Instance, PluginError, Status};

use super::Handle;
use crate::error::AskError;
use crate::inbox::Job;
use crate::instance::{Answered, Port, Question, Unasked, explain};
use crate::view::{BrowseView, DiagView, DiscoverView, Heard, MonitorView, TestView};

impl Handle {
    /// Gives an interface of this node another instance; the answer is an operation to watch.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn restart_interface(&self, interface: &str, by: &str) -> Result<u64, AskError> {
        let found = self.0.ports.iter().find(|(_, port)| port.setup.id == interface);
        let unknown = || AskError::UnknownInterface { id: interface.to_owned() };
        let (group, port) = found.ok_or_else(unknown)?;
        tracing::info!(interface, by, "restart of an interface");
        let order = format!("restart of interface {interface}");
        let operation = self.0.shared.begin_operation(order, std::slice::from_ref(group));
        if let Some(inbox) = self.0.inboxes.get(group) {
            inbox.push(Job::Renew { interface: port.number, operation, by: by.to_owned() });
        }
        Ok(operation)
    }

    /// What can be addressed on the device of an interface, directly below `parent`, or at the top.
    ///
    /// # Errors
    /// [`AskError`] if there is no such interface, its plugin lists nothing, refuses or does not answer.
    pub async fn browse(
        &self,
        interface: &str,
        parent: Option<&serde_json::Value>,
        cursor: &str,
        limit: usize,
    ) -> Result<BrowseView, AskError> {
        let parent = parent.map(ToString::to_string).unwrap_or_default();
        if parent.len() > TEXT_BYTES_MAX || cursor.len() > TEXT_BYTES_MAX {
            return Err(AskError::TooLong { limit: TEXT_BYTES_MAX });
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).clamp(1, BROWSE_NODES_MAX);
        let cursor = cursor.to_owned();
        let ask = move |instance: &Instance, op: u64| instance.browse(op, &parent, &cursor, limit);
        let view: BrowseView = self.ask(interface, Question::Browse, BROWSE_TIME_MAX, ask).await?;
        if view.nodes.len() > limit as usize {
            let why = format!("it lists {} nodes, {limit} were asked for", view.nodes.len());
            return Err(AskError::BadAnswer { interface: interface.to_owned(), why });
        }
        Ok(view)
    }

    /// How the instance of an interface is on this node.
    ///
    /// # Errors
    /// As [`Handle::browse`].
    pub async fn diagnose(&self, interface: &str) -> Result<DiagView, AskError> {
        let ask = |instance: &Instance, op: u64| instance.diagnose(op);
        let diag = self.ask(interface, Question::Diagnose, DIAGNOSE_TIME_MAX, ask).await?;
        Ok(DiagView { interface: interface.to_owned(), node: self.node_name().to_owned(), diag })
    }

    /// Whether the device of an interface answers the instance of this node.
    ///
    /// # Errors
    /// As [`Handle::browse`].
    pub async fn test_interface(&self, interface: &str) -> Result<TestView, AskError> {
        let ask = |instance: &Instance, op: u64| instance.inquire(op, inquiry::TEST, "{}");
        let mut view: TestView = self.ask(interface, Question::Test, TEST_TIME_MAX, ask).await?;
        interface.clone_into(&mut view.interface);
        self.node_name().clone_into(&mut view.node);
        Ok(view)
    }

    /// What is in reach of an interface on this node; answers are waited for so long.
    ///
    /// # Errors
    /// As [`Handle::browse`].
    pub async fn discover(&self, interface: &str, wait: Duration) -> Result<DiscoverView, AskError> {
        let wait = wait.min(DISCOVER_WAIT_MAX);
        let request = serde_json::json!({ "wait_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) });
        let request = request.to_string();
        let ask = move |instance: &Instance, op: u64| instance.inquire(op, inquiry::DISCOVER, &request);
        self.ask(interface, Question::Discover, wait + DISCOVER_TIME_MORE, ask).await
    }

    /// What went over the line of an interface on this node: the messages behind one, or the last ones.
    ///
    /// # Errors
    /// As [`Handle::browse`].
    pub async fn monitor(
        &self,
        interface: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<MonitorView, AskError> {
        let limit = limit.clamp(1, MESSAGES_MAX);
        let request = match after {
            Some(after) => serde_json::json!({ "after": after, "limit": limit }),
            None => serde_json::json!({ "limit": limit }),
        };
        let request = request.to_string();
        let ask = move |instance: &Instance, op: u64| instance.inquire(op, inquiry::MONITOR, &request);
        let heard: Heard = self.ask(interface, Question::Monitor, DIAGNOSE_TIME_MAX, ask).await?;
        if heard.messages.len() > limit {
            let why = format!("it shows {} messages, {limit} were asked for", heard.messages.len());
            return Err(AskError::BadAnswer { interface: interface.to_owned(), why });
        }
        Ok(heard.into_view())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        interface: &str,
        kind: Question,
        patience: Duration,
        call: impl FnOnce(&Instance, u64) -> Result<Status, PluginError> + Send + 'static,
    ) -> Result<T, AskError> {
        let id = || interface.to_owned();
        let found = self.0.ports.iter().map(|(_, port)| port).find(|port| port.setup.id == interface);
        let port: Arc<Port> = Arc::clone(found.ok_or_else(|| AskError::UnknownInterface { id: id() })?);
        // A plugin that breaks the contract may hold the call up.
        let asked = tokio::task::spawn_blocking(move || port.asking.ask(kind, call)).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(Unasked::Busy)) => return Err(AskError::Busy { interface: id() }),
            Ok(Err(Unasked::NotRunning)) | Err(_) => return Err(AskError::NotRunning { interface: id() }),
        };
        let late = AskError::Timeout { interface: id(), seconds: patience.as_secs() };
        let answered = tokio::time::timeout(patience, answer).await.map_err(|_| late)?;
        match answered {
            Ok(Answered { code: code::OK, bytes, .. }) => serde_json::from_slice(&bytes)
                .map_err(|error| AskError::BadAnswer { interface: id(), why: error.to_string() }),
            Ok(Answered { code: code::UNSUPPORTED, detail, .. }) => {
                Err(AskError::NotOffered { interface: id(), why: explain(code::UNSUPPORTED, &detail) })
            }
            Ok(Answered { code: code::NOT_ACTIVE, .. }) => Err(AskError::NotActive { interface: id() }),
            Ok(Answered { code, detail, .. }) => {
                Err(AskError::Refused { interface: id(), why: explain(code, &detail) })
            }
            // Another question cannot take its place before it has ended.
            Err(_) => Err(AskError::NotRunning { interface: id() }),
        }
    }
}

/// A device that is asked for a list answers within this time.
const BROWSE_TIME_MAX: Duration = Duration::from_secs(30);
/// The plugin itself answers within this time.
const DIAGNOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// A test has this time for all its steps.
const TEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Devices are waited for at most so long,
const DISCOVER_WAIT_MAX: Duration = Duration::from_secs(20);
/// and the plugin answers within this time after that.
const DISCOVER_TIME_MORE: Duration = Duration::from_secs(10);
/// Most messages of one answer.
const MESSAGES_MAX: usize = 500;
