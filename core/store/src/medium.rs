//! What is done to a disk.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// The operations that can fail because a disk is full or broken. A test replaces it.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Creates a file that does not exist, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes some of `bytes` at `offset` and returns how many.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Returns when the file's content survives a power failure.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// A real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Medium for Disk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    #[cfg(unix)]
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Writes all of `bytes`; returns how many were written before an error.
pub(crate) fn write_all_at(
    medium: &dyn Medium,
    file: &File,
    bytes: &[u8],
    offset: u64,
) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match medium.write_at(file, &bytes[done..], offset + done as u64) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// Makes created, renamed and removed names in `dir` survive a power failure.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
