//! The plugin as the hub loads it, on buses made by knxd and xknx.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod hostile;
mod questions;
mod reads;
mod recovery;
mod rig;
mod roles;
mod routing;
mod traffic;
