//! What differs between two configurations, and whether a running node can take it in.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};

use crate::items::ALARM_COLUMNS;
use crate::site::{EventLink, Interface, Item, Link, Node, Site, Web};

/// One part that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// What it is, such as `interface plc1: settings`.
    pub part: String,
    /// Whether it takes effect without a restart.
    pub is_live: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.part)
    }
}

/// Everything that differs, without the overrides of one node, which are part of its section. Nothing if the two
/// differ in form only.
///
/// Live is what nothing that runs was built from: alarms and their texts and limits, how long a login counts, units and
/// descriptions of items. Handles, plans and plugins are made at the start of a node; what they follow from is not live. A
/// plugin is shown the unit and has no use for it, so it is shown another one when it is next started.
pub fn differences(from: &Site, to: &Site) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    // Named one by one, so that a new field is not taken for one that makes no difference.
    let Site {
        version,
        site,
        cluster,
        nodes,
        groups,
        interfaces,
        links,
        event_links,
        alarms,
        alarms_kept,
        events,
        web,
        journal,
        history,
        historian,
        hash: _,
    } = from;
    found.compare("site", &(version, site), &(&to.version, &to.site));
    found.compare("cluster", cluster, &to.cluster);
    for name in names(nodes, &to.nodes, |node| &node.name) {
        match (from.node(name), to.node(name)) {
            (Some(before), Some(after)) => found.node(before, after),
            (before, _) => found.is_new_or_gone(&format!("node {name}"), before.is_some()),
        }
    }
    found.compare("groups", groups, &to.groups);
    for id in names(interfaces, &to.interfaces, |interface| &interface.id) {
        match (from.interface(id), to.interface(id)) {
            (Some(before), Some(after)) => found.interface(before, after, to.historian.is_some()),
            (before, _) => found.is_new_or_gone(&format!("interface {id}"), before.is_some()),
        }
    }
    let order = |interfaces: &[Interface]| -> Vec<String> {
        interfaces
            .iter()
            .map(|one| one.id.clone())
            .filter(|id| from.interface(id).is_some() && to.interface(id).is_some())
            .collect()
    };
    if order(interfaces) != order(&to.interfaces) {
        found.add("order of the interfaces", false);
    }
    // Where they are written does not count.
    let plain =
        |links: &[Link]| links.iter().cloned().map(|link| Link { line: 0, ..link }).collect::<Vec<_>>();
    found.compare("links", &plain(links), &plain(&to.links));
    let plain = |links: &[EventLink]| {
        links.iter().cloned().map(|link| EventLink { line: 0, ..link }).collect::<Vec<_>>()
    };
    found.compare("links for events", &plain(event_links), &plain(&to.event_links));
    if *alarms != to.alarms || *alarms_kept != to.alarms_kept {
        found.add("alarms", true);
    }
    found.compare("events", events, &to.events);
    let Web { token, trust_loopback, max_body, session } = web;
    if *session != to.web.session {
        found.add("web: session", true);
    }
    let others = (&to.web.token, &to.web.trust_loopback, &to.web.max_body);
    found.compare("web", &(token, trust_loopback, max_body), &others);
    found.compare("journal", journal, &to.journal);
    found.compare("history", history, &to.history);
    found.compare("historian", historian, &to.historian);
    found.0
}

/// Names of both, in order, each once.
fn names<'a, T>(from: &'a [T], to: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in from.iter().chain(to).map(name) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, part: impl Into<String>, is_live: bool) {
        self.0.push(Difference { part: part.into(), is_live });
    }

    fn is_new_or_gone(&mut self, part: &str, was_there: bool) {
        self.add(format!("{part} is {}", if was_there { "gone" } else { "new" }), false);
    }

    /// By what is shown of them: everything that counts is.
    fn compare(&mut self, part: &str, from: &impl Debug, to: &impl Debug) {
        if format!("{from:?}") != format!("{to:?}") {
            self.add(part, false);
        }
    }

    fn node(&mut self, from: &Node, to: &Node) {
        let Node { name, rank, links, listen, web, overrides } = from;
        let what = |part: &str| format!("node {name}: {part}");
        self.compare(&what("rank"), rank, &to.rank);
        self.compare(&what("links"), &(links, listen), &(&to.links, &to.listen));
        self.compare(&what("web"), web, &to.web);
        for id in overrides.keys().chain(to.overrides.keys()).collect::<BTreeSet<_>>() {
            self.compare(&what(&format!("override of {id}")), &overrides.get(id), &to.overrides.get(id));
        }
    }

    /// `is_written`: into a central database.
    fn interface(&mut self, from: &Interface, to: &Interface, is_written: bool) {
        let what = |part: &str| format!("interface {}: {part}", from.id);
        let parts = |one: &Interface| {
            let Interface {
                id: _,
                plugin,
                group,
                standby,
                items: _,
                values_in,
                settings,
                monitor,
                probe,
                hosting,
                on_unquorate,
                required,
                ack_after,
                on_unprotected,
                write_timeout,
                origin: _,
            } = one;
            [
                ("plugin", format!("{plugin:?}")),
                ("group", format!("{group:?}")),
                ("values_in", format!("{values_in:?}")),
                ("settings", format!("{settings:?}")),
                ("monitor", format!("{monitor:?}")),
                ("probe", format!("{probe:?}")),
                ("standby", format!("{standby:?}")),
                ("hosting", format!("{hosting:?}")),
                ("on_unquorate", format!("{on_unquorate:?}")),
                ("required", format!("{required:?}")),
                ("ack_after", format!("{ack_after:?} {on_unprotected:?}")),
                ("write_timeout", format!("{write_timeout:?}")),
            ]
        };
        for ((part, before), (_, after)) in parts(from).iter().zip(&parts(to)) {
            if before != after {
                self.add(what(part), false);
            }
        }
        let is_same = from.items.len() == to.items.len()
            && from.items.iter().zip(&to.items).all(|(one, other)| is_same_item(one, other));
        if !is_same {
            self.add(what("items"), false);
        }
        let texts = |one: &Item| (one.unit.clone(), one.description.clone());
        let pairs = from.items.iter().zip(&to.items).filter(|(one, other)| texts(one) != texts(other));
        let changed: Vec<&Item> = pairs.map(|(_, item)| item).filter(|_| is_same).collect();
        if !changed.is_empty() {
            // They stand in the central database, too, which gets them with the first connection.
            let is_live = !(is_written && changed.iter().any(|item| item.historize));
            self.add(what("units and descriptions"), is_live);
        }
    }
}

