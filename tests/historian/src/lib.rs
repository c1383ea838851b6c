//! How fast values are kept, read, and brought to a central database, beside others that do it in the same run: `cargo xtask
//! bench history`, `cargo xtask bench historian`.
//!
//! The benchmarks are in `benches`; the library is empty, so that nothing else needs the other engines.
