//! What is asked for on the command line.

use std::time::Duration;

use twinhub_conformance::{Error, Profile, Result};

/// What is measured.
#[derive(Clone, Debug)]
pub struct FailoverOptions {
    /// Faults of each kind.
    pub rounds: u32,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Timers in place of the profile's, as they stand in `timers = { … }` of the configuration.
    pub timers: Option<String>,
    /// Instead of faults: how long no role may move under load.
    pub stability: Option<Duration>,
}

impl FailoverOptions {
    /// Reads `--rounds N --profile P --timers 'lease = "40ms"' --stability MINUTES`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let profiles = vec![Profile::Lan, Profile::Normal];
        let mut options = Self { rounds: 10, profiles, timers: None, stability: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
            let number = || value.parse::<u32>().map_err(|_| Error::Usage(format!("`{value}` is no number")));
            match word.as_str() {
                "--rounds" => options.rounds = number()?,
                "--profile" => options.profiles = vec![value.parse()?],
                "--timers" => options.timers = Some(value.clone()),
                "--stability" => options.stability = Some(Duration::from_secs(60 * u64::from(number()?))),
                _ => {
                    return Err(Error::unknown_option(
                        word,
                        "--rounds N, --profile P, --timers TEXT, --stability MINUTES",
                    ));
                }
            }
        }
        Ok(options)
    }
}
