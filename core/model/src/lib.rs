//! Vocabulary of the hub: items, values, quality, time, epochs, journal records.
//!
//! This crate knows what things are called and what they are made of, and nothing of how they are
//! stored, sent or decided. It has no clock, no I/O and no threads. Every other core crate speaks in
//! its types:
//!
//! - [`time`]: [`Moment`] (monotonic, for leases) and [`Timestamp`] (UTC, for values);
//! - [`epoch`]: [`Epoch`], [`Incarnation`], [`NodeRank`], [`Position`] in a group's journal;
//! - [`value`]: [`Value`] and [`Quality`] (OPC UA status code bits);
//! - [`item`]: [`ItemKey`] (`interface/path`, the same on every node) and [`ItemId`] (dense, node-local);
//! - [`record`]: [`Record`], one entry of the journal, the one truth between nodes;
//! - [`convert`]: [`Convert`], the arithmetic of a link between two items.
#![warn(missing_docs)]

pub mod convert;
pub mod epoch;
pub mod item;
pub mod record;
pub mod time;
pub mod value;

pub use convert::{Convert, ConvertError};
pub use epoch::{Epoch, Incarnation, NodeRank, Position};
pub use item::{ItemId, ItemKey, ItemKeyError};
pub use record::{
    Delivered, Event, Intent, IntentId, IntentKind, Merged, NamedStream, Outcome, Part, PartRecord, Record,
    RoleChange, Sample, SampleFlags, Severity, WriteResult,
};
pub use time::{Moment, Timestamp};
pub use value::{Quality, Value};
