//! The plugin as the hub loads it, against devices.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod guard;
mod hostile;
mod interop;
mod pipeline;
mod questions;
mod reads;
mod rig;
mod roles;
mod writes;
