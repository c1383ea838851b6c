//! Values of other interfaces' items, for a plugin that takes them.

use twinhub_contract::constants::BATCH_COUNT_MAX;
use twinhub_contract::extension::{self, Values, ValuesIn};
use twinhub_contract::{Update, Value, code};

use super::{Instance, ItemSpec, Status, count};
use crate::batch::UpdateRef;
use crate::error::PluginError;

/// A value of an item of another interface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueIn<'a> {
    /// The value.
    pub update: UpdateRef<'a>,
    /// Its place in the journal: epoch, number there.
    pub place: (u64, u64),
}

impl Instance {
    /// Adds and removes items of other interfaces, whose handles are of a numbering of their own. Otherwise as
    /// [`Instance::items`].
    ///
    /// # Errors
    /// `UNSUPPORTED` if the plugin takes no values, or what it answers.
    pub fn watch(&self, op: u64, add: &[ItemSpec], remove: &[u32]) -> Result<Status, PluginError> {
        let watch = self.values_in().and_then(|table| table.watch).ok_or_else(|| not_offered("watch"))?;
        self.change_items("watch", op, add, remove, watch)
    }

    /// Gives values of watched items in `epoch`. May overlap all other calls, but not itself.
    ///
    /// # Errors
    /// What the plugin answers; `INVALID` if there are more than [`BATCH_COUNT_MAX`] values or one is too long.
    pub fn values(&self, op: u64, epoch: u64, values: &[ValueIn<'_>]) -> Result<Status, PluginError> {
        let give = self.values_in().and_then(|table| table.values).ok_or_else(|| not_offered("values"))?;
        let refused = |what: &str| Err(PluginError::new("values", code::INVALID, what));
        if values.len() > BATCH_COUNT_MAX as usize {
            return refused("too many values in one batch");
        }
        let mut raw = Vec::with_capacity(values.len());
        for ValueIn { update, place: (place_epoch, place_seq) } in values {
            let UpdateRef { item, status, source_ns, value, wire, flags, seq } = *update;
            let Some(value) = Value::describe(value, wire) else {
                return refused("a value is longer than 1 MiB");
            };
            let update = Update { item, status, source_ns, value, flags, seq };
            raw.push(extension::ValueIn { update, place_epoch: *place_epoch, place_seq: *place_seq });
        }
        let batch = Values {
            size: SIZE_VALUES,
            stride: STRIDE_VALUE,
            count: count(raw.len()),
            flags: 0,
            epoch,
            items: raw.as_ptr(),
        };
        self.control("values", op, 1, |_, plugin| {
            // SAFETY: the table is valid until `destroy`; the batch and its values live for the call.
            vec![unsafe { give(plugin, op, &raw const batch) }]
        })
    }

    fn values_in(&self) -> Option<ValuesIn> {
        *self.values_in.get_or_init(|| self.table::<ValuesIn>(extension::VALUES_IN))
    }
}

fn not_offered(name: &'static str) -> PluginError {
    PluginError::new(name, code::UNSUPPORTED, "the plugin takes no values of other interfaces")
}

const SIZE_VALUES: u32 = count(size_of::<Values>());
const STRIDE_VALUE: u32 = count(size_of::<extension::ValueIn>());
