//! Crash, damage and full-disk tests.
