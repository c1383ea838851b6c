//! The verdict over a library.

use std::fmt;
use std::io;
use std::path::Path;

use crate::entry::{Entry, Grant};
use crate::hosting::Hosting;
use crate::lock::Lock;
use crate::refusal::{Refusal, Why};
use crate::signature::{PublicKey, signature_path, verify};

/// A library that is to be loaded. Hash, id and version are those of `bytes`.
pub struct Candidate<'a> {
    /// Where it is; for messages, and for the place of its signature.
    pub path: &'a Path,
    /// The id of its manifest.
    pub id: &'a str,
    /// The version of its manifest.
    pub version: &'a str,
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: &'a str,
    /// The whole file.
    pub bytes: &'a [u8],
    /// Reads the file at [`signature_path`], `None` if there is none; asked only if a signature is needed.
    pub signature: &'a dyn Fn(&Path) -> io::Result<Option<Vec<u8>>>,
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { path, id, version, sha256, .. } = self;
        write!(f, "Candidate({} {id} {version} {sha256})", path.display())
    }
}

/// Why a library may run, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its hash is in `plugins.lock`, and it has the signature of the publisher named there.
    Trusted {
        /// Who signed it.
        publisher: String,
        /// Where its instances run.
        hosting: Hosting,
    },
    /// It is unsigned, and `plugins.lock` allows its hash: isolated.
    Allowed,
    /// There is no `plugins.lock`: nothing was checked.
    Unlocked,
}

impl Verdict {
    /// Whether its code may be mapped into the process of the hub, where it is trusted with everything.
    pub const fn allows_inproc(&self) -> bool {
        match self {
            Verdict::Trusted { hosting: Hosting::Inproc | Hosting::Auto, .. } | Verdict::Unlocked => true,
            Verdict::Trusted { hosting: Hosting::Isolated, .. } | Verdict::Allowed => false,
        }
    }

    /// Who signed it, if that was checked.
    pub fn publisher(&self) -> Option<&str> {
        match self {
            Verdict::Trusted { publisher, .. } => Some(publisher),
            Verdict::Allowed | Verdict::Unlocked => None,
        }
    }

    /// `trusted`, `allowed` or `unlocked`.
    pub const fn word(&self) -> &'static str {
        match self {
            Verdict::Trusted { .. } => "trusted",
            Verdict::Allowed => "allowed",
            Verdict::Unlocked => "unlocked",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Trusted { publisher, hosting } => {
                write!(f, "trusted, signed by `{publisher}`, hosting {hosting}")
            }
            Verdict::Allowed => f.write_str("allowed unsigned by its hash, only isolated"),
            Verdict::Unlocked => f.write_str("not checked, there is no plugins.lock"),
        }
    }
}

/// Whether a library may run, by the `plugins.lock` of the site, if it has one.
///
/// # Errors
/// [`Refusal`] with what is wrong and what to do.
pub fn judge(lock: Option<&Lock>, candidate: &Candidate<'_>) -> Result<Verdict, Refusal> {
    let Some(lock) = lock else { return Ok(Verdict::Unlocked) };
    judged(lock, candidate).map_err(|why| Refusal {
        path: candidate.path.to_owned(),
        id: candidate.id.to_owned(),
        version: candidate.version.to_owned(),
        why: Box::new(why),
    })
}

fn judged(lock: &Lock, candidate: &Candidate<'_>) -> Result<Verdict, Why> {
    let entry = find(lock, candidate)?;
    match &entry.grant {
        Grant::Unsigned => Ok(Verdict::Allowed),
        Grant::SignedBy(publisher) => {
            let key = lock.publishers().get(publisher).map(|found| &found.key);
            check(candidate, publisher, key)?;
            Ok(Verdict::Trusted { publisher: publisher.clone(), hosting: entry.hosting })
        }
    }
}

/// The entry for these very bytes.
fn find<'l>(lock: &'l Lock, candidate: &Candidate<'_>) -> Result<&'l Entry, Why> {
    let Candidate { id, version, sha256, .. } = *candidate;
    let name = lock.name().to_owned();
    if let Some(entry) = lock.entries().iter().find(|entry| entry.sha256 == sha256) {
        if entry.id == id && entry.version == version {
            return Ok(entry);
        }
        let locked = format!("{} {}", entry.id, entry.version);
        return Err(Why::OtherName { lock: name, line: entry.line, locked });
    }
    // Of several entries the one that was probably meant.
    let of_version = lock.entries_of(id).find(|entry| entry.version == version);
    let entry = of_version.or_else(|| lock.entries_of(id).last());
    let entry = entry.ok_or_else(|| Why::NoEntry { lock: name.clone() })?;
    Err(Why::OtherHash {
        lock: name,
        line: entry.line,
        sha256: sha256.to_owned(),
        expected: entry.sha256.clone(),
    })
}

fn check(candidate: &Candidate<'_>, publisher: &str, key: Option<&PublicKey>) -> Result<(), Why> {
    let signature = signature_path(candidate.path);
    let publisher = publisher.to_owned();
    let text = match (candidate.signature)(&signature) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(Why::NoSignature { signature, publisher }),
        Err(source) => return Err(Why::UnreadableSignature { signature, source }),
    };
    let nobody = PublicKey::none();
    verify(key.unwrap_or(&nobody), &text, candidate.bytes).map_err(|fault| Why::BadSignature {
        signature,
        publisher,
        fault,
    })
}
