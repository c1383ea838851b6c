//! Who is let in.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, StatusCode, header};
use twinhub_config::Site;

use crate::problem::Problem;
use crate::token::Token;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Peer {
    /// As it is recorded as the origin of commands.
    pub(crate) fn origin(self) -> String {
        format!("rest:{}", self.0.ip().to_canonical())
    }
}

/// The rules for one node.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) token: Token,
    pub(crate) trust_loopback: bool,
    /// Hosts under which this node is known.
    pub(crate) hosts: Vec<String>,
}

impl Rules {
    pub(crate) fn new(site: &Site, node: &str, token: Token) -> Rules {
        let own = site.node(node);
        let addresses = own.into_iter().flat_map(|node| {
            std::iter::once(&node.web).chain(&node.links).chain(&node.listen).map(|address| host_of(address))
        });
        let hosts = addresses.filter(|host| !host.is_empty()).map(str::to_ascii_lowercase).collect();
        Rules { token, trust_loopback: site.web.trust_loopback, hosts }
    }

    /// Whether a request may pass.
    pub(crate) fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
        let refuse =
            |code: &str, detail: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, code, detail.to_owned()));
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let token = given.to_str().ok().and_then(|text| text.split_once(' '));
            return match token {
                Some((scheme, token))
                    if scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim()) =>
                {
                    Ok(())
                }
                _ => refuse("TH-AUTH-002", "the token is not the one of this node"),
            };
        }
        if !(self.trust_loopback && peer.to_canonical().is_loopback()) {
            return refuse(
                "TH-AUTH-001",
                "send `Authorization: Bearer <token>`; the token is in the file `token` of the node's state directory",
            );
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_own(host_of(host)) {
            let detail = "the Host header names another machine: use localhost, or send a token";
            return refuse("TH-AUTH-003", detail);
        }
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let origin = origin.to_str().unwrap_or_default();
                let same = origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host));
                if same {
                    Ok(())
                } else {
                    refuse("TH-AUTH-004", "a page of another origin may not do this without a token")
                }
            }
        }
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.hosts.contains(&host)
    }
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
        };
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        match rules.check(peer.parse().unwrap(), &headers) {
            Ok(()) => "in",
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
}
