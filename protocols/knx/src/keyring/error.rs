//! What can be wrong with a keyring.

use crate::{Error, IndividualAddress};

/// Why a keyring could not be read. No message shows a secret.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// It is far longer than any keyring.
    #[error("the keyring has {bytes} bytes, more than {max}; give the .knxkeys file that the ETS exported")]
    TooLong {
        /// How many bytes.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
    /// It is no text.
    #[error("line {line}: the keyring is not UTF-8; give the .knxkeys file that the ETS exported, unchanged")]
    NotText {
        /// The first line that is none.
        line: usize,
    },
    /// It is no XML.
    #[error("line {line}, column {column}: the keyring is no XML ({detail}); export it from the ETS again")]
    Xml {
        /// The line.
        line: u32,
        /// The column.
        column: u32,
        /// What the parser found.
        detail: String,
    },
    /// It is something else.
    #[error(
        "the file begins with <{found}>, a keyring with <Keyring>; give the .knxkeys file of the project"
    )]
    NotKeyring {
        /// The outermost element.
        found: String,
    },
    /// Password and signature do not fit together.
    #[error(
        "the password of the keyring is wrong, or the file was changed after the export; type the password that was set \
         in the ETS at the export, or export the keyring again"
    )]
    WrongPassword,
    /// An attribute that must be there is not.
    #[error(
        "line {line}, column {column}: <{element}> has no {attribute}; export the keyring from the ETS again"
    )]
    Missing {
        /// The line.
        line: u32,
        /// The column.
        column: u32,
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// An attribute that is not as the ETS writes it.
    #[error(
        "line {line}, column {column}: {attribute} of <{element}> is wrong: {problem}; export the keyring from the ETS \
         again"
    )]
    Attribute {
        /// The line.
        line: u32,
        /// The column.
        column: u32,
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// What a session needs is not in it.
    #[error(
        "the keyring lacks {what} of {interface}; give the address of a secure tunnel of the project, or export the keyring \
         again after the tunnel was made secure"
    )]
    Lacks {
        /// What is not there.
        what: &'static str,
        /// The interface.
        interface: IndividualAddress,
    },
    /// A secret that no device can have.
    #[error("a secret of {interface} cannot be used")]
    Unusable {
        /// The interface.
        interface: IndividualAddress,
        /// Why.
        #[source]
        source: Error,
    },
}
