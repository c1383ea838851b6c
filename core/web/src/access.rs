//! Who is let in, and what everybody may do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header};
use twinhub_config::Site;
use twinhub_runtime::{Author, Identity, Role};

use crate::problem::Problem;
use crate::token::Token;

/// The cookie with a session.
pub(crate) const COOKIE: &str = "twinhub_session";

/// The other end of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The user or token that asks; none for this machine and for the token of the node.
    pub(crate) who: Option<Arc<str>>,
}

impl Peer {
    pub(crate) const fn new(address: SocketAddr) -> Peer {
        Peer { address, who: None }
    }

    /// As it is recorded as the origin of commands.
    pub(crate) fn origin(&self) -> String {
        let address = self.address.ip().to_canonical();
        match &self.who {
            Some(who) => format!("rest:{who}@{address}"),
            None => format!("rest:{address}"),
        }
    }

    /// As it stands in the audit list.
    pub(crate) fn author(&self) -> Author {
        let name = self.who.as_deref().unwrap_or(LOCAL).to_owned();
        Author { name, origin: self.address.ip().to_canonical().to_string() }
    }
}

/// Who asks, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user or token; none for this machine and for the token of the node.
    pub(crate) who: Option<String>,
    pub(crate) role: Role,
}

/// Who asks without a name: this machine, or who has the token of the node.
const LOCAL: &str = "local";

/// The rules for one node.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) token: Token,
    pub(crate) trust_loopback: bool,
    /// Hosts under which this node is known.
    pub(crate) hosts: Vec<String>,
    /// Addresses of the other nodes.
    pub(crate) nodes: Vec<IpAddr>,
}

impl Rules {
    pub(crate) fn new(site: &Site, node: &str, token: Token) -> Rules {
        let own = site.node(node);
        let addresses = own.into_iter().flat_map(|node| {
            std::iter::once(&node.web).chain(&node.links).chain(&node.listen).map(|address| host_of(address))
        });
        let hosts = addresses.filter(|host| !host.is_empty()).map(str::to_ascii_lowercase).collect();
        let others = site.nodes.iter().filter(|other| other.name != node);
        let addresses = others.flat_map(|other| std::iter::once(&other.web).chain(&other.links));
        let nodes = addresses.filter_map(|address| host_of(address).trim_matches(['[', ']']).parse().ok());
        let nodes = nodes.filter(|address: &IpAddr| !address.is_unspecified()).collect();
        Rules { token, trust_loopback: site.web.trust_loopback, hosts, nodes }
    }

    /// Whether another node of the site has this address.
    pub(crate) fn is_node(&self, address: IpAddr) -> bool {
        self.nodes.contains(&address.to_canonical())
    }

    /// Who asks, if a request may pass. `identify` knows sessions and tokens.
    pub(crate) fn check(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        identify: impl Fn(&str) -> Option<Identity>,
    ) -> Result<Caller, Problem> {
        let all = Caller { who: None, role: Role::Admin };
        if headers.contains_key(header::AUTHORIZATION) {
            let given = bearer(headers);
            if given.is_some_and(|given| self.token.is(given)) {
                return Ok(all);
            }
            return given.and_then(identify).map(Caller::from).ok_or_else(|| {
                refuse(
                    "TH-AUTH-002",
                    "the token is not the one of this node, and no token or session of the site",
                )
            });
        }
        if let Some(identity) = session_of(headers).and_then(identify) {
            same_origin(headers)?;
            return Ok(identity.into());
        }
        if !(self.trust_loopback && peer.to_canonical().is_loopback()) {
            return Err(refuse(
                "TH-AUTH-001",
                "log in with POST /api/v1/login, or send `Authorization: Bearer <token>`; the token of a node is in the \
                 file `token` of its state directory",
            ));
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_own(host_of(host)) {
            let detail = "the Host header names another machine: use localhost, or send a token";
            return Err(refuse("TH-AUTH-003", detail));
        }
        same_origin(headers).map(|()| all)
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.hosts.contains(&host)
    }
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Caller {
        Caller { who: Some(identity.name), role: identity.role }
    }
}

fn refuse(code: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
}

/// Whether a page of this node asks, or none at all.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = origin.to_str().unwrap_or_default();
    if origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(refuse("TH-AUTH-004", "a page of another origin may not do this without a token"))
}

