//! Configuration of an instance.

use schemars::JsonSchema;
use serde::Deserialize;
use twinhub_plugin::{Error, Result};

/// Configuration of a simulated interface.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Milliseconds between two values of an item, 0 to 86400000. 0 generates as fast as the hub takes the values.
    #[schemars(range(max = 86_400_000))]
    pub interval_ms: u64,
    /// Values handed to the hub at once, 1 to 1024.
    #[schemars(range(min = 1, max = 1024))]
    pub batch: usize,
    /// Whether values are generated while standby too, as a device would that both nodes can read.
    pub standby_generates: bool,
    /// Whether an event that was taken waits until a write to an `answer` item answers it.
    pub holds_events: bool,
    /// Seed of the generator `random`; the same seed gives the same values.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval_ms: 1_000, batch: 64, standby_generates: false, holds_events: false, seed: 1 }
    }
}

impl Config {
    pub(crate) fn check(self) -> Result<Self> {
        if self.interval_ms > INTERVAL_MS_MAX {
            return Err(Error::config(format!(
                "interval_ms is {}, write 0 to {INTERVAL_MS_MAX}",
                self.interval_ms
            )));
        }
        if !(1..=BATCH_MAX).contains(&self.batch) {
            return Err(Error::config(format!("batch is {}, write 1 to {BATCH_MAX}", self.batch)));
        }
        Ok(self)
    }
}

/// One day.
const INTERVAL_MS_MAX: u64 = 86_400_000;
/// The largest batch the publisher makes.
const BATCH_MAX: usize = 1_024;
