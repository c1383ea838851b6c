//! Each scenario once with the simulation and both examples in every mode they declare, seen where they meet the hub.
//! Asserted is what must hold on any machine at any load; figures are recorded by `cargo xtask conformance`.

use std::time::Duration;

use twinhub_conformance::{Artifacts, Profile, Result, Scenario, Subject, TappedStage};

const CALM: Duration = Duration::from_millis(1500);

#[test]
fn plugins_without_a_peer_are_taken_over_when_the_host_of_the_main_dies() {
    check(Scenario::Crash);
}

#[test]
fn plugins_without_a_peer_are_taken_over_when_the_hub_process_of_the_main_dies() {
    check(Scenario::CrashHub);
}

#[test]
fn plugins_of_a_frozen_main_that_wakes_up_do_nothing() {
    check(Scenario::Freeze);
}

#[test]
fn plugins_stay_where_they_are_when_the_peer_link_is_cut() {
    check(Scenario::Cut);
}

#[test]
fn plugins_without_a_peer_lose_and_double_nothing_in_a_planned_switchover() {
    check(Scenario::Planned);
}

/// The same with a plugin that breaks the rule: the judge must not be blind to it.
#[test]
fn a_plugin_that_gives_a_value_after_its_role_has_ended_is_found() {
    twinhub_conformance::check(|artifacts| {
        let loose = Subject {
            plugin: "loose".to_owned(),
            name: "loose".to_owned(),
            sources: "tests/conformance/tests/fixtures".to_owned(),
            c_source: Some("loose.c".to_owned()),
            ..Subject::hello_c()
        };
        let mut stage = TappedStage::start(Profile::Normal, &[loose], artifacts, &mut |_| {})?;
        let outcome = Scenario::Planned.run(&mut stage, CALM)?;
        assert_eq!(outcome.figures.parts["loose-cold"].untold, 1, "{:#?}", outcome.figures);
        let found =
            outcome.problems.iter().any(|what| what.contains("acts of a plugin that was not told to act"));
        assert!(found, "{:?}", outcome.problems);
        Ok(())
    });
}

fn check(scenario: Scenario) {
    twinhub_conformance::check(|artifacts| play(scenario, artifacts));
}

fn play(scenario: Scenario, artifacts: &Artifacts) -> Result<()> {
    let mut stage = TappedStage::start(Profile::Normal, &Subject::all(), artifacts, &mut |_| {})?;
    let parts: Vec<&str> = stage.parts().iter().map(|part| part.id.as_str()).collect();
    assert_eq!(
        parts,
        ["sim-cold", "sim-warm", "sim-hot", "hello-cold", "hello-warm", "hello-hot", "hello-c-cold"]
    );
    let outcome = scenario.run(&mut stage, CALM)?;
    if !outcome.problems.is_empty() {
        let folder = stage.cluster_mut().keep_folder();
        panic!("{scenario}: {:#?}\n{:#?}\nlogs in {}", outcome.problems, outcome.figures, folder.display());
    }
    Ok(())
}
