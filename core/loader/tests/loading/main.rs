//! Libraries are built, loaded and run: the Rust plugins of this workspace, the example in C, and a C plugin that breaks
//! the contract on demand.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod c_plugin;
mod files;
mod misfits;
mod rust_plugins;
mod support;
