//! Streams of events: what plugins declare, and what the configuration links.

use std::collections::BTreeMap;

use twinhub_config::{EventLink, Site};
use twinhub_loader::Manifest;

use crate::exchange::Streams;

/// A link for events that the plugins of its ends do not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLinkFault {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Line in the configuration file; 0 if that is not known.
    pub line: u32,
}

/// Links for events to or from streams that the plugins do not declare. `manifests` are those of the interfaces, by id; a link
/// with an end that is none of them is left out.
pub fn check_event_links(site: &Site, manifests: &BTreeMap<&str, &Manifest>) -> Vec<EventLinkFault> {
    let mut found = Vec::new();
    for EventLink { from, stream, to, line } in &site.event_links {
        let ends = manifests.get(from.as_str()).zip(manifests.get(to.as_str()));
        let Some((source, target)) = ends else { continue };
        let gives = (from, source, "gives", &source.events.gives);
        for (id, manifest, verb, names) in [gives, (to, target, "takes", &target.events.takes)] {
            if names.contains(stream) {
                continue;
            }
            let help = if names.is_empty() {
                format!("plugin `{}` {verb} no events: name another interface", manifest.id)
            } else {
                format!("plugin `{}` {verb}: {}", manifest.id, names.join(", "))
            };
            let message =
                format!("event link: interface `{id}` {verb} no stream `{}`", stream.escape_debug());
            found.push(EventLinkFault { message, help, line: *line });
        }
    }
    found
}

/// Whom the streams of these interfaces are for.
pub(super) fn streams(site: &Site, manifests: &BTreeMap<&str, &Manifest>) -> Streams {
    let targets = |id: &str, stream: &str| {
        let links = site.event_links.iter().filter(|link| link.from == id && link.stream == stream);
        links.map(|link| link.to.clone()).collect::<Vec<_>>()
    };
    let of = |(id, manifest): (&&str, &&Manifest)| {
        let gives = manifest.events.gives.iter();
        ((*id).to_owned(), gives.map(|stream| (stream.clone(), targets(id, stream))).collect())
    };
    manifests.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use twinhub_config::{ItemSource, ItemSourceError};

    use super::*;

    struct NoFiles;

    impl ItemSource for NoFiles {
        fn read(&self, _: &str) -> Result<Vec<u8>, ItemSourceError> {
            Ok(Vec::new())
        }
    }

    fn site(links: &[[&str; 3]]) -> Site {
        let mut text = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\"]\n[nodes.main]\nlinks = [\"127.0.0.1:1\"]\n\
            [[interface]]\nid = \"pms\"\nplugin = \"a\"\n[[interface]]\nid = \"locks\"\nplugin = \"b\"\n"
            .to_owned();
        for [from, stream, to] in links {
            writeln!(text, "[[event_link]]\nfrom = \"{from}\"\nstream = \"{stream}\"\nto = \"{to}\"")
                .unwrap();
        }
        twinhub_config::parse(&text, "twinhub.toml", &NoFiles).unwrap().site
    }

    fn manifest(id: &str, gives: &[&str], takes: &[&str]) -> Manifest {
        let json = serde_json::json!({
            "manifest": 1, "id": id, "name": "N", "vendor": "V", "version": "0.1.0", "license": "MIT",
            "abi": {"min": "1.0", "max": "1.0"}, "kind": "interface", "protocols": [{"name": "none"}],
            "config_schema": {}, "item_address_schema": {"type": "object"}, "capabilities": [{"name": "c"}],
            "events": {"gives": gives, "takes": takes},
            "mb": {
                "relevant": true, "possible": "yes", "modes": ["cold"], "default_standby": "cold",
                "takeover_target_ms": {"cold": 50}, "loss_window": "none", "state": "none", "fence": "none",
                "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
                "recovery": "none", "parallel_input": false
            },
            "hosting": {"allowed": ["inproc"], "recommended": "inproc"}, "runtime": "none"
        });
        Manifest::parse(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn links_that_the_plugins_do_not_allow_are_named_with_what_they_allow() {
        let (pms, locks) = (manifest("org.a", &["guest"], &[]), manifest("org.b", &["door"], &["guest"]));
        let manifests = BTreeMap::from([("pms", &pms), ("locks", &locks)]);
        let good = site(&[["pms", "guest", "locks"]]);
        assert_eq!(check_event_links(&good, &manifests), []);
        let found = streams(&good, &manifests);
        assert_eq!(found["pms"]["guest"], ["locks"]);
        assert!(found["locks"]["door"].is_empty());
        let bad = site(&[["pms", "bill", "locks"], ["locks", "door", "pms"]]);
        let faults = check_event_links(&bad, &manifests);
        let said: Vec<_> = faults.iter().map(|fault| (fault.message.as_str(), fault.help.as_str())).collect();
        let expected = [
            ("event link: interface `pms` gives no stream `bill`", "plugin `org.a` gives: guest"),
            ("event link: interface `locks` takes no stream `bill`", "plugin `org.b` takes: guest"),
            (
                "event link: interface `pms` takes no stream `door`",
                "plugin `org.a` takes no events: name another interface",
            ),
        ];
        assert_eq!(said, expected);
        assert!(faults.iter().all(|fault| fault.line > 0));
        // What cannot be read is told elsewhere.
        assert_eq!(check_event_links(&bad, &BTreeMap::from([("pms", &pms)])), []);
    }
}
