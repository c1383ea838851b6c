//! Alarms: when an item is as it must not be, since when, and what an operator said of it.
//!
//! Pure: samples, orders of operators and the time go in, [`Change`]s come out. A change is journaled by the
//! node that acts and folded into the [`Book`] by every node, so that whoever takes over goes on from the same
//! page. Nothing here has a clock, a thread or a file.
//!
//! # One alarm, told step by step
//!
//! ```text
//!            value beyond the limit           delay_on is over
//!   normal -----------------------> pending -----------------> active, unacknowledged
//!     ^                                |                           |            |
//!     |        value within it         |              acknowledged |            | back in the limits for delay_off
//!     +--------------------------------+                           v            v
//!     ^                                               active, acknowledged   returned, unacknowledged
//!     |               back in the limits for delay_off |            |           | acknowledged
//!     +------------------------------------------------+------------+-----------+
//! ```
//!
//! The words are those of ISA-18.2 and OPC UA Part 9. A *latching* alarm stays active until it is acknowledged,
//! also if the value has returned. *Shelved* (for a time) and *suppressed* (until further notice) alarms are
//! evaluated and kept, but neither counted nor announced.
//!
//! # Why no takeover raises one twice or misses one
//!
//! - What is **pending** follows from the samples alone, which every node has in its journal: since when a value
//!   is beyond its limit is the time of the sample that took it there. A successor goes on with the delay that
//!   began before it was active; it does not begin anew.
//! - What was **raised** follows from the changes alone. An occurrence is named by its rule and its *onset*, the
//!   time of that sample, and not by the time at which somebody noticed; so two nodes that evaluate the same
//!   samples name the same occurrence.
//! - Only what is **valid** is evaluated. After a takeover a rule whose item was not read yet stands still, as it
//!   does while the item's quality is bad: its delay may end meanwhile, but nothing is raised or cleared before
//!   a value says that it still holds.
//! - Values are taken **at their own times**. What came and went while nobody was active, and is replayed, is
//!   raised and cleared with the times at which it came and went.
//!
//! # The book
//!
//! Changes of one occurrence can be folded in any order, and again: of two clears or acknowledgments the earlier
//! one counts, of two shelvings the later one. So the union of what two nodes wrote during a split is the book
//! of both ([`Book::reconcile`] then joins what both sides raised for one condition).
#![warn(missing_docs)]

mod alarms;
mod book;
mod bytes;
mod change;
mod field;
mod id;
mod occurrence;
mod order;
mod query;
mod rule;
mod watch;

pub use alarms::{Alarms, Now};
pub use book::{Book, Counts, KEEP_MIN};
pub use bytes::{BODY_BYTES_WANTED, BytesError, decode, encode};
pub use change::{Acknowledgment, Change, Clear, Raise, Shelf, Stamp, Suppression, Watched};
pub use id::OccurrenceId;
pub use occurrence::{Occurrence, State};
pub use order::{Answer, Order, OrderError, SHELVE_MAX, Target};
pub use query::{PAGE_MAX, Page, Query, Row, Which};
pub use rule::{Condition, PRIORITY_MAX, Rule, Side};
