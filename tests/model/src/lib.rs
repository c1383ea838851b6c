//! Exhaustive model of the lease, epoch and guard rules.
//!
//! The model is small enough to visit every state: two nodes and maybe a witness, or three nodes, few messages on the wire,
//! clocks that differ by one tick per lease, crashes of any voter, and writes that are checked at one time
//! and arrive at another. [`Rules`] says which of the rules of the product hold; the checker then looks for
//! a way, any way, to break one of three promises:
//!
//! - [`ONE_HOLDER`]: at most one node holds a lease that has not ended;
//! - [`ONE_OWNER`]: an epoch belongs to one node;
//! - [`NO_STALE_WRITE`]: the plant accepts no write of an older epoch after one of a newer.
//!
//! [`Changes`] is a model of its own: how voters are shrunk and grown, without time. So is [`Pair`], of two nodes without a
//! witness.
//!
//! One tick stands for a third of a voter's lease. Tests call [`assert_holds`], which visits every state and knows their
//! number, and [`assert_breaks`], which finds the shortest way to two holders or a stale write in rules with one missing.
//!
//! # Planned moves
//! [`Rules::HANDOVER`]: a holder stops and gives a token to the other node. The token is a fact, not a message: from then
//! on it may arrive at any time and any number of times, also after crashes and elections, with or without what is on its
//! way having been waited for. A bearer asks for votes with it whenever it likes, which is more than the product does.
//! Shown is that a voter may free a grant for a token of the epoch it promised and must refuse one that was overtaken.
//! Not shown is that the journal of the bearer has everything, which is no matter of votes.
//!
//! # The word that a process is dead
//! [`Rules::RESIGNED`]: processes die or stop by themselves, and a word about it frees their grants, at any time and any
//! number of times; what the dead process sent arrives after its death. A process that stopped by itself may win again.
//! Shown is that a word may free the grants of the process that died, and of one that lives only up to the epoch in which
//! it stopped. Not shown is that a supervisor waits for its process, which is its duty: without it there are two holders.
//!
//! # Three nodes
//! [`Rules::THREE_NODES`]: no witness, any two nodes are the majority, each votes for itself before it asks others, up to
//! two of the three crash and come back with what they had stored. More nodes and tokens between more than two are left
//! to the simulation: a majority is the same thing there.
//!
//! # Pre-votes
//! [`Rules::PRE_VOTE`]: a node asks a majority whether it would win before it raises its epoch. One promise more is checked,
//! [`NOT_DISTURBED`]: who asks while another node holds a lease and a majority's grants for it run, from the question to
//! the campaign, does not get that far; so nobody hears of a higher epoch and drops a role for it. Two candidates that
//! race for a role that nobody has may still disturb each other. Pre-votes are no votes: without what the votes promise
//! there are two holders, with or without them.
//!
//! # A pair without a witness
//! [`Pair`], a model of its own: silence, evidence, operators, links that break in each direction, nodes that sleep, and
//! no message that is late. Under `manual` nobody but an operator makes a second holder. Under `availability` there are
//! two, both are marked, and from the second exchange after the heal exactly the newer one remains. Under `evidence` there
//! are two only if the evidence is wrong, on both sides; if it changes sides, it must have lasted for a lease before a node
//! promotes itself on it. A holder that slept takes its lease up again for no longer than the other one confirms its
//! silence, and only on evidence that it had before.
//! Not shown is that a lease held alone ends with the evidence that it stands on, and the word that a process is dead, on which a node promotes itself at once.
//!
//! # What is not in the models
//! The log, which the simulation covers, and a guest whose clock stops.
#![warn(missing_docs)]

mod members;
mod pair;
mod rules;
mod state;
mod verdict;

pub use members::{Changes, Polls, Question, Record, Turn};
pub use pair::{Evidence, Halves, Pair, Policy, Turnout};
pub use rules::{Flight, Giver, LEASE, PreVotes, Restart, Rules, Sink, Tokens, Words};
pub use state::{Move, Packet, State};
pub use verdict::{assert_breaks, assert_holds};

/// At most one node holds a lease that has not ended.
pub const ONE_HOLDER: &str = "one unexpired lease holder";
/// An epoch belongs to one node.
pub const ONE_OWNER: &str = "one owner per epoch";
/// No write of an older epoch is accepted after one of a newer.
pub const NO_STALE_WRITE: &str = "no write of an older epoch after a newer one";
/// No node raises its epoch while another one is a healthy holder all the time.
pub const NOT_DISTURBED: &str = "no healthy holder is disturbed";
/// A node holds a lease by its own vote: as the only voter, which is what shrinking is for, or by a policy.
pub const ACTS_ALONE: &str = "a node acts alone";
/// A write of node 1 follows one of node 0: the rules are not safe because nothing ever happens.
pub const FAILOVER: &str = "the role moves";
/// Two nodes have won an epoch: the same for models without writes.
pub const ANOTHER_WINS: &str = "another node wins";
/// A token moves the role while the lease that it was given for would still run: what a planned move is for.
pub const HANDED_OVER: &str = "the role is handed over";
/// Two nodes hold a lease: the price of a policy, which is said beforehand.
pub const SPLIT: &str = "split possible";
/// Two nodes that hold a lease both know that they may be two; the one that an operator forced does in any case.
pub const MARKED: &str = "a split is marked";
/// Two ticks after the links are back, there is one holder at most, and exactly one if there were two.
pub const ONE_REMAINS: &str = "one holder remains";
/// After a split, a node holds a lease of both votes again.
pub const QUORATE_AGAIN: &str = "quorate again after a split";
