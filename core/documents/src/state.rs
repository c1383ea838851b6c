//! The state that all nodes share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use twinhub_model::{Position, Timestamp};

use crate::audit::AuditEntry;
use crate::body::{Body, Digest, Session, Token, User};
use crate::change::{Action, Change};
use crate::document::{Conflict, Document};
use crate::entry::Entry;
use crate::error::Refusal;
use crate::kind::Kind;
use crate::limits;

mod check;

/// Entries of the audit list that go together into one body of a copy.
const AUDIT_CHUNK: usize = 50;

/// Everything that the nodes have in common: the same on every node that applied the same records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    kept: BTreeMap<Kind, BTreeMap<String, Document>>,
    /// Configurations that were in force before, by revision.
    revisions: BTreeMap<u64, Document>,
    conflicts: VecDeque<Conflict>,
    audit: VecDeque<AuditEntry>,
    through: Position,
    tokens: BTreeMap<Digest, String>,
    refused: u64,
}

/// What follows from an entry for who keeps files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// A piece to keep.
    pub piece: Option<(Digest, Vec<u8>)>,
    /// Another configuration is in force.
    pub is_configured: bool,
    /// A revision or conflict was forgotten: pieces may not be needed any more.
    pub is_forgotten: bool,
}

impl Documents {
    /// The last record that is in here.
    pub fn through(&self) -> Position {
        self.through
    }

    /// Changes of the journal that this version did not take.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a body of the journal or of a copy. Records that are in here already change nothing.
    pub fn apply(&mut self, position: Position, entry: Entry) -> Applied {
        match entry {
            Entry::Change(_) if position <= self.through => Applied::default(),
            Entry::Change(change) => {
                self.through = position;
                if self.check(&change).is_err() {
                    self.refused += 1;
                    return Applied::default();
                }
                self.change(position, change)
            }
            Entry::Piece(digest, bytes) => {
                Applied { piece: Some((digest, bytes.into())), ..Applied::default() }
            }
            Entry::Document(document) => {
                let is_configured = document.kind == Kind::Configuration;
                self.place(document);
                Applied { is_configured, ..Applied::default() }
            }
            Entry::Revision(document) => {
                self.revisions.insert(document.revision, document);
                self.forget_revisions()
            }
            Entry::Conflict(conflict) => self.keep(conflict),
            Entry::Audit(entries) => {
                for entry in entries {
                    self.note(entry);
                }
                Applied::default()
            }
            Entry::Through(position) => {
                self.through = position;
                Applied::default()
            }
            Entry::AuditOf(entries) => {
                for entry in entries {
                    self.join(entry);
                }
                Applied::default()
            }
        }
    }

    /// What is to be told to the writer after a split, as bodies of an empty state: what changed here behind `fork`,
    /// with the users that sessions are of. Pieces of files are not among them.
    pub fn changed_after(&self, fork: Position) -> Vec<Entry> {
        let is_new = |document: &&Document| document.changed > fork;
        let of_sessions: BTreeSet<&str> = self
            .sessions()
            .filter(|(document, _)| is_new(document))
            .map(|(_, session)| session.user.as_str())
            .collect();
        let users = self.list(Kind::User).filter(|user| of_sessions.contains(user.name.as_str()));
        let users = users.filter(|user| !is_new(user));
        let documents = self.all().filter(is_new).chain(users).cloned().map(Entry::Document);
        let revisions = self.revisions.values().filter(is_new).cloned().map(Entry::Revision);
        let conflicts = self.conflicts.iter().cloned().map(Entry::Conflict);
        let audit: Vec<AuditEntry> =
            self.audit.iter().filter(|entry| entry.position > fork).cloned().collect();
        let audit = audit.chunks(AUDIT_CHUNK).map(|chunk| Entry::Audit(chunk.to_vec())).collect::<Vec<_>>();
        documents.chain(revisions).chain(conflicts).chain(audit).collect()
    }

    /// Bodies that make the same state of an empty one; pieces of files are not among them.
    pub fn snapshot(&self) -> Vec<Entry> {
        let documents = self.kept.values().flat_map(BTreeMap::values).cloned().map(Entry::Document);
        let revisions = self.revisions.values().cloned().map(Entry::Revision);
        let conflicts = self.conflicts.iter().cloned().map(Entry::Conflict);
        let audit: Vec<AuditEntry> = self.audit.iter().cloned().collect();
        let audit = audit.chunks(AUDIT_CHUNK).map(|chunk| Entry::Audit(chunk.to_vec())).collect::<Vec<_>>();
        documents
            .chain(revisions)
            .chain(conflicts)
            .chain(audit)
            .chain(std::iter::once(Entry::Through(self.through)))
            .collect()
    }

