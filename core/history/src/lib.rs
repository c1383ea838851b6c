//! What values were.
//!
//! The group's journal is the write-ahead log. The history follows it: rows of items are gathered in memory, sealed
//! into files of column blocks, and small files are joined into larger ones.
//!
//! ```text
//! journal -> append -> rows in memory -> seal -> file -> compact -> larger file -> retain -> deleted
//!    ^                                            |
//!    `---- how far it is needed: Store::sealed <--'
//! ```
//! A sealed file says in its head how far each group's journal is in it. So rows and cursor become durable with one
//! rename: after a crash the journal is read again from there, nothing acknowledged is lost and nothing is there twice.
//! Until a seal the rows are in the journal, which keeps them.
//!
//! A row is the same row on whatever way it came if [`RowId`] is the same: item, source time, record of the journal
//! (whose epoch names the node) and place in it. Queries, seals and joins treat rows as a set of these.
//! Two rows of one telegram, which two nodes heard and each journaled alone, have two places. Whoever joins the journals asks
//! for such twins ([`Reader::twins`]), and one of them comes again, marked ([`Row::is_shown`]): under its place nothing is
//! shown from then on, whichever of the two came first.
//!
//! What the journal does not have any more, or lost to damage, is a [`Gap`]. Gaps are in the heads of files, too, with how
//! far a copy of another node's history has come, so that a copy goes on after a crash, and whose remains of what that node
//! lacks, too, were taken (format 2; a file without such is of format 1).
//!
//! - [`Store`]: the one writer; it knows no clock and no thread, the caller says when to seal, join and delete;
//! - [`Reader`]: queries from any thread, over files and memory as of one moment;
//! - [`Rows`], [`Aggregates`]: answers, one row or bucket after the other. An index says of each block what it comes
//!   to, so that a bucket that covers a block does not read it.
//!
//! **Format.** `FIRST-LAST.history` is a file of the seals of these numbers. Its blocks hold up to 4,096 rows of one
//! item in eight columns. Integers are packed as differences of order 0, 1 or 2, whichever is smallest, in groups of 64
//! with a width of their own; a column of one value takes two bytes. Floating point numbers are decimals as integers if
//! that gives back the same bits, else each against the one before; texts are kept once. Where bytes are not what was
//! written (each part has a checksum) the block is left out and reported, and the file is kept as `*.damaged` when its
//! sound blocks have been written anew.
#![warn(missing_docs)]

mod aggregate;
mod block;
mod bytes;
mod columns;
mod compact;
mod copy;
mod error;
mod exchange;
mod file;
mod gap;
mod merge;
mod parquet;
mod pending;
mod query;
mod row;
mod snapshot;
mod stats;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod twins;

pub use aggregate::{Aggregates, Bucket};
pub use block::BLOCK_ROWS_MAX;
pub use bytes::Broken;
pub use copy::{Lack, Portion, Range, read_blocks};
pub use error::HistoryError;
pub use exchange::Exchange;
pub use gap::{Filled, GAPS_MAX, Gap, Place};
pub use parquet::{ParquetRow, ParquetWriter};
pub use query::{Query, Reader, Rows, Totals};
pub use row::{Row, RowId};
pub use snapshot::{Snapshot, is_file_name, restore};
pub use stats::{Numbers, Stats};
pub use store::{Damage, Deleted, Recovery, Slot, Store, StoreOptions};
pub use tail::{ItemRows, Mark, SealedFile, SealedRows, Taken};
pub use twins::{Fork, Telegram};
