//! Node-to-node transfer: snapshot, journal tail, acknowledgements, hot ring.
//!
//! This crate decides what the active node sends next and what the standby does with it. It has no socket,
//! no file and no clock; the order of messages within one connection is given by the transport.
//!
//! - [`Sender`]: on the active node, one per standby; reads from a [`TailSource`];
//! - [`Receiver`]: on the standby, one per group;
//! - [`Message`]: what the two say to each other, and its bytes;
//! - [`EntryBatch`]: several journal records in one piece of memory;
//! - [`Merges`]: what was taken in of journals that went their own way during a split;
//! - [`Ring`]: what a standby received itself and the active has not yet covered.
//!
//! # How a standby follows
//! ```text
//! standby                                   active
//!   Want{stream, from = my last}     ->
//!                                    <-     Entries ...                      `from` is in its journal
//!                                    <-     SnapshotStart, Dictionary, SnapshotSamples, SnapshotState,
//!                                           SnapshotEnd, Entries ...         `from` is too old or empty
//!                                    <-     Diverged{common}                 `from` is not its history
//!   Ack{received, durable}           ->                                      opens the window
//! ```
//! Every `Want` carries a new stream number, and everything the active sends carries the number it answers,
//! so that what is still on its way from before is recognized and dropped. A gap makes the standby want
//! again from its last record; a duplicate is skipped. Records the active lacks are never overwritten: the
//! standby is told the last position both have, sets its own tail aside, and wants again.
//!
//! # How both sides of a split come to the same history
//! ```text
//! node with records set aside               active
//!   Offer{common}                    ->                                     again each second until it is done
//!                                    <-     TakePiece{part, number}         what parts kept, users for one
//!   GivenPiece                       ->
//!                                    <-     Take{after}                     as fast as live traffic allows
//!   Given{batch}                     ->                                     -> Merged records of its journal
//! ```
//! The active node asks; so what is under way is bounded, and either side may go away at any time.
#![warn(missing_docs)]

mod batch;
mod error;
mod merge;
mod message;
mod receiver;
mod ring;
mod sender;

pub use batch::EntryBatch;
pub use error::ReplicaError;
pub use merge::{Counts, MergeEntry, MergeId, Merges, REPORTS_MAX, Report, Worth, worth};
pub use message::{MESSAGE_BYTES_MAX, Message, OFFERED_FILES_MAX, Page};
pub use receiver::{Receiver, ReceiverAction, ReceiverState, Unacked};
pub use ring::{Ring, RingEntry, RingLimits, RingStats, Uncovered};
pub use sender::{Relation, Sender, SenderOptions, SenderState, SnapshotHead, TailEnd, TailRead, TailSource};
