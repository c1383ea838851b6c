//! The documents of the cluster on this node: configuration revisions, users, tokens, sessions, audit.
//!
//! The rules are in `core/documents`; here is who keeps them. Changes come from the journal of the first group as a part
//! of its state; readers ask at any time. Pieces of configuration files are not in that state but beside it, each in a
//! file under its SHA-256: they are large, never change, and several revisions share them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Semaphore;
use twinhub_config::{Site, differences};
use twinhub_documents::{Applied, Body, Configuration, Digest, Document, Documents, Entry};
use twinhub_model::{Part, Position};

use crate::engine::parts::PartState;
use crate::error::StartError;

pub(crate) mod files;
pub(crate) mod secret;

/// Changes that may be under way at once.
const PROPOSALS_MAX: usize = 64;

/// Pairs of revisions of which is kept what differs.
const COMPARED_MAX: usize = 16;

/// Passwords that are compared at once, each with 19 MiB.
const HASHING_MAX: usize = 2;

/// See the module. Clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct DocumentStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The folder of pieces.
    pieces: PathBuf,
    state: Mutex<State>,
    /// Hashes of the revisions that are kept, for who must not wait behind the state.
    hashes: Mutex<BTreeSet<u64>>,
    proposals: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
    /// What differs between revisions, by their hashes.
    compared: Mutex<BTreeMap<(u64, u64), Arc<str>>>,
}

#[derive(Debug, Default)]
struct State {
    documents: Documents,
    /// The revision whose files were written here last.
    written: Option<u64>,
    /// Told when another configuration is in force.
    watcher: Option<Sender<()>>,
    /// To the thread that brings pieces to the disk.
    syncer: Option<Sender<PathBuf>>,
}

impl DocumentStore {
    /// A store whose pieces are in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<DocumentStore, StartError> {
        fs::create_dir_all(dir).map_err(|source| StartError::File {
            action: "create",
            path: dir.to_owned(),
            source,
        })?;
        Ok(DocumentStore(Arc::new(Inner {
            pieces: dir.to_owned(),
            state: Mutex::default(),
            hashes: Mutex::default(),
            proposals: Arc::new(Semaphore::new(PROPOSALS_MAX)),
            hashing: Arc::new(Semaphore::new(HASHING_MAX)),
            compared: Mutex::default(),
        })))
    }

    /// Tells of every configuration that is in force from now on.
    pub(crate) fn watch(&self, watcher: Sender<()>) {
        self.0.state().watcher = Some(watcher);
    }

    /// The files of this revision are where the next start reads them.
    pub(crate) fn set_written(&self, revision: u64) {
        self.0.state().written = Some(revision);
    }

    /// Whether the next start runs the configuration in force.
    pub(crate) fn is_written(&self) -> bool {
        let state = self.0.state();
        state.documents.configuration().is_none_or(|document| state.written == Some(document.revision))
    }

    /// The store for who must not keep it alive.
    pub(crate) fn watched(&self) -> Watched {
        Watched(Arc::downgrade(&self.0))
    }

    /// The revision with this hash, checked, if it is kept.
    pub(crate) fn site_of(&self, hash: u64) -> Option<Site> {
        let configuration = self.read(|documents| {
            let found = documents.revisions().filter_map(configuration_of);
            found.filter(|configuration| configuration.hash == hash).last().cloned()
        })?;
        let files = self.files_of(&configuration).ok()?;
        files.check().ok().map(|loaded| loaded.site)
    }

    /// The newest revision with this hash that is kept.
    pub(crate) fn revision_of(&self, hash: u64) -> Option<u64> {
        self.read(|documents| {
            let is_it =
                |document: &&Document| configuration_of(document).is_some_and(|found| found.hash == hash);
            documents.revisions().filter(is_it).last().map(|document| document.revision)
        })
    }

    /// What differs between two revisions that are kept, in words. It is looked up once, since both are read for it.
    pub(crate) fn differences(&self, from: u64, to: u64) -> Option<Arc<str>> {
        let mut compared = self.0.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compared.get(&(from, to)) {
            return Some(Arc::clone(known));
        }
        let found = differences(&self.site_of(from)?, &self.site_of(to)?);
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        let words: Arc<str> = if words.is_empty() { "its form only".into() } else { words.join(", ").into() };
        if compared.len() >= COMPARED_MAX {
            compared.clear();
        }
        compared.insert((from, to), Arc::clone(&words));
        Some(words)
    }

    /// Whether one of the revisions that are kept has this hash.
    pub(crate) fn knows(&self, hash: u64) -> bool {
        self.0.hashes.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
    }

    /// What keeps it in the journal.
    pub(crate) fn part(&self) -> Box<dyn PartState> {
        Box::new(DocumentsPart(self.clone()))
    }

    /// Looks at the documents.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Documents) -> R) -> R {
        look(&self.0.state().documents)
    }

    /// Room for changes under way.
    pub(crate) fn proposals(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.proposals)
    }

    /// Room for passwords that are compared.
    pub(crate) fn hashing(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.hashing)
    }

    /// Everything in bodies that another store can take.
    pub(crate) fn copy(&self) -> Vec<Vec<u8>> {
        let part = DocumentsPart(self.clone());
        part.pieces().into_iter().chain(part.files()).collect()
    }

    /// The bytes of a piece.
    pub(crate) fn piece(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.0.piece_path(digest))?;
        if secret::digest(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(io::Error::other("its bytes are not those of its name"))
    }

    fn take(&self, position: Position, body: &[u8]) -> Result<Applied, String> {
        let entry = Entry::decode(body).map_err(|error| error.to_string())?;
        let mut state = self.0.state();
        let is_copy_complete = matches!(entry, Entry::Through(_));
        let is_revision = matches!(entry, Entry::Revision(_));
        let mut applied = state.documents.apply(position, entry);
        if applied.is_configured || applied.is_forgotten || is_revision || is_copy_complete {
            self.0.note_hashes(&state.documents);
        }
        if applied.is_configured
            && let Some(watcher) = &state.watcher
        {
            // It ends with this end.
            watcher.send(()).ok();
        }
        if let Some((digest, bytes)) = applied.piece.take() {
            let kept = self.0.keep_piece(digest, &bytes);
            state.sync_later(kept.map_err(|error| format!("piece {digest}: {error}"))?);
        }
        Ok(applied)
    }
}

