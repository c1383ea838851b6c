//! Whether this machine fits the site that welcomes it: clock, version, configuration.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twinhub_config::Files;
use twinhub_runtime::join::Welcome;

use crate::exit::{Code, Failure};

/// A clock that is further off would date values, events and logins wrongly.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);

/// Refuses a clock that is far from the node's, so long after it said the time. How long that is is not known after this
/// machine was started anew; then a clock is wrong that is behind what the node said.
pub(super) fn check_clock(
    welcome: &Welcome,
    waited: Option<Duration>,
    now: SystemTime,
) -> Result<(), Failure> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let said = Duration::from_nanos(u64::try_from(welcome.time).unwrap_or_default());
    let theirs = waited.map_or_else(|| since.max(said), |waited| said.saturating_add(waited));
    // A node of a version before this one does not say.
    if welcome.time == 0 || since.abs_diff(theirs) <= CLOCK_OFF_MAX {
        return Ok(());
    }
    let (off, place) = (since.abs_diff(theirs).as_secs(), if since > theirs { "ahead of" } else { "behind" });
    let text = format!(
        "the clock of this machine is {off} s {place} that of the node: set it, and say the same again with the same code; \
         nothing of the site is in its place yet (--force joins all the same)"
    );
    Err(Failure::new(Code::Configuration, text))
}

/// Refuses a configuration that this version does not understand, before anything of it is written.
pub(super) fn check_configuration(
    welcome: &Welcome,
    files: BTreeMap<String, Vec<u8>>,
) -> Result<(), Failure> {
    let loaded = Files(files).check().map_err(|failure| {
        let theirs = if welcome.version.is_empty() { "another version" } else { &welcome.version };
        let text = format!(
            "this version of Twinhub ({}) cannot use the configuration of the site, whose node runs {theirs}: install that \
             one, and say the same again with the same code\n\n{}",
            env!("CARGO_PKG_VERSION"),
            failure.render()
        );
        Failure::new(Code::Configuration, text)
    })?;
    match loaded.site.node(&welcome.node) {
        Some(_) => Ok(()),
        None => Err(Failure::of(Code::Configuration, &loaded.site.unknown_node(&welcome.node))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_refused_with_how_far_and_where() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let welcome = Welcome { time: 10_000 * 1_000_000_000, ..Welcome::default() };
        let check_clock = |welcome: &Welcome, now| check_clock(welcome, Some(Duration::ZERO), now);
        assert!(check_clock(&welcome, at(10_030)).is_ok() && check_clock(&welcome, at(9_970)).is_ok());
        for (seconds, said) in [(13_600, "3600 s ahead of"), (6_400, "3600 s behind"), (0, "10000 s behind")]
        {
            let refused = check_clock(&welcome, at(seconds)).unwrap_err();
            assert!(refused.text.contains(said), "{}", refused.text);
        }
        assert!(check_clock(&Welcome::default(), at(10_000)).is_ok());
    }

    #[test]
    fn a_clock_is_compared_with_what_the_node_has_by_now() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let welcome = Welcome { time: 10_000 * 1_000_000_000, ..Welcome::default() };
        let is_off = |waited: Option<u64>, now| {
            check_clock(&welcome, waited.map(Duration::from_secs), at(now)).is_err()
        };
        for (waited, now, off) in [
            (Some(7_200), 17_200, false),
            (Some(7_200), 10_000, true),
            (Some(7_200), 20_000, true),
            // How long it was is not known.
            (None, 17_200, false),
            (None, 9_970, false),
            (None, 9_000, true),
        ] {
            assert_eq!(is_off(waited, now), off, "{waited:?} {now}");
        }
    }

    #[test]
    fn a_configuration_of_another_version_is_refused_with_both_versions() {
        let welcome = Welcome { version: "9.8.7".into(), node: "backup".into(), ..Welcome::default() };
        let text = "version = 1\nsite = \"s\"\nnovelty = 1\n[cluster]\nnodes = [\"main\"]\n[nodes.main]\n\
                    links = [\"127.0.0.1:1\"]\n";
        let files = |text: &str| BTreeMap::from([("twinhub.toml".to_owned(), text.as_bytes().to_vec())]);
        let refused = check_configuration(&welcome, files(text)).unwrap_err().text;
        assert!(refused.contains("9.8.7") && refused.contains("novelty"), "{refused}");
        let refused = check_configuration(&welcome, files(&text.replace("novelty = 1\n", ""))).unwrap_err();
        assert!(refused.text.contains("no node is called `backup`"), "{}", refused.text);
    }
}
