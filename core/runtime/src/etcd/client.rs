//! HTTP to the members of an etcd cluster, one at a time.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use twinhub_config::Etcd;

/// A longer answer is no answer to what is asked here.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// A login: etcd derives a key from the password on purpose slowly.
const LOGIN_LIMIT: Duration = Duration::from_secs(2);
/// A password is shorter.
const PASSWORD_MAX: usize = 4 * 1024;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error("cannot connect to {endpoint}: {detail}")]
    Connect { endpoint: String, detail: String },
    #[error("{endpoint} did not answer within {limit_ms} ms")]
    Silent { endpoint: String, limit_ms: u128 },
    #[error("{endpoint} broke off: {detail}")]
    Broken { endpoint: String, detail: String },
    #[error("{endpoint} answered {status}: {detail}")]
    Refused { endpoint: String, status: u16, detail: String },
    #[error("{endpoint} answered what is no answer of etcd")]
    Strange { endpoint: String },
    #[error("{}: {detail}", path.display())]
    File { path: PathBuf, detail: String },
    #[error("`{url}` is no address of an etcd member: write `http://host:2379` or `https://host:2379`")]
    Url { url: String },
}

#[derive(Debug, Clone)]
struct Member {
    url: String,
    host: String,
    authority: String,
    secure: bool,
}

/// A line to whichever member answers.
pub(crate) struct Client {
    members: Vec<Member>,
    at: usize,
    line: Option<SendRequest<Full<Bytes>>>,
    tls: Option<Arc<ClientConfig>>,
    login: Option<(String, String)>,
    token: Option<String>,
    limit: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the password and not the token.
        f.debug_struct("Client").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads what is needed to prove who this is; connects later.
    pub(crate) fn new(etcd: &Etcd, base_dir: &Path, limit: Duration) -> Result<Client, EtcdError> {
        let members: Vec<Member> = etcd.endpoints.iter().map(|url| member(url)).collect::<Result<_, _>>()?;
        let tls = if members.iter().any(|member| member.secure) { Some(tls(etcd, base_dir)?) } else { None };
        let login = match (&etcd.user, &etcd.password_file) {
            (Some(user), Some(file)) => {
                let path = base_dir.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| EtcdError::File { path: path.clone(), detail: error.to_string() })?;
                if text.len() > PASSWORD_MAX {
                    return Err(EtcdError::File { path, detail: "too long for a password".to_owned() });
                }
                Some((user.clone(), text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        Ok(Client { members, at: 0, line: None, tls, login, token: None, limit })
    }

    /// The member that is asked.
    pub(crate) fn endpoint(&self) -> String {
        self.members.get(self.at).map(|member| member.url.clone()).unwrap_or_default()
    }

    /// How many members there are.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// `host:port` of that member, and whether it is asked over TLS.
    pub(super) fn place(&self) -> (String, bool) {
        self.members.get(self.at).map(|at| (at.authority.clone(), at.secure)).unwrap_or_default()
    }

    /// What the member calls its version.
    pub(crate) async fn version(&mut self) -> Result<String, EtcdError> {
        let answer = self.ask(Method::GET, "/version", None, self.limit).await?;
        let version = answer.get("etcdserver").and_then(Json::as_str);
        let endpoint = self.endpoint();
        version.map(|text| text.chars().take(32).collect()).ok_or(EtcdError::Strange { endpoint })
    }

    /// Posts a question. After an error it is not known whether it was carried out; the next one goes to the
    /// next member.
    pub(crate) async fn post(&mut self, path: &str, body: &Json) -> Result<Json, EtcdError> {
        if let (Some((name, password)), None) = (self.login.clone(), &self.token) {
            let login = json!({ "name": name, "password": password });
            let endpoint = self.endpoint();
            let limit = self.limit.max(LOGIN_LIMIT);
            let answer = self.ask(Method::POST, "/v3/auth/authenticate", Some(&login), limit).await?;
            let token = answer.get("token").and_then(Json::as_str).ok_or(EtcdError::Strange { endpoint })?;
            self.token = Some(token.to_owned());
        }
        self.ask(Method::POST, path, Some(body), self.limit).await
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        limit: Duration,
    ) -> Result<Json, EtcdError> {
        let endpoint = self.endpoint();
        let answer = match timeout(limit, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(EtcdError::Silent { endpoint, limit_ms: limit.as_millis() }),
        };
        if answer.is_err() {
            self.line = None;
            // A token ends with its member's memory, or with time: the next question asks for a new one.
            self.token = None;
            self.at = (self.at + 1) % self.members.len().max(1);
        }
        answer
    }

    async fn exchange(&mut self, method: Method, path: &str, body: Option<&Json>) -> Result<Json, EtcdError> {
        let Some(member) = self.members.get(self.at).cloned() else {
            return Err(EtcdError::Url { url: String::new() });
        };
        let endpoint = member.url.clone();
        let broken =
            |error: &dyn Error| EtcdError::Broken { endpoint: member.url.clone(), detail: chain(error) };
        let mut line = match self.line.take() {
            Some(line) if !line.is_closed() => line,
            Some(_) | None => self.connect(&member).await?,
        };
        let mut request = Request::builder().method(method).uri(path).header("host", &member.authority);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(bytes)).map_err(|error| broken(&error))?;
        line.ready().await.map_err(|error| broken(&error))?;
        let answer = line.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| broken(error.as_ref()))?.to_bytes();
        if !status.is_success() {
            let detail = refusal(&body);
            return Err(EtcdError::Refused { endpoint, status: status.as_u16(), detail });
        }
        let answer = serde_json::from_slice(&body).map_err(|_| EtcdError::Strange { endpoint })?;
        self.line = Some(line);
        Ok(answer)
    }

    async fn connect(&self, member: &Member) -> Result<SendRequest<Full<Bytes>>, EtcdError> {
        let failed =
            |error: &dyn Error| EtcdError::Connect { endpoint: member.url.clone(), detail: chain(error) };
        let stream = TcpStream::connect(&member.authority).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let line = if member.secure {
            let Some(tls) = &self.tls else {
                let detail = "no authority is configured".to_owned();
                return Err(EtcdError::Connect { endpoint: member.url.clone(), detail });
            };
            let name = ServerName::try_from(member.host.clone()).map_err(|error| failed(&error))?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            let stream = stream.map_err(|error| failed(&error))?;
            let (line, work) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            // It ends when the line is dropped; what breaks it is seen by who asks.
            tokio::spawn(async move { drop(work.await) });
            line
        } else {
            let (line, work) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            tokio::spawn(async move { drop(work.await) });
            line
        };
        Ok(line)
    }
}

/// What went wrong with what caused it: of a refused certificate only the cause says so.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// The words of a refusal: the gateway wraps them in JSON.
fn refusal(body: &[u8]) -> String {
    let answer: Option<Json> = serde_json::from_slice(body).ok();
    let said = answer.as_ref().and_then(|answer| answer.get("message").or_else(|| answer.get("error")));
    let text = String::from_utf8_lossy(body);
    said.and_then(Json::as_str).unwrap_or(text.trim()).chars().take(200).collect()
}

fn member(url: &str) -> Result<Member, EtcdError> {
    let wrong = || EtcdError::Url { url: url.to_owned() };
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(wrong()),
    };
    let authority = rest.trim_end_matches('/');
    let (host, _) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Member { url: url.to_owned(), host, authority: authority.to_owned(), secure })
}

