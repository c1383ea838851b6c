//! What can be wrong.

use crate::kind::Kind;

/// Why bytes are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// They are no entry.
    #[error("no entry of documents: {detail}")]
    Unreadable {
        /// Where decoding ended.
        detail: String,
    },
    /// A limit is exceeded.
    #[error("{what} exceeds its limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its limit.
        limit: u64,
    },
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is none of that name.
    #[error("there is no {} `{name}`", .kind.word())]
    Unknown {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// Somebody else changed it in between.
    #[error("the {} `{name}` is at revision {revision}, not {base}: look at it again", .kind.word())]
    Stale {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
        /// Where it is.
        revision: u64,
        /// What the change was made for.
        base: u64,
    },
    /// The name is not usable.
    #[error("`{name}` is no name for a {}: use 1 to 64 letters, digits, `.`, `-`, `_` and `@`", .kind.word())]
    Name {
        /// What.
        kind: Kind,
        /// Which.
        name: String,
    },
    /// There are too many.
    #[error("there are {limit} {what} already")]
    Full {
        /// What.
        what: &'static str,
        /// How many fit.
        limit: u64,
    },
    /// Something is larger than it may be, or not what it should be.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
    },
}
