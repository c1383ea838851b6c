//! What every handler has at hand.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use twinhub_runtime::Handle;

use crate::access::Rules;
use crate::attempts::Attempts;
use crate::clients::Clients;
use crate::limits;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Web(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) rules: Rules,
    pub(crate) matrix: serde_json::Value,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) forwards: Arc<Semaphore>,
    pub(crate) queries: Arc<Semaphore>,
    pub(crate) doors: Doors,
}

/// Who is let in, and how many. Clones are the same.
#[derive(Debug, Default, Clone)]
pub(crate) struct Doors {
    pub(crate) clients: Clients,
    /// Passwords that were said.
    pub(crate) attempts: Arc<Attempts>,
    /// Join codes that were said.
    pub(crate) joins: Arc<Attempts>,
}

impl std::ops::Deref for Web {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Web {
    pub(crate) fn new(
        handle: Handle,
        rules: Rules,
        matrix: serde_json::Value,
        stopping: watch::Receiver<bool>,
        clients: Clients,
    ) -> Web {
        let forwards = Arc::new(Semaphore::new(limits::FORWARDS_MAX));
        let doors = Doors { clients, ..Doors::default() };
        let queries = Arc::new(Semaphore::new(limits::QUERIES_MAX));
        Web(Arc::new(Shared { handle, rules, matrix, stopping, forwards, queries, doors }))
    }
}

/// Ends when the server is to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A server that is gone has stopped too.
    drop(stopping.wait_for(|stop| *stop).await);
}
