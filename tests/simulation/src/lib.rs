//! Seeded simulation of the pure crates: faulty network, crashes, drifting clocks.
//!
//! A [`World`] runs the very [`twinhub_redundancy::Machine`] and [`twinhub_redundancy::Voter`] that ship,
//! with virtual time, a network that loses, delays, doubles and reorders, disks that forget what was not
//! synced, clocks that drift, processes that crash and freeze, interfaces that fail, flap or are not seen, and
//! operators who order what they like. All of it follows from one number, the seed.
//!
//! Each file under `tests/` checks one invariant. `TWINHUB_SEEDS=n` runs n seeds per test,
//! `TWINHUB_SEED=n` runs the one seed a failure printed. `tests/hours.rs` runs whole hours with everything
//! checked at once, on all cores: `cargo xtask sim --seeds N --hours H` in an optimized build.
#![warn(missing_docs)]

mod field;
mod letters;
mod moves;
mod net;
mod queue;
mod random;
mod runner;
mod site;
mod sites;
mod story;
mod survey;
mod voters;
mod world;

pub use field::{Field, Finding};
pub use moves::Moves;
pub use net::{Net, Quality};
pub use random::Random;
pub use runner::{check, find, seeds};
pub use site::{Clock, Gate, Life, Site};
pub use sites::Sites;
pub use survey::{Tally, survey};
pub use voters::VotersSeen;
pub use world::{Faults, INTERFACES, Plan, Sabotage, Script, Seen, World};
