//! Memory that two processes share, as words.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A file in memory and where it is mapped. It can neither shrink nor grow, so that no access ends the process.
#[derive(Debug)]
pub(crate) struct Region {
    file: OwnedFd,
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is only reached through atomics.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// What the side that opens a region may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read only; writing to it ends the process.
    Read,
    /// Everything.
    Write,
}

impl Region {
    /// New memory of `count` words, all 0. Whoever opens it with [`Access::Read`] cannot have more, if `is_own`.
    pub(crate) fn create(name: &str, count: usize, is_own: bool) -> io::Result<Self> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, bytes(count) as u64)?;
        let region = Self::map(file, count, Access::Write)?;
        let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let seals = if is_own { fixed | SealFlags::FUTURE_WRITE } else { fixed };
        fcntl_add_seals(&region.file, seals)?;
        Ok(region)
    }

    /// The memory of another process.
    pub(crate) fn open(file: OwnedFd, count: usize, access: Access) -> io::Result<Self> {
        let length = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let is_fixed = fcntl_get_seals(&file)?.contains(SealFlags::SHRINK);
        if length != bytes(count) as u64 || !is_fixed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory of another size"));
        }
        Self::map(file, count, access)
    }

    fn map(file: OwnedFd, count: usize, access: Access) -> io::Result<Self> {
        let access = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at a place of the system's choice touches no other memory.
        let first = unsafe { mmap(std::ptr::null_mut(), bytes(count), access, MapFlags::SHARED, &file, 0) }?;
        let first = NonNull::new(first.cast()).ok_or_else(|| io::Error::other("mapped at no address"))?;
        Ok(Self { file, first, count })
    }

    /// All of it.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped until this is dropped, aligned to a page, sealed against shrinking, any bits are a number.
        // Where it is mapped read-only nobody writes, see `Access::Read`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// The first half of a word, which is nowhere used as a whole.
    pub(crate) fn half(&self, at: usize) -> &AtomicU32 {
        let word: *const AtomicU64 = &raw const self.words()[at];
        // SAFETY: within a word, which is aligned to more.
        unsafe { &*word.cast::<AtomicU32>() }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; references to it borrow this.
        _ = unsafe { munmap(self.first.as_ptr().cast(), bytes(self.count)) };
    }
}

const fn bytes(count: usize) -> usize {
    count * size_of::<u64>()
}
