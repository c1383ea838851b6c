//! The pairing authority and the certificates of nodes and witness, made by the product.
//!
//! `ca.pem`/`ca.key` sign one certificate per name (`main.pem`, `main.key`, …, `witness.pem`). A name's
//! certificate carries the DNS name `NAME.twinhub.internal`, which both sides of every peer connection
//! check, so that a stolen backup certificate cannot speak for the main. Two machines need the same `ca.pem`
//! and their own pair of files; the authority's key need not leave the machine that made it.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::whole_file::write_whole;

/// Certificates are valid this long. A pair runs for decades and expiry would stop it at once, while a lost
/// machine is shut out by a new authority, not by waiting.
const VALID_UNTIL_YEAR: i32 = 2099;

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate is missing and cannot be made, since the authority's key is on another machine.
    #[error(
        "{path} is missing and {ca_key} is not here to make it: run `twinhub init` on the machine that has the \
         authority's key, then copy ca.pem, {name}.pem and {name}.key to this one",
        path = path.display(), ca_key = ca_key.display()
    )]
    NoAuthority {
        /// The missing file.
        path: PathBuf,
        /// The authority's key.
        ca_key: PathBuf,
        /// The name it is for.
        name: String,
    },
    /// A file does not hold what it should.
    #[error("{path} is not usable: {what}", path = path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// What one process needs to prove who it is and to check who others are.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Settings of connections it makes.
    pub client: Arc<ClientConfig>,
    /// Settings of connections it accepts.
    pub server: Arc<ServerConfig>,
    /// The cluster's id: the first eight bytes of the SHA-256 of the authority's certificate.
    pub cluster: u64,
}

/// Makes the authority and the certificates of `names` as far as they are missing in `dir`. Processes that
/// do so at the same time wait for each other.
///
/// # Errors
/// [`PkiError`] if a file cannot be written, or a certificate is missing and the authority's key is too.
pub fn ensure(dir: &Path, names: &[&str]) -> Result<(), PkiError> {
    fs::create_dir_all(dir).map_err(file_error("create", dir))?;
    let lock_path = dir.join(".lock");
    let lock = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(file_error("create", &lock_path))?;
    lock.lock().map_err(file_error("lock", &lock_path))?;
    let ca_path = dir.join("ca.pem");
    let ca_key_path = dir.join("ca.key");
    if !ca_path.exists() {
        let (certificate, key) = make_authority().map_err(unusable(&ca_path))?;
        write_new(&ca_key_path, key.as_bytes(), 0o600)?;
        write_new(&ca_path, certificate.as_bytes(), 0o644)?;
    }
    for name in names {
        let path = dir.join(format!("{name}.pem"));
        let key_path = dir.join(format!("{name}.key"));
        if path.exists() && key_path.exists() {
            continue;
        }
        if !ca_key_path.exists() {
            return Err(PkiError::NoAuthority { path, ca_key: ca_key_path, name: (*name).to_owned() });
        }
        let ca_pem = read(&ca_path)?;
        let ca_key = read(&ca_key_path)?;
        let (certificate, key) = make_certificate(name, &ca_pem, &ca_key).map_err(unusable(&ca_path))?;
        write_new(&key_path, key.as_bytes(), 0o600)?;
        write_new(&path, certificate.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Reads the credentials of `name` from `dir`.
///
/// # Errors
/// [`PkiError`] if a file is missing or damaged.
pub fn load(dir: &Path, name: &str) -> Result<Credentials, PkiError> {
    let ca_path = dir.join("ca.pem");
    let ca = CertificateDer::from_pem_file(&ca_path).map_err(unusable(&ca_path))?;
    let path = dir.join(format!("{name}.pem"));
    let key_path = dir.join(format!("{name}.key"));
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(unusable(&ca_path))?;
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        || CertificateDer::from_pem_file(&path).map(|certificate| vec![certificate]).map_err(unusable(&path));
    let key = || PrivateKeyDer::from_pem_file(&key_path).map_err(unusable(&key_path));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(unusable(&ca_path))?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable(&path))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain()?, key()?)
        .map_err(unusable(&path))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable(&path))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain()?, key()?)
        .map_err(unusable(&path))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &ca);
    let cluster = digest.as_ref().iter().take(8).fold(0_u64, |id, byte| id << 8 | u64::from(*byte));
    Ok(Credentials { client: Arc::new(client), server: Arc::new(server), cluster })
}

/// The DNS name in the certificate of a node or witness.
///
/// # Errors
/// [`PkiError::Unusable`] if `name` cannot be part of a DNS name.
pub fn server_name(name: &str) -> Result<ServerName<'static>, PkiError> {
    ServerName::try_from(dns_name(name)).map_err(unusable(Path::new(name)))
}

fn dns_name(name: &str) -> String {
    format!("{name}.twinhub.internal")
}

fn make_authority() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = common_name("Twinhub pairing authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = rcgen::date_time_ymd(VALID_UNTIL_YEAR, 1, 1);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn make_certificate(name: &str, ca_pem: &str, ca_key_pem: &str) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(ca_key_pem)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![dns_name(name)])?;
    params.distinguished_name = common_name(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = rcgen::date_time_ymd(VALID_UNTIL_YEAR, 1, 1);
    Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    write_whole(path, bytes, Some(mode)).map_err(file_error("write", path))
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(file_error("read", path))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError + use<> {
    let path = path.to_owned();
    move |source| PkiError::File { action, path, source }
}

fn unusable<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> PkiError + use<E> {
    let path = path.to_owned();
    move |error| PkiError::Unusable { path, what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_once_and_share_a_cluster() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), &["main", "backup"]).unwrap();
        let before = fs::read(dir.path().join("main.pem")).unwrap();
        ensure(dir.path(), &["main", "backup", "witness"]).unwrap();
        assert_eq!(fs::read(dir.path().join("main.pem")).unwrap(), before);
        let clusters: Vec<u64> = ["main", "backup", "witness"]
            .iter()
            .map(|name| load(dir.path(), name).unwrap().cluster)
            .collect();
        assert!(clusters.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_missing_authority_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), &["main"]).unwrap();
        fs::remove_file(dir.path().join("ca.key")).unwrap();
        let error = ensure(dir.path(), &["backup"]).unwrap_err().to_string();
        assert!(error.contains("twinhub init") && error.contains("backup.pem"), "{error}");
    }

    #[test]
    fn a_damaged_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), &["main"]).unwrap();
        fs::write(dir.path().join("main.pem"), "garbage").unwrap();
        assert!(load(dir.path(), "main").unwrap_err().to_string().contains("main.pem"));
    }
}
