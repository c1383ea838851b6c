//! No write of an older epoch reaches the plant after one of a newer epoch, as long as a write is not longer
//! on its way than the guard time.

use twinhub_redundancy::Profile;
use twinhub_simulation::{Finding, Plan, Sabotage, check};

#[test]
fn the_plant_never_sees_an_old_write_after_a_new_one() {
    check("writes", 40, |_| Plan::pair(), &[Finding::StaleWrite]);
    check("writes", 20, |_| Plan::three(), &[Finding::StaleWrite]);
    check("writes", 30, |_| Plan { profile: Profile::Lan, ..Plan::pair() }, &[Finding::StaleWrite]);
}

#[test]
fn a_plant_that_compares_epochs_is_safe_also_when_a_process_freezes_before_the_send() {
    let plan = |_| Plan { sabotage: Sabotage::FreezeBeforeSendWithToken, ..Plan::pair() };
    let worlds = check("writes", 30, plan, &[Finding::StaleWrite, Finding::TwoHolders]);
    assert!(worlds.iter().map(|world| world.field.writes).sum::<u64>() > 0, "somebody wrote");
}
