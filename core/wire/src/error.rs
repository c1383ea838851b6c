//! What can be wrong with bytes.

use twinhub_model::ItemKeyError;

/// Why bytes from a peer or a file could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end in the middle of something.
    #[error("the bytes end within {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
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
    #[error("{what} cannot be {got}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What it holds.
        got: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    NotText {
        /// The field.
        what: &'static str,
    },
    /// An item key that breaks the rules of keys.
    #[error("the dictionary holds a bad key")]
    Key(#[source] ItemKeyError),
    /// A record of a kind this version does not know.
    #[error("record kind {kind} is unknown to this version; update this node")]
    UnknownRecord {
        /// The kind.
        kind: u8,
    },
    /// A known thing in a layout this version does not know.
    #[error("{what} has layout version {got}, this version reads up to {known}; update this node")]
    UnknownLayout {
        /// What it is.
        what: &'static str,
        /// Its version.
        got: u8,
        /// The newest version that can be read.
        known: u8,
    },
    /// A message whose numbered fields cannot be read.
    #[error("{what} cannot be read: {detail}")]
    Message {
        /// The message.
        what: &'static str,
        /// The decoder's words.
        detail: String,
    },
    /// The first bytes of a frame are not ours: the other side is no twinhub, or bytes were lost.
    #[error("a frame begins with {got:#010x}; the peer does not speak this protocol")]
    NotAFrame {
        /// The first four bytes.
        got: u32,
    },
    /// A frame above the limit of its channel.
    #[error("a frame of {bytes} bytes is above the limit of {max}")]
    FrameTooLarge {
        /// The body's length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A frame of a kind this version does not know.
    #[error("frame kind {kind} is unknown to this version")]
    UnknownFrame {
        /// The kind.
        kind: u8,
    },
    /// The checksum does not fit the bytes.
    #[error("the checksum of a frame is {got:#010x}, its bytes give {expected:#010x}")]
    Checksum {
        /// What the header says.
        got: u32,
        /// What was computed.
        expected: u32,
    },
    /// The two nodes have no protocol version in common.
    #[error(
        "this node speaks protocol {ours_min} to {ours}, {peer} (product {product}) speaks {theirs_min} to \
         {theirs}; update the older one"
    )]
    NoCommonProtocol {
        /// Oldest protocol of this node.
        ours_min: u16,
        /// Newest protocol of this node.
        ours: u16,
        /// The peer's name.
        peer: String,
        /// The peer's product version.
        product: String,
        /// Oldest protocol of the peer.
        theirs_min: u16,
        /// Newest protocol of the peer.
        theirs: u16,
    },
    /// The peer belongs to another installation.
    #[error("{peer} belongs to cluster {theirs:016x}, this node to {ours:016x}")]
    OtherCluster {
        /// The peer's name.
        peer: String,
        /// This node's cluster.
        ours: u64,
        /// The peer's.
        theirs: u64,
    },
    /// The peer wanted to reach somebody else.
    #[error("{peer} wanted to reach `{wanted}`, this is `{name}`; check the addresses in the configuration")]
    OtherNode {
        /// The peer's name.
        peer: String,
        /// Whom it wanted to reach.
        wanted: String,
        /// This node.
        name: String,
    },
    /// The two ends use the connection for different things.
    #[error("{peer} opened a {theirs} connection where a {ours} connection was expected")]
    OtherChannel {
        /// The peer's name.
        peer: String,
        /// What this end expects.
        ours: &'static str,
        /// What the peer said.
        theirs: &'static str,
    },
}
