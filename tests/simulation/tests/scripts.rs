//! Plots in which one rule alone stands between two nodes: with all rules they end well, and they come to that point.

use twinhub_redundancy::NodeState;
use twinhub_simulation::{Script, World};

const SEEDS: u64 = 40;

#[test]
fn no_plot_breaks_a_promise() {
    for script in [Script::OvertakenToken, Script::OlderVoters, Script::LateRenewal, Script::LateCampaign] {
        for seed in 0..SEEDS {
            let world = World::play(script, seed);
            assert_eq!(world.field.findings, [], "{script:?}, seed {seed}:\n{}", world.story(60));
        }
    }
}

/// The role was given away in epoch 1, and taken again by who gave it.
#[test]
fn a_word_that_was_overtaken_wins_nothing() {
    for seed in 0..SEEDS {
        let world = World::play(Script::OvertakenToken, seed);
        assert!(world.entered[&NodeState::Draining] == 1, "seed {seed}");
        assert_eq!(world.won.get("operator_switchover"), None, "seed {seed}: {}", world.story(60));
        assert_eq!(world.entered.get(&NodeState::Candidate), Some(&3), "seed {seed}: {}", world.story(60));
    }
}

#[test]
fn who_asks_by_the_voters_of_yesterday_learns_who_votes() {
    let mut came_so_far = 0;
    for seed in 0..SEEDS {
        let world = World::play(Script::OlderVoters, seed);
        came_so_far += u64::from(world.field.members.get("shrunk") == Some(&2));
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}: {}", world.story(60));
        assert_ne!(world.state(1), Some(NodeState::Active), "seed {seed}");
    }
    assert!(came_so_far * 2 > SEEDS, "only {came_so_far} of {SEEDS} plots came to their point");
}

#[test]
fn a_renewal_of_a_dead_process_delays_nobody() {
    for seed in 0..SEEDS {
        let world = World::play(Script::LateRenewal, seed);
        assert_eq!(world.state(1), Some(NodeState::Active), "seed {seed}: {}", world.story(60));
        assert_eq!(world.won.get("resigned"), Some(&1), "seed {seed}: {}", world.story(60));
    }
}

#[test]
fn a_question_of_a_dead_candidate_delays_nobody() {
    for seed in 0..SEEDS {
        let world = World::play(Script::LateCampaign, seed);
        assert_eq!(world.state(0), Some(NodeState::Active), "seed {seed}: {}", world.story(60));
        assert_eq!(
            world.won.get("peer_silent"),
            None,
            "the candidate never won, seed {seed}: {}",
            world.story(60)
        );
        let candidates = world.entered.get(&NodeState::Candidate).copied().unwrap_or_default();
        assert!(candidates >= 3, "seed {seed}: {}", world.story(60));
    }
}
