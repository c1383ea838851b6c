//! The smallest useful plugin in Rust: one counter, one writable greeting.
