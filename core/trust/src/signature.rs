//! Signatures of minisign (<https://jedisct1.github.io/minisign/>): Ed25519 over the bytes of a file, or over their
//! `BLAKE2b`, and over a comment.

use std::fmt;
use std::path::{Path, PathBuf};

use minisign_verify::Error;

/// The largest signature file that is read; those of minisign have about 300 bytes.
pub const SIGNATURE_BYTES_MAX: usize = 16 << 10;

/// A publisher's public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Option<minisign_verify::PublicKey>);

impl PublicKey {
    /// Reads the second line of a file `minisign.pub`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<PublicKey, KeyFault> {
        // What may follow and precede a line that was copied.
        match minisign_verify::PublicKey::from_base64(text.trim()) {
            Ok(key) => Ok(PublicKey(Some(key))),
            Err(_) => Err(KeyFault),
        }
    }

    /// The key of nobody.
    pub(crate) const fn none() -> PublicKey {
        PublicKey(None)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

/// A text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no public key of minisign")]
pub struct KeyFault;

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// The file is none.
    #[error("it is no signature of minisign")]
    Form,
    /// Another key made it.
    #[error("another key made it")]
    OtherKey,
    /// The key made it for other bytes, or another comment.
    #[error("it was made for another file")]
    OtherBytes,
}

/// Whether `signature`, the content of a `.minisig` file, is one of `key` over `bytes`. Its trusted comment is signed,
/// too, and must be as it was.
///
/// # Errors
/// Why not.
pub fn verify(key: &PublicKey, signature: &[u8], bytes: &[u8]) -> Result<(), SignatureFault> {
    let key = key.0.as_ref().ok_or(SignatureFault::OtherKey)?;
    let text = std::str::from_utf8(signature).map_err(|_| SignatureFault::Form)?;
    if text.len() > SIGNATURE_BYTES_MAX {
        return Err(SignatureFault::Form);
    }
    let signature = minisign_verify::Signature::decode(text).map_err(|_| SignatureFault::Form)?;
    // Signatures over the file itself, by older versions of minisign, are as good as those over its hash.
    let allow_legacy = true;
    key.verify(bytes, &signature, allow_legacy).map_err(|error| match error {
        Error::UnexpectedKeyId => SignatureFault::OtherKey,
        Error::InvalidSignature => SignatureFault::OtherBytes,
        Error::InvalidEncoding
        | Error::IoError(_)
        | Error::UnexpectedAlgorithm
        | Error::UnsupportedAlgorithm
        | Error::UnsupportedLegacyMode => SignatureFault::Form,
    })
}

/// Where the signature of a library is: beside it, where minisign puts it.
pub fn signature_path(library: &Path) -> PathBuf {
    let mut name = library.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}
