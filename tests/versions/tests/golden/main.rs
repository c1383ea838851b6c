//! What nodes of each version say and store, against the golden files.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod control;
mod files;
mod protocol;
mod replica;
