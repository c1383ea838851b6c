//! Files that are replaced as a whole: the old or the new bytes after any crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// For everybody to read.
const MODE_PUBLIC: u32 = 0o644;
/// A directory with secrets.
const MODE_SECRET_DIR: u32 = 0o700;

/// Writes a file, with its directory if need be. `mode` is that of the new file; without one it is that of the file
/// before.
///
/// # Errors
/// Why not; the file is as it was then.
pub fn write_whole(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let before = || fs::metadata(path).map_or(MODE_PUBLIC, |before| before.permissions().mode() & 0o7777);
    let mode = mode.unwrap_or_else(before);
    let temporary = temporary(path);
    // What a crash left has the mode of something else.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It would only take room.
        fs::remove_file(&temporary).ok();
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

/// Unlike that of any other file, and of another process that writes the same one: nodes may share a folder.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".new-{}", std::process::id()));
    name.into()
}

/// Makes a directory that only its owner reads, also if it was there already.
///
/// # Errors
/// Why not.
pub(crate) fn make_secret_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE_SECRET_DIR).create(path)?;
    let open = fs::metadata(path)?.permissions().mode() & 0o7777;
    if open & !MODE_SECRET_DIR == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(open & MODE_SECRET_DIR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_secret_also_if_a_crash_left_a_part_of_something_public() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki/main.key");
        fs::create_dir(dir.path().join("pki")).unwrap();
        fs::write(temporary(&path), "half a certificate").unwrap();
        write_whole(&path, b"key", Some(0o600)).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"key".to_vec(), 0o600));
        assert!(!temporary(&path).exists());
    }

    #[test]
    fn files_that_differ_in_their_extension_do_not_meet() {
        assert_ne!(temporary(Path::new("pki/main.key")), temporary(Path::new("pki/main.pem")));
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("twinhub.toml");
        write_whole(&path, b"one", None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_whole(&path, b"two", None).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o640));
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("by")).unwrap();
        assert!(write_whole(&taken, b"x", None).is_err());
        assert!(!temporary(&taken).exists());
    }

    #[test]
    fn a_directory_with_secrets_is_closed_to_others_also_if_it_was_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/main");
        make_secret_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        make_secret_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
