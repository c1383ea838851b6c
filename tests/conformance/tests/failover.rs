//! Each scenario once, against pymodbus and mosquitto, with the default timers. Asserted is what must hold on any
//! machine at any load: nothing lost, nothing twice, never two writers, a silent standby, and that the backup takes
//! over. How long that takes is measured by `cargo xtask conformance` and `cargo xtask bench takeover`.

use std::time::Duration;

use twinhub_conformance::{Artifacts, DeviceKind, Profile, Result, Scenario, Stage, StageOptions};

const CALM: Duration = Duration::from_millis(1500);

#[test]
fn the_backup_takes_over_when_the_host_of_the_main_dies() {
    check(Scenario::Crash);
}

#[test]
fn the_backup_takes_over_when_the_hub_process_of_the_main_dies() {
    check(Scenario::CrashHub);
}

#[test]
fn a_frozen_main_that_wakes_up_sends_nothing() {
    check(Scenario::Freeze);
}

#[test]
fn a_cut_peer_link_moves_nothing_while_the_witness_is_in_reach() {
    check(Scenario::Cut);
}

#[test]
fn a_planned_switchover_loses_and_doubles_nothing() {
    check(Scenario::Planned);
}

fn check(scenario: Scenario) {
    twinhub_conformance::check(|artifacts| play(scenario, artifacts));
}

fn play(scenario: Scenario, artifacts: &Artifacts) -> Result<()> {
    let options =
        StageOptions { profile: Profile::Normal, device: DeviceKind::Independent, nodes: 2, varied: None };
    let mut stage = Stage::start(options, artifacts, &mut |_| {})?;
    let outcome = scenario.run(&mut stage, CALM)?;
    if !outcome.problems.is_empty() {
        let folder = stage.cluster_mut().keep_folder();
        panic!("{scenario}: {:#?}\n{:#?}\nlogs in {}", outcome.problems, outcome.figures, folder.display());
    }
    Ok(())
}
