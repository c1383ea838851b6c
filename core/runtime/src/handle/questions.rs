//! What the plugins of this node are asked for people.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use twinhub_contract::code;
use twinhub_contract::constants::{BROWSE_NODES_MAX, TEXT_BYTES_MAX};
use twinhub_loader::{Instance, PluginError, Status};

use super::Handle;
use crate::error::AskError;
use crate::inbox::Job;
use crate::instance::{Answered, Port, Question, Unasked, explain};
use crate::view::{BrowseView, DiagView};

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
