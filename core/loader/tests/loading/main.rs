//! Libraries are built, loaded and run: the Rust plugins of this workspace, the example in C, and a C plugin that breaks
//! the contract on demand.

mod c_plugin;
mod files;
mod misfits;
mod rust_plugins;
mod support;
