//! Exhaustive model of the lease, epoch and guard rules.
//!
//! The model is small enough to visit every state: two nodes, maybe a witness, two messages on the wire,
//! clocks that differ by one tick per lease, crashes of any voter, and writes that are checked at one time
//! and arrive at another. [`Rules`] says which of the rules of the product hold; the checker then looks for
//! a way, any way, to break one of three promises:
//!
//! - [`ONE_HOLDER`]: at most one node holds a lease that has not ended;
//! - [`ONE_OWNER`]: an epoch belongs to one node;
//! - [`NO_STALE_WRITE`]: the plant accepts no write of an older epoch after one of a newer.
//!
//! [`Changes`] is a model of its own: how voters are shrunk and grown, without time.
//!
//! One tick stands for a third of a voter's lease. What is not in the model: pre-votes, the transfer token,
//! more than two nodes, the log, and a guest whose clock stops; the simulation covers the first three.
#![warn(missing_docs)]

mod members;
mod rules;
mod state;

pub use members::{Changes, Polls, Question, Record, Turn};
pub use rules::{Flight, LEASE, Restart, Rules, Sink};
pub use state::{Move, Packet, State};

/// At most one node holds a lease that has not ended.
pub const ONE_HOLDER: &str = "one unexpired lease holder";
/// An epoch belongs to one node.
pub const ONE_OWNER: &str = "one owner per epoch";
/// No write of an older epoch is accepted after one of a newer.
pub const NO_STALE_WRITE: &str = "no write of an older epoch after a newer one";
/// A node is the only voter and holds a lease: what shrinking is for.
pub const ACTS_ALONE: &str = "a node acts alone";
/// A write of node 1 follows one of node 0: the rules are not safe because nothing ever happens.
pub const FAILOVER: &str = "the role moves";
