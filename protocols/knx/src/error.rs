//! What can be wrong with bytes, texts and values.

use crate::dpt::DptId;

/// Why something could not be read or written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end in the middle of something.
    #[error("{what} needs {needed} more bytes where {got} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes were to be read.
        needed: usize,
        /// How many there were.
        got: usize,
    },
    /// Bytes follow after the end of what was read.
    #[error("{bytes} bytes follow after the end of {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many are left.
        bytes: usize,
    },
    /// A value that the field cannot have.
    #[error("{what} cannot be {got:#x}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What it holds.
        got: u32,
    },
    /// More than fits.
    #[error("{what} has {bytes} bytes, the limit is {max}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// A text that is no address.
    #[error("`{text}` is no {kind} address: {part}; write {example}")]
    Address {
        /// What was written.
        text: String,
        /// `individual` or `group`.
        kind: &'static str,
        /// What is wrong with which part of it.
        part: String,
        /// How it is written.
        example: &'static str,
    },
    /// A secret with a character that the standard does not allow there. It is not shown.
    #[error(
        "character {place} of {what} is outside of ISO 8859-1, which no KNX device accepts; check how it was typed"
    )]
    SecretCharacter {
        /// What kind of secret.
        what: &'static str,
        /// Which character, from 1.
        place: usize,
    },
    /// A text that is no datapoint type.
    #[error("`{text}` is no datapoint type; write for example 9.001, DPT 9.001 or DPST-9-1")]
    DptText {
        /// What was written.
        text: String,
    },
    /// A datapoint type this crate cannot take apart.
    #[error("datapoint type {dpt} is not known; use one of the main numbers of the table")]
    DptUnknown {
        /// The type.
        dpt: DptId,
    },
    /// A payload of another length than its datapoint type has.
    #[error(
        "datapoint type {dpt} has {expected} bytes, the telegram {got}; check the type of this group address"
    )]
    DptLength {
        /// The type.
        dpt: DptId,
        /// Bytes of the type.
        expected: usize,
        /// Bytes of the payload.
        got: usize,
    },
    /// The sender itself marks what it sent as no value.
    #[error("the sender marks its value of datapoint type {dpt} as invalid")]
    DptNoValue {
        /// The type.
        dpt: DptId,
    },
    /// A value outside of what the type can carry.
    #[error("{field} of datapoint type {dpt} is {value}, allowed is {min} to {max}")]
    DptRange {
        /// The type.
        dpt: DptId,
        /// The field, or `value` where there is only one.
        field: &'static str,
        /// The value.
        value: f64,
        /// The smallest one.
        min: f64,
        /// The largest one.
        max: f64,
    },
    /// A value of the wrong kind.
    #[error("{field} of datapoint type {dpt} takes {expected}, not {got}")]
    DptKind {
        /// The type.
        dpt: DptId,
        /// The field, or `value` where there is only one.
        field: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        got: &'static str,
    },
    /// A structured value lacks a field.
    #[error("a value of datapoint type {dpt} needs the field {field}")]
    DptFieldMissing {
        /// The type.
        dpt: DptId,
        /// The field.
        field: &'static str,
    },
    /// A structured value has a field that the type does not.
    #[error("datapoint type {dpt} has no field `{field}`")]
    DptFieldUnknown {
        /// The type.
        dpt: DptId,
        /// The field.
        field: String,
    },
    /// A text that the type cannot carry.
    #[error("datapoint type {dpt} cannot carry the character {character:?}")]
    DptCharacter {
        /// The type.
        dpt: DptId,
        /// The first character that does not fit.
        character: char,
    },
    /// Bytes that should be text and are not.
    #[error("the text of datapoint type {dpt} is not valid UTF-8")]
    DptNotText {
        /// The type.
        dpt: DptId,
    },
}
