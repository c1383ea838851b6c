//! A batch of updates as it came from a plugin: checked while it is read, never copied.

use std::marker::PhantomData;

use twinhub_contract::constants::{BATCH_COUNT_MAX, STRIDE_MAX};
use twinhub_contract::{Batch, Update, ValueError, ValueRef};

/// Updates of one publish call, readable during that call.
#[derive(Clone, Copy, Debug)]
pub struct RawBatch<'a> {
    first: *const Update,
    stride: usize,
    count: usize,
    call: PhantomData<&'a Update>,
}

impl<'a> RawBatch<'a> {
    /// Checks the frame of a batch: sizes, count, pointer. The updates are checked by the iterator.
    ///
    /// # Safety
    /// `batch` is NULL or leads to a readable batch of at least the size that its first word says, and if its frame is
    /// good, its elements and what their values point to are readable and unchanged for `'a`.
    pub(crate) unsafe fn new(batch: *const Batch) -> Option<(u64, Self)> {
        if batch.is_null() || !batch.is_aligned() {
            return None;
        }
        // SAFETY: not NULL, aligned; `size` is the first word of every version.
        let size = unsafe { (*batch).size } as usize;
        if size < size_of::<Batch>() {
            return None;
        }
        // SAFETY: at least as large as this version knows it.
        let batch = unsafe { *batch };
        let is_stride_good = batch.stride as usize >= size_of::<Update>()
            && batch.stride <= STRIDE_MAX
            && batch.stride.is_multiple_of(8);
        let is_empty = batch.count == 0;
        let is_pointer_good = !batch.items.is_null() && batch.items.is_aligned();
        if batch.count > BATCH_COUNT_MAX || !(is_empty || is_stride_good && is_pointer_good) {
            return None;
        }
        let stride = batch.stride as usize;
        Some((
            batch.epoch,
            Self { first: batch.items, stride, count: batch.count as usize, call: PhantomData },
        ))
    }

    /// Number of updates.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no update.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The updates, each checked as it is reached.
    #[inline]
    pub fn iter(&self) -> UpdateIter<'a> {
        UpdateIter { batch: *self, index: 0 }
    }
}

impl<'a> IntoIterator for RawBatch<'a> {
    type Item = Result<UpdateRef<'a>, UpdateError>;
    type IntoIter = UpdateIter<'a>;
    fn into_iter(self) -> UpdateIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &RawBatch<'a> {
    type Item = Result<UpdateRef<'a>, UpdateError>;
    type IntoIter = UpdateIter<'a>;
    fn into_iter(self) -> UpdateIter<'a> {
        self.iter()
    }
}

/// One checked update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateRef<'a> {
    /// Handle; whether it exists is for the host to say.
    pub item: u32,
    /// OPC UA status code.
    pub status: u32,
    /// Nanoseconds since 1970 UTC, or [`twinhub_contract::constants::TIME_NONE`].
    pub source_ns: i64,
    /// The value.
    pub value: ValueRef<'a>,
    /// Type on the device, one of [`twinhub_contract::wire`] or a number unknown to this version.
    pub wire: u8,
    /// Bits of [`twinhub_contract::flag`].
    pub flags: u32,
    /// Sequence number of the plugin.
    pub seq: u32,
}

/// An update that breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("update {index} of item {item}: {source}")]
pub struct UpdateError {
    /// Its place in the batch.
    pub index: usize,
    /// The item it names.
    pub item: u32,
    /// What is wrong with its value.
    pub source: ValueError,
}

/// Iterator over a [`RawBatch`].
#[derive(Clone, Debug)]
pub struct UpdateIter<'a> {
    batch: RawBatch<'a>,
    index: usize,
}

impl<'a> Iterator for UpdateIter<'a> {
    type Item = Result<UpdateRef<'a>, UpdateError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index >= self.batch.count {
            return None;
        }
        self.index += 1;
        // SAFETY: within the array as checked by `new`; the stride is a multiple of the alignment, and the plugin keeps
        // the elements readable for the call. The element is copied out before it is checked.
        let raw = unsafe { self.batch.first.byte_add(index * self.batch.stride).read() };
        // SAFETY: the plugin keeps what the value points to readable for the call, by contract.
        Some(match unsafe { raw.value.read() } {
            Ok(value) => Ok(UpdateRef {
                item: raw.item,
                status: raw.status,
                source_ns: raw.source_ns,
                value,
                wire: raw.value.wire,
                flags: raw.flags,
                seq: raw.seq,
            }),
            Err(source) => Err(UpdateError { index, item: raw.item, source }),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.count - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for UpdateIter<'_> {}
