//! Author API: write an interface plugin in safe, async Rust.
