//! What a peer can do wrong.

use twinhub_model::Position;

/// Why a message of the other side could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// Bytes that are no message.
    #[error("replication message cannot be read: {detail}")]
    Unreadable {
        /// What is wrong with them.
        detail: String,
    },
    /// An acknowledgement of something that was not sent.
    #[error("the standby acknowledges {got}, but only {sent} was sent")]
    AckBeyondSent {
        /// The acknowledged position.
        got: Position,
        /// The last one sent.
        sent: Position,
    },
    /// A message that only the other side may send.
    #[error("{message} came from the wrong side")]
    WrongSide {
        /// Its name.
        message: &'static str,
    },
    /// A message out of its place, such as a snapshot's values before its start.
    #[error("{message} came {when}")]
    OutOfPlace {
        /// Its name.
        message: &'static str,
        /// What was going on.
        when: &'static str,
    },
}
