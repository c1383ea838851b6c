//! Reads, checks and describes the configuration of a site: `twinhub.toml` and the items files beside it.
//!
//! [`load`] reads files, [`parse`] takes text; both answer with a typed [`Site`] that cannot be wrong, or with a
//! [`Failure`] that holds every error found, each with file, line, caret and what to write instead.
//!
//! One description serves all: the types of [`mod@file`] give the JSON Schema ([`schema`]), the reference ([`reference()`])
//! and the check of keys, types and words. The same check serves the settings of plugins ([`check_settings`]).
//!
//! Loading opens no socket, starts nothing and does not look at the machine.
#![warn(missing_docs)]

mod alarm;
mod assemble;
mod assembly;
mod check;
mod describe;
mod diagnostic;
mod difference;
mod document;
mod duration;
mod etcd;
mod event_link;
pub mod file;
mod files;
mod floating;
mod hash;
mod historian;
mod item_source;
pub mod items;
mod link;
mod load;
mod monitor;
mod named;
mod secret;
mod site;
mod tree;
mod values_in;
mod votes;

pub use assembly::Loaded;
pub use check::{check_columns, check_required, check_settings};
pub use describe::{reference, schema};
pub use diagnostic::{Diagnostic, Failure, Severity, Source, nearest};
pub use difference::{Difference, differences};
pub use document::Document;
pub use duration::{duration_text, parse_duration};
pub use files::{Files, LOCK_FILE, MAIN_FILE};
pub use item_source::{ItemSource, ItemSourceError};
pub use load::{Directory, load, load_cluster, parse};
pub use named::{Named, Place};
pub use secret::{SecretError, resolve_secrets};
pub use site::{
    Access, AckAfter, Cluster, Delivery, Etcd, EventLink, Events, Evidence, Failback, Floating, Group,
    Historian, History, Hosting, Interface, InterfaceOverride, Item, Journal, Link, LinkEnd, Mode, Monitor,
    Node, OnUnprotected, OnUnquorate, Origin, Policy, Profile, Site, TimerOverrides, Trigger, UnknownNode,
    Web, Witness, Writers,
};
pub use tree::Step;
