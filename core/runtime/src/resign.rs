//! The supervisor's word that the hub process is dead.
//!
//! Whoever waited for a process knows that it acts no more; nobody else does before its lease ends. The
//! supervisor tells every voter, which frees the dead process's grant at once; the guard still covers what it
//! may have in flight. The word names the process by its incarnation, so that it never touches the next one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use twinhub_config::Site;
use twinhub_model::{Epoch, Incarnation, NodeRank};
use twinhub_redundancy::{Message, VoterId};
use twinhub_store::RoleFile;
use twinhub_wire::{Kind, write_frame};

use crate::error::StartError;
use crate::peer::{Endpoint, word};
use crate::pki;
use crate::protocol;
use crate::roles::{GroupMessage, RoleState};
use crate::setup;

/// What a supervisor needs to speak for its dead hub process: a line to every voter that stands ready.
#[derive(Debug)]
pub struct Resigner {
    lines: Vec<mpsc::Sender<(Vec<u8>, oneshot::Sender<bool>)>>,
    keepers: JoinSet<()>,
    rank: NodeRank,
    role_file: PathBuf,
}

impl Resigner {
    /// Prepares the word of `node`'s supervisor. Call it within a tokio runtime; the lines are made in the
    /// background and made again when they break, until this is dropped.
    ///
    /// # Errors
    /// [`StartError`] if the node is not in the configuration or its certificate is not usable.
    pub fn new(site: &Site, node: &str, state_dir: &Path, pki_dir: &Path) -> Result<Resigner, StartError> {
        let rank = site
            .node(node)
            .map(|node| NodeRank(node.rank))
            .ok_or_else(|| StartError::Config(format!("there is no node `{node}`")))?;
        let members: BTreeMap<String, VoterId> = setup::members(site);
        let endpoint = Endpoint {
            name: node.to_owned(),
            incarnation: Incarnation::default(),
            protocol: protocol::newest()?,
            plugins: None,
            config_hash: Arc::new(site.hash.into()),
            credentials: pki::load(pki_dir, node)?,
            members: Arc::new(members),
            accept_any_node: false,
        };
        let mut lines = Vec::new();
        let mut keepers = JoinSet::new();
        for target in setup::everyone_but(site, rank) {
            let (sender, words) = mpsc::channel(1);
            lines.push(sender);
            keepers.spawn(word::keep_ready(endpoint.clone(), target, words));
        }
        Ok(Resigner { lines, keepers, rank, role_file: state_dir.join("role") })
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
            // What it asked for last is over, too; it was on disk before anybody was asked.
            let asked = stored.grant.filter(|grant| grant.node == self.rank).map(|_| stored.promised);
            let message = Message::Resigned {
                node: self.rank,
                epoch: stored.last_active.max(asked.unwrap_or(Epoch::NONE)),
                incarnation: state.incarnation,
            };
            let body = GroupMessage { group: group.clone(), message, lease_ms: 0 };
            let encoded = minicbor::to_vec(&body)
                .map_err(|error| StartError::Config(format!("the word cannot be encoded: {error}")))?;
            write_frame(Kind::Control, &encoded, &mut frames);
        }
        let mut answers = Vec::new();
        for line in &self.lines {
            let (answer, told) = oneshot::channel();
            // A line that still says the last word will not say this one in time.
            if line.try_send((frames.clone(), answer)).is_ok() {
                answers.push(told);
            }
        }
        let mut told = 0;
        for answer in answers {
            told += usize::from(answer.await.unwrap_or(false));
        }
        Ok(told)
    }

    /// Ends the lines.
    pub async fn close(mut self) {
        self.lines.clear();
        self.keepers.shutdown().await;
    }
}
