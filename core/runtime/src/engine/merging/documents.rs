//! The active node takes what a node kept of the documents that were changed on it alone.

use std::collections::BTreeSet;

use twinhub_documents::{Action, Body, Digest, Documents, Entry, ours_after};
use twinhub_model::{Part, Position};
use twinhub_replica::{Counts, MergeEntry, MergeId};

use super::giving::pieces_name;
use crate::clock;
use crate::engine::Engine;

/// Entries of the audit list in one record.
const AUDIT_CHUNK: usize = 50;

/// What is missing of what documents kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// What stands last: files of configurations.
    TooLarge,
    /// The file that it is in gives nothing.
    Unreadable,
}

impl Engine {
    /// Joins what documents were changed by the node alone. `None` if the journal takes nothing.
    pub(super) fn join_documents(
        &mut self,
        id: &MergeId,
        bodies: &[Vec<u8>],
        lack: Option<Lack>,
    ) -> Option<()> {
        let (mut ours, mut files, mut lines) = (Documents::default(), Vec::new(), Vec::new());
        let mut damaged = u64::from(lack == Some(Lack::Unreadable));
        for body in bodies {
            match Entry::decode(body) {
                Ok(Entry::Piece(digest, _)) => files.push((digest, body)),
                Ok(entry) => drop(ours.apply(Position::START, entry)),
                Err(error) => {
                    lines.push(format!("something that documents kept is left out: {error}"));
                    damaged += 1;
                }
            }
        }
        match lack {
            Some(Lack::TooLarge) => {
                lines.push("files of configurations are left out: they are too large".to_owned());
            }
            Some(Lack::Unreadable) => lines.push(format!(
                "what node `{}` has of users, tokens, sessions and configurations in {} cannot be read: who was removed or \
                 revoked there is to be removed or revoked again",
                id.node,
                pieces_name(id.common, Part::DOCUMENTS)
            )),
            None => {}
        }
        let documents = self.proposals.documents().clone();
        let merge = documents.read(|theirs| ours_after(id.common, &id.node, &ours, theirs, clock::utc()));
        lines.extend(merge.lines);
        let needed: BTreeSet<Digest> =
            merge.changes.iter().flat_map(|change| files_of(&change.action)).collect();
        for (_, body) in files.iter().filter(|(digest, _)| needed.contains(digest)) {
            self.append_part(Part::DOCUMENTS, body)?;
        }
        let mut counts = Counts { damaged, ..Counts::default() };
        for change in merge.changes {
            let what = change.action.describe();
            let is_conflict = matches!(change.action, Action::Keep { .. });
            if let Err(refusal) = documents.read(|theirs| theirs.check(&change)) {
                lines.push(format!("{what}: not possible here: {refusal}"));
                continue;
            }
            self.append_part(Part::DOCUMENTS, &Entry::Change(change).encode())?;
            if is_conflict {
                counts.conflicts += 1;
            } else {
                counts.documents += 1;
            }
        }
        for chunk in merge.audit.chunks(AUDIT_CHUNK) {
            counts.audit += chunk.len() as u64;
            self.append_part(Part::DOCUMENTS, &Entry::AuditOf(chunk.to_vec()).encode())?;
        }
        let (through, covered) = (id.common, Vec::new());
        self.append_merge(&MergeEntry::Note { counts, lines, through, covered })?;
        self.append_merge(&MergeEntry::Parts)?;
        Some(())
    }
}

/// Files that are needed to look at a configuration that is kept.
fn files_of(action: &Action) -> Vec<Digest> {
    match action {
        Action::Keep { conflict } => match &conflict.document.body {
            Some(Body::Configuration(configuration)) => {
                configuration.files.iter().flat_map(|file| file.pieces.iter().copied()).collect()
            }
            Some(Body::User(_) | Body::Token(_) | Body::Session(_)) | None => Vec::new(),
        },
        Action::Put { .. } | Action::Remove { .. } | Action::Note { .. } | Action::Forget { .. } => {
            Vec::new()
        }
    }
}
