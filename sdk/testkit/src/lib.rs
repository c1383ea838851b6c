//! Tries a plugin library as a hub would, and worse.
//!
//! [`run`] tries a library, in Rust or C, with every test of [`tests`] and gives a [`Report`] that carries the SHA-256 of
//! the file. Each test runs in a process of its own, which loads the library with the very loader of the hub: a plugin
//! that crashes, blocks for ever or takes all memory makes that test red and no other. `twinhub plugin test` is this
//! crate on the command line.
//!
//! # Flow
//! [`Kit`] (library, configuration, items) → [`run`] → for each test a child process with the kit as a file → the child
//! calls [`child`], which makes a bench and runs the one test → its verdict in a file → [`Report`].
//! What the child was about to do stands in another file, so that a verdict on a child that did not come back says in
//! which call.
//!
//! # Groups
//! | group | what is tried |
//! |---|---|
//! | `abi` | symbols, manifest, build flags, larger tables and elements of a newer hub, what no version knows |
//! | `schema` | the schemas, up to 150 wrong configurations made from them, texts that are no JSON, odd items |
//! | `threading` | length of calls, callbacks from inside calls, calls after the end, threads and files left behind |
//! | `robustness` | a hub without room, stale epochs, ended leases, deadlines, siblings, no device |
//! | `roles` | every edge between roles, epochs, what the declaration says of an inactive instance |
//! | `state` | snapshot and apply |
//! | `failover` | two instances in processes of their own: planned moves, kill -9, a freeze while the lease ends |
//! | `upgrade` | another version in the place of one that acts: made beside it, swapped there and back, thrown away |
//! | `soak` | a thousand role changes under writes |
//!
//! A simulator of the device, if the kit has one, is started for each test; see `device`, the module, for what the two say
//! to each other. Instances of a test stand for one interface on the nodes `main` and `backup`: what they keep by key is
//! the same, and who asks for it in its settings is told where it runs.
#![warn(missing_docs)]

mod bench;
mod child;
mod device;
mod error;
mod groups;
mod holdings;
mod host;
mod kit;
mod process;
mod report;
mod wrong;

pub use child::child;
pub use error::Error;
pub use groups::{Group, Test, tests};
pub use kit::Kit;
pub use process::{Launcher, run};
pub use report::{REPORT_SCHEMA, Report, TestReport, Verdict};
