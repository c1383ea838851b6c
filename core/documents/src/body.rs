//! What documents hold.

use std::fmt;

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use twinhub_model::Timestamp;

use crate::kind::Kind;
use crate::role::Role;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(#[n(0)] ByteArray<32>);

impl Digest {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Digest {
        Digest(ByteArray::from(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |place: usize| char::from(digits[place]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Digest::new(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What a document holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// All files of a configuration.
    #[n(0)]
    Configuration(#[n(0)] Configuration),
    /// Somebody who may log in.
    #[n(1)]
    User(#[n(0)] User),
    /// A secret of a program.
    #[n(2)]
    Token(#[n(0)] Token),
    /// A user who has logged in.
    #[n(3)]
    Session(#[n(0)] Session),
}

impl Body {
    /// What kind of document this makes.
    pub const fn kind(&self) -> Kind {
        match self {
            Body::Configuration(_) => Kind::Configuration,
            Body::User(_) => Kind::User,
            Body::Token(_) => Kind::Token,
            Body::Session(_) => Kind::Session,
        }
    }
}

/// All files of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Configuration {
    /// Why it was changed.
    #[n(0)]
    pub message: String,
    /// The hash that nodes compare.
    #[n(1)]
    pub hash: u64,
    /// `twinhub.toml` and what stands beside it, by name.
    #[n(2)]
    pub files: Vec<ConfigurationFile>,
    /// The revision whose files these are again.
    #[n(3)]
    pub rolled_back_to: Option<u64>,
}

/// A file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ConfigurationFile {
    /// Its path beside `twinhub.toml`, with `/`.
    #[n(0)]
    pub name: String,
    /// Its length.
    #[n(1)]
    pub size: u64,
    /// Its pieces in order.
    #[n(2)]
    pub pieces: Vec<Digest>,
}

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct User {
    /// What the user may do.
    #[n(0)]
    pub role: Role,
    /// What the password is compared with.
    #[n(1)]
    pub password: PasswordHash,
}

/// Argon2id of a password, with everything needed to compute it again (RFC 9106).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PasswordHash {
    /// KiB of memory.
    #[n(0)]
    pub memory_kib: u32,
    /// Passes.
    #[n(1)]
    pub passes: u32,
    /// Lanes.
    #[n(2)]
    pub lanes: u32,
    /// The salt.
    #[n(3)]
    pub salt: ByteVec,
    /// The hash.
    #[n(4)]
    pub hash: ByteVec,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

/// A secret of a program.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// What who shows it may do.
    #[n(0)]
    pub role: Role,
    /// SHA-256 of the secret, which has 256 random bits itself.
    #[n(1)]
    pub digest: Digest,
    /// When it ends, in nanoseconds since 1970; never if left out.
    #[n(2)]
    pub expires: Option<i64>,
}

/// A user who has logged in; its name is the SHA-256 of the secret that the client shows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Session {
    /// Who.
    #[n(0)]
    pub user: String,
    /// When it ends, in nanoseconds since 1970.
    #[n(1)]
    pub expires: i64,
}

impl Session {
    /// Whether it has ended.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now.0 >= self.expires
    }
}

impl Token {
    /// Whether it has ended.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| now.0 >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::new(std::array::from_fn(|place| u8::try_from(place * 7).unwrap()));
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
