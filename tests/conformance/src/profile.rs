//! The timer profiles and what follows from them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;

/// Which set of timers the pair runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Two machines on one switch.
    Lan,
    /// A quiet network.
    Fast,
    /// The default.
    Normal,
}

impl Profile {
    /// How long a voter's grant lasts.
    pub fn lease(self) -> Duration {
        match self {
            Self::Lan => Duration::from_millis(90),
            Self::Fast => Duration::from_millis(600),
            Self::Normal => Duration::from_millis(1500),
        }
    }

    /// The longest time until the first backup may act, however the active node went silent: lease, twice its place
    /// in the order, guard.
    pub fn detection_limit(self) -> Duration {
        let (stagger, guard) = match self {
            Self::Lan => (10, 50),
            Self::Fast => (50, 300),
            Self::Normal => (100, 300),
        };
        self.lease() + Duration::from_millis(2 * stagger + guard)
    }

    /// The longest takeover of a first backup: lease, stagger, guard, and what votes, activation and the first
    /// connection may take on a machine that is also busy with the rest of the test.
    pub fn takeover_limit(self) -> Duration {
        self.detection_limit() + WORK_LIMIT
    }

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Fast => "fast",
            Self::Normal => "normal",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        [Self::Lan, Self::Fast, Self::Normal]
            .into_iter()
            .find(|profile| profile.word() == word)
            .ok_or_else(|| Error::Usage(format!("`{word}` is no profile; write lan, fast or normal")))
    }
}

const WORK_LIMIT: Duration = Duration::from_millis(1500);
