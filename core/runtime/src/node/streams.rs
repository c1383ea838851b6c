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
