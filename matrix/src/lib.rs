//! The compatibility matrix: what plugins declare, beside what runs have measured.
//!
//! - *Declared* comes from the manifests of plugins ([`collect`]): from built libraries, read without running code, or
//!   from `plugins/*/plugin.json`; both give the same matrix.
//! - *Measured* comes from `matrix/results/*.json` ([`RunResult`]), which only conformance runs write.
//! - *Kit* comes from `matrix/results/kits/*.json` ([`KitReport`]), which `twinhub plugin test --report` writes.
//! - The *seed* lists the interfaces and modules that an established product offers with what it claims for them, so
//!   that rows without a plugin are visible as not built yet.
//!
//! A cell claims nothing that no run backs. Its [`State`] is `verified`, `contradicted`, `stale` or `not tested`; a row
//! whose plugin has no runs is only `declared`. The library's hash differs from one build machine to the next, so a
//! result is *stale* when the plugin's version, the hash of its sources ([`source_hash`]) or the contract's version is
//! another one than when it was measured. The sources are compared if they are at hand.
#![warn(missing_docs)]

mod cell;
mod collect;
mod error;
mod html;
mod kit;
mod markdown;
mod output;
mod result;
mod seed;
mod source;

pub use cell::{Cell, Line, Matrix, Plugin, Row, ScenarioCell, State, Verdict};
pub use collect::{Inputs, collect, collect_from};
pub use error::{Contradiction, Difference, Error};
pub use kit::{KIT_SCHEMA, Kit, KitReport, KitTest, KitVerdict};
pub use output::{build, build_from, verify, verify_from};
pub use result::{Fenced, Outcome, Peer, RESULT_SCHEMA, RunResult, Scenario, ScenarioName, TakeoverMs};
pub use seed::{Section, Seed, SeedRow};
pub use source::source_hash;
