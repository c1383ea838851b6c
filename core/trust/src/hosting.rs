//! Where the instances of a plugin run.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the instances of a plugin run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Hosting {
    /// In the process of the hub.
    Inproc,
    /// In a process of their own.
    Isolated,
    /// As the hub does by itself: plugins of this product in its process, others in one of their own.
    #[default]
    Auto,
}

impl Hosting {
    /// As it is written in `plugins.lock`.
    pub const fn word(self) -> &'static str {
        match self {
            Hosting::Inproc => "inproc",
            Hosting::Isolated => "isolated",
            Hosting::Auto => "auto",
        }
    }
}

impl fmt::Display for Hosting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
