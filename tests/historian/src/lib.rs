//! How fast values are kept and read, beside other engines in the same run: `cargo xtask bench history`.
//!
//! The benchmark is in `benches/history.rs`; the library is empty, so that nothing else needs the other engines.
