//! Exhaustive model of the lease, epoch and guard rules.