fn tls(etcd: &Etcd, base_dir: &Path) -> Result<Arc<ClientConfig>, EtcdError> {
    let place = |file: &Option<String>, what: &str| {
        file.as_ref().map(|file| base_dir.join(file)).ok_or_else(|| EtcdError::File {
            path: PathBuf::from(what),
            detail: "https needs it: write its file in `witness`".to_owned(),
        })
    };
    let unusable = |path: &Path, error: &dyn std::fmt::Display| EtcdError::File {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let ca = place(&etcd.ca, "ca")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&ca).map_err(|error| unusable(&ca, &error))? {
        let certificate = certificate.map_err(|error| unusable(&ca, &error))?;
        roots.add(certificate).map_err(|error| unusable(&ca, &error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&ca, &error))?
        .with_root_certificates(roots);
    let config = if etcd.certificate.is_some() {
        let (chain, key) = (place(&etcd.certificate, "certificate")?, place(&etcd.key, "key")?);
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&chain)
            .map_err(|error| unusable(&chain, &error))?
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&chain, &error))?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, &error))?;
        builder.with_client_auth_cert(certificates, key).map_err(|error| unusable(&chain, &error))?
    } else {
        builder.with_no_client_auth()
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_etcd() {
        let wrapped = br#"{"error":"etcdserver: permission denied","message":"etcdserver: permission denied","code":7}"#;
        assert_eq!(refusal(wrapped), "etcdserver: permission denied");
        assert_eq!(refusal(b"404 page not found\n"), "404 page not found");
        assert_eq!(refusal(&[b'x'; 1000]).len(), 200);
        assert_eq!(refusal(br#"{"error":7}"#), r#"{"error":7}"#);
    }
}
