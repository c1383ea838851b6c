//! The output gate of a group, where every process of this node can read it.
//!
//! Two words: the epoch the gate is open for, and the end of its lease in nanoseconds of `CLOCK_BOOTTIME`. A closed gate
//! has epoch 0. One thread of the hub writes; whoever is about to cause an effect reads, in this process or another one.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::region::{Access, Region};

/// The words of one gate.
#[derive(Debug)]
pub struct GateWords {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Shared(Region),
    /// The system has no memory to share: plugins in processes of their own cannot be hosted.
    Own(Box<[AtomicU64; WORDS]>),
}

impl GateWords {
    /// A closed gate.
    pub fn new() -> Self {
        let memory = match Region::create("twinhub-gate", WORDS, true) {
            Ok(region) => Memory::Shared(region),
            Err(error) => {
                tracing::debug!(%error, "a gate is not shared");
                Memory::Own(Box::default())
            }
        };
        Self { memory }
    }

    /// The gate of another process, which this one can only read.
    ///
    /// # Errors
    /// If it is not the file of a gate.
    pub(crate) fn open(file: OwnedFd) -> io::Result<Self> {
        Ok(Self { memory: Memory::Shared(Region::open(file, WORDS, Access::Read)?) })
    }

    /// The file behind it, for a process that may read it.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.memory {
            Memory::Shared(region) => Some(region.file()),
            Memory::Own(_) => None,
        }
    }

    fn words(&self) -> (&AtomicU64, &AtomicU64) {
        let words = match &self.memory {
            Memory::Shared(region) => region.words(),
            Memory::Own(words) => &words[..],
        };
        (&words[EPOCH], &words[END])
    }

    /// Opens it for `epoch`, or extends it, until `end`. Only the thread that owns the gate may call this.
    pub fn extend(&self, epoch: u64, end: u64) {
        let (current, until) = self.words();
        if current.load(Ordering::Acquire) != epoch {
            until.store(0, Ordering::Release);
            current.store(epoch, Ordering::Release);
        }
        until.store(end, Ordering::Release);
    }

    /// Closes it at once. Only the thread that owns the gate may call this.
    pub fn close(&self) {
        let (current, until) = self.words();
        until.store(0, Ordering::Release);
        current.store(0, Ordering::Release);
    }

    /// The epoch it is open for, 0 if it is closed.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.words().0.load(Ordering::Acquire)
    }

    /// The end of the lease if `epoch` holds it, whether or not it has passed. The end is read first and the epoch after
    /// it, so a gate that moved in between gives nothing.
    #[inline]
    pub fn lease_end(&self, epoch: u64) -> Option<u64> {
        let (current, until) = self.words();
        let end = until.load(Ordering::Acquire);
        (epoch != 0 && current.load(Ordering::Acquire) == epoch && end != 0).then_some(end)
    }
}

impl Default for GateWords {
    fn default() -> Self {
        Self::new()
    }
}

const EPOCH: usize = 0;
const END: usize = 1;
const WORDS: usize = 2;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn another_mapping_of_the_same_gate_sees_each_move_and_cannot_make_one() {
        let gate = GateWords::new();
        let file = gate.file().expect("this system shares memory").try_clone_to_owned().unwrap();
        let seen = GateWords::open(file).unwrap();
        assert_eq!(seen.lease_end(7), None);
        gate.extend(7, 100);
        assert_eq!((seen.lease_end(7), seen.lease_end(6), seen.epoch()), (Some(100), None, 7));
        gate.extend(8, 50);
        assert_eq!((seen.lease_end(7), seen.lease_end(8)), (None, Some(50)));
        gate.close();
        assert_eq!((seen.lease_end(8), seen.lease_end(0)), (None, None));
        let file = gate.file().unwrap().as_fd().try_clone_to_owned().unwrap();
        assert!(Region::open(file, WORDS, Access::Write).is_err(), "nobody else may write");
    }

    #[test]
    fn a_file_of_another_size_is_no_gate() {
        let other = Region::create("other", 9, true).unwrap();
        assert!(GateWords::open(other.file().try_clone_to_owned().unwrap()).is_err());
    }
}
