//! Joining: a new machine gets certificates, configuration and what it lacks of plugins for a code that is told to it.
//!
//! ```text
//! code = id (4 bytes) and secret (16 bytes), in base 32; S = SHA-256(secret)
//! new machine -> node: id, K1, HMAC(S, id, K1)                   K1, K2: X25519, made for this once
//! node -> new machine: K2, ChaCha20-Poly1305(key, welcome)       key = HKDF(salt S, X25519(K1, K2), id, K1, K2)
//! ```
//! Who does not know the code learns and gets nothing, also from what it has recorded and a code that it hears later;
//! who answers without knowing it is found out. So the welcome, which carries the authority's certificate and its
//! fingerprint, needs no other proof. A code counts once, for a while, on the node that made it ([`Codes`]), and is gone
//! after a few wrong proofs. The node keeps S only; it lies beside the key of the authority and opens no more than that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::documents::secret::digest;

mod codes;

pub use codes::{Admitted, Codes};

/// Codes that count at once.
const CODES_MAX: usize = 16;
/// The longest time that a code counts.
pub const CODE_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a code counts if nobody says.
pub const CODE_TIME: Duration = Duration::from_secs(15 * 60);
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// Why a machine does not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It is no code.
    #[error(
        "this is no join code: `twinhub init --code NODE` on a node of the site prints one such as {EXAMPLE}"
    )]
    NoCode,
    /// The node does not know the code, or not any more.
    #[error(
        "the code is wrong, was used already, or has expired: `twinhub init --code NODE` on that node makes another"
    )]
    Refused,
    /// The other end does not know the code.
    #[error("what answered does not know the code: is this the address of the node that made it?")]
    Stranger,
    /// There are too many codes.
    #[error("{CODES_MAX} codes wait to be used: let one expire first")]
    Full,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// What counts cannot be kept, so that a code might count twice.
    #[error("join codes cannot be kept: {why}")]
    NotKept {
        /// Why.
        why: String,
    },
}

/// What an operator tells the new machine.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    id: [u8; ID_BYTES],
    secret: [u8; SECRET_BYTES],
}

/// What both ends know of a code.
#[derive(Clone, PartialEq, Eq)]
struct Shared {
    id: [u8; ID_BYTES],
    key: [u8; KEY_BYTES],
}

impl Shared {
    fn proof_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.key)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(hidden)")
    }
}

/// The first words of a new machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Which code.
    pub id: String,
    /// Base 64 of the machine's X25519 key.
    pub key: String,
    /// Base 64 of the proof that it knows the code.
    pub proof: String,
}

/// The answer to a new machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinAnswer {
    /// Base 64 of the node's X25519 key.
    pub key: String,
    /// Base 64 of the sealed [`Welcome`].
    pub sealed: String,
}

/// What a new machine gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The site's name.
    pub site: String,
    /// The node that the machine is from now on.
    pub node: String,
    /// SHA-256 of the authority's certificate, hexadecimal.
    pub authority: String,
    /// Files of the configuration by name, base 64; `twinhub.toml` is one of them.
    pub files: BTreeMap<String, String>,
    /// Files with secrets that the configuration names, base 64.
    pub secrets: BTreeMap<String, String>,
    /// Certificates and the key of the node, by file name.
    pub pki: BTreeMap<String, String>,
    /// Plugins that the configuration needs.
    pub plugins: Vec<PluginFile>,
    /// Lets the machine fetch them.
    pub ticket: String,
    /// Version of the node.
    #[serde(default)]
    pub version: String,
    /// The node's time, in nanoseconds since 1970.
    #[serde(default)]
    pub time: i64,
}

/// A plugin library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFile {
    /// The plugin's short name.
    pub name: String,
    /// Name of the library file.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// The signature of its publisher, if the node has one.
    #[serde(default)]
    pub signature: Option<String>,
}

