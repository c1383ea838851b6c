//! Tries the members of an etcd cluster, each on a connection of its own.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Attendance, Client};
use crate::view::PathTestView;

impl Attendance {
    /// Asks every member for its version and for what an adapter reads, all at once; in the configured order.
    pub(crate) async fn try_members(&self, limit: Duration) -> Vec<PathTestView> {
        let mut tests = tokio::task::JoinSet::new();
        for (place, url) in self.etcd.endpoints.iter().enumerate() {
            let mut one = self.clone();
            one.etcd.endpoints = vec![url.clone()];
            tests.spawn(async move { (place, one.try_member(limit).await) });
        }
        let mut found = tests.join_all().await;
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, view)| view).collect()
    }

    async fn try_member(&self, limit: Duration) -> PathTestView {
        let address = self.etcd.endpoints.first().cloned().unwrap_or_default();
        let mut view = PathTestView { address, ..PathTestView::default() };
        let result = self.steps(limit, &mut view).await;
        view.error = result.err();
        view
    }

    /// Fills in what worked, and ends at what did not.
    async fn steps(&self, limit: Duration, view: &mut PathTestView) -> Result<(), String> {
        let mut client =
            Client::new(&self.etcd, &self.config_dir, limit).map_err(|error| error.to_string())?;
        let (authority, is_secure) = client.place();
        let begun = Instant::now();
        match timeout(limit, TcpStream::connect(&authority)).await {
            Ok(Ok(_)) => view.connect_us = Some(micros(begun)),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {} s", limit.as_secs())),
        }
        view.reachable = true;
        let begun = Instant::now();
        let version = client.version().await.map_err(|error| error.to_string())?;
        view.handshake_us = Some(micros(begun));
        view.version = format!("etcd {version}");
        view.tls = is_secure;
        // The first may be a login.
        self.read(&mut client).await.map_err(|error| error.to_string())?;
        let begun = Instant::now();
        self.read(&mut client).await.map_err(|error| error.to_string())?;
        view.rtt_us = Some(micros(begun));
        Ok(())
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
