//! What the two sides tell each other beside values, writes and their answers.

use minicbor::{Decode, Encode};

use crate::words::{as_bytes, push_bytes};

/// Kinds of records of all lanes.
pub(crate) mod kind {
    /// `batch::updates`.
    pub(crate) const VALUES: u16 = 1;
    /// `batch::writes`.
    pub(crate) const WRITES: u16 = 2;
    /// The batches that came before, then `batch::results`.
    pub(crate) const RESULTS: u16 = 3;
    /// [`super::Order`].
    pub(crate) const ORDER: u16 = 4;
    /// The batches that came before, then [`super::Report`].
    pub(crate) const REPORT: u16 = 5;
    /// In the lane of values: [`super::Put`].
    pub(crate) const PUT: u16 = 7;
    /// See [`crate::values_in`].
    pub(crate) const VALUES_IN: u16 = 8;
    /// In the lane of values: from here on their acceptance is waited for. No words.
    pub(crate) const ACCEPTANCE: u16 = 6;
    /// In the lane of values: [`super::EventRow`] that the instance gives.
    pub(crate) const GIVE: u16 = 8;
    /// In the lane of values: number and code of an event that the hub brought.
    pub(crate) const ACKNOWLEDGE: u16 = 9;
    /// Hub to child: [`super::EventRow`] for the instance.
    pub(crate) const DELIVER: u16 = 10;
    /// In the lane of values: nothing follows before the next role. The number of [`super::Order::Hush`].
    pub(crate) const HUSHED: u16 = 11;
}

/// Hub to child.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Order {
    /// Load the library and make the instance. Comes first.
    #[n(0)]
    Create {
        /// The copy named by its content.
        #[n(0)]
        library: String,
        /// Name of the interface.
        #[n(1)]
        id: String,
        /// Its configuration.
        #[n(2)]
        config: String,
        /// Whether effects need the lease.
        #[n(3)]
        leased: bool,
        /// What the plugin declares to need, in the words of the manifest.
        #[n(4)]
        needs: Vec<String>,
        /// What it keeps by key, if it may.
        #[n(5)]
        store: Option<Vec<Entry>>,
        /// Whether it may give and take events.
        #[n(8)]
        has_events: bool,
    },
    /// `start`.
    #[n(1)]
    Start {
        /// Of the hub.
        #[n(0)]
        op: u64,
    },
    /// `set_role`.
    #[n(2)]
    SetRole {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        role: u32,
        /// As in the contract.
        #[n(2)]
        epoch: u64,
        /// As in the contract.
        #[n(3)]
        deadline_ns: i64,
    },
    /// `items`.
    #[n(3)]
    Items {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        add_or_remove: u32,
        /// What.
        #[n(2)]
        items: Vec<ItemRow>,
    },
    /// `stop`.
    #[n(4)]
    Stop {
        /// Of the hub.
        #[n(0)]
        op: u64,
    },
    /// `snapshot` of `twinhub.state/1`.
    #[n(5)]
    Snapshot {
        /// Comes back.
        #[n(0)]
        call: u64,
    },
    /// `apply` of `twinhub.state/1`.
    #[n(6)]
    Apply {
        /// Comes back.
        #[n(0)]
        call: u64,
        /// As in the contract.
        #[n(1)]
        version: u32,
        /// As in the contract.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// So many batches are accepted.
    #[n(7)]
    Accepted {
        /// Counted from the first.
        #[n(0)]
        through: u64,
    },
    /// Answer at once.
    #[n(8)]
    Ping {
        /// Comes back.
        #[n(0)]
        number: u64,
    },
    /// `destroy`, and the end of the process.
    #[n(9)]
    Destroy,
    /// All that it keeps by key: a role follows, and what it put in another one and the hub has not is gone.
    #[n(10)]
    Store {
        /// Key and value.
        #[n(0)]
        entries: Vec<Entry>,
    },
    /// `browse` of `twinhub.browse/1`.
    #[n(11)]
    Browse {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        parent: String,
        /// As in the contract.
        #[n(2)]
        cursor: String,
        /// As in the contract.
        #[n(3)]
        limit: u32,
    },
    /// `diagnose` of `twinhub.diag/1`.
    #[n(12)]
    Diagnose {
        /// Of the hub.
        #[n(0)]
        op: u64,
    },
    /// `watch` of `twinhub.values-in/1`.
    #[n(13)]
    Watch {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        add_or_remove: u32,
        /// What.
        #[n(2)]
        items: Vec<ItemRow>,
    },
    /// Nothing of the instance is taken any more before its next role.
    #[n(14)]
    Hush {
        /// Of the hub.
        #[n(0)]
        op: u64,
    },
    /// `inquire` of `twinhub.inquiry/1`.
    #[n(15)]
    Inquire {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        question: u32,
        /// As in the contract.
        #[n(2)]
        request: String,
    },
    /// `taken` of `twinhub.events/1`.
    #[n(20)]
    Taken {
        /// As in the contract.
        #[n(0)]
        number: u64,
        /// As in the contract.
        #[n(1)]
        code: i32,
    },
}

