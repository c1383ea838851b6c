//! Values of other interfaces' items, for modules: metering, messenger, shutters.

use std::fmt;
use std::sync::Arc;

use twinhub_contract::constants::BATCH_COUNT_MAX;
use twinhub_contract::extension::{self, Values, ValuesIn as Table};
use twinhub_contract::{abi, code};

use crate::browse::Question;
use crate::entry::{elements, guarded_entry, may_take, read_items, submit};
use crate::error::{Code, Error};
use crate::mailbox::Command;
use crate::publisher::Publisher;
use crate::shared::Shared;
use crate::value::{Epoch, Flags, Item, Quality, Value};

/// Values of watched items, in the order of the hub's journal. Answered once, now or later from a task; one that is dropped
/// comes again.
///
/// ```
/// use twinhub_plugin::{Ctx, Item, Quality, Update, Value, ValuesIn};
///
/// /// Publishes the last reading of each meter as the item of the same number.
/// fn mirror(cx: &Ctx, values: ValuesIn) {
///     for value in values.iter() {
///         cx.publisher().push(Update::new(value.item, value.value.clone()).quality(value.quality));
///     }
///     values.done();
/// }
/// ```
#[derive(Debug)]
pub struct ValuesIn {
    values: Vec<ValueIn>,
    publisher: Publisher,
    question: Question,
}

/// One value of a watched item.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueIn {
    /// The item, as [`crate::Plugin::watch`] was given it.
    pub item: Item,
    /// The value.
    pub value: Value,
    /// How good it is.
    pub quality: Quality,
    /// When it arose on the device, nanoseconds since 1970 UTC; [`crate::Update::NO_TIME`] if that is not known.
    pub source_ns: i64,
    /// Where it stands in the hub's journal.
    pub place: Place,
    /// [`Flags::REPLAY`]: it came while no instance was active. [`Flags::SNAPSHOT`]: the item as it is now, no change.
    pub flags: Flags,
}

/// Where a value stands in the hub's journal: it grows, and is the same on all nodes. Values of one place are never in two
/// batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    epoch: u64,
    seq: u64,
}

impl Place {
    /// For a key of the state store, together with what was made of the values.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.epoch) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// What [`Place::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        Self { epoch: (number >> 64) as u64, seq: number as u64 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl ValuesIn {
    pub(crate) fn new(shared: Arc<Shared>, op: u64, values: Vec<ValueIn>, publisher: Publisher) -> Self {
        Self { values, publisher, question: Question::new(shared, op) }
    }

    /// Where the last of them stands: what to keep with what was made of them.
    pub fn place(&self) -> Place {
        self.values.last().map_or(Place::default(), |value| value.place)
    }

    /// Those that came behind a place, as changes: without what was dealt with before, and without pictures.
    pub fn since(&self, place: Place) -> impl Iterator<Item = &ValueIn> {
        self.values.iter().filter(move |value| value.place > place && !value.flags.contains(Flags::SNAPSHOT))
    }

    /// The values.
    pub fn iter(&self) -> std::slice::Iter<'_, ValueIn> {
        self.values.iter()
    }

    /// They are dealt with: what was published and put because of them counts together with that. The next ones follow.
    pub fn done(self) {
        let Self { publisher, question, .. } = self;
        publisher.flush();
        if publisher.waiting() == 0 {
            return question.end(Code::Ok, "");
        }
        tokio::task::spawn_local(async move {
            publisher.drained().await;
            question.end(Code::Ok, "");
        });
    }

    /// They cannot be dealt with. [`Code::Invalid`] and [`Code::Unsupported`] are for good: the hub counts them and goes on.
    /// With any other error they come again, a quarter of a second later.
    pub fn refuse(self, error: &Error) {
        self.question.end(error.code(), error.detail());
    }
}

impl<'a> IntoIterator for &'a ValuesIn {
    type Item = &'a ValueIn;
    type IntoIter = std::slice::Iter<'a, ValueIn>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct")]
const SIZE: u32 = size_of::<Table>() as u32;

/// The table of every instance.
pub(crate) static VALUES_IN: Table =
    Table { size: SIZE, reserved: 0, watch: Some(watch), values: Some(values) };

unsafe extern "C" fn watch(
    plugin: *const abi::Plugin,
    op: u64,
    add_or_remove: u32,
    first: *const abi::Item,
    n: u32,
    stride: u32,
) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and `n` items of `stride` bytes are readable.
    unsafe {
        guarded_entry(plugin, |instance| {
            let (add, remove, refused) = read_items(add_or_remove, first, n, stride)?;
            submit(instance, Command::Watch { op, add, remove, refused })
        })
    }
}

unsafe extern "C" fn values(plugin: *const abi::Plugin, op: u64, batch: *const Values) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and the batch is readable for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let shared = &instance.shared;
            let size = batch.as_ref().map_or(0, |batch| batch.size as usize);
            if size < size_of::<Values>() {
                return Err(Code::Invalid);
            }
            let batch = *batch;
            may_take(shared, batch.epoch)?;
            let raw = elements(batch.items, batch.count, batch.stride, BATCH_COUNT_MAX)?;
            let values: Result<Vec<ValueIn>, Code> = raw.map(|update| value_in(&update)).collect();
            let values = values?;
            if values.is_empty() {
                return Ok(code::OK);
            }
            submit(instance, Command::Values { op, epoch: Epoch(batch.epoch), values })
        })
    }
}

/// # Safety
/// What the value points to is readable.
unsafe fn value_in(raw: &extension::ValueIn) -> Result<ValueIn, Code> {
    let extension::ValueIn { update: raw, place_epoch, place_seq } = raw;
    // SAFETY: passed on from the caller.
    let value = unsafe { raw.value.read() }.map_err(|_| Code::Invalid)?;
    Ok(ValueIn {
        item: Item(raw.item),
        value: Value::from_ref(value),
        quality: Quality(raw.status),
        source_ns: raw.source_ns,
        place: Place { epoch: *place_epoch, seq: *place_seq },
        flags: Flags(raw.flags),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_order_as_bytes() {
        let places =
            [(0, 0), (1, 7), (1, 8), (2, 0), (u64::MAX, u64::MAX)].map(|(epoch, seq)| Place { epoch, seq });
        for pair in places.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_bytes() < pair[1].to_bytes());
        }
        assert_eq!(places.map(|place| Place::from_bytes(place.to_bytes())), places);
    }
}
