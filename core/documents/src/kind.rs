//! What there is of documents.

use minicbor::{Decode, Encode};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// The configuration of the site.
    #[n(0)]
    Configuration,
    /// Somebody who may log in.
    #[n(1)]
    User,
    /// A secret of a program.
    #[n(2)]
    Token,
    /// A user who has logged in.
    #[n(3)]
    Session,
}

impl Kind {
    /// `configuration`, `user`, `token` or `session`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Configuration => "configuration",
            Kind::User => "user",
            Kind::Token => "token",
            Kind::Session => "session",
        }
    }
}
