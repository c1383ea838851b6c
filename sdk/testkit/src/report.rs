//! What came out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::groups::Group;

/// Version of the form of a report.
pub const REPORT_SCHEMA: u32 = 1;

/// What came of every test of a library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Id of the plugin, as it declares it.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Hash of the plugin's sources, if they were at hand: `--sources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_hash: Option<String>,
    /// Day of the run in UTC, `2026-01-31`.
    pub date: String,
    /// Version of the plugin contract that the kit speaks.
    pub contract: String,
    /// Version of the kit.
    pub kit: String,
    /// The tests and groups that were chosen; none if all were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Red if one test failed, green if one passed and none failed.
    pub verdict: Verdict,
    /// One for each test, in the order of the groups.
    pub tests: Vec<TestReport>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestReport {
    /// Its group.
    pub group: Group,
    /// Its name within the group.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, or what was measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How long it took.
    pub took_ms: u64,
}

/// What came of a test, or of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As the contract and the declaration say.
    Passed,
    /// Not so.
    Failed,
    /// It does not concern this plugin, or cannot be tried; the note says why.
    Skipped,
}

impl Verdict {
    /// As written.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    pub(crate) fn of_all(tests: &[TestReport]) -> Verdict {
        let mut verdicts = tests.iter().map(|test| test.verdict);
        if tests.iter().any(|test| test.verdict == Verdict::Failed) {
            Verdict::Failed
        } else if verdicts.any(|verdict| verdict == Verdict::Passed) {
            Verdict::Passed
        } else {
            Verdict::Skipped
        }
    }
}

impl Report {
    /// How many tests came out so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|test| test.verdict == verdict).count()
    }

    /// What came of each group that was tried.
    pub fn groups(&self) -> BTreeMap<Group, Verdict> {
        let mut groups: BTreeMap<Group, Vec<TestReport>> = BTreeMap::new();
        for test in &self.tests {
            groups.entry(test.group).or_default().push(test.clone());
        }
        groups.into_iter().map(|(group, tests)| (group, Verdict::of_all(&tests))).collect()
    }
}