    fn change(&mut self, position: Position, change: Change) -> Applied {
        let Change { author, origin, time, action, alone } = change;
        self.note(AuditEntry { position, time, author: author.clone(), origin, text: action.describe() });
        self.end_sessions(|session| session.has_ended(Timestamp(time)));
        match action {
            Action::Put { name, body, base: _ } => {
                let before = self.get(body.kind(), &name);
                let born =
                    before.filter(|before| before.body.is_some()).map_or(position, |before| before.born);
                let revision = before.map_or(0, |before| before.revision) + 1;
                let kind = body.kind();
                let document = Document {
                    kind,
                    name,
                    revision,
                    born,
                    changed: position,
                    author,
                    time,
                    body: Some(body),
                    alone,
                };
                self.put(document)
            }
            Action::Remove { kind, name } => {
                if kind == Kind::User {
                    self.end_sessions(|session| session.user == name);
                }
                if let Some(before) = self.get(kind, &name).cloned() {
                    let revision = before.revision + 1;
                    let changed = position;
                    self.place(Document { revision, changed, author, time, body: None, alone, ..before });
                    self.forget_removed(kind);
                }
                Applied::default()
            }
            Action::Note { .. } => Applied::default(),
            Action::Keep { conflict } => self.keep(conflict),
            Action::Forget { kind, name } => {
                self.conflicts.retain(|conflict| {
                    (conflict.document.kind, conflict.document.name.as_str()) != (kind, name.as_str())
                });
                Applied { is_forgotten: true, ..Applied::default() }
            }
        }
    }

    fn put(&mut self, document: Document) -> Applied {
        match &document.body {
            Some(Body::Configuration(_)) => {
                let before = self.get(Kind::Configuration, &document.name).cloned();
                if let Some(before) = before {
                    self.revisions.insert(before.revision, before);
                }
                self.place(document);
                Applied { is_configured: true, ..self.forget_revisions() }
            }
            Some(Body::User(user)) => {
                let is_other = self.user(&document.name).is_some_and(|known| known.password != user.password);
                if is_other {
                    self.end_sessions(|session| session.user == document.name);
                }
                self.place(document);
                Applied::default()
            }
            Some(Body::Session(session)) => {
                let user = session.user.clone();
                self.place(document);
                self.end_oldest(Some(&user), limits::SESSIONS_OF_USER_MAX);
                self.end_oldest(None, limits::SESSIONS_MAX);
                Applied::default()
            }
            Some(Body::Token(_)) | None => {
                self.place(document);
                Applied::default()
            }
        }
    }

    /// Puts a document where it belongs, with what finds it.
    fn place(&mut self, document: Document) {
        if let Some(Body::Token(token)) = self.body(Kind::Token, &document.name)
            && document.kind == Kind::Token
        {
            let digest = token.digest;
            self.tokens.remove(&digest);
        }
        if let Some(Body::Token(token)) = &document.body {
            self.tokens.insert(token.digest, document.name.clone());
        }
        self.kept.entry(document.kind).or_default().insert(document.name.clone(), document);
    }

    fn end_sessions(&mut self, ends: impl Fn(&Session) -> bool) {
        if let Some(sessions) = self.kept.get_mut(&Kind::Session) {
            sessions.retain(|_, document| match &document.body {
                Some(Body::Session(session)) => !ends(session),
                Some(Body::Configuration(_) | Body::User(_) | Body::Token(_)) => false,
                None => true,
            });
        }
    }

    fn end_oldest(&mut self, user: Option<&str>, limit: usize) {
        let mut sessions: Vec<(Position, String)> = self
            .sessions()
            .filter(|(_, session)| user.is_none_or(|user| session.user == user))
            .map(|(document, _)| (document.born, document.name.clone()))
            .collect();
        sessions.sort_unstable();
        let excess = sessions.len().saturating_sub(limit);
        if let Some(kept) = self.kept.get_mut(&Kind::Session) {
            for (_, name) in sessions.into_iter().take(excess) {
                kept.remove(&name);
            }
        }
    }

    fn forget_removed(&mut self, kind: Kind) {
        let Some(documents) = self.kept.get_mut(&kind) else { return };
        let marks = || documents.values().filter(|document| document.body.is_none());
        if marks().count() > limits::REMOVED_MAX {
            let oldest = marks().min_by_key(|mark| mark.changed).map(|mark| mark.name.clone());
            if let Some(name) = oldest {
                documents.remove(&name);
            }
        }
    }

    fn forget_revisions(&mut self) -> Applied {
        let mut is_forgotten = false;
        // The one in force counts.
        while self.revisions.len() >= limits::REVISIONS_MAX {
            is_forgotten |= self.revisions.pop_first().is_some();
        }
        Applied { is_forgotten, ..Applied::default() }
    }