impl JoinCode {
    /// A code as it is told; hyphens, blanks and the case of letters do not matter.
    ///
    /// # Errors
    /// [`JoinError::NoCode`].
    pub fn parse(text: &str) -> Result<JoinCode, JoinError> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|letter| !letter.is_whitespace() && *letter != '-')
            .take(CODE_DIGITS + 1)
            .map(|letter| {
                let letter = match letter.to_ascii_uppercase() {
                    'O' => '0',
                    'I' | 'L' => '1',
                    other => other,
                };
                DIGITS.find(letter).and_then(|place| u8::try_from(place).ok())
            })
            .collect();
        let digits = digits.filter(|digits| digits.len() == CODE_DIGITS).ok_or(JoinError::NoCode)?;
        let mut bytes = Vec::with_capacity(ID_BYTES + SECRET_BYTES);
        let (mut bits, mut held) = (0_u32, 0_u32);
        for digit in digits {
            bits = bits << 5 | u32::from(digit);
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
            }
        }
        let (id, secret) = bytes.split_first_chunk().ok_or(JoinError::NoCode)?;
        let secret = secret.try_into().map_err(|_| JoinError::NoCode)?;
        Ok(JoinCode { id: *id, secret })
    }

    /// What the node keeps of the code.
    fn shared(&self) -> Shared {
        Shared { id: self.id, key: *digest(&self.secret).bytes() }
    }
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.id.iter().chain(&self.secret);
        let (mut bits, mut held, mut count) = (0_u32, 0_u32, 0);
        for byte in bytes {
            bits = bits << 8 | u32::from(*byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                if count > 0 && count % 4 == 0 {
                    f.write_str("-")?;
                }
                count += 1;
                let digit = DIGITS.as_bytes()[(bits >> held & 31) as usize];
                write!(f, "{}", char::from(digit))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinCode(hidden)")
    }
}

/// The new machine's side.
#[derive(Debug)]
pub struct Joining {
    code: Shared,
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

impl Joining {
    /// Begins, with what is to be sent.
    ///
    /// # Errors
    /// [`JoinError::NoRandomness`].
    pub fn begin(code: &JoinCode) -> Result<(Joining, JoinRequest), JoinError> {
        let (private, public) = key_pair()?;
        let code = code.shared();
        let proof = hmac::sign(&code.proof_key(), &proven(&code.id, &public));
        let request = JoinRequest {
            id: hex(&code.id),
            key: BASE64.encode(&public),
            proof: BASE64.encode(proof.as_ref()),
        };
        Ok((Joining { code, private, public }, request))
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`JoinError::Stranger`] if it is not of a node that knows the code.
    pub fn open(self, answer: &JoinAnswer) -> Result<Welcome, JoinError> {
        let theirs = BASE64.decode(&answer.key).map_err(|_| JoinError::Stranger)?;
        let mut sealed = BASE64.decode(&answer.sealed).map_err(|_| JoinError::Stranger)?;
        let key = session_key(&self.code, self.private, &theirs, &self.public, &theirs)?;
        let aad = Aad::from(self.code.id);
        let opened = key.open_in_place(nonce(), aad, &mut sealed).map_err(|_| JoinError::Stranger)?;
        serde_json::from_slice(opened).map_err(|_| JoinError::Stranger)
    }
}

fn key_pair() -> Result<(EphemeralPrivateKey, Vec<u8>), JoinError> {
    let private =
        EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| JoinError::NoRandomness)?;
    let public = private.compute_public_key().map_err(|_| JoinError::NoRandomness)?;
    Ok((private, public.as_ref().to_vec()))
}

/// The key of one answer, which is used for it alone.
fn session_key(
    code: &Shared,
    mine: EphemeralPrivateKey,
    theirs: &[u8],
    machine: &[u8],
    node: &[u8],
) -> Result<LessSafeKey, JoinError> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &code.key);
    let bytes = agree_ephemeral(mine, &UnparsedPublicKey::new(&X25519, theirs), |shared| {
        let mut bytes = [0; KEY_BYTES];
        let info = [LABEL, &code.id, machine, node];
        salt.extract(shared)
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut bytes))
            .map(|()| bytes)
    });
    let bytes = bytes.map_err(|_| JoinError::Stranger)?.map_err(|_| JoinError::Stranger)?;
    UnboundKey::new(&CHACHA20_POLY1305, &bytes).map(LessSafeKey::new).map_err(|_| JoinError::Stranger)
}

/// Each key seals one message.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn proven(id: &[u8], key: &[u8]) -> Vec<u8> {
    [LABEL, id, key].concat()
}

fn random<const N: usize>() -> Result<[u8; N], JoinError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| JoinError::NoRandomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Told apart from all else that is proven or derived.
const LABEL: &[u8] = b"twinhub join 1";
/// Crockford's base 32: without letters that are taken for others.
const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_DIGITS: usize = (ID_BYTES + SECRET_BYTES) * 8 / 5;
const EXAMPLE: &str = "8S3K-0XJ5-...";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_code_is_read_as_it_is_written(id in any::<[u8; ID_BYTES]>(), secret in any::<[u8; SECRET_BYTES]>()) {
            let code = JoinCode { id, secret };
            prop_assert_eq!(JoinCode::parse(&code.to_string()), Ok(code));
        }
    }
}
