//! Whether two nodes trust and run the same.

use std::fmt;

/// What a node runs of plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// [`Lock::hash`](crate::Lock::hash) of its `plugins.lock`, if it has one.
    pub lock: Option<String>,
    /// The libraries that it loaded.
    pub libraries: Vec<LibraryCode>,
}

/// A library that a node loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryCode {
    /// The id of its manifest.
    pub id: String,
    /// The version of its manifest.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// How what two nodes run compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// They trust and run the same.
    Same,
    /// They run neighboring versions, as in a rolling upgrade: what differs.
    Skew(Vec<String>),
    /// They trust or run what no upgrade explains: what differs.
    Differ(Vec<String>),
}

impl Agreement {
    /// `same`, `skew` or `differ`.
    pub const fn word(&self) -> &'static str {
        match self {
            Agreement::Same => "same",
            Agreement::Skew(_) => "skew",
            Agreement::Differ(_) => "differ",
        }
    }

    /// What differs.
    pub fn differences(&self) -> &[String] {
        match self {
            Agreement::Same => &[],
            Agreement::Skew(what) | Agreement::Differ(what) => what,
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Agreement::Same => f.write_str("the same"),
            Agreement::Skew(what) | Agreement::Differ(what) => f.write_str(&what.join("; ")),
        }
    }
}

/// Compares what this node runs with what another one does.
///
/// A plugin of two neighboring versions is the skew of a rolling upgrade, and explains that the `plugins.lock` of both
/// differ. A plugin with one version and two contents is fine where both have the same lock, which then names both, for
/// machines of two kinds; without any lock nobody said which one is right.
pub fn agreement(here: &Code, there: &Code) -> Agreement {
    let (mut skew, mut differ) = (Vec::new(), Vec::new());
    let is_lock_same = here.lock == there.lock;
    for mine in &here.libraries {
        let Some(theirs) = there.libraries.iter().find(|theirs| theirs.id == mine.id) else { continue };
        if theirs.sha256 == mine.sha256 {
            continue;
        }
        let id = mine.id.escape_debug();
        let (ours, other) = (mine.version.escape_debug(), theirs.version.escape_debug());
        if mine.version == theirs.version && is_lock_same {
            continue;
        }
        if mine.version == theirs.version {
            differ.push(format!("plugin {id} {ours} has another content there"));
        } else if are_neighbors(&mine.version, &theirs.version) {
            skew.push(format!("plugin {id} is {other} there, {ours} here"));
        } else {
            differ.push(format!("plugin {id} is {other} there, {ours} here, more than one version apart"));
        }
    }
    if !is_lock_same && skew.is_empty() {
        differ.push(match (&here.lock, &there.lock) {
            (Some(_), None) => "there is no plugins.lock there: nothing is checked".to_owned(),
            (None, Some(_)) => "there is no plugins.lock here: nothing is checked".to_owned(),
            (Some(_), Some(_)) | (None, None) => "its plugins.lock is another one".to_owned(),
        });
    }
    match (differ.is_empty(), skew.is_empty()) {
        (true, true) => Agreement::Same,
        (true, false) => Agreement::Skew(skew),
        (false, _) => Agreement::Differ(differ.into_iter().chain(skew).collect()),
    }
}

/// Whether one is the release before the other: of the same minor version or the next one, or the first of the next major.
fn are_neighbors(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (numbers(a), numbers(b)) else { return false };
    let (old, new) = if a <= b { (a, b) } else { (b, a) };
    match new.0 - old.0 {
        0 => new.1 - old.1 <= 1,
        1 => new.1 == 0,
        _ => false,
    }
}

/// Major and minor.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lock: Option<&str>, libraries: &[(&str, &str, &str)]) -> Code {
        let libraries = libraries.iter().map(|(id, version, sha256)| LibraryCode {
            id: (*id).to_owned(),
            version: (*version).to_owned(),
            sha256: (*sha256).to_owned(),
        });
        Code { lock: lock.map(str::to_owned), libraries: libraries.collect() }
    }

    #[test]
    fn a_rolling_upgrade_explains_neighboring_versions_and_locks_that_differ() {
        let old = code(Some("l1"), &[("a", "1.1.4", "x"), ("b", "1.0.0", "y")]);
        let new = code(Some("l2"), &[("a", "1.2.0", "z"), ("b", "1.0.0", "y")]);
        assert_eq!(
            agreement(&new, &old),
            Agreement::Skew(vec!["plugin a is 1.1.4 there, 1.2.0 here".to_owned()])
        );
        assert_eq!(agreement(&old, &new).word(), "skew");
        assert_eq!(agreement(&old, &old), Agreement::Same);
    }

    #[test]
    fn other_content_under_the_same_version_is_told_unless_one_lock_names_both() {
        let here = code(Some("l1"), &[("a", "1.1.4", "x"), ("b", "1.0.0", "y")]);
        let there = code(Some("l2"), &[("a", "1.1.5", "z"), ("b", "1.0.0", "evil")]);
        let found = agreement(&here, &there);
        assert_eq!(found.word(), "differ");
        assert!(found.to_string().starts_with("plugin b 1.0.0 has another content there"), "{found}");
        for lock in [None, Some("l1")] {
            let with = |sha256| code(lock, &[("a", "1.1.4", sha256)]);
            assert_eq!(agreement(&with("x86"), &with("arm")), Agreement::Same);
        }
        let with = |version| code(None, &[("a", version, version)]);
        assert_eq!(agreement(&with("1.1.0"), &with("1.3.0")).word(), "differ");
    }

    #[test]
    fn locks_that_differ_without_an_upgrade_are_told() {
        let with = |lock| code(lock, &[("a", "1.1.4", "x")]);
        assert_eq!(agreement(&with(Some("l1")), &with(Some("l2"))).word(), "differ");
        assert!(agreement(&with(Some("l1")), &with(None)).to_string().contains("no plugins.lock there"));
        assert!(agreement(&with(None), &with(Some("l2"))).to_string().contains("no plugins.lock here"));
        assert_eq!(agreement(&with(None), &with(None)), Agreement::Same);
        // What only one of them runs is a matter of the configuration.
        assert_eq!(agreement(&with(Some("l")), &code(Some("l"), &[])), Agreement::Same);
    }

    #[test]
    fn versions_are_neighbors_by_one_minor_or_the_first_of_the_next_major() {
        for (a, b) in [("1.1.9", "1.2.0"), ("1.2.3", "1.2.9"), ("1.7.0", "2.0.0"), ("0.1.0", "0.2.0-rc.1")] {
            assert!(are_neighbors(a, b) && are_neighbors(b, a), "{a} {b}");
        }
        for (a, b) in [("1.1.0", "1.3.0"), ("1.0.0", "2.1.0"), ("1.0.0", "3.0.0"), ("x", "1.0"), ("", "")] {
            assert!(!are_neighbors(a, b) && !are_neighbors(b, a), "{a} {b}");
        }
    }
}
