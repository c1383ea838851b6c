//! Tries the paths to another node on connections of their own, beside the ones that stand.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::etcd::Attendance;
use crate::peer::{Endpoint, PeerInfo, Target, word};
use crate::view::PathTestView;

/// One path that does not answer in full within this time does not answer.
const TEST_MAX: Duration = Duration::from_secs(3);

/// What the witness is called among the nodes.
const WITNESS: &str = "witness";

/// What a test of a path needs.
#[derive(Debug)]
pub(crate) struct PathTests {
    endpoint: Endpoint,
    targets: Vec<Target>,
    /// What stands in for a witness, if that is an etcd cluster.
    etcd: Option<Attendance>,
}

impl PathTests {
    pub(crate) fn new(endpoint: Endpoint, targets: Vec<Target>, etcd: Option<Attendance>) -> PathTests {
        PathTests { endpoint, targets, etcd }
    }

    /// Tries every path to a node or to the witness, all at once.
    pub(crate) async fn run(&self, name: &str) -> Vec<PathTestView> {
        if let Some(etcd) = self.etcd.as_ref().filter(|_| name == WITNESS) {
            return etcd.try_members(TEST_MAX).await;
        }
        let mut tests = tokio::task::JoinSet::new();
        for target in self.targets.iter().filter(|target| target.name == name) {
            tests.spawn(test(self.endpoint.clone(), target.clone()));
        }
        let mut found = tests.join_all().await;
        found.sort_by_key(|(path, _)| *path);
        found.into_iter().map(|(_, view)| view).collect()
    }
}

async fn test(endpoint: Endpoint, target: Target) -> (u8, PathTestView) {
    let address = target.address.clone();
    let begun = Instant::now();
    let connected = match timeout(TEST_MAX, tokio::net::TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(micros(begun)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", TEST_MAX.as_secs())),
    };
    let mut view = PathTestView { address, ..PathTestView::default() };
    match connected {
        Ok(took) => {
            view.reachable = true;
            view.connect_us = Some(took);
        }
        Err(error) => {
            view.error = Some(error);
            return (target.path, view);
        }
    }
    let begun = Instant::now();
    match timeout(TEST_MAX, word::test(&endpoint, &target)).await {
        Ok(Ok(PeerInfo { version, config_hash, protocol, name: _, is_newer: _, plugins: _ })) => {
            view.tls = true;
            view.handshake_us = Some(micros(begun));
            view.version = version;
            view.protocol = Some(protocol);
            view.config_hash = format!("{config_hash:016x}");
        }
        Ok(Err(error)) => view.error = Some(error.to_string()),
        Err(_) => {
            view.error =
                Some(format!("no handshake within {} s: another program listens there", TEST_MAX.as_secs()));
        }
    }
    (target.path, view)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