/// The secret of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// The session that a browser sends.
fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// What a client shows of itself: the secret of its session or token.
pub(crate) fn secret_of(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(header::AUTHORIZATION) { bearer(headers) } else { session_of(headers) }
}

/// What one must be to ask this.
pub(crate) fn needed(method: &Method, path: &str) -> Role {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let is_below =
        |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // Everybody may ask who it is, leave, and change the own password; the handler looks whose it is.
    if is_below("/me") || is_below("/logout") || is_password(path) {
        return Role::Viewer;
    }
    if is_below("/config/revisions") || is_below("/config/files") {
        return Role::Engineer;
    }
    if ["/users", "/tokens", "/audit", "/backups", "/join"].into_iter().any(is_below) {
        return Role::Admin;
    }
    // It makes traffic to devices, or shows more of them than items do.
    if is_below("/interfaces") && (path.ends_with("/browse") || path.ends_with("/monitor")) {
        return Role::Operator;
    }
    if method == Method::GET || method == Method::HEAD {
        return Role::Viewer;
    }
    let is_grave = ["/cluster/shrink", "/cluster/grow", "/cluster/failover", "/config", "/plugins"]
        .into_iter()
        .any(is_below);
    if is_grave { Role::Engineer } else { Role::Operator }
}

/// `/users/NAME/password`; a user may be called `password`, too.
fn is_password(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("")
        && parts.next() == Some("users")
        && parts.next().is_some()
        && parts.next() == Some("password")
        && parts.next().is_none()
}

