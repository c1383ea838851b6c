//! What survives a restart: journal segments, the role file, states.
//!
//! This crate knows files. It does not know who is active, what a record means to the hub, or when to make
//! something durable: the caller says when to write and when to sync.
//!
//! - [`Journal`]: one group's records in order, in segments with checksums;
//! - [`RoleFile`]: one small payload that is either the old or the new one after any crash;
//! - [`StateFile`]: a state as of one place in the journal, for what must outlive the journal's retention;
//! - [`Medium`]: what they do to the disk, replaceable in tests of full and failing disks.
#![warn(missing_docs)]

pub mod error;
pub mod journal;
mod medium;
mod role_file;
mod state_file;

pub use error::StoreError;
pub use journal::{
    Aside, AsideRead, Body, Damage, Entry, Fork, Hole, Journal, JournalOptions, RangeRead, ReadEnd, Recovery,
    Relation, Scrub, Scrubbed, SyncOutcome, SyncTicket,
};
pub use medium::{Disk, Medium};
pub use role_file::{Loaded, ROLE_PAYLOAD_BYTES_MAX, RoleFile};
pub use state_file::{StateFile, StoredState};
