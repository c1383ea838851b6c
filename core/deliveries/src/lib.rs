//! Events that interfaces give each other (`twinhub.events/1`): what waits for whom, what was done, and what cannot be.
//!
//! Pure: entries of the journal go in, a [`Book`] comes out, in the same order on every node that has the same entries.
//! Nothing here has a clock, a thread or a file.
//!
//! # The life of an event
//! ```text
//! given ──► waits for each interface that it is for ──► done
//!   │                │        ▲                └──────► dropped, by an operator
//!   │                ▼        │ again, by an operator
//!   │               dead ─────┴───────────────────────► dropped, or pushed out by newer ones
//!   └─► for nobody: its head is shown for a while
//! ```
//! An event is known by its [`Name`]: the interface that gave it, its stream, and an id that comes from the device where it
//! has one. So what both nodes give, or a device repeats after a takeover, is one event: the ids of a stream that were seen
//! last are remembered ([`SEEN_MAX`]), and those of events that still wait always.
//!
//! What an event is for one interface is a *delivery*, and has a number that is the same on all nodes and never comes
//! again. Those of one giver with the same key are *in line*: only the first of a line is brought to its interface.
//!
//! # After a split
//! Entries that the other side wrote are applied behind those of this one. The union of events by name follows, and what
//! either side has done is done: an entry about a delivery that is not here changes nothing.
//!
//! # Bounds
//! [`WAITING_MAX`] and [`WAITING_BYTES_MAX`] per interface are for whoever writes the journal to keep ([`Book::has_room`]);
//! what the journal has is always taken. Of what is dead the oldest makes room.
#![warn(missing_docs)]

mod book;
mod bytes;
mod entry;
mod line;

pub use book::{Book, Change, Dead, Head, Waiting};
pub use bytes::{BytesError, decode, encode};
pub use entry::{Entry, Given, Name};

/// Deliveries that may wait for one interface.
pub const WAITING_MAX: usize = 1_000;
/// Their bytes.
pub const WAITING_BYTES_MAX: usize = 4 << 20;
/// Ids of a stream that are remembered.
pub const SEEN_MAX: usize = 4_096;
/// Deliveries to one interface that failed for good and are kept for an operator.
pub const DEAD_MAX: usize = 200;
/// Their bytes.
pub const DEAD_BYTES_MAX: usize = 1 << 20;
/// Events of one interface that are for nobody, and of which the head is shown.
pub const UNLINKED_MAX: usize = 100;
