//! Executes what the pure machines order: sockets, timers, item table, output gate, plugin supervision.
//!
//! ```text
//!            control thread                        engine thread (one per group)
//! peers <-> [ role machines ] -- Activate, Drain, Close, Follow --> [ journal, tracker, links, streams ] <-> data peers
//!                 | lease                                              ^ values          | writes
//!                 v                                                    |                 v
//!              [ gate ] <--------- asked before every effect ----- [ port ] <-> plugin instances
//! ```
//!
//! - [`node`] puts a node together; [`handle`] is what the web interface and the command line hold;
//! - `control` owns the role machines, the role file and the [`gate`]; it never waits behind data;
//! - `engine` owns a group's journal and everything that follows from it;
//! - `instance` leads plugin instances and takes their callbacks; [`table`] holds present values;
//! - `peer` and `data` are connections to other nodes, [`pki`] their certificates; [`witness`] is a vote alone.
//!
//! **Invariant**: only the control thread moves a gate, only the engine writes the journal, and no effect
//! reaches a plugin without a permit of the gate taken right before.
#![warn(missing_docs)]

pub mod backup;
mod bundle;
pub mod clock;
mod control;
mod data;
mod documents;
mod engine;
mod error;
mod etcd;
mod event_log;
mod evidence;
mod exchange;
pub mod floating;
pub mod gate;
pub mod handle;
mod historian;
mod history;
mod inbox;
mod instance;
pub mod join;
mod json;
pub mod node;
mod operations;
mod path_test;
mod peer;
pub mod pki;
mod probe;
mod protocol;
pub mod quarantine;
mod remembered;
pub mod resign;
mod role_history;
mod role_writer;
pub mod roles;
mod scheduling;
mod setup;
mod shared;
pub mod stream;
pub mod table;
pub mod trust;
mod versions;
pub mod view;
mod vouching;
mod whole_file;
pub mod witness;
mod words;

pub use documents::sha256_of;
pub use error::{AskError, CommandError, StartError};
pub use handle::{
    Author, Draft, EventsNewest, EventsNext, Handle, Identity, Order, TRIAL, TRIAL_MAX, TrendCursor,
    TrendError, TrendFile, TrendQuery, TrialEnd, UserChange,
};
pub use node::{
    EventLinkFault, HostProgram, NodeOptions, check_event_links, check_hosting, find_library, library_name,
    start,
};
pub use resign::Resigner;
pub use setup::check_cluster;
pub use stream::{Cursor, Stream, StreamFilter};
pub use twinhub_documents::Role;
pub use twinhub_model::Timestamp;
pub use whole_file::write_whole;
pub use witness::{WitnessOptions, run_witness};
