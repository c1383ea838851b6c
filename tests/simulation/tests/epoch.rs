//! An epoch has one owner, and one process of it.

use twinhub_simulation::{Finding, Plan, check};

#[test]
fn no_two_processes_are_active_in_one_epoch() {
    check("epoch", 40, |_| Plan::pair(), &[Finding::EpochReused]);
    check("epoch", 20, |_| Plan::three(), &[Finding::EpochReused]);
}