/// One of what an instance keeps by key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Entry {
    #[n(0)]
    pub(crate) key: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) value: Vec<u8>,
}

/// The child keeps a value under a key, or forgets it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Put {
    #[n(0)]
    pub(crate) epoch: u64,
    #[n(1)]
    pub(crate) key: String,
    #[n(2)]
    pub(crate) is_forgotten: bool,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) value: Vec<u8>,
}

/// One item of [`Order::Items`] and [`Order::Watch`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ItemRow {
    #[n(0)]
    pub(crate) handle: u32,
    #[n(1)]
    pub(crate) access: u32,
    #[n(2)]
    pub(crate) address_json: String,
    #[n(3)]
    pub(crate) type_hint: u32,
    #[n(4)]
    pub(crate) group: u32,
}

/// Child to hub.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Report {
    /// The answer to [`Order::Create`].
    #[n(0)]
    Created {
        /// As of `create`; `INVALID` if the library cannot be loaded.
        #[n(0)]
        code: i32,
        /// For people.
        #[n(1)]
        detail: String,
        /// Bits of [`crate::offered::Offers`].
        #[n(2)]
        offers: u32,
    },
    /// A control call is done.
    #[n(1)]
    OpDone {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[n(1)]
        code: i32,
        /// For people.
        #[n(2)]
        detail: String,
    },
    /// The instance is unusable.
    #[n(2)]
    Fault {
        /// As in the contract.
        #[n(0)]
        code: i32,
        /// For people.
        #[n(1)]
        detail: String,
    },
    /// A line for the log.
    #[n(3)]
    Log {
        /// As in the contract.
        #[n(0)]
        level: u32,
        /// As in the contract.
        #[n(1)]
        target: String,
        /// As in the contract.
        #[n(2)]
        message: String,
        /// As in the contract.
        #[n(3)]
        fields: String,
    },
    /// The state of the interface.
    #[n(4)]
    State {
        /// As in the contract.
        #[n(0)]
        state: u32,
        /// For people.
        #[n(1)]
        cause: String,
    },
    /// Adds to a counter.
    #[n(5)]
    Count {
        /// As in the contract.
        #[n(0)]
        name: String,
        /// How much.
        #[n(1)]
        add: u64,
    },
    /// The answer to [`Order::Snapshot`] and [`Order::Apply`].
    #[n(6)]
    State1 {
        /// Of the order.
        #[n(0)]
        call: u64,
        /// As in the contract.
        #[n(1)]
        code: i32,
        /// Of a snapshot.
        #[n(2)]
        version: u32,
        /// A snapshot.
        #[cbor(n(3), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// What [`Order::Browse`], [`Order::Diagnose`] or [`Order::Inquire`] is answered with; its end follows.
    #[n(8)]
    Answer {
        /// Of the hub.
        #[n(0)]
        op: u64,
        /// As in the contract.
        #[cbor(n(1), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// The answer to [`Order::Ping`].
    #[n(7)]
    Pong {
        /// Of the order.
        #[n(0)]
        number: u64,
    },
}

/// Appends a message: its length in bytes, then the bytes.
pub(crate) fn pack<T: Encode<()>>(message: &T, words: &mut Vec<u64>) {
    // Into memory: it has no way to fail.
    let bytes = minicbor::to_vec(message).unwrap_or_default();
    words.push(bytes.len() as u64);
    push_bytes(words, &bytes);
}

/// Reads what [`pack`] wrote.
pub(crate) fn unpack<T: for<'b> Decode<'b, ()>>(words: &[u64]) -> Option<T> {
    let (length, bytes) = words.split_first()?;
    let bytes = as_bytes(bytes).get(..usize::try_from(*length).ok()?)?;
    minicbor::decode(bytes).ok()
}
