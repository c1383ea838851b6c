//! Writes the files of the configuration in force beside `twinhub.toml`, where the next start reads them.
//!
//! Each file is replaced as a whole, `twinhub.toml` last. What somebody changed by hand since is kept as
//! `NAME.local-REVISION`. Which revision was written is noted, so that later changes by hand stay.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use twinhub_config::{Files, LOCK_FILE, MAIN_FILE};
use twinhub_documents::{Body, Configuration, Digest, Document, limits};

use super::{DocumentStore, Watched, configuration_of, secret};
use crate::error::StartError;
use crate::whole_file::write_whole;

/// After a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Starts the thread that writes; it ends with the store.
pub(crate) fn keep_written(
    store: &DocumentStore,
    config_file: PathBuf,
    marker: PathBuf,
) -> Result<(), StartError> {
    let (changed, happened) = channel();
    store.watch(changed);
    let store = store.watched();
    std::thread::Builder::new()
        .name("configuration".to_owned())
        .spawn(move || run(&store, &config_file, &marker, &happened))
        .map(drop)
        .map_err(|source| StartError::Thread { what: "the thread that writes configurations", source })
}

fn run(store: &Watched, config_file: &Path, marker: &Path, happened: &Receiver<()>) {
    loop {
        let Some(store) = store.get() else { return };
        let written = write_newest(&store, config_file, marker);
        drop(store);
        let waited = match written {
            Ok(()) => happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Err(error) => {
                tracing::error!(
                    file = %config_file.display(), %error,
                    "the configuration in force cannot be written: this node goes on with the one it has"
                );
                happened.recv_timeout(AGAIN)
            }
        };
        match waited {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write_newest(store: &DocumentStore, config_file: &Path, marker: &Path) -> io::Result<()> {
    let Some(document) = store.read(|documents| documents.configuration().cloned()) else { return Ok(()) };
    let Some(Body::Configuration(configuration)) = &document.body else { return Ok(()) };
    let mark = format!("{} {}\n", document.revision, document.changed);
    if fs::read_to_string(marker).is_ok_and(|written| written == mark) {
        store.set_written(document.revision);
        return Ok(());
    }
    let files = store.files_of(configuration)?;
    let known: Vec<Document> = store.read(|documents| documents.revisions().cloned().collect());
    let dir = config_file.parent().unwrap_or(Path::new("."));
    let (main, others): (Vec<_>, Vec<_>) = files.0.iter().partition(|(name, _)| *name == MAIN_FILE);
    for (name, bytes) in others.into_iter().chain(main) {
        // A revision that another version took says nothing about whose code runs here.
        if name == LOCK_FILE {
            tracing::error!(revision = document.revision, "it has a {LOCK_FILE}, which is not written");
            continue;
        }
        let path = if name == MAIN_FILE { config_file.to_owned() } else { dir.join(name) };
        let before = match fs::read(&path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if before.as_deref() == Some(bytes.as_slice()) {
            continue;
        }
        if before.is_some_and(|before| !is_of_a_revision(name, &before, &known)) {
            let mut kept = path.clone().into_os_string();
            kept.push(format!(".local-{}", document.revision));
            tracing::warn!(path = %path.display(), kept = %Path::new(&kept).display(), "changed by hand, kept aside");
            fs::rename(&path, kept)?;
        }
        write_whole(&path, bytes, None)?;
    }
    write_whole(marker, mark.as_bytes(), None)?;
    store.set_written(document.revision);
    let running = document.revision;
    tracing::info!(revision = running, author = document.author, "the configuration in force is written");
    Ok(())
}

/// Whether this was the content of the file in a revision that is kept.
fn is_of_a_revision(name: &str, bytes: &[u8], known: &[Document]) -> bool {
    let digests: Vec<Digest> = bytes.chunks(limits::PIECE_BYTES_MAX).map(secret::digest).collect();
    known
        .iter()
        .filter_map(configuration_of)
        .flat_map(|configuration| &configuration.files)
        .any(|file| file.name == name && file.size == bytes.len() as u64 && file.pieces == digests)
}

impl DocumentStore {
    /// The files of a configuration.
    pub(crate) fn files_of(&self, configuration: &Configuration) -> io::Result<Files> {
        let mut files = Files::default();
        for file in &configuration.files {
            let mut bytes = Vec::new();
            for piece in &file.pieces {
                bytes.append(&mut self.piece(piece)?);
            }
            if bytes.len() as u64 != file.size {
                return Err(io::Error::other(format!("`{}` has another length than it should", file.name)));
            }
            files.0.insert(file.name.clone(), bytes);
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use twinhub_documents::{Action, Change, ConfigurationFile, Entry};
    use twinhub_model::{Epoch, NodeRank, Position};

    use super::*;

    fn apply(store: &DocumentStore, seq: u64, text: &str) {
        apply_as(store, seq, text, &[MAIN_FILE]);
    }

    /// Each file of the revision has the same text.
    fn apply_as(store: &DocumentStore, seq: u64, text: &str, names: &[&str]) {
        let mut part = store.part();
        let digest = secret::digest(text.as_bytes());
        let at = |seq| Position::new(Epoch::new(1, NodeRank(0)), seq);
        part.apply(at(seq), &Entry::Piece(digest, text.as_bytes().to_vec().into()).encode()).unwrap();
        let size = text.len() as u64;
        let file = |name: &&str| ConfigurationFile { name: (*name).into(), size, pieces: vec![digest] };
        let files = names.iter().map(file).collect();
        let configuration = Configuration { message: String::new(), hash: seq, files, rolled_back_to: None };
        let action =
            Action::Put { name: "site".into(), body: Body::Configuration(configuration), base: None };
        let change = Change { author: "ada".into(), origin: "here".into(), time: 1, action, alone: false };
        part.apply(at(seq), &Entry::Change(change).encode()).unwrap();
    }

    #[test]
    fn no_revision_says_which_plugins_may_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = DocumentStore::open(&dir.path().join("pieces")).unwrap();
        let (file, marker) = (dir.path().join(MAIN_FILE), dir.path().join("written"));
        fs::write(dir.path().join(LOCK_FILE), "trusted").unwrap();
        apply_as(&store, 1, "one", &[MAIN_FILE, "items.csv", LOCK_FILE]);
        write_newest(&store, &file, &marker).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read(MAIN_FILE), read("items.csv")), ("one".to_owned(), "one".to_owned()));
        assert_eq!(read(LOCK_FILE), "trusted");
    }

    #[test]
    fn a_revision_is_written_once_and_what_was_changed_by_hand_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = DocumentStore::open(&dir.path().join("pieces")).unwrap();
        let (file, marker) = (dir.path().join("my.toml"), dir.path().join("written"));
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        write_newest(&store, &file, &marker).unwrap();
        assert!(!file.exists(), "there is none to write");
        apply(&store, 1, "one");
        write_newest(&store, &file, &marker).unwrap();
        assert_eq!(read("my.toml"), "one");
        apply(&store, 2, "two");
        write_newest(&store, &file, &marker).unwrap();
        assert_eq!((read("my.toml"), read("my.toml.local-2")), ("two".into(), String::new()));
        fs::write(&file, "by hand").unwrap();
        write_newest(&store, &file, &marker).unwrap();
        assert_eq!(read("my.toml"), "by hand", "a start leaves it alone");
        apply(&store, 3, "three");
        write_newest(&store, &file, &marker).unwrap();
        assert_eq!((read("my.toml"), read("my.toml.local-3")), ("three".into(), "by hand".into()));
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains(".new-")), "{left:?}");
    }
}
