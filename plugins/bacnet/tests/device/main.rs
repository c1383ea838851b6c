//! The plugin as the hub loads it, against bacpypes3 devices on the loopback interface.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod broadcast;
mod hostile;
mod questions;
mod reads;
mod rig;
mod roles;
mod writes;
