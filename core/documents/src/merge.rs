//! What a node changed alone before it followed another one again.

use twinhub_model::{Position, Timestamp};

use crate::audit::AuditEntry;
use crate::body::Body;
use crate::change::{Action, Change};
use crate::document::{Conflict, Document};
use crate::kind::Kind;
use crate::state::Documents;

/// What the writer is to be told after a split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    /// Changes for it to make.
    pub changes: Vec<Change>,
    /// What became of each document, for the report.
    pub lines: Vec<String>,
    /// Entries of the audit list for it to take in.
    pub audit: Vec<AuditEntry>,
}

/// Compares what `node` has with what the writer has: `fork` is the last record that both have.
pub fn ours_after(fork: Position, node: &str, ours: &Documents, theirs: &Documents, now: Timestamp) -> Merge {
    let audit = ours.audit().filter(|entry| entry.position > fork).cloned().collect();
    let mut merge = Merge { audit, ..Merge::default() };
    for document in ours.older().filter(|document| document.changed > fork) {
        let said = merge.keep(document, node, theirs, now);
        merge.say(document, said);
    }
    let known = ours.conflicts().filter(|conflict| !theirs.has_conflict(&conflict.document));
    merge.changes.extend(known.cloned().map(|conflict| Change {
        author: conflict.document.author.clone(),
        origin: format!("merge of node {node}"),
        time: conflict.time,
        action: Action::Keep { conflict },
        alone: false,
    }));
    for document in ours.all().filter(|document| document.changed > fork) {
        let theirs_of_it = theirs.get(document.kind, &document.name);
        if theirs_of_it.is_some_and(|other| other.changed == document.changed) {
            continue;
        }
        let (action, said) = match &document.body {
            None => removed(fork, document, theirs_of_it),
            Some(Body::Session(session)) => {
                let user = |documents: &Documents| {
                    documents.get(Kind::User, &session.user).map(|user| (user.born, user.changed))
                };
                let is_ended_there = theirs_of_it.is_some_and(|other| other.body.is_none());
                if session.has_ended(now) || is_ended_there || user(ours) != user(theirs) {
                    (None, "ended")
                } else if theirs_of_it.is_some_and(|other| other.body == document.body) {
                    (None, SAME)
                } else {
                    (Some(put(document)), "joined")
                }
            }
            Some(body @ (Body::Configuration(_) | Body::User(_) | Body::Token(_))) => {
                let other = theirs_of_it.and_then(|other| other.body.as_ref());
                let is_removed_there =
                    theirs_of_it.is_some_and(|other| other.body.is_none() && other.changed > fork);
                if other == Some(body) {
                    (None, SAME)
                } else if is_removed_there && document.born <= fork {
                    (None, "removed on the other")
                } else {
                    let said = merge.keep(document, node, theirs, now);
                    (None, said)
                }
            }
        };
        merge.say(document, said);
        merge.changes.extend(action.map(|action| Change {
            author: document.author.clone(),
            origin: format!("merge of node {node}"),
            time: document.time,
            action,
            alone: document.alone,
        }));
    }
    merge
}

impl Merge {
    /// Has a document kept beside what is in force.
    fn keep(&mut self, document: &Document, node: &str, theirs: &Documents, now: Timestamp) -> &'static str {
        if !theirs.has_conflict(document) {
            let conflict = Conflict { document: document.clone(), node: node.to_owned(), time: now.0 };
            self.changes.push(Change {
                author: document.author.clone(),
                origin: format!("merge of node {node}"),
                time: document.time,
                action: Action::Keep { conflict },
                alone: document.alone,
            });
        }
        "kept as a conflict"
    }

    fn say(&mut self, document: &Document, said: &str) {
        let shown: String = document.name.chars().take(12).collect();
        let (kind, revision) = (document.kind.word(), document.revision);
        self.lines.push(format!("{kind} `{shown}`, revision {revision}: {said}"));
    }
}

/// What needs nothing.
const SAME: &str = "the same on both";

/// A removal wins, but not over what was made after it under the same name.
fn removed(fork: Position, document: &Document, other: Option<&Document>) -> (Option<Action>, &'static str) {
    match other {
        Some(other) if other.body.is_some() && other.born <= fork => {
            (Some(Action::Remove { kind: document.kind, name: document.name.clone() }), "removed on both")
        }
        Some(other) if other.body.is_some() => (None, "made anew on the other"),
        Some(_) | None => (None, SAME),
    }
}

fn put(document: &Document) -> Action {
    let body = document.body.clone().expect("only documents with a body are joined");
    Action::Put { name: document.name.clone(), body, base: None }
}
