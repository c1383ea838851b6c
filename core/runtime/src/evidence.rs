//! What this node can see of the world, for pairs without a witness.
//!
//! A standby that hears nothing cannot know whether the active node died or the network between them did.
//! Under the policy `evidence` it promotes itself only if it sees the world: at least one of its reference
//! hosts accepts a connection, and at least half of its field interfaces are ok or, if cold, answer their probe.
//! An active node that is alone and cannot say the same closes its gates.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use twinhub_redundancy::Input;

use crate::control::ControlSender;
use crate::instance::Port;

/// A reference host that does not accept within this time does not answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Between two tries of a probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Watches reference hosts and interfaces, and tells every group's machine, until the node stops.
pub(crate) async fn watch(
    hosts: Vec<String>,
    ports: Vec<(String, Arc<Port>)>,
    control: ControlSender,
    every: Duration,
) {
    let groups: std::collections::BTreeSet<String> = ports.iter().map(|(group, _)| group.clone()).collect();
    while !control.is_closed() {
        let reached = any_answers(&hosts).await;
        for group in &groups {
            let (ok, all) = field(group, &ports);
            let reference_ok = if hosts.is_empty() { all > 0 } else { reached };
            let percent = (ok * 100).checked_div(all).unwrap_or(100);
            let field_ok_percent = u8::try_from(percent).unwrap_or(100);
            control.engine(group, Input::Evidence { reference_ok, field_ok_percent });
        }
        tokio::time::sleep(every).await;
    }
}

/// Tries the probe of every interface that has one, until the node stops.
pub(crate) async fn probe(ports: Vec<(String, Arc<Port>)>, control: ControlSender) {
    let mut tries = tokio::task::JoinSet::new();
    for (_, port) in ports {
        let control = control.clone();
        tries.spawn(async move {
            while let Some(address) = port.setup.probe.as_deref().filter(|_| !control.is_closed()) {
                port.probed.try_once(address).await;
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        });
    }
    while tries.join_next().await.is_some() {}
}

async fn any_answers(hosts: &[String]) -> bool {
    let mut attempts = tokio::task::JoinSet::new();
    for host in hosts {
        let host = if host.contains(':') { host.clone() } else { format!("{host}:80") };
        attempts.spawn(async move {
            match timeout(ANSWER_MAX, TcpStream::connect(&host)).await {
                // A refusal is an answer too: the host is there.
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            }
        });
    }
    // The first answer is told when it comes: waiting for the others would make it look newer than it is.
    while let Some(result) = attempts.join_next().await {
        if result.unwrap_or(false) {
            return true;
        }
    }
    false
}

/// How many interfaces of a group are ok, and how many can say.
fn field(group: &str, ports: &[(String, Arc<Port>)]) -> (usize, usize) {
    let mut ok = 0;
    let mut all = 0;
    for (_, port) in ports.iter().filter(|(other, port)| other == group && port.setup.relevant) {
        if port.role() == twinhub_contract::role::COLD {
            if let Some(probed) = port.probed.found() {
                all += 1;
                ok += usize::from(probed.is_ok());
            }
            continue;
        }
        all += 1;
        let (state, _, _) = port.status();
        ok += usize::from(matches!(
            state,
            twinhub_contract::state::OK
                | twinhub_contract::state::SUPPRESSED
                | twinhub_contract::state::DEGRADED
        ));
    }
    (ok, all)
}
