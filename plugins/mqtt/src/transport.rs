//! The connection to the broker: TCP or TLS, with a bound on how long sent bytes may linger in the network.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Settings, TlsFiles};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// TCP.
    #[error("{host}:{port}: {source}")]
    Connect {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A certificate or key file.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// TLS settings.
    #[error("tls: {0}")]
    Tls(String),
}

/// TLS settings with the files read.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, Error> {
        let ca = files.ca.clone().unwrap_or_else(|| SYSTEM_CA_FILE.into());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca)? {
            roots.add(certificate).map_err(|error| file_error(&ca, &error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls(error.to_string()))?
            .with_root_certificates(roots);
        let config = match &files.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, &error))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| file_error(cert, &error))?
            }
        };
        let name = ServerName::try_from(files.server_name.clone()).map_err(|_| {
            Error::Tls(format!("server_name `{}` is neither a DNS name nor an address", files.server_name))
        })?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file_error(path, &error))?;
    if certificates.is_empty() {
        return Err(file_error(path, &"it contains no certificate"));
    }
    Ok(certificates)
}

fn file_error(path: &std::path::Path, problem: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), problem: problem.to_string() }
}

/// A stream of either kind.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Secure(Box<TlsStream<TcpStream>>),
}

/// Handle that can cut the connection so that the kernel throws away what it has not sent.
#[derive(Debug)]
pub struct Cutter(OwnedFd);

impl Cutter {
    /// Prepares the close: it resets the connection and discards the send buffer.
    pub fn cut(&self) {
        // If this fails the socket is closed the ordinary way and TCP_USER_TIMEOUT bounds its send buffer.
        let _ignored = rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}

/// Connects. The caller limits the time.
pub(crate) async fn connect(settings: &Settings, tls: Option<&Tls>) -> Result<(Stream, Cutter), Error> {
    let at = |source| Error::Connect { host: settings.host.clone(), port: settings.port, source };
    let tcp = TcpStream::connect((settings.host.as_str(), settings.port)).await.map_err(at)?;
    tcp.set_nodelay(true).map_err(at)?;
    let limit_ms = u32::try_from(settings.send_timeout.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(&tcp, limit_ms).map_err(|error| at(error.into()))?;
    let cutter = Cutter(tcp.as_fd().try_clone_to_owned().map_err(at)?);
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(tls) => {
            Stream::Secure(Box::new(tls.connector.connect(tls.name.clone(), tcp).await.map_err(at)?))
        }
    };
    Ok((stream, cutter))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// Where Debian, Ubuntu and Alpine keep the public authorities.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
