//! What the conformance kit for plugins found, beside what a plugin declares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinhub_contract::Manifest;

use crate::cell::{Cell, State, contract};

/// A report of `twinhub plugin test --report`, as far as the matrix reads it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KitReport {
    /// [`KIT_SCHEMA`].
    pub schema: u32,
    /// Id of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the library that was tried.
    pub sha256: String,
    /// [`crate::source_hash`] of the plugin's directory, if it was at hand.
    #[serde(default)]
    pub source_hash: Option<String>,
    /// Version of the plugin contract.
    pub contract: String,
    /// Day of the run.
    pub date: String,
    /// The tests and groups that were chosen; none if all were.
    #[serde(default)]
    pub only: Vec<String>,
    /// What came of all of it.
    pub verdict: KitVerdict,
    /// One for each test.
    pub tests: Vec<KitTest>,
}

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KitTest {
    /// Its group.
    pub group: String,
    /// Its name within the group.
    pub name: String,
    /// What came of it.
    pub verdict: KitVerdict,
    /// Why.
    #[serde(default)]
    pub note: String,
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KitVerdict {
    /// As the contract and the declaration say.
    Passed,
    /// Not so.
    Failed,
    /// It does not concern this plugin.
    Skipped,
}

/// What is known from the kit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kit {
    /// In one word, and why.
    #[serde(flatten)]
    pub cell: Cell,
    /// Day of the run.
    pub date: String,
    /// How many tests came out so.
    pub tests: BTreeMap<KitVerdict, usize>,
    /// How many tests of each group passed, of those that concern the plugin.
    pub groups: BTreeMap<String, [usize; 2]>,
}

/// What a report must be of, to say something of a plugin.
pub(crate) struct Identity<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) source_hash: Option<&'a str>,
    pub(crate) sha256: Option<&'a str>,
}

impl KitReport {
    /// What is wrong with the file itself; nothing if it can be used.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.schema != KIT_SCHEMA {
            found.push(format!("schema is {}, this version reads {KIT_SCHEMA}", self.schema));
        }
        if !self.only.is_empty() {
            found.push(format!("only {} was run, which is not the whole kit", self.only.join(", ")));
        }
        if self.tests.iter().all(|test| test.verdict == KitVerdict::Skipped) {
            found.push("no test was run".to_owned());
        }
        let has_failed = self.tests.iter().any(|test| test.verdict == KitVerdict::Failed);
        if has_failed != (self.verdict == KitVerdict::Failed) {
            found.push("the verdict is not that of its tests".to_owned());
        }
        found
    }

    /// What it says of the plugin as it is.
    pub(crate) fn judged(self, of: &Identity<'_>) -> Kit {
        let stale = self.stale(of);
        let failures: Vec<String> = self
            .tests
            .iter()
            .filter(|test| test.verdict == KitVerdict::Failed)
            .map(|test| format!("{}.{}: {}", test.group, test.name, test.note))
            .collect();
        let cell = if !stale.is_empty() {
            Cell { state: State::Stale, reasons: stale }
        } else if failures.is_empty() {
            Cell { state: State::Verified, reasons: Vec::new() }
        } else {
            Cell { state: State::Contradicted, reasons: failures }
        };
        let mut tests = BTreeMap::new();
        let mut groups: BTreeMap<String, [usize; 2]> = BTreeMap::new();
        for test in self.tests {
            *tests.entry(test.verdict).or_default() += 1;
            let [passed, all] = groups.entry(test.group).or_default();
            *passed += usize::from(test.verdict == KitVerdict::Passed);
            *all += usize::from(test.verdict != KitVerdict::Skipped);
        }
        Kit { cell, date: self.date, tests, groups }
    }

    fn stale(&self, of: &Identity<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.version != of.manifest.version {
            reasons.push(format!("tried with version {}, this is {}", self.version, of.manifest.version));
        } else if let (Some(tried), Some(now)) = (&self.source_hash, of.source_hash) {
            if tried != now {
                reasons.push("the plugin's sources have changed since".to_owned());
            }
        } else if of.sha256.is_none_or(|now| now != self.sha256) {
            reasons.push("tried with another library".to_owned());
        }
        if self.contract != contract() {
            reasons.push(format!("tried with contract {}, this is {}", self.contract, contract()));
        }
        reasons
    }
}

impl Kit {
    /// In a few words: `green, 39 tests`.
    pub(crate) fn words(&self) -> String {
        let count = |verdict| self.tests.get(&verdict).copied().unwrap_or_default();
        match self.cell.state {
            State::Verified => format!("green, {} tests", count(KitVerdict::Passed)),
            State::Contradicted => format!("red, {} failed", count(KitVerdict::Failed)),
            State::NotBuilt | State::Declared | State::NotTested | State::Stale => {
                self.cell.state.word().to_owned()
            }
        }
    }

    /// Everything on one line.
    pub(crate) fn sentence(&self) -> String {
        let groups: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, [_, all])| *all > 0)
            .map(|(group, [passed, all])| format!("{group} {passed} of {all}"))
            .collect();
        let skipped = self.tests.get(&KitVerdict::Skipped).copied().unwrap_or_default();
        let reasons = if self.cell.reasons.is_empty() {
            String::new()
        } else {
            format!("; {}", self.cell.reasons.join("; "))
        };
        format!(
            "{} ({}): {}; {skipped} do not concern it{reasons}",
            self.words(),
            self.date,
            groups.join(", ")
        )
    }
}

/// Version of the form of a report.
pub const KIT_SCHEMA: u32 = 1;
