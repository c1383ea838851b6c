//! Revisions of the configuration: applying, looking, rolling back.

use std::collections::BTreeMap;

use twinhub_config::{Diagnostic, Files, MAIN_FILE};
use twinhub_documents::{
    Action, Body, Configuration, ConfigurationFile, Document, Entry, Kind, Refusal, limits,
};
use twinhub_model::Timestamp;
use twinhub_redundancy::VoterId;

use super::Handle;
use super::accounts::{Author, Need};
use crate::documents::{configuration_of, secret};
use crate::error::CommandError;
use crate::view::{AppliedView, ConfigurationView, FileView, RevisionView};

/// The one configuration of a site.
const NAME: &str = "site";

/// What is to be applied.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// All files by name, `twinhub.toml` among them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Why.
    pub message: String,
    /// The revision it was made from; any if left out.
    pub base: Option<u64>,
    /// Only say what would be.
    pub dry_run: bool,
    /// Also without a majority.
    pub alone: bool,
}

impl Handle {
    /// The configuration and its revisions.
    pub fn configuration(&self) -> ConfigurationView {
        let running = self.0.shared.config_hash();
        let (current, revisions, conflicts) = self.0.documents.read(|documents| {
            let current = documents.configuration().and_then(revision_view);
            let revisions = documents.revisions().filter_map(revision_view).collect();
            let conflict = |conflict: &twinhub_documents::Conflict| {
                let view = revision_view(&conflict.document)?;
                Some(RevisionView { node: Some(conflict.node.clone()), ..view })
            };
            (current, revisions, documents.conflicts().filter_map(conflict).collect())
        });
        let hash = current.as_ref().map(|current| current.hash.clone());
        ConfigurationView {
            notes: self.configuration_notes(),
            revision: current.map(|current| current.revision),
            hash,
            running: text_of(running),
            revisions,
            conflicts,
        }
    }

    /// What an operator has to do about the configuration.
    pub fn configuration_notes(&self) -> Vec<String> {
        let Some((revision, hash)) = self.in_force() else { return self.notes_without_revision() };
        let waiting = self.nodes_that_differ(hash);
        if waiting.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
        let mut notes = vec![format!(
            "revision {revision} of the configuration waits for a restart of: {}; `twinhub config activate` does it one \
             after the other, and without a restart where none is needed",
            names.join(", ")
        )];
        notes.extend(waiting.iter().map(|(name, theirs)| {
            let which = self.0.documents.revision_of(*theirs);
            match (which, self.0.documents.differences(*theirs, hash)) {
                (Some(number), Some(parts)) => {
                    format!("{name} runs revision {number}; what differs: {parts}")
                }
                _ => format!("{name} runs {}, which is no revision of the site", text_of(*theirs)),
            }
        }));
        notes
    }

    /// Before the first revision, files that are not the same have nobody who says which ones are right.
    fn notes_without_revision(&self) -> Vec<String> {
        let differing = self.nodes_that_differ(self.0.shared.config_hash());
        let note = |(name, theirs): (String, u64)| {
            format!(
                "{name} runs another configuration ({}) than this node and cannot follow: `twinhub config apply` where the \
                 right one is makes it that of all nodes",
                text_of(theirs)
            )
        };
        differing.into_iter().map(note).collect()
    }

    fn in_force(&self) -> Option<(u64, u64)> {
        self.0.documents.read(|documents| {
            let document = documents.configuration()?;
            Some((document.revision, configuration_of(document)?.hash))
        })
    }

    /// Nodes that are known to run another configuration, with its hash.
    fn nodes_that_differ(&self, hash: u64) -> Vec<(String, u64)> {
        let shared = &self.0.shared;
        let runs = |node: &twinhub_config::Node| {
            if node.name == shared.node {
                return Some(shared.config_hash());
            }
            shared.info(VoterId::Node(twinhub_model::NodeRank(node.rank))).map(|info| info.config_hash)
        };
        let nodes = shared.site.nodes.iter().filter_map(|node| Some((node.name.clone(), runs(node)?)));
        nodes.filter(|(_, theirs)| *theirs != hash).collect()
    }

