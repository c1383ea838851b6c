//! The supervisor's word that the hub process is dead.
//!
//! Whoever waited for a process knows that it acts no more; nobody else does before its lease ends. The
//! supervisor tells every voter, which frees the dead process's grant at once; the guard still covers what it
//! may have in flight. The word names the process by its incarnation, so that it never touches the next one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use twinhub_config::Site;
use twinhub_model::{Incarnation, NodeRank};
use twinhub_redundancy::{Message, VoterId};
use twinhub_store::RoleFile;
use twinhub_wire::{Kind, write_frame};

use crate::control::{GroupMessage, RoleState};
use crate::error::StartError;
use crate::node;
use crate::peer::{self, Endpoint, Target};
use crate::pki;

/// A voter that does not take the word in this time waits for the lease.
const TELL_MAX: Duration = Duration::from_millis(500);

/// What a supervisor needs to speak for its dead hub process.
#[derive(Debug)]
pub struct Resigner {
    endpoint: Endpoint,
    targets: Vec<Target>,
    rank: NodeRank,
    role_file: PathBuf,
}

impl Resigner {
    /// Prepares the word of `node`'s supervisor.
    ///
    /// # Errors
    /// [`StartError`] if the node is not in the configuration or its certificate is not usable.
    pub fn new(site: &Site, node: &str, state_dir: &Path, pki_dir: &Path) -> Result<Resigner, StartError> {
        let rank = site
            .node(node)
            .map(|node| NodeRank(node.rank))
            .ok_or_else(|| StartError::Config(format!("there is no node `{node}`")))?;
        let members: BTreeMap<String, VoterId> = node::members(site);
        let endpoint = Endpoint {
            name: node.to_owned(),
            incarnation: Incarnation::default(),
            config_hash: site.hash,
            credentials: pki::load(pki_dir, node)?,
            members: Arc::new(members),
            accept_any_node: false,
        };
        let targets = node::everyone_but(site, rank);
        Ok(Resigner { endpoint, targets, rank, role_file: state_dir.join("role") })
    }

    /// Tells every voter that the process that last wrote the role file is dead; returns how many took it.
    /// Call it only after the process was waited for.
    ///
    /// # Errors
    /// [`StartError`] if the role file is not readable, which also happens while a process still has it.
    pub async fn resign(&self) -> Result<usize, StartError> {
        let (file, loaded) = RoleFile::open(&self.role_file)?;
        drop(file);
        let Some(payload) = loaded.payload else { return Ok(0) };
        let state: RoleState = minicbor::decode(&payload)
            .map_err(|error| StartError::Config(format!("the role file is not readable: {error}")))?;
        let mut frames = Vec::new();
        for (group, stored) in &state.groups {
            let message = Message::Resigned {
                node: self.rank,
                epoch: stored.last_active,
                incarnation: state.incarnation,
            };
            let body = GroupMessage { group: group.clone(), message, lease_ms: 0 };
            let encoded = minicbor::to_vec(&body)
                .map_err(|error| StartError::Config(format!("the word cannot be encoded: {error}")))?;
            write_frame(Kind::Control, &encoded, &mut frames);
        }
        let mut tellings = tokio::task::JoinSet::new();
        for target in self.targets.clone() {
            let (endpoint, frames) = (self.endpoint.clone(), frames.clone());
            tellings.spawn(async move {
                tokio::time::timeout(TELL_MAX, peer::tell(&endpoint, &target, &frames)).await.is_ok_and(|told| {
                    if let Err(error) = &told {
                        tracing::debug!(peer = target.name, %error, "not told that the hub process is dead");
                    }
                    told.is_ok()
                })
            });
        }
        let mut told = 0;
        while let Some(result) = tellings.join_next().await {
            told += usize::from(result.unwrap_or(false));
        }
        Ok(told)
    }
}
