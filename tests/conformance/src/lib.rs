//! Measured failover of real processes against real peers, per interface.
