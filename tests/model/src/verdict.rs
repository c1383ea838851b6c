//! What tests ask of a model.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// Visits every state: no promise may break, each of `seen` must come about, and there must be exactly `states`. Another
/// number means that the model says something else than before, which is to be looked at, not only counted anew.
pub fn assert_holds<M>(model: M, seen: &[&'static str], states: usize)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
        + Send
        + Sync
        + 'static,
{
    let promises: Vec<_> = model.properties().into_iter().map(|each| (each.expectation, each.name)).collect();
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    for (_, promise) in promises.iter().filter(|(expectation, _)| *expectation == Expectation::Always) {
        if let Some(path) = checker.discovery(promise) {
            panic!("{promise}: {:#?}", path.into_actions());
        }
    }
    let visited = checker.unique_state_count();
    for wanted in seen {
        assert!(checker.discovery(wanted).is_some(), "{wanted}: in none of {visited} states");
    }
    assert!(checker.is_done(), "{visited} states visited and not all");
    assert_eq!(visited, states);
}

/// The shortest way to break `promise` must exist, and be longer than nothing.
pub fn assert_breaks<M>(model: M, promise: &'static str)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
        + Debug
        + Send
        + Sync
        + 'static,
{
    let wanted = HasDiscoveries::AnyOf([promise].into());
    let rules = format!("{model:?}");
    let checker = model.checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let visited = checker.unique_state_count();
    let Some(path) = checker.discovery(promise) else {
        panic!("{promise} was not broken by {rules} in {visited} states");
    };
    let steps = path.into_actions();
    assert!(steps.len() > 3, "a promise that breaks by itself says nothing about the rule: {steps:?}");
}
