//! What can be wrong with bytes.

/// Why bytes are no valid BACnet message, or why a message has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end within something.
    #[error("the message ends {missing} bytes too early")]
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// Something follows where the message should end.
    #[error("{count} bytes follow the end of the message")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Another tag was expected.
    #[error("expected {expected}, got the octet {got:#04x}")]
    Tag {
        /// What should stand there.
        expected: &'static str,
        /// The octet that does.
        got: u8,
    },
    /// A length that its type cannot have.
    #[error("{what} of {length} bytes")]
    Length {
        /// What has it.
        what: &'static str,
        /// The length.
        length: usize,
    },
    /// A value that its field cannot have.
    #[error("{what} is {value}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// More nested lists than [`DEPTH_MAX`](crate::tag::DEPTH_MAX).
    #[error("values are nested more than {max} deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// More values or entries than are taken.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}
