//! Seeded simulation of the pure crates: faulty network, crashes, drifting clocks.