/// Where it is written, what makes alarms of it, and what only people read does not count.
fn is_same_item(from: &Item, to: &Item) -> bool {
    let plain = |item: &Item| {
        let mut item = item.clone();
        item.line = 0;
        (item.unit, item.description) = (String::new(), String::new());
        item.columns.retain(|(name, _)| !ALARM_COLUMNS.contains(&&**name));
        item
    };
    plain(from) == plain(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;

    const TOML: &str = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\", \"backup\"]\nwithout_witness = \"manual\"\n\
        [nodes.main]\nlinks = [\"127.0.0.1:1\"]\n[nodes.backup]\nlinks = [\"127.0.0.1:2\"]\n\
        [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\nsettings = { interval_ms = 50 }\n";
    const ITEMS: &str = "path,address,type,access,unit,description,alarm_high\na,a,int64,r,,,90\n";

    fn site(toml: &str, items: &str) -> Site {
        let files = [("twinhub.toml", toml), ("sim1.csv", items)];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let loaded = Files(files.into()).check();
        loaded.unwrap_or_else(|failure| panic!("{}", failure.render())).site
    }

    fn found(toml: &str, items: &str) -> Vec<(String, bool)> {
        let found = differences(&site(TOML, ITEMS), &site(toml, items));
        found.into_iter().map(|found| (found.part, found.is_live)).collect()
    }

    #[test]
    fn what_differs_is_named_and_only_what_nothing_was_built_from_is_live() {
        let alarm = "[[alarm]]\nid = \"x\"\nitem = \"sim1/a\"\nwhen = \"low\"\nvalue = 1\n";
        for (toml, items, expected) in [
            (TOML.to_owned(), ITEMS.to_owned(), &[][..]),
            (format!("# of another form\n{TOML}"), ITEMS.replace("\na", "\n\na"), &[]),
            (TOML.to_owned(), ITEMS.replace("90", "80"), &[("alarms", true)]),
            (format!("{TOML}{alarm}"), ITEMS.to_owned(), &[("alarms", true)]),
            (format!("{TOML}[web]\nsession = \"1h\"\n"), ITEMS.to_owned(), &[("web: session", true)]),
            (format!("{TOML}[web]\nmax_body = \"2MiB\"\n"), ITEMS.to_owned(), &[("web", false)]),
            (
                TOML.replace("50", "60"),
                ITEMS.replace("90", "80"),
                &[("interface sim1: settings", false), ("alarms", true)],
            ),
            (TOML.to_owned(), format!("{ITEMS}b,b,int64,r,,,\n"), &[("interface sim1: items", false)]),
            (TOML.to_owned(), ITEMS.replace("int64", "int32"), &[("interface sim1: items", false)]),
            (
                TOML.to_owned(),
                ITEMS.replace("r,,,", "r,K,Flow,"),
                &[("interface sim1: units and descriptions", true)],
            ),
            (
                TOML.to_owned(),
                ITEMS.replace("a,a,int64,r,,,", "a,a,int32,r,K,Flow,"),
                &[("interface sim1: items", false)],
            ),
            (TOML.replace("127.0.0.1:2", "127.0.0.1:3"), ITEMS.to_owned(), &[("node backup: links", false)]),
            (
                format!("{TOML}[nodes.backup.override]\ninterface.sim1.settings.interval_ms = 70\n"),
                ITEMS.to_owned(),
                &[("node backup: override of sim1", false)],
            ),
            (
                format!("{TOML}[[interface]]\nid = \"sim2\"\nplugin = \"sim\"\n"),
                ITEMS.to_owned(),
                &[("interface sim2 is new", false)],
            ),
            (
                format!(
                    "{TOML}[[interface]]\nid = \"sim2\"\nplugin = \"sim\"\n[[event_link]]\nfrom = \"sim2\"\nstream = \"said\"\nto = \"sim1\"\n"
                ),
                ITEMS.to_owned(),
                &[("interface sim2 is new", false), ("links for events", false)],
            ),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(part, is_live)| ((*part).to_owned(), *is_live)).collect();
            assert_eq!(found(&toml, &items), expected, "{toml}{items}");
        }
    }

    #[test]
    fn texts_that_stand_in_a_central_database_are_not_live() {
        let toml = format!("{TOML}[historian]\nhost = \"localhost\"\ntls = \"off\"\n");
        for (historize, is_live) in [("yes", false), ("no", true)] {
            let items =
                format!("path,address,type,access,unit,description,historize\na,a,int64,r,K,,{historize}\n");
            let found = differences(&site(&toml, &items), &site(&toml, &items.replace(",K,", ",°C,")));
            let part = "interface sim1: units and descriptions".to_owned();
            assert_eq!(found, [Difference { part, is_live }], "{items}");
        }
    }
}
