//! Links for events: whose events go to whom. Which streams there are is the plugins' to say.

use std::collections::{BTreeMap, BTreeSet};

use crate::assembly::Assembly;
use crate::diagnostic::with_nearest;
use crate::file;
use crate::site::{EventLink, Site};
use crate::tree::Step;

impl Assembly<'_> {
    pub(crate) fn event_links(&mut self, forms: &[file::EventLink], site: &Site) -> Vec<EventLink> {
        let mut links: Vec<EventLink> = Vec::new();
        for (place, form) in forms.iter().enumerate() {
            let from = self.event_end(place, "from", &form.from, site);
            let to = self.event_end(place, "to", &form.to, site);
            let (Some(from), Some(to)) = (from, to) else { continue };
            let file::EventLink { from: source, stream, to: target } = form;
            if source == target {
                let help = "write another interface in `to`";
                self.error(&at(place, "to"), format!("`{source}` gives its events to itself"), "here", help);
                continue;
            }
            if from != to {
                let message = format!("`{source}` is in group `{from}` and `{target}` in group `{to}`");
                let help = "events stay in a group, since its journal keeps them: put both into one";
                self.error(&at(place, "to"), message, "in another group", help);
                continue;
            }
            let is_same =
                |link: &&EventLink| link.from == *source && link.stream == *stream && link.to == *target;
            if let Some(first) = links.iter().find(is_same) {
                let help = format!("the link in line {} does it already; remove one of them", first.line);
                let message = format!("stream `{stream}` of `{source}` goes to `{target}` twice");
                self.error(&at(place, "from"), message, "again", help);
                continue;
            }
            let line = self.line(&at(place, "from"));
            links.push(EventLink { from: source.clone(), stream: stream.clone(), to: target.clone(), line });
            if let Some(ring) = ring(&links, stream, source) {
                let help = "fine if no plugin gives what it took; otherwise one event goes round for ever";
                let message = format!("stream `{stream}` goes in a ring: {}", ring.join(" → "));
                self.warn(&at(place, "to"), message, "closes the ring", help);
            }
        }
        links
    }

    /// The group of an interface that a link names.
    fn event_end<'s>(
        &mut self,
        place: usize,
        key: &'static str,
        id: &str,
        site: &'s Site,
    ) -> Option<&'s str> {
        if let Some(found) = site.interface(id) {
            return Some(&found.group);
        }
        let names = site.interfaces.iter().map(|interface| interface.id.as_str());
        let help = with_nearest(id, names, |names| format!("the interfaces are: {names}"));
        let message = format!("no interface is called `{}`", id.escape_debug());
        self.error(&at(place, key), message, "unknown interface", help);
        None
    }
}

/// The way from an interface back to it along links of one stream, if there is one.
fn ring(links: &[EventLink], stream: &str, start: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(here) = open.pop() {
        for link in links.iter().filter(|link| link.stream == stream && link.from == here) {
            if link.to == start {
                let mut way = vec![start.to_owned(), here.to_owned()];
                let mut at = here;
                while let Some(earlier) = before.get(at).filter(|_| at != start) {
                    at = earlier;
                    way.push(at.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            if seen.insert(&link.to) {
                before.insert(&link.to, here);
                open.push(&link.to);
            }
        }
    }
    None
}

fn at(place: usize, key: &'static str) -> [Step<'static>; 3] {
    ["event_link".into(), place.into(), key.into()]
}