    fn keep(&mut self, conflict: Conflict) -> Applied {
        if self.has_conflict(&conflict.document) {
            return Applied::default();
        }
        self.conflicts.push_back(conflict);
        let is_forgotten = self.conflicts.len() > limits::CONFLICTS_MAX;
        if is_forgotten {
            self.conflicts.pop_front();
        }
        Applied { is_forgotten, ..Applied::default() }
    }

    /// Whether this document is kept as a conflict.
    pub(crate) fn has_conflict(&self, document: &Document) -> bool {
        let id = |document: &Document| (document.kind, document.changed);
        self.conflicts
            .iter()
            .any(|known| id(&known.document) == id(document) && known.document.name == document.name)
    }

    /// Older revisions of the configuration.
    pub(crate) fn older(&self) -> impl Iterator<Item = &Document> {
        self.revisions.values()
    }

    /// Puts an entry of another journal where its time says.
    fn join(&mut self, entry: AuditEntry) {
        if self.audit.iter().any(|known| known.position == entry.position) {
            return;
        }
        let earlier = self.audit.iter().rposition(|known| known.time <= entry.time);
        self.audit.insert(earlier.map_or(0, |at| at + 1), entry);
        if self.audit.len() > limits::AUDIT_MAX {
            self.audit.pop_front();
        }
    }

    fn note(&mut self, entry: AuditEntry) {
        self.audit.push_back(entry);
        if self.audit.len() > limits::AUDIT_MAX {
            self.audit.pop_front();
        }
    }
}

/// Looking at it.
impl Documents {
    /// A document, also one that was removed.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Document> {
        self.kept.get(&kind)?.get(name)
    }

    fn body(&self, kind: Kind, name: &str) -> Option<&Body> {
        self.get(kind, name)?.body.as_ref()
    }

    /// All documents of a kind that are there, by name.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = &Document> {
        self.kept.get(&kind).into_iter().flat_map(BTreeMap::values).filter(|document| document.body.is_some())
    }

    /// Every document, also removed ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Document> {
        self.kept.values().flat_map(BTreeMap::values)
    }

    /// The configuration in force.
    pub fn configuration(&self) -> Option<&Document> {
        self.list(Kind::Configuration).next()
    }

    /// The revision of the configuration with that number, while it is kept.
    pub fn revision(&self, number: u64) -> Option<&Document> {
        let current = self.configuration().filter(|document| document.revision == number);
        current.or_else(|| self.revisions.get(&number))
    }

    /// Revisions of the configuration that are kept, oldest first; the last one is in force.
    pub fn revisions(&self) -> impl Iterator<Item = &Document> {
        self.revisions.values().chain(self.configuration())
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<&User> {
        match self.body(Kind::User, name)? {
            Body::User(user) => Some(user),
            Body::Configuration(_) | Body::Token(_) | Body::Session(_) => None,
        }
    }

    /// The token with this digest, with its name.
    pub fn token(&self, digest: &Digest) -> Option<(&str, &Token)> {
        let name = self.tokens.get(digest)?;
        match self.body(Kind::Token, name)? {
            Body::Token(token) if token.digest == *digest => Some((name, token)),
            Body::Token(_) | Body::Configuration(_) | Body::User(_) | Body::Session(_) => None,
        }
    }

    /// The session with this digest, if it has not ended.
    pub fn session(&self, digest: &Digest, now: Timestamp) -> Option<&Session> {
        match self.body(Kind::Session, &digest.to_string())? {
            Body::Session(session) => (!session.has_ended(now)).then_some(session),
            Body::Configuration(_) | Body::User(_) | Body::Token(_) => None,
        }
    }

    /// All sessions, also those that have ended since the last change.
    pub fn sessions(&self) -> impl Iterator<Item = (&Document, &Session)> {
        self.list(Kind::Session).filter_map(|document| match &document.body {
            Some(Body::Session(session)) => Some((document, session)),
            Some(Body::Configuration(_) | Body::User(_) | Body::Token(_)) | None => None,
        })
    }

    /// What was kept at merges and is not in force.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// Who did what, oldest first.
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &AuditEntry> + ExactSizeIterator {
        self.audit.iter()
    }

    /// Pieces of files that a kept configuration needs.
    pub fn pieces(&self) -> BTreeSet<Digest> {
        let conflicts = self.conflicts.iter().map(|conflict| &conflict.document);
        self.revisions()
            .chain(conflicts)
            .filter_map(|document| match &document.body {
                Some(Body::Configuration(configuration)) => Some(configuration),
                Some(Body::User(_) | Body::Token(_) | Body::Session(_)) | None => None,
            })
            .flat_map(|configuration| &configuration.files)
            .flat_map(|file| file.pieces.iter().copied())
            .collect()
    }

    /// Whether a change can be made.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn check(&self, change: &Change) -> Result<(), Refusal> {
        check::check(self, change)
    }
}