    fn names_that_differ(&self, hash: u64) -> Vec<String> {
        self.nodes_that_differ(hash).into_iter().map(|(name, _)| name).collect()
    }

    /// The files of a revision; of the one in force if none is named.
    ///
    /// # Errors
    /// If there is no such revision, or a piece of it is damaged.
    pub fn configuration_files(&self, revision: Option<u64>) -> Result<Files, CommandError> {
        let document = self.0.documents.read(|documents| match revision {
            Some(number) => documents.revision(number).cloned(),
            None => documents.configuration().cloned(),
        });
        let unknown = || Refusal::Unknown {
            kind: Kind::Configuration,
            name: revision.map_or_else(|| NAME.to_owned(), |number| format!("revision {number}")),
        };
        let document = document.ok_or_else(unknown)?;
        let configuration = configuration_of(&document).ok_or_else(unknown)?;
        self.0.documents.files_of(configuration).map_err(|error| CommandError::Internal {
            why: format!("a file of revision {} is not readable: {error}", document.revision),
        })
    }

    /// The files that the next start runs, with their revision if one was applied.
    ///
    /// # Errors
    /// What is wrong with them.
    pub async fn next_files(&self) -> Result<(Option<u64>, Files), CommandError> {
        let revision = self.in_force().map(|(revision, _)| revision);
        Ok((revision, self.next_site().await?.0))
    }

    /// Checks a configuration, and makes it the one in force. The nodes write its files and run it when they are
    /// restarted.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be applied now.
    pub async fn apply_configuration(
        &self,
        author: &Author,
        draft: Draft,
    ) -> Result<AppliedView, CommandError> {
        let Draft { files, message, base, dry_run, alone } = draft;
        self.check_active()?;
        let files = Files(files);
        let loaded =
            files.check().map_err(|failure| CommandError::Configuration { report: failure.render() })?;
        let hash = loaded.site.hash;
        if let Some(name) = files.0.keys().find(|name| !is_of_a_revision(name)) {
            let report = format!("`{name}` cannot be in a revision: the names of items files end with .csv");
            return Err(CommandError::Configuration { report });
        }
        let known = self.0.shared.site.nodes.iter().any(|node| loaded.site.node(&node.name).is_some());
        if !known {
            let report = "none of the nodes of this cluster is in it: is it of another site?".to_owned();
            return Err(CommandError::Configuration { report });
        }
        let warnings = loaded.warnings.iter().map(Diagnostic::render).collect();
        let view = |revision, changed, confirmed| AppliedView {
            revision,
            hash: text_of(hash),
            changed,
            confirmed,
            restart: self.names_that_differ(hash),
            warnings,
        };
        let (pieces, configuration) = cut(&files, message, hash, None);
        let current = self.0.documents.read(|documents| documents.configuration().cloned());
        let is_same = current
            .as_ref()
            .and_then(configuration_of)
            .is_some_and(|current| current.files == configuration.files);
        if is_same || dry_run {
            let revision = current.filter(|_| is_same).map(|current| current.revision);
            return Ok(view(revision, !is_same, is_same));
        }
        self.keep_running_configuration(author, alone).await?;
        let base = base.or_else(|| self.in_force().map(|(revision, _)| revision));
        let confirmed = self.put_configuration(author, pieces, configuration, base, alone).await?;
        Ok(view(self.in_force().map(|(revision, _)| revision), true, confirmed))
    }

