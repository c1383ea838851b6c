//! What a voter told is on its disk, and it never tells less than it told before.

use twinhub_redundancy::Policy;
use twinhub_simulation::{Finding, Plan, check};

#[test]
fn promises_survive_crashes_and_slow_disks() {
    check("promises", 30, |_| Plan::pair(), &[Finding::PromiseBroken]);
    check("promises", 20, |_| Plan::three(), &[Finding::PromiseBroken]);
    check("promises", 15, |_| Plan::lonely_pair(Policy::Availability), &[Finding::PromiseBroken]);
}
