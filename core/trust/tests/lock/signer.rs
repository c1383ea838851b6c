//! Signs as minisign does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    key_id: [u8; 8],
}

impl Signer {
    pub(crate) fn new(seed: u8) -> Signer {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Signer { pair, key_id: [seed; 8] }
    }

    /// With the id of another key, as a forger would.
    pub(crate) fn with_key_id_of(mut self, key: &str) -> Signer {
        self.key_id.copy_from_slice(&STANDARD.decode(key).unwrap()[2..10]);
        self
    }

    /// The second line of `minisign.pub`.
    pub(crate) fn key(&self) -> String {
        STANDARD.encode([b"Ed", &self.key_id[..], self.pair.public_key().as_ref()].concat())
    }

    /// As `minisign -S`.
    pub(crate) fn prehashed(&self, bytes: &[u8]) -> String {
        self.file(*b"ED", &Blake2b512::digest(bytes))
    }

    /// As `minisign -S -l`.
    pub(crate) fn legacy(&self, bytes: &[u8]) -> String {
        self.file(*b"Ed", bytes)
    }

    fn file(&self, algorithm: [u8; 2], bytes: &[u8]) -> String {
        let comment = "file:plugin";
        let signature = self.pair.sign(bytes);
        let global = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let first = STANDARD.encode([&algorithm[..], &self.key_id, signature.as_ref()].concat());
        let second = STANDARD.encode(global.as_ref());
        format!("untrusted comment: a test\n{first}\ntrusted comment: {comment}\n{second}\n")
    }
}
