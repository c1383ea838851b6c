//! Backups of the site, made and kept by a node.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use twinhub_config::{Files, Site};
use twinhub_history::Snapshot;

use super::Handle;
use super::accounts::Author;
use super::join::secret_files;
use crate::backup::{self, BackupError, Entries, Header};
use crate::clock;
use crate::error::CommandError;
use crate::view::BackupView;
use crate::whole_file::write_whole;

/// Ends the names of backups.
const EXTENSION: &str = "twinhub-backup";
/// Bytes of values of the past in a backup, which is made in memory; older ones are left out.
const HISTORY_BYTES_MAX: u64 = 64 << 20;
/// The history writes what it holds in memory within this time, or its newest values are left out.
const SEAL_MAX: Duration = Duration::from_secs(10);
/// A larger file is no certificate and no secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;

impl Handle {
    /// Makes a backup: configuration, files with secrets, certificates, users, tokens, revisions and values of the
    /// past.
    ///
    /// # Errors
    /// Why not.
    pub async fn make_backup(&self, author: &Author, passphrase: String) -> Result<BackupView, CommandError> {
        let (files, site) = self.next_site().await?;
        let handle = self.clone();
        let view = self.busily(move || handle.write_backup(&files, &site, &passphrase)).await?;
        self.note(author, format!("made the backup {}", view.name)).await;
        Ok(view)
    }

    /// Backups on this node, oldest first.
    pub fn backups(&self) -> Vec<BackupView> {
        let Ok(found) = fs::read_dir(&self.0.places.backups) else { return Vec::new() };
        let mut backups: Vec<BackupView> =
            found.flatten().filter_map(|entry| view_of(&entry.path())).collect();
        backups.sort_by(|one, other| one.at.cmp(&other.at));
        backups
    }

    /// Where a backup is.
    pub fn backup_file(&self, name: &str) -> Option<PathBuf> {
        self.backups().into_iter().find(|backup| backup.name == name)?;
        Some(self.0.places.backups.join(name))
    }

    fn write_backup(&self, files: &Files, site: &Site, passphrase: &str) -> Result<BackupView, CommandError> {
        let internal = |why: String| CommandError::Internal { why };
        let places = &self.0.places;
        let mut entries = Entries::new();
        for (name, bytes) in &files.0 {
            entries.insert(format!("config/{name}"), bytes.clone());
        }
        let dir = places.config_file.parent().unwrap_or(Path::new("."));
        for name in secret_files(site) {
            let path = dir.join(&name);
            if Path::new(&name).is_relative() && is_small(&path) {
                let bytes =
                    fs::read(&path).map_err(|error| internal(format!("{}: {error}", path.display())))?;
                entries.insert(format!("secrets/{name}"), bytes);
            }
        }
        let pki = fs::read_dir(&places.pki).map_err(|error| internal(format!("certificates: {error}")))?;
        for entry in pki.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_pki = path.extension().is_some_and(|kind| kind == "pem" || kind == "key");
            if is_pki && is_small(&path) {
                let bytes =
                    fs::read(&path).map_err(|error| internal(format!("{}: {error}", path.display())))?;
                entries.insert(format!("pki/{name}"), bytes);
            }
        }
        for (number, body) in self.0.documents.copy().into_iter().enumerate() {
            entries.insert(format!("documents/{number:06}"), body);
        }
        let (past, is_sealed) = match self.0.shelf.reader() {
            Ok(reader) => {
                // What waits in memory is in no file yet.
                let is_sealed = self.0.shelf.lines.seal(SEAL_MAX);
                if !is_sealed {
                    tracing::warn!("the newest values are not in the backup: the history cannot be written");
                }
                let past = reader.snapshot(HISTORY_BYTES_MAX).map_err(|error| internal(error.to_string()))?;
                (past, is_sealed)
            }
            Err(_) => (Snapshot::default(), true),
        };
        for (name, bytes) in past.files {
            entries.insert(format!("{}{name}", backup::HISTORY), bytes);
        }
        let at = clock::utc().to_string();
        let header = Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            site: site.site.clone(),
            node: self.node_name().to_owned(),
            group: self.documents_group().to_owned(),
            at: at.clone(),
            history_rows: past.rows,
            history_is_cut: past.is_cut,
            history_is_behind: !is_sealed,
            ..Header::default()
        };
        let file = backup::seal(header, &entries, passphrase).map_err(|error| match error {
            BackupError::ShortPassphrase => CommandError::BadValue { what: error.to_string() },
            BackupError::NoBackup
            | BackupError::Damaged { .. }
            | BackupError::Newer { .. }
            | BackupError::WrongPassphrase
            | BackupError::Internal { .. }
            | BackupError::File { .. } => internal(error.to_string()),
        })?;
        let stamp: String = at.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("{stamp}.{EXTENSION}");
        let path = places.backups.join(&name);
        let written = write_whole(&path, &file, Some(0o600));
        written.map_err(|error| internal(format!("cannot write {}: {error}", path.display())))?;
        view_of(&path).ok_or_else(|| internal(format!("{} is not readable", path.display())))
    }
}

fn is_small(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= FILE_BYTES_MAX)
}

fn view_of(path: &Path) -> Option<BackupView> {
    let name = path.file_name()?.to_str()?.to_owned();
    if path.extension()?.to_str()? != EXTENSION {
        return None;
    }
    let file = fs::read(path).ok()?;
    let view = |header: Header| BackupView {
        name: name.clone(),
        bytes: file.len() as u64,
        at: header.at,
        site: header.site,
        node: header.node,
        version: header.version,
        history_rows: header.history_rows,
        history_is_cut: header.history_is_cut,
        history_is_behind: header.history_is_behind,
        fault: None,
    };
    Some(match backup::look(&file) {
        Ok(header) => view(header),
        Err(error) => BackupView { fault: Some(error.to_string()), ..view(Header::default()) },
    })
}
