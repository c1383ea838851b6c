//! An order that a node carries out while the command waits.

use std::time::{Duration, Instant};

use serde::Deserialize;
use twinhub_runtime::view::OperationView;

use crate::client::{Client, escape};
use crate::exit::{Code, Failure};

/// What the node says that took the order.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {
    operation: u64,
    /// The node that carries it out.
    pub(super) node: String,
}

/// Waits for the end of an operation.
pub(super) fn wait(
    client: &Client,
    accepted: &Accepted,
    timeout: Duration,
) -> Result<OperationView, Failure> {
    let path = format!("/api/v1/operations/{}?node={}", accepted.operation, escape(&accepted.node));
    let begun = Instant::now();
    loop {
        let operation: OperationView = client.get(&path)?;
        if operation.state != "running" {
            return Ok(operation);
        }
        if begun.elapsed() > timeout {
            let text = format!(
                "{} on {} is not finished after {} s and goes on; look with `twinhub status`",
                operation.order,
                accepted.node,
                timeout.as_secs()
            );
            return Err(Failure::new(Code::NotActive, text));
        }
        std::thread::sleep(POLL);
    }
}

const POLL: Duration = Duration::from_millis(20);