/// A store that may be gone.
#[derive(Debug)]
pub(crate) struct Watched(Weak<Inner>);

impl Watched {
    /// The store, if it is still there.
    pub(crate) fn get(&self) -> Option<DocumentStore> {
        self.0.upgrade().map(DocumentStore)
    }
}

/// The configuration in a document, if it is one.
pub(crate) const fn configuration_of(document: &Document) -> Option<&Configuration> {
    match &document.body {
        Some(Body::Configuration(configuration)) => Some(configuration),
        Some(Body::User(_) | Body::Token(_) | Body::Session(_)) | None => None,
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    secret::digest(bytes).to_string()
}

/// The store as a part of the journal's state.
#[derive(Debug)]
struct DocumentsPart(DocumentStore);

impl PartState for DocumentsPart {
    fn part(&self) -> Part {
        Part::DOCUMENTS
    }

    fn apply(&mut self, at: Position, body: &[u8]) -> Result<(), String> {
        if self.0.take(at, body)?.is_forgotten {
            self.0.0.forget_pieces(&self.0.read(Documents::pieces));
        }
        Ok(())
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.0.read(Documents::snapshot).iter().map(Entry::encode).collect()
    }

    fn clear(&mut self) {
        self.0.0.state().documents = Documents::default();
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        // A copy says itself where it stands.
        self.0.take(Position::START, piece).map(|_| ())
    }

    fn files(&self) -> Vec<Vec<u8>> {
        let needed = self.0.read(Documents::pieces);
        let bytes_of = |digest: Digest| match self.0.piece(&digest) {
            Ok(bytes) => Some(Entry::Piece(digest, bytes.into()).encode()),
            Err(error) => {
                tracing::error!(%digest, %error, "a piece of a configuration file is missing");
                None
            }
        };
        needed.into_iter().filter_map(bytes_of).collect()
    }

    fn fork(&self, common: Position) -> Vec<Vec<u8>> {
        let changed = self.0.read(|documents| documents.changed_after(common));
        let files = changed.iter().flat_map(files_of).collect::<BTreeSet<Digest>>();
        let mut pieces: Vec<Vec<u8>> = changed.iter().map(Entry::encode).collect();
        for digest in files {
            match self.0.piece(&digest) {
                Ok(bytes) => pieces.push(Entry::Piece(digest, bytes.into()).encode()),
                Err(error) => {
                    tracing::error!(%digest, %error, "a piece of a configuration file is missing");
                }
            }
        }
        pieces
    }
}

/// Pieces of files that a document names.
fn files_of(entry: &Entry) -> Vec<Digest> {
    let document = match entry {
        Entry::Document(document) | Entry::Revision(document) => document,
        Entry::Conflict(conflict) => &conflict.document,
        Entry::Change(_) | Entry::Piece(..) | Entry::Audit(_) | Entry::Through(_) | Entry::AuditOf(_) => {
            return Vec::new();
        }
    };
    match &document.body {
        Some(Body::Configuration(configuration)) => {
            configuration.files.iter().flat_map(|file| file.pieces.iter().copied()).collect()
        }
        Some(Body::User(_) | Body::Token(_) | Body::Session(_)) | None => Vec::new(),
    }
}

impl State {
    fn sync_later(&mut self, path: PathBuf) {
        if self.syncer.is_none() {
            self.syncer = start_syncer();
        }
        if let Some(syncer) = &self.syncer {
            // The thread lives as long as this end.
            syncer.send(path).ok();
        }
    }
}

/// A thread that brings pieces to the disk, so that the engine does not wait for it.
fn start_syncer() -> Option<Sender<PathBuf>> {
    let (sender, paths) = channel::<PathBuf>();
    let spawned = std::thread::Builder::new().name("pieces".to_owned()).spawn(move || {
        while let Ok(path) = paths.recv() {
            let synced = File::open(&path).and_then(|file| file.sync_all()).and_then(|()| {
                path.parent().map_or(Ok(()), |dir| File::open(dir).and_then(|dir| dir.sync_all()))
            });
            if let Err(error) = synced {
                tracing::warn!(path = %path.display(), %error, "a piece of a configuration file is not on the disk");
            }
        }
    });
    match spawned {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "the thread for pieces of files does not start");
            None
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_hashes(&self, documents: &Documents) {
        let found = documents.revisions().filter_map(configuration_of);
        let hashes = found.map(|configuration| configuration.hash).collect();
        *self.hashes.lock().unwrap_or_else(PoisonError::into_inner) = hashes;
    }

    fn piece_path(&self, digest: &Digest) -> PathBuf {
        self.pieces.join(digest.to_string())
    }

    fn keep_piece(&self, digest: Digest, bytes: &[u8]) -> io::Result<PathBuf> {
        if secret::digest(bytes) != digest {
            return Err(io::Error::other("its bytes are not those of its name"));
        }
        let path = self.piece_path(&digest);
        let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
        if !is_there {
            let temporary = path.with_extension("new");
            fs::write(&temporary, bytes)?;
            fs::rename(&temporary, &path)?;
        }
        Ok(path)
    }

    fn forget_pieces(&self, needed: &BTreeSet<Digest>) {
        let Ok(entries) = fs::read_dir(&self.pieces) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(Digest::parse);
            if digest.is_some_and(|digest| !needed.contains(&digest)) {
                // It is tried again the next time.
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use twinhub_documents::{Action, Change, ConfigurationFile};
    use twinhub_model::{Epoch, NodeRank};

    use super::*;

    fn change(action: Action) -> Vec<u8> {
        let change = Change { author: "ada".into(), origin: "here".into(), time: 1, action, alone: false };
        Entry::Change(change).encode()
    }

    fn at(seq: u64) -> Position {
        Position::new(Epoch::new(1, NodeRank(0)), seq)
    }

    #[test]
    fn a_copy_carries_files_and_takes_the_place_of_all() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = DocumentStore::open(here.path()).unwrap();
        let mut part = writer.part();
        let bytes = b"version = 1\n".to_vec();
        let digest = secret::digest(&bytes);
        part.apply(at(1), &Entry::Piece(digest, bytes.clone().into()).encode()).unwrap();
        let file =
            ConfigurationFile { name: "twinhub.toml".into(), size: bytes.len() as u64, pieces: vec![digest] };
        let configuration =
            Configuration { message: String::new(), hash: 7, files: vec![file], rolled_back_to: None };
        let body = Body::Configuration(configuration);
        part.apply(at(2), &change(Action::Put { name: "site".into(), body, base: None })).unwrap();
        let standby = DocumentStore::open(there.path()).unwrap();
        let mut copy = standby.part();
        copy.apply(at(1), &change(Action::Note { text: "of another life".into() })).unwrap();
        copy.clear();
        for piece in part.pieces().into_iter().chain(part.files()) {
            copy.restore(&piece).unwrap();
        }
        assert_eq!(standby.read(Documents::snapshot)[..1], writer.read(Documents::snapshot)[..1]);
        assert_eq!(standby.read(|documents| documents.audit().len()), 1);
        assert_eq!(standby.piece(&digest).unwrap(), bytes);
    }

    #[test]
    fn a_piece_under_a_wrong_name_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = DocumentStore::open(dir.path()).unwrap();
        let digest = Digest::new([7; 32]);
        let piece = Entry::Piece(digest, b"x".to_vec().into()).encode();
        assert!(store.part().apply(at(1), &piece).is_err());
        assert!(store.piece(&digest).is_err());
    }

    #[test]
    fn what_this_node_changed_alone_is_kept_for_the_active_one_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let store = DocumentStore::open(dir.path()).unwrap();
        let mut part = store.part();
        part.apply(at(1), &change(Action::Note { text: "before".into() })).unwrap();
        let bytes = b"version = 1\n".to_vec();
        let digest = secret::digest(&bytes);
        part.apply(at(2), &Entry::Piece(digest, bytes.clone().into()).encode()).unwrap();
        let file = ConfigurationFile { name: "twinhub.toml".into(), size: 12, pieces: vec![digest] };
        let configuration =
            Configuration { message: String::new(), hash: 7, files: vec![file], rolled_back_to: None };
        let body = Body::Configuration(configuration);
        part.apply(at(3), &change(Action::Put { name: "site".into(), body, base: None })).unwrap();
        let pieces = part.fork(at(1));
        let entries: Vec<Entry> = pieces.iter().map(|piece| Entry::decode(piece).unwrap()).collect();
        let [Entry::Document(document), Entry::Audit(audit), Entry::Piece(kept, content)] = &entries[..]
        else {
            panic!("{entries:?}");
        };
        assert_eq!((document.changed, audit.len()), (at(3), 1));
        assert_eq!((kept, content.as_slice()), (&digest, &bytes[..]));
        assert_eq!(part.fork(at(3)), Vec::<Vec<u8>>::new(), "nothing is new behind it");
    }
}