/// `host` of `host:port`, with the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    if address.starts_with('[') {
        return address.find(']').map_or(address, |end| &address[..=end]);
    }
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, headers: &[(header::HeaderName, &str)]) -> &'static str {
        let rules = Rules {
            token: Token::parse("0123456789abcdef").unwrap(),
            trust_loopback: true,
            hosts: vec!["10.0.0.11".to_owned()],
            nodes: Vec::new(),
        };
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let ada = |secret: &str| {
            (secret == "ada's secret").then(|| Identity { name: "ada".to_owned(), role: Role::Viewer })
        };
        match rules.check(peer.parse().unwrap(), &headers, ada) {
            Ok(Caller { who: Some(_), .. }) => "ada",
            Ok(Caller { who: None, .. }) => "in",
            Err(problem) => match problem.code.as_str() {
                "TH-AUTH-001" => "no token",
                "TH-AUTH-002" => "wrong token",
                "TH-AUTH-003" => "foreign host",
                "TH-AUTH-004" => "foreign origin",
                _ => "other",
            },
        }
    }

    #[test]
    fn this_machine_needs_no_token() {
        for host in ["localhost:8620", "127.0.0.1:8620", "[::1]:8620", "10.0.0.11:8620", "LOCALHOST"] {
            assert_eq!(check("127.0.0.1", &[(header::HOST, host)]), "in", "{host}");
            assert_eq!(check("::ffff:127.0.0.1", &[(header::HOST, host)]), "in", "{host}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_gets_nothing() {
        let rebound = [(header::HOST, "evil.example:8620")];
        assert_eq!(check("127.0.0.1", &rebound), "foreign host");
        assert_eq!(check("127.0.0.1", &[]), "foreign host");
        let cross = [(header::HOST, "localhost:8620"), (header::ORIGIN, "https://evil.example")];
        assert_eq!(check("127.0.0.1", &cross), "foreign origin");
        let null = [(header::HOST, "localhost:8620"), (header::ORIGIN, "null")];
        assert_eq!(check("127.0.0.1", &null), "foreign origin");
        let own = [(header::HOST, "localhost:8620"), (header::ORIGIN, "http://localhost:8620")];
        assert_eq!(check("127.0.0.1", &own), "in");
    }

    #[test]
    fn another_machine_needs_the_token() {
        assert_eq!(check("10.0.0.99", &[(header::HOST, "localhost")]), "no token");
        assert_eq!(check("10.0.0.99", &[(header::AUTHORIZATION, "Bearer 0123456789abcdef")]), "in");
        for given in ["Bearer x", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer 0123456789abcdef0"] {
            assert_eq!(check("10.0.0.99", &[(header::AUTHORIZATION, given)]), "wrong token", "{given}");
            assert_eq!(check("127.0.0.1", &[(header::AUTHORIZATION, given)]), "wrong token", "{given}");
        }
    }

    #[test]
    fn a_session_is_shown_as_a_cookie_or_as_a_token() {
        let host = (header::HOST, "10.0.0.11:8620");
        let cookie = (header::COOKIE, "theme=dark; twinhub_session=ada's secret");
        assert_eq!(check("10.0.0.99", &[host.clone(), cookie.clone()]), "ada");
        assert_eq!(
            check("127.0.0.1", &[host.clone(), cookie.clone()]),
            "ada",
            "a name counts more than the place"
        );
        assert_eq!(
            check("10.0.0.99", &[host.clone(), (header::COOKIE, "twinhub_session=other")]),
            "no token"
        );
        assert_eq!(check("10.0.0.99", &[(header::AUTHORIZATION, "Bearer ada's secret")]), "ada");
        let cross = [host, cookie, (header::ORIGIN, "https://evil.example")];
        assert_eq!(check("10.0.0.99", &cross), "foreign origin");
    }

    #[test]
    fn every_path_asks_for_the_role_that_it_needs() {
        for (method, path, role) in [
            (Method::GET, "/api/v1/items", Role::Viewer),
            (Method::GET, "/api/v1/interfaces/plc1", Role::Viewer),
            (Method::GET, "/api/v1/interfaces/plc1/diag", Role::Viewer),
            (Method::GET, "/api/v1/interfaces/plc1/browse", Role::Operator),
            (Method::GET, "/api/v1/interfaces/plc1/monitor", Role::Operator),
            (Method::POST, "/api/v1/interfaces/plc1/test", Role::Operator),
            (Method::POST, "/api/v1/interfaces/plc1/discover", Role::Operator),
            (Method::PUT, "/api/v1/items/plc1/a/value", Role::Operator),
            (Method::PUT, "/api/v1/items/users/password", Role::Operator),
            (Method::POST, "/api/v1/cluster/switchover", Role::Operator),
            (Method::POST, "/api/v1/cluster/failover", Role::Engineer),
            (Method::POST, "/api/v1/config", Role::Engineer),
            (Method::POST, "/api/v1/plugins/modbus/upgrade", Role::Engineer),
            (Method::GET, "/api/v1/plugins/modbus", Role::Viewer),
            (Method::GET, "/api/v1/config", Role::Viewer),
            (Method::GET, "/api/v1/config/revisions/3", Role::Engineer),
            (Method::GET, "/api/v1/config/files", Role::Engineer),
            (Method::GET, "/api/v1/users", Role::Admin),
            (Method::POST, "/api/v1/users", Role::Admin),
            (Method::PUT, "/api/v1/users/ada/password", Role::Viewer),
            (Method::DELETE, "/api/v1/users/password", Role::Admin),
            (Method::PUT, "/api/v1/users/password/role", Role::Admin),
            (Method::PUT, "/api/v1/users/password/password", Role::Viewer),
            (Method::DELETE, "/api/v1/tokens/x", Role::Admin),
            (Method::GET, "/api/v1/audit", Role::Admin),
            (Method::POST, "/api/v1/anything-new", Role::Operator),
        ] {
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }
}
