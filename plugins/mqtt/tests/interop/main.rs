//! The interface against mosquitto and its clients.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod broker;
mod browse;
mod fake;
mod fence;
mod recovery;
mod rig;
mod roles;
mod secure;
mod succession;
mod traffic;
