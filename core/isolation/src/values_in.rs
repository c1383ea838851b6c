//! `twinhub.values-in/1`: values of other interfaces' items, on their way to the plugin of a child.
//!
//! As a record: number of the operation; number of values, and the two numbers of the place of each; then a batch of values.

use twinhub_contract::constants::BATCH_COUNT_MAX;
use twinhub_contract::extension::{Values, ValuesIn};
use twinhub_contract::{Item, Update, abi, code};
use twinhub_loader::{Instance, PluginError, Status, UpdateRef, ValueIn};

use crate::batch;
use crate::message::Order;
use crate::proxy::{remote, rows, size};

unsafe extern "C" fn watch(
    plugin: *const abi::Plugin,
    op: u64,
    add_or_remove: u32,
    items: *const Item,
    n: u32,
    stride: u32,
) -> i32 {
    // SAFETY: the loader passes the table it was given, and items that are readable for the call.
    unsafe {
        let Some(items) = rows(items, n, stride) else { return code::INVALID };
        remote(plugin).control(op, &Order::Watch { op, add_or_remove, items })
    }
}

unsafe extern "C" fn values(plugin: *const abi::Plugin, op: u64, batch: *const Values) -> i32 {
    // SAFETY: the loader passes the table it was given, and a batch of this version that is readable for the call.
    let (remote, batch) = unsafe { (remote(plugin), &*batch) };
    if batch.count > BATCH_COUNT_MAX {
        return code::INVALID;
    }
    let value = |at: usize| {
        // SAFETY: as above.
        unsafe {
            let value = batch.items.byte_add(at * batch.stride as usize).read();
            Some(ValueIn { update: read(&value.update)?, place: (value.place_epoch, value.place_seq) })
        }
    };
    let values: Option<Vec<ValueIn<'_>>> = (0..batch.count as usize).map(value).collect();
    values.map_or(code::INVALID, |values| remote.values(op, batch.epoch, &values))
}

/// # Safety
/// What the value points to is readable for `'a`.
unsafe fn read<'a>(update: &Update) -> Option<UpdateRef<'a>> {
    Some(UpdateRef {
        item: update.item,
        status: update.status,
        source_ns: update.source_ns,
        // SAFETY: passed on from the caller.
        value: unsafe { update.value.read() }.ok()?,
        wire: update.value.wire,
        flags: update.flags,
        seq: update.seq,
    })
}

/// In the child: hands a record to the instance. The number of the operation at the hub, and what `give` is answered; `None`
/// if the record is none. `own` is told that number, and gives the one under which the instance completes it.
pub(crate) fn give(
    words: &[u64],
    instance: &Instance,
    own: impl FnOnce(u64) -> u64,
) -> Option<(u64, Result<Status, PluginError>)> {
    let ([op, count], rest) = words.split_first_chunk::<2>()?;
    let places = usize::try_from(*count).ok()?.checked_mul(2)?;
    let (places, rest) = rest.split_at_checked(places)?;
    let mut raw = Vec::new();
    let epoch = batch::updates(rest, &mut raw)?;
    let places = places.as_chunks::<2>().0;
    if places.len() != raw.len() {
        return None;
    }
    let value = |(update, [epoch, seq]): (&Update, &[u64; 2])| {
        // SAFETY: the values point into `words`, which outlive the call.
        let update = unsafe { read(update) }?;
        Some(ValueIn { update, place: (*epoch, *seq) })
    };
    let values: Vec<ValueIn<'_>> = raw.iter().zip(places).map(value).collect::<Option<_>>()?;
    let own = own(*op);
    Some((own, instance.values(own, epoch, &values)))
}

/// In the place of the plugin's.
pub(crate) static VALUES_IN: ValuesIn =
    ValuesIn { size: size(size_of::<ValuesIn>()), reserved: 0, watch: Some(watch), values: Some(values) };
