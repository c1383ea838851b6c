//! Events: what happened, told in the same way on every node.
//!
//! Pure: events and the time go in, a [`Book`] of what is kept comes out, in the same order on every node that has the
//! same events. Nothing here has a clock, a thread or a file.
//!
//! # Names
//!
//! An event is named by the node and the group that it happened in, and by a *stamp* ([`EventId`]): the time of day, or
//! a nanosecond after the newest stamp that the node has seen, whichever is later (a hybrid logical clock). So a node
//! never gives a name twice, what it did after hearing of something has the later stamp, and a list in the order of
//! stamps is the same everywhere, whatever way the events came. An event that comes again, after a restart, in a copy,
//! or from both sides of a split, is kept once. What alarms tell is named a second time, by its code and the occurrence
//! that it is about: a successor that tells of the same occurrence again adds nothing.
//!
//! # What is not in a journal
//!
//! Only the node that acts writes the journal. What happens on the others, or while the journal takes nothing, is *pending*
//! there: kept, shown, and offered to whoever writes the journal until it is seen in it, oldest first. A copy of the state
//! takes no event away: it has happened. What a node told alone, and the journal that it follows after a split lacks, is
//! pending again with the copy; so it offers nothing before it has that.
//!
//! # Reading on
//!
//! On one node events are numbered as they come. A [`Cursor`] says for each node and group up to which stamp a reader
//! has everything; it counts on every node, since the events of one node in one group come everywhere in the order of
//! their stamps. A reader that comes for events that were forgotten is told so ([`Next`]).
#![warn(missing_docs)]

mod book;
mod bytes;
mod cursor;
mod entry;
mod query;

pub use book::{Book, Known, Way};
pub use bytes::{BODY_BYTES_WANTED, BytesError, decode, encode};
pub use cursor::Cursor;
pub use entry::{Entry, EventId, TEXT_BYTES_MAX};
pub use query::{Filter, Following, Newest, Next, Row};
