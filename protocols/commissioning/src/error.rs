//! Why a file could not be read at all.

use crate::imported::Place;

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No format of that name.
    #[error("`{id}` is no format; write one of {known}")]
    UnknownFormat {
        /// What was asked for.
        id: String,
        /// What there is.
        known: String,
    },
    /// Nothing was handed in, or nothing of the kind that is needed.
    #[error("no file: {what}")]
    NoFile {
        /// What is needed.
        what: &'static str,
    },
    /// More files than the format has.
    #[error("{count} files were given: {what}")]
    TooManyFiles {
        /// How many there are.
        count: usize,
        /// What is needed.
        what: &'static str,
    },
    /// The file is not what it should be.
    #[error("{place}: {what}; {remedy}")]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// More than [`Limits`](crate::Limits) allows.
    #[error("{place}: {what} is more than {limit}; {remedy}")]
    TooMuch {
        /// Where.
        place: Place,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The project is protected, and no password was given.
    #[error(
        "{file}: the project is protected by a password; give the password with which it is opened in the ETS"
    )]
    PasswordNeeded {
        /// The file.
        file: String,
    },
    /// The password does not open the project.
    #[error(
        "{file}: the password does not open the project; give the one with which it is opened in the ETS"
    )]
    PasswordWrong {
        /// The file.
        file: String,
    },
}

impl Error {
    /// The file is not what it should be.
    pub(crate) fn malformed(place: Place, what: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::Malformed { place, what: what.into(), remedy: remedy.into() }
    }
}