    /// Makes the files of an earlier revision the ones in force again, as a new revision.
    ///
    /// # Errors
    /// If there is no such revision, or why it cannot be applied now.
    pub async fn roll_back(
        &self,
        author: &Author,
        revision: u64,
        message: String,
        alone: bool,
    ) -> Result<AppliedView, CommandError> {
        self.check_active()?;
        let files = self.configuration_files(Some(revision))?;
        let loaded =
            files.check().map_err(|failure| CommandError::Configuration { report: failure.render() })?;
        let hash = loaded.site.hash;
        let (pieces, configuration) = cut(&files, message, hash, Some(revision));
        let base = self.in_force().map(|(revision, _)| revision);
        let confirmed = self.put_configuration(author, pieces, configuration, base, alone).await?;
        Ok(AppliedView {
            revision: self.in_force().map(|(revision, _)| revision),
            hash: text_of(hash),
            changed: true,
            confirmed,
            restart: self.names_that_differ(hash),
            warnings: loaded.warnings.iter().map(Diagnostic::render).collect(),
        })
    }

    /// Before the first revision: what runs becomes one, so that there is a way back, and so that nodes know it while
    /// one of them runs the next one already.
    async fn keep_running_configuration(&self, author: &Author, alone: bool) -> Result<(), CommandError> {
        if self.in_force().is_some() {
            return Ok(());
        }
        let path = self.0.places.config_file.clone();
        let read = tokio::task::spawn_blocking(move || Files::read(&path));
        let Ok(Ok((files, loaded))) = read.await else { return Ok(()) };
        if loaded.site.hash != self.0.shared.config_hash() {
            // The files were changed since the start: what runs is not to be had any more.
            return Ok(());
        }
        let message = "what ran before the first revision".to_owned();
        let (pieces, configuration) = cut(&files, message, loaded.site.hash, None);
        self.put_configuration(author, pieces, configuration, Some(0), alone).await.map(|_| ())
    }

    async fn put_configuration(
        &self,
        author: &Author,
        pieces: Vec<Entry>,
        configuration: Configuration,
        base: Option<u64>,
        alone: bool,
    ) -> Result<bool, CommandError> {
        let need = Need::of(alone);
        for piece in pieces {
            self.propose(piece, need == Need::Majority).await?;
        }
        let body = Body::Configuration(configuration);
        let action = Action::Put { name: NAME.to_owned(), body, base: Some(base.unwrap_or(0)) };
        Ok(self.change(author, action, need).await?.confirmed)
    }
}

/// A revision is written into the folder of the configuration, where there are keys and secrets, too: whoever may change
/// items must not choose those.
fn is_of_a_revision(name: &str) -> bool {
    let extension = std::path::Path::new(name).extension();
    name == MAIN_FILE || extension.is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// The pieces of files, and what names them.
fn cut(
    files: &Files,
    message: String,
    hash: u64,
    rolled_back_to: Option<u64>,
) -> (Vec<Entry>, Configuration) {
    let mut pieces = BTreeMap::new();
    let mut named = Vec::new();
    for (name, bytes) in &files.0 {
        let mut digests = Vec::new();
        for piece in bytes.chunks(limits::PIECE_BYTES_MAX) {
            let digest = secret::digest(piece);
            pieces.insert(digest, piece.to_vec());
            digests.push(digest);
        }
        named.push(ConfigurationFile { name: name.clone(), size: bytes.len() as u64, pieces: digests });
    }
    let pieces = pieces.into_iter().map(|(digest, bytes)| Entry::Piece(digest, bytes.into())).collect();
    (pieces, Configuration { message, hash, files: named, rolled_back_to })
}

fn revision_view(document: &Document) -> Option<RevisionView> {
    let configuration = configuration_of(document)?;
    let files = configuration.files.iter();
    Some(RevisionView {
        revision: document.revision,
        hash: text_of(configuration.hash),
        author: document.author.clone(),
        at: Timestamp(document.time).to_string(),
        message: configuration.message.clone(),
        rolled_back_to: configuration.rolled_back_to,
        alone: document.alone,
        node: None,
        files: files.map(|file| FileView { name: file.name.clone(), bytes: file.size }).collect(),
    })
}

fn text_of(hash: u64) -> String {
    format!("{hash:016x}")
}
