//! Loads plugin libraries behind the C contract and hands out safe instances.
//!
//! - [`inspect`] and [`read_manifest`] say what a library is without running any of its code: the compatibility matrix,
//!   `plugin ls` and allow-lists use only these.
//! - [`Library::open`] copies a library to a path named by its content, loads that, checks its entry, and never
//!   unloads it: code of a plugin may be pinned by thread-local destructors for as long as any of its threads lives, so
//!   unloading would be unpredictable.
//! - [`Library::create`] makes an [`Instance`], which calls back into a [`HostSink`].
//!
//! # Trust
//! Code in this process is trusted with the whole process: a wild pointer or a stack overflow in it takes the hub down.
//! Who opens a library may judge its bytes first ([`Library::open_checked`]): what is judged is what is loaded.
//! What can be checked is checked: entries, tables, sizes, strides, counts, kinds, lengths, UTF-8. Whatever breaks the
//! contract becomes an error value and never a panic.
//!
//! # Figures
//! `cargo bench -p twinhub-loader` prints the cost of the boundary per value beside the same code called without a
//! library, the round trip of a write, and the memory of an instance.
#![allow(
    unsafe_code,
    reason = "loads libraries and talks to them through raw pointers; every block says why it holds"
)]
#![warn(missing_docs)]

mod batch;
mod cache;
mod error;
mod host;
mod inspect;
mod instance;
mod library;
mod maker;
mod memory;
mod odd;
mod ops;
mod sink;
mod store;

pub use batch::{RawBatch, UpdateError, UpdateIter, UpdateRef};
pub use error::{LoadError, PluginError, Refused};
pub use host::late_calls;
pub use inspect::{
    EntryNumbers, Inspection, Sha256Hex, exported_symbols, inspect, inspect_checked, read_manifest,
};
pub use instance::{Instance, ItemSpec, Status, ValueIn, ValueOut, WriteReq};
pub use library::Library;
pub use maker::Maker;
pub use memory::give_back_memory;
pub use odd::OddValue;
pub use sink::{HostSink, Lease, PublishOutcome};
pub use store::{Change, StateStore, Ticket};
pub use twinhub_contract::{EventRef, Manifest, Role, ValueRef, WriteResult};
