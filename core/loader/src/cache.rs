//! Copies of libraries under the name of their content, so that a path never changes its meaning: the system's loader
//! returns the old image for a path it knows, and a library overwritten while loaded ends the process.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::LoadError;
use crate::inspect::Sha256Hex;

/// Path of the copy of `bytes`, made if it is missing or does not have the content its name says.
pub(crate) fn place(cache_dir: &Path, sha256: &Sha256Hex, bytes: &[u8]) -> Result<PathBuf, LoadError> {
    let refused = |path: &Path| {
        let path = path.to_path_buf();
        move |source| LoadError::Cache { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(cache_dir).map_err(refused(cache_dir))?;
    // An absolute path: the loader searches its own directories for a name without a slash.
    let cache_dir = cache_dir.canonicalize().map_err(refused(cache_dir))?;
    let path = cache_dir.join(format!("{sha256}.so"));
    let is_there = || match fs::read(&path) {
        Ok(found) => Ok(found == bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    if !is_there().map_err(refused(&path))? {
        write(&path, bytes, is_there).map_err(refused(&path))?;
    }
    Ok(path)
}

/// Writes a new file and gives it its name; an old one with the same name lives on for whoever has it loaded. One that is
/// good, and that another process made meanwhile, stays: a child may be about to load it, and may open that one file only.
fn write(path: &Path, bytes: &[u8], is_there: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{count}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o500))?;
        file.sync_all()?;
        drop(file);
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there()? => Ok(()),
            // What is there is damaged, or the file system has no links.
            Err(_) => fs::rename(&temporary, path),
            Ok(()) => Ok(()),
        }
    })();
    // Nothing better can be done about a file that is in nobody's way.
    drop(fs::remove_file(&temporary));
    written
}
