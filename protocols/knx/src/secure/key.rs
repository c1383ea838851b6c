//! Keys and passwords, which are wiped when dropped and never shown.

use std::fmt;

use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Error;

/// A key of AES-128.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 16]);

/// A password, or another text that nobody is to see.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

/// The private half of a key exchange: 32 bytes that nobody can guess, new for each session.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// From the randomness of the system.
    pub const fn new(random: [u8; 32]) -> PrivateKey {
        PrivateKey(random)
    }

    pub(super) fn public(&self) -> [u8; 32] {
        x25519(self.0, X25519_BASEPOINT_BYTES)
    }

    /// The key of the session with who has the other half. `None` if that half is one that leads to a known key.
    pub(super) fn agree(&self, other: [u8; 32]) -> Option<Key> {
        let shared = Zeroizing::new(x25519(self.0, other));
        let is_known: bool = shared.ct_eq(&[0; 32]).into();
        (!is_known).then(|| Key::of_session(&shared))
    }
}

impl PartialEq for PrivateKey {
    /// Takes the same time wherever they differ.
    fn eq(&self, other: &PrivateKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

impl Key {
    /// A key as it is, such as that of a backbone or a group.
    pub const fn new(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    /// The key of a user of secure tunnelling, from the password that the ETS calls *Commissioning Password* for user 1
    /// and *Password* of a tunnelling interface for all others. Takes tens of milliseconds, on purpose of the standard.
    ///
    /// # Errors
    /// If a character is outside of ISO 8859-1, which the ETS does not accept either.
    pub fn of_user(password: &Secret) -> Result<Key, Error> {
        Ok(Key::derive(&latin_1(password, "a password")?, b"user-password.1.secure.ip.knx.org"))
    }

    /// The key of a device from its authentication code. Takes as long as [`Key::of_user`].
    ///
    /// # Errors
    /// If a character is outside of ISO 8859-1.
    pub fn of_device(code: &Secret) -> Result<Key, Error> {
        let code = latin_1(code, "an authentication code")?;
        Ok(Key::derive(&code, b"device-authentication-code.1.secure.ip.knx.org"))
    }

    /// The bytes, for who passes them on. They are to be wiped by whoever copies them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// `03_08_09`: PBKDF2 with HMAC-SHA-256, 65536 rounds, and a salt that says what the key is for.
    pub(crate) fn derive(secret: &[u8], salt: &[u8]) -> Key {
        let mut key = Key([0; 16]);
        pbkdf2_hmac::<Sha256>(secret, salt, ROUNDS, &mut key.0);
        key
    }

    /// The first half of the hash of what a key exchange gave.
    fn of_session(shared: &[u8; 32]) -> Key {
        let mut hash: [u8; 32] = Sha256::digest(shared).into();
        let mut key = Key([0; 16]);
        key.0.copy_from_slice(&hash[..16]);
        hash.zeroize();
        key
    }
}

impl PartialEq for Key {
    /// Takes the same time wherever they differ.
    fn eq(&self, other: &Key) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl Secret {
    /// Takes over the text.
    pub const fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever they differ; only lengths show.
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

fn latin_1(text: &Secret, what: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Reserved beforehand, so that no part stays behind where the vector was before it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.0.len()));
    for (index, character) in text.0.chars().enumerate() {
        let byte = u8::try_from(character).map_err(|_| Error::SecretCharacter { what, place: index + 1 })?;
        bytes.push(byte);
    }
    Ok(bytes)
}

const ROUNDS: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_examples_of_the_standard() {
        // AN159v06, annex A.
        let device = Key::of_device(&Secret::from("trustme")).unwrap();
        assert_eq!(device.0, 0xe158_e401_2047_bd6c_c41a_afbc_5c04_c1fc_u128.to_be_bytes());
        let user = Key::of_user(&Secret::from("secret")).unwrap();
        assert_eq!(user.0, 0x03fc_edb6_6660_251e_c81a_1a71_6901_696a_u128.to_be_bytes());
    }

    #[test]
    fn a_password_that_no_device_can_have_is_refused_by_place() {
        let error = Key::of_user(&Secret::from("12€")).unwrap_err();
        assert_eq!(error, Error::SecretCharacter { what: "a password", place: 3 });
        assert!(!error.to_string().contains('€'));
        assert!(Key::of_user(&Secret::from("Zürich")).is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", Key::new([0xab; 16]), Secret::from("trustme"));
        assert_eq!(shown, "Key(hidden) Secret(hidden)");
    }
}
