//! The main/backup state machine: leases, epochs, votes, roles.
//!
//! This crate decides which node acts. It has no socket, no clock, no thread and no randomness: inputs
//! go in together with the time, actions come out, and somebody else carries them out.
//!
//! - [`Machine`]: one group on one node, with the node's own vote in it;
//! - [`Voter`]: promises and grants alone, for a witness;
//! - [`Setup`] and [`Timers`]: what both need to know, and the rules the timers must keep;
//! - [`Message`]: what machines and voters say to each other;
//! - [`StoredState`]: what must be on disk before anything that depends on it is said;
//! - [`Members`]: who votes, if not everyone whom the configuration names;
//! - [`Reason`]: why a role changed, with the numbers.
//!
//! # Contract
//! After each [`Machine::handle_input`], call [`Machine::poll_output`] until it returns
//! [`Output::Timeout`], carry out the actions in their order, then wait for the next input or for that
//! moment, whichever comes first, and hand in [`Input::Tick`] for the latter.
//!
//! # What the driver owes
//! - One process per node: a lock on the role file, since a new process of a node may take over the grant of
//!   its predecessor. The incarnation is on disk before [`Machine::new`].
//! - Sockets are read before a permit is given out after a sleep, and a permit is checked against
//!   [`Action::Lease`] right before the send.
//! - [`Action::Persist`] is synced before [`Input::Persisted`]; tickets are answered in their order.
//! - [`Input::Drained`] says that nothing is in flight any more. What is not, is left to the deadline.
//! - [`Input::Resigned`] is the word of a supervisor that has waited for the process, nothing weaker.
//! - In a pair without a witness, [`Input::Evidence`] comes more often than `evidence_age`, and is no older than it
//!   looks; without it, [`Policy::Evidence`] neither promotes nor keeps a node active that is alone.
//!
//! # What holds
//! - A node acts only while it holds a lease, and counts it from the moment it *asked* for it.
//! - A voter keeps its grant from the moment it *was asked*, for longer than the holder counts.
//! - What a voter promised is on disk before its answer leaves.
//! - An epoch belongs to one node by construction.
#![warn(missing_docs)]

mod agenda;
mod ballot;
mod epoch;
mod health;
mod input;
mod machine;
mod members;
mod message;
mod outbox;
mod output;
mod peer;
mod policy;
mod protocol;
mod reason;
mod rule;
mod setup;
mod state;
mod stored;
mod timers;
mod voter;
mod voter_set;

pub use health::{Health, HealthPart, InterfaceSight, SCORE_MAX, Sight};
pub use input::{Input, Order};
pub use machine::Machine;
pub use members::{Absence, Ground, Members, MembersChange, SharedMembers, Stamp};
pub use message::{Counted, Heartbeat, Message, MoveCause, PathId, RefusalCause, TransferToken};
pub use output::{Action, Output};
pub use peer::{PathView, PeerView, Peers};
pub use policy::{Failback, Policy};
pub use reason::Reason;
#[cfg(twinhub_sabotage)]
pub use rule::Rule;
pub use setup::{NodeInfo, Setup, SetupError, VOTERS_MAX, VoterId};
pub use state::NodeState;
pub use stored::{Grant, Hold, Pins, StoredState};
pub use timers::{Profile, TimerRule, Timers};
pub use voter::{Voter, VoterOutput};
