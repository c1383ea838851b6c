//! The main/backup state machine: leases, epochs, votes, roles.
