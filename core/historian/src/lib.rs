//! A central `PostgreSQL` database that gets the values of a site, each row once.
//!
//! ```text
//! history (files, and what is gathered) -- rows, and how far they go --> Database::write --> one transaction:
//!      ^                                                                   items, history, progress
//!      `------- what the database lacks: Progress::covers <--------------- Database::progress
//! ```
//! **The history on a node's disk is the buffer, and the database says how far it is.** Rows and how far they go
//! (`progress`) become durable in one transaction, so nothing is kept beside it that could disagree: a node that connects
//! asks what is there and sends what is not. That holds for a takeover (the successor goes on where the database is), for
//! a database that lost its last transactions, and for a new, empty one, which gets all that the node keeps.
//!
//! **A row is the same row whatever way it came**, also here: the key of the table `history` is what makes it the same in
//! a history on disk ([`twinhub_history::RowId`]): item, source time, record of the journal and place in it. Writing it
//! again changes nothing, so two nodes may write at once, a transaction whose answer was lost is sent again, and a node
//! that does not know yet that it lost its role does no harm.
//!
//! **How far** is a place in a group's journal, kept for each epoch by itself: an epoch has one owner and its records are
//! in one order, so that whoever has one record of it has those before. Of a split no side vouches for the other. Where all
//! nodes lost their state, or a backup was restored, epochs begin anew, and the same places come a second time. So each
//! journal has a random name, its *life*, which stands beside the place ([`twinhub_history::Mark`]): what was there of the
//! journal before says nothing of the new one, and files of then that a restore brought back keep the name of then. In the
//! key of a row the time of its arrival tells both lives apart, which a device without a clock would not; so the rows of a
//! restored history, too, are those that are there already.
//!
//! - [`Database`]: a connection, with the tables made; every call ends within [`Target::patience`];
//! - [`Progress`]: what the database says that it has;
//! - [`Written`]: what became of rows. Of those that the database refuses whatever one does (a check that somebody added,
//!   an encoding that lacks a letter) each is found, counted and left out; the rest goes on. A database that is full, away
//!   or lacks a permission refuses everything, and nothing is left out for that. Where all rows of a batch are refused, a
//!   plain row with the time at which the last of them came is tried, and taken back: if it is refused as well, a check or
//!   a missing partition stands in the way of every value, and nothing is left out either.
//!
//! What `PostgreSQL` cannot hold is converted: the character NUL in texts becomes U+FFFD; an unsigned integer above the
//! range of `bigint` is a text and, rounded, a number; bytes are a text in hexadecimal. Not-a-number and infinities are
//! kept. Times are cut to microseconds with the nanoseconds beside them; each time that a node can hold is one of
//! `PostgreSQL`'s.
#![warn(missing_docs)]

mod columns;
mod connect;
mod database;
mod error;
mod progress;
mod schema;
mod tls;

pub use connect::Target;
pub use database::{Database, ItemText, Written};
pub use error::DatabaseError;
pub use progress::Progress;
pub use schema::{FORMAT, SCHEMA_BYTES_MAX};
