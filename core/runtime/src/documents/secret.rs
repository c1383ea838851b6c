//! Secrets: random ones, what they are compared with, and passwords.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use twinhub_documents::{Digest, PasswordHash};

use crate::error::CommandError;

/// Argon2id with 19 MiB and two passes: the first choice of the OWASP password storage cheat sheet.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// What a stored hash may ask for at most, so that a document does not eat the machine.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// The longest password that is looked at.
pub(crate) const PASSWORD_BYTES_MAX: usize = 512;
/// The shortest password that is taken.
pub(crate) const PASSWORD_LETTERS_MIN: usize = 8;

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    Digest::new(out)
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CommandError::Internal { why: "the system gives no random numbers".to_owned() })?;
    Ok(bytes)
}

/// A new secret of 256 random bits, in hexadecimal digits.
pub(crate) fn make() -> Result<String, CommandError> {
    Ok(Digest::new(random()?).to_string())
}

/// What a password is kept as. It takes tens of milliseconds: not for an event loop.
pub(crate) fn hash_password(password: &str) -> Result<PasswordHash, CommandError> {
    let salt: [u8; SALT_BYTES] = random()?;
    let mut kept = PasswordHash {
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: salt.to_vec().into(),
        hash: Vec::new().into(),
    };
    let hash = derive(password, &kept, HASH_BYTES)
        .ok_or_else(|| CommandError::Internal { why: "the password cannot be hashed".to_owned() })?;
    kept.hash = hash.into();
    Ok(kept)
}

/// Whether it is the password. It takes as long as [`hash_password`], also for a user that does not exist.
pub(crate) fn is_password(password: &str, kept: Option<&PasswordHash>) -> bool {
    let Some(kept) = kept else {
        let nobody = PasswordHash {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: vec![0; SALT_BYTES].into(),
            hash: Vec::new().into(),
        };
        std::hint::black_box(derive(password, &nobody, HASH_BYTES));
        return false;
    };
    derive(password, kept, kept.hash.len()).is_some_and(|hash| is_same(&hash, &kept.hash))
}

fn derive(password: &str, kept: &PasswordHash, length: usize) -> Option<Vec<u8>> {
    let fits = kept.memory_kib <= MEMORY_KIB_MAX
        && kept.passes <= PASSES_MAX
        && kept.lanes <= LANES_MAX
        && length >= 16;
    if !fits || password.len() > PASSWORD_BYTES_MAX {
        return None;
    }
    let params = Params::new(kept.memory_kib, kept.passes, kept.lanes, Some(length)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = vec![0; length];
    argon.hash_password_into(password.as_bytes(), &kept.salt, &mut out).ok()?;
    Some(out)
}

/// The time it takes says nothing about where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut difference = one.len() ^ other.len();
    for (a, b) in one.iter().zip(other) {
        difference |= usize::from(std::hint::black_box(a ^ b));
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_the_password() {
        let kept = hash_password("correct horse").unwrap();
        assert!(is_password("correct horse", Some(&kept)));
        for other in ["", "correct horse ", "Correct horse"] {
            assert!(!is_password(other, Some(&kept)), "{other}");
        }
        assert!(!is_password("", None));
        assert_ne!(hash_password("correct horse").unwrap().hash, kept.hash, "each has its salt");
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_never_right() {
        let mut kept = hash_password("correct horse").unwrap();
        kept.memory_kib = u32::MAX;
        assert!(!is_password("correct horse", Some(&kept)));
        kept.memory_kib = 0;
        assert!(!is_password("correct horse", Some(&kept)));
    }

    /// RFC 9106, section 5.3, has a key and associated data, which are not used here; this vector is of the reference
    /// implementation's test suite for the same variant and version.
    #[test]
    fn the_hash_is_the_published_one() {
        let kept = PasswordHash {
            memory_kib: 65536,
            passes: 2,
            lanes: 1,
            salt: b"somesalt".to_vec().into(),
            hash: Vec::new().into(),
        };
        let hash = derive("password", &kept, 32).unwrap();
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(Digest::parse(expected).unwrap().bytes()[..], hash);
    }
}
