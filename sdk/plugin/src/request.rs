//! What the hub asks a plugin to write.

use crate::time::Deadline;
use crate::value::{Flags, Item, Value};

/// Number of a write, given by the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteEntry {
    /// To answer with.
    pub id: WriteId,
    /// The item.
    pub item: Item,
    /// What to write.
    pub value: Value,
    /// Nothing may be sent after this point.
    pub deadline: Deadline,
    /// Bits.
    pub flags: Flags,
}
