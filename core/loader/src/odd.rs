//! Calls that a hub of this version never makes: those of a newer one, and wrong ones. A plugin must take the former and
//! refuse the latter; only tests of plugins make them.

use twinhub_contract::constants::{TIME_NONE, items};
use twinhub_contract::{Item, Str, Value, ValueRef, Write, WriteBatch, code};

use crate::error::PluginError;
use crate::instance::{Instance, ItemSpec, Status, count, negative};

/// An element of a newer hub: with a member behind those that this version knows.
#[repr(C)]
struct Newer<T> {
    known: T,
    more: u64,
}

/// A value that a plugin cannot have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddValue {
    /// Of a kind that no version has.
    UnknownKind,
    /// A text that is empty, with a NULL pointer.
    EmptyText,
    /// A boolean that is neither 0 nor 1.
    Boolean,
}

impl Instance {
    /// Changes to a role by its number, known or not.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn set_role_number(&self, op: u64, role: u32, epoch: u64) -> Result<Status, PluginError> {
        self.control("set_role", op, 1, |calls, plugin| {
            // SAFETY: the table is valid until `destroy`.
            vec![unsafe { (calls.set_role)(plugin, op, role, epoch, TIME_NONE) }]
        })
    }

    /// Hands over items with elements that are larger than this version knows them.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn items_of_newer_hub(&self, op: u64, add: &[ItemSpec]) -> Result<Status, PluginError> {
        self.raw_items(op, items::ADD, add)
    }

    /// Does with the items what no version knows.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn items_unknown(&self, op: u64, specs: &[ItemSpec]) -> Result<Status, PluginError> {
        self.raw_items(op, 77, specs)
    }

    fn raw_items(&self, op: u64, what: u32, specs: &[ItemSpec]) -> Result<Status, PluginError> {
        let items: Vec<Newer<Item>> = specs
            .iter()
            .map(|spec| Newer {
                known: Item {
                    handle: spec.handle,
                    access: spec.access,
                    address_json: Str::new(&spec.address_json),
                    type_hint: spec.type_hint,
                    group: spec.group,
                },
                more: u64::MAX,
            })
            .collect();
        self.control("items", op, 1, |calls, plugin| {
            let (first, n) = (items.as_ptr().cast::<Item>(), count(items.len()));
            let stride = count(size_of::<Newer<Item>>());
            // SAFETY: the table is valid until `destroy`; the items and their texts live for the call.
            vec![unsafe { (calls.items)(plugin, op, what, first, n, stride) }]
        })
    }

    /// Writes values to one item, with elements that are larger than this version knows them: `(write_id, value)`.
    ///
    /// # Errors
    /// What the plugin answers, or `INVALID` if a value is too long.
    pub fn write_of_newer_hub(
        &self,
        epoch: u64,
        item: u32,
        values: &[(u64, ValueRef<'_>)],
    ) -> Result<(), PluginError> {
        let values = values.iter().map(|(id, value)| Some((*id, Value::describe(*value, 0)?)));
        let values: Option<Vec<_>> = values.collect();
        let Some(values) = values else {
            return Err(PluginError::new("write", code::INVALID, "a value is longer than 1 MiB"));
        };
        self.raw_write(epoch, item, &values)
    }

    /// Writes an odd value to an item.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn write_odd(&self, epoch: u64, item: u32, write_id: u64, odd: OddValue) -> Result<(), PluginError> {
        let Some(mut value) = Value::describe(ValueRef::Bool(true), 0) else { return Ok(()) };
        match odd {
            OddValue::UnknownKind => value.kind = 99,
            OddValue::EmptyText => {
                value.kind = twinhub_contract::kind::STR;
                value.p.ptr = std::ptr::null();
            }
            OddValue::Boolean => value.p.u = 2,
        }
        self.raw_write(epoch, item, &[(write_id, value)])
    }

    fn raw_write(&self, epoch: u64, item: u32, values: &[(u64, Value)]) -> Result<(), PluginError> {
        let writes: Vec<Newer<Write>> = values
            .iter()
            .map(|(write_id, value)| Newer {
                known: Write { write_id: *write_id, item, flags: 0, deadline_ns: TIME_NONE, value: *value },
                more: u64::MAX,
            })
            .collect();
        let batch = Newer {
            known: WriteBatch {
                size: count(size_of::<Newer<WriteBatch>>()),
                stride: count(size_of::<Newer<Write>>()),
                count: count(writes.len()),
                flags: 0,
                epoch,
                items: writes.as_ptr().cast(),
            },
            more: u64::MAX,
        };
        // SAFETY: the table is valid until `destroy`; the batch and its values live for the call.
        let code = unsafe { (self.calls.write)(self.plugin, &raw const batch.known) };
        if code == code::OK { Ok(()) } else { Err(PluginError::new("write", negative(code), "")) }
    }
}
