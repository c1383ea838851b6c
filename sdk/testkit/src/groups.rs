//! The tests, in groups.

mod abi;
mod device;
mod events;
mod failover;
mod questions;
mod robustness;
mod roles;
mod schema;
mod soak;
mod state;
mod threading;
mod upgrade;
mod values_in;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::Bench;

/// What a test gives: a note on what was measured, or why it does not hold.
pub(crate) type Outcome = Result<String, Stop>;

/// Why a test ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The plugin does not do what it should.
    Failed(String),
    /// It does not concern this plugin.
    Skipped(String),
}

/// Tests that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The C contract.
    Abi,
    /// Configuration and items.
    Schema,
    /// Calls, threads and what is left behind.
    Threading,
    /// A hub and a world that are not as wished.
    Robustness,
    /// Roles and epochs.
    Roles,
    /// State that moves to the other node.
    State,
    /// Two processes, and faults between them.
    Failover,
    /// Another version in the place of one that runs.
    Upgrade,
    /// For long.
    Soak,
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 9] = [
        Group::Abi,
        Group::Schema,
        Group::Threading,
        Group::Robustness,
        Group::Roles,
        Group::State,
        Group::Failover,
        Group::Upgrade,
        Group::Soak,
    ];

    /// As written.
    pub const fn word(self) -> &'static str {
        match self {
            Group::Abi => "abi",
            Group::Schema => "schema",
            Group::Threading => "threading",
            Group::Robustness => "robustness",
            Group::Roles => "roles",
            Group::State => "state",
            Group::Failover => "failover",
            Group::Upgrade => "upgrade",
            Group::Soak => "soak",
        }
    }
}

/// One test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Its group.
    pub group: Group,
    /// Its name within the group.
    pub name: &'static str,
    /// What holds if it passes, in a sentence.
    pub about: &'static str,
    /// After this time its process is ended.
    pub limit: Duration,
    pub(crate) run: fn(&Bench) -> Outcome,
}

impl Test {
    const fn new(group: Group, name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
        Test { group, name, about, limit: LIMIT, run }
    }

    /// `group.name`.
    pub fn id(&self) -> String {
        format!("{}.{}", self.group.word(), self.name)
    }

    /// Whether `word` names it or its group.
    pub fn is_called(&self, word: &str) -> bool {
        word == self.group.word() || word == self.id()
    }
}

/// Every test, in the order of the groups.
pub fn tests() -> Vec<Test> {
    [
        abi::TESTS,
        questions::TESTS,
        schema::TESTS,
        threading::TESTS,
        robustness::TESTS,
        values_in::TESTS,
        events::ROBUSTNESS,
        device::ROBUSTNESS,
        roles::TESTS,
        state::TESTS,
        failover::TESTS,
        events::FAILOVER,
        device::FAILOVER,
        upgrade::TESTS,
        soak::TESTS,
    ]
    .concat()
}

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}

pub(crate) fn skipped<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// Fails with this unless it holds.
pub(crate) fn hold(holds: bool, why: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { failed(why()) }
}

/// Longer than any test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
