//! From the form of the file to a checked site.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::assembly::{Assembly, GROUP, Loaded, span};
use crate::check::check_document;
use crate::describe::{cached, size_bytes};
use crate::diagnostic::{Diagnostic, Failure, Source, with_nearest};
use crate::duration::parse_duration;
use crate::file::{self, File};
use crate::files::LOCK_FILE;
use crate::hash::Fnv;
use crate::item_source::{ItemSource, ItemSourceError};
use crate::link::Linker;
use crate::site::{
    Cluster, Evidence, Group, History, Interface, InterfaceOverride, Item, Journal, Node, Origin, Site,
    TimerOverrides, Web, Witness,
};
use crate::tree::{Kind, Place, Step, Tree};

/// Everything from text to site.
pub(crate) fn assemble(source: &Source, items: &dyn ItemSource) -> Result<Loaded, Failure> {
    let tree = Tree::parse(source).map_err(Failure::new)?;
    let (file, found) = file_of(source, &tree)?;
    let mut assembly = Assembly { source, tree: &tree, found };
    let site = assembly.site(&file, items);
    assembly.end(site)
}

/// The form of the file, and what is wrong with it.
pub(crate) fn file_of(source: &Source, tree: &Tree) -> Result<(File, Vec<Diagnostic>), Failure> {
    let found = check_document(source, tree, cached());
    // What is faulty is left out, so that one run finds the faults of form and those of meaning.
    let faulty: Vec<_> = found.iter().filter_map(Diagnostic::span).collect();
    match serde_json::from_value(tree.json_without(&faulty)) {
        Ok(file) => Ok((file, found)),
        Err(_) if !found.is_empty() => Err(Failure::new(found)),
        Err(error) => {
            let found = Diagnostic::error(format!("the file cannot be read: {error}")).at(source, 0..0, "");
            Err(Failure::new(vec![found]))
        }
    }
}

impl Assembly<'_> {
    pub(crate) fn site(&mut self, file: &File, source: &dyn ItemSource) -> Site {
        let nodes = self.nodes(file);
        let cluster = self.cluster(file);
        let groups = self.groups(file);
        let mut hash = Fnv::new();
        hash.text(&serde_json::to_string(file).unwrap_or_default());
        let interfaces = self.interfaces(file, &groups, source);
        for interface in &interfaces {
            interface.items.iter().for_each(|item| hash_item(&mut hash, item));
        }
        self.overrides(file, &interfaces);
        self.probes(file);
        let alarms = self.alarms(file, &interfaces);
        let historian = self.historian(file, &interfaces);
        let mut site = Site {
            version: file.version,
            site: file.site.clone(),
            cluster,
            nodes,
            groups,
            interfaces,
            links: Vec::new(),
            event_links: Vec::new(),
            alarms,
            alarms_kept: file.alarms.as_ref().and_then(|alarms| alarms.keep).unwrap_or(crate::alarm::KEEP)
                as usize,
            events: self.events(file),
            web: self.web(file),
            journal: self.journal(file),
            history: self.history(file),
            historian,
            hash: hash.finish(),
        };
        site.links = Linker { assembly: self, site: &site }.links(&file.link);
        for (id, ends) in self.values_in(&site, &file.interface) {
            for interface in site.interfaces.iter_mut().filter(|interface| interface.id == id) {
                interface.values_in.clone_from(&ends);
            }
        }
        site.event_links = self.event_links(&file.event_link, &site);
        site
    }

    fn nodes(&mut self, file: &File) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut addresses: BTreeMap<String, String> = BTreeMap::new();
        for (index, name) in file.cluster.nodes.iter().enumerate() {
            let place: [Step<'_>; 3] = ["cluster".into(), "nodes".into(), index.into()];
            self.identifier(&place, "a node", name);
            if file.cluster.nodes[..index].contains(name) {
                let help = "write each node once; its place in the list is its rank";
                self.error(&place, format!("node `{name}` is there twice"), "again", help);
                continue;
            }
            let Some(node) = file.nodes.get(name) else {
                let help = with_nearest(name, file.nodes.keys().map(String::as_str), |names| {
                    format!("add a section [nodes.{name}] with `links`; there are sections for: {names}")
                });
                self.error(&place, format!("node `{name}` has no section"), "no [nodes.…]", help);
                continue;
            };
            let listen = node.listen.as_ref().unwrap_or(&node.links);
            for (key, list) in [("links", Some(&node.links)), ("listen", node.listen.as_ref())] {
                for (at, address) in list.into_iter().flatten().enumerate() {
                    let place: [Step<'_>; 4] = ["nodes".into(), name.as_str().into(), key.into(), at.into()];
                    self.address(&place, address);
                    if key == "listen" {
                        continue;
                    }
                    if let Some(other) = addresses.insert(address.clone(), name.clone()) {
                        let help =
                            format!("node `{other}` has it already; every path needs its own host and port");
                        self.error(&place, format!("address `{address}` is there twice"), "again", help);
                    }
                }
            }
            let web = node.web.clone().unwrap_or_else(|| WEB_DEFAULT.to_owned());
            if node.web.is_some() {
                self.address(&["nodes".into(), name.as_str().into(), "web".into()], &web);
            }
            let overrides = node
                .overrides
                .interface
                .iter()
                .map(|(id, change)| {
                    let settings = Json::Object(change.settings.clone().into_iter().collect::<Map<_, _>>());
                    let probe = change.probe.clone();
                    (id.clone(), InterfaceOverride { settings, standby: change.standby, probe })
                })
                .collect();
            nodes.push(Node {
                name: name.clone(),
                rank: u8::try_from(index).unwrap_or(u8::MAX),
                links: node.links.clone(),
                listen: listen.clone(),
                web,
                overrides,
            });
        }
        for name in file.nodes.keys().filter(|name| !file.cluster.nodes.contains(name)) {
            let help = with_nearest(name, file.cluster.nodes.iter().map(String::as_str), |names| {
                format!("add it to `cluster.nodes`, where there are: {names}; its place there is its rank")
            });
            self.error(
                &["nodes".into(), name.as_str().into()],
                format!("node `{name}` has no rank"),
                "not in `cluster.nodes`",
                help,
            );
        }
        nodes
    }

    fn cluster(&mut self, file: &File) -> Cluster {
        let cluster = &file.cluster;
        let witness = cluster.witness.as_ref().map(|witness| match witness {
            file::Witness::Address(address) => {
                let place = ["cluster".into(), "witness".into()];
                self.address(&place, address);
                if let Some((name, _)) = file.nodes.iter().find(|(_, node)| node.links.contains(address)) {
                    let help = "run `twinhub witness` on a third machine, or leave `witness` out";
                    self.error(
                        &place,
                        format!("the witness has an address of node `{name}`"),
                        "no third machine",
                        help,
                    );
                }
                Witness::Address(address.clone())
            }
            file::Witness::Etcd(etcd) => Witness::Etcd(self.etcd(etcd, cluster.profile)),
        });
        self.votes(cluster);
        for (index, host) in cluster.evidence.reference_hosts.iter().enumerate() {
            if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
                let place = ["cluster".into(), "evidence".into(), "reference_hosts".into(), index.into()];
                self.error(
                    &place,
                    format!("`{}` is no host", host.escape_debug()),
                    "here",
                    "write a name or an address",
                );
            }
        }
        Cluster {
            profile: cluster.profile,
            timers: self.timers(&cluster.timers),
            witness,
            without_witness: cluster.without_witness,
            evidence: Evidence { reference_hosts: cluster.evidence.reference_hosts.clone() },
            failback: cluster.failback,
            hold_back: span(cluster.hold_back.as_ref(), Duration::from_secs(60)),
        }
    }

    fn timers(&mut self, timers: &file::Timers) -> TimerOverrides {
        let named = [
            ("heartbeat", &timers.heartbeat),
            ("lease", &timers.lease),
            ("renew", &timers.renew),
            ("margin", &timers.margin),
            ("guard", &timers.guard),
            ("stagger", &timers.stagger),
            ("start", &timers.start),
            ("ring", &timers.ring),
            ("drain", &timers.drain),
        ];
        let mut values = [None; 9];
        for (value, (name, given)) in values.iter_mut().zip(named) {
            *value = given.as_ref().and_then(|span| parse_duration(&span.0));
            if value.is_some_and(|given| given < TIMER_MIN || given > TIMER_MAX) {
                let place = ["cluster".into(), "timers".into(), name.into()];
                self.error(
                    &place,
                    format!("timer `{name}` is out of range"),
                    "here",
                    "write \"1ms\" to \"1h\"",
                );
            }
        }
        let [heartbeat, lease, renew, margin, guard, stagger, start, ring, drain] = values;
        for (small, short, large, long) in [
            ("heartbeat", heartbeat, "lease", lease),
            ("renew", renew, "lease", lease),
            ("margin", margin, "lease", lease),
        ] {
            if let (Some(short), Some(long)) = (short, long)
                && short >= long
            {
                let message = format!("timer `{small}` is not shorter than `{large}`");
                let help = format!(
                    "write a `{small}` of at most a third of `{large}`, or leave both to the profile"
                );
                self.error(&["cluster".into(), "timers".into(), small.into()], message, "too long", help);
            }
        }
        TimerOverrides { heartbeat, lease, renew, margin, guard, stagger, start, ring, drain }
    }

    fn groups(&mut self, file: &File) -> Vec<Group> {
        let all = || {
            let mut names: Vec<String> = Vec::new();
            for name in &file.cluster.nodes {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            names
        };
        let mut groups: Vec<Group> = Vec::new();
        let wants_default = file.cluster.floating.is_some()
            || file.interface.iter().any(|interface| interface.group.as_deref().unwrap_or(GROUP) == GROUP);
        if file.group.is_empty() || (wants_default && !file.group.iter().any(|group| group.id == GROUP)) {
            groups.push(Group { id: GROUP.to_owned(), nodes: all(), floating: None });
        }
        for (index, group) in file.group.iter().enumerate() {
            let place = ["group".into(), index.into(), "id".into()];
            self.identifier(&place, "a group", &group.id);
            if groups.iter().any(|other| other.id == group.id) {
                self.error(
                    &place,
                    format!("group `{}` is there twice", group.id),
                    "again",
                    "give it another id",
                );
                continue;
            }
            let nodes = group.nodes.clone().unwrap_or_else(all);
            for (at, name) in nodes.iter().enumerate() {
                let place = ["group".into(), index.into(), "nodes".into(), at.into()];
                if !file.cluster.nodes.contains(name) {
                    let help = with_nearest(name, file.cluster.nodes.iter().map(String::as_str), |names| {
                        format!("the nodes are: {names}")
                    });
                    self.error(&place, format!("no node is called `{name}`"), "unknown node", help);
                } else if nodes[..at].contains(name) {
                    let help = "write each node once; the order is the group's own";
                    self.error(&place, format!("node `{name}` is there twice"), "again", help);
                }
            }
            groups.push(Group { id: group.id.clone(), nodes, floating: None });
        }
        self.floating(file, &mut groups);
        groups
    }

    fn interfaces(&mut self, file: &File, groups: &[Group], source: &dyn ItemSource) -> Vec<Interface> {
        let mut interfaces: Vec<Interface> = Vec::new();
        for (index, form) in file.interface.iter().enumerate() {
            let at = |key: &'static str| ["interface".into(), index.into(), Step::Key(key)];
            self.identifier(&at("id"), "an interface", &form.id);
            if let Some(first) = file.interface[..index].iter().position(|other| other.id == form.id) {
                let line = self.line(&["interface".into(), first.into(), "id".into()]);
                let help = format!("it is in line {line} already; give one of them another id");
                self.error(&at("id"), format!("interface `{}` is there twice", form.id), "again", help);
                continue;
            }
            self.identifier(&at("a plugin"), "plugin", &form.plugin);
            let group = form.group.clone().unwrap_or_else(|| GROUP.to_owned());
            if !groups.iter().any(|known| known.id == group) {
                let help = with_nearest(&group, groups.iter().map(|known| known.id.as_str()), |names| {
                    format!("the groups are: {names}; another one needs a section [[group]]")
                });
                self.error(&at("group"), format!("no group is called `{group}`"), "unknown group", help);
            }
            let items = form
                .items
                .as_ref()
                .map_or_else(Vec::new, |name| self.items(&at("items"), &form.id, name, source));
            let settings = self
                .tree
                .get(&at("settings"))
                .map(|tree| Place { source: self.source.clone(), tree: Arc::new(tree.clone()) });
            self.dates(settings.as_ref());
            let monitor = self.monitors(index, form, &items);
            interfaces.push(Interface {
                id: form.id.clone(),
                plugin: form.plugin.clone(),
                group,
                standby: form.standby,
                items,
                values_in: Vec::new(),
                settings: Json::Object(form.settings.clone().into_iter().collect()),
                monitor,
                probe: form.probe.clone(),
                hosting: form.hosting.unwrap_or_default(),
                on_unquorate: form.on_unquorate,
                required: form.required.unwrap_or(true),
                ack_after: form.ack_after,
                on_unprotected: form.on_unprotected.unwrap_or_default(),
                write_timeout: span(form.write_timeout.as_ref(), Duration::from_secs(5)),
                origin: Origin {
                    line: self.line(&at("id")),
                    items_file: form.items.as_deref().map(Into::into),
                    settings,
                },
            });
        }
        interfaces
    }

    fn items(
        &mut self,
        place: &[Step<'_>],
        interface: &str,
        name: &str,
        source: &dyn ItemSource,
    ) -> Vec<Item> {
        if Path::new(name).file_name().is_some_and(|name| name == LOCK_FILE) {
            let message = format!("`{LOCK_FILE}` says which plugins may run, and holds no items");
            self.error(place, message, "no items file", "give the items file another name");
            return Vec::new();
        }
        match source.read(name) {
            Ok(bytes) => crate::items::read(interface, name, &bytes, &mut self.found),
            Err(error) => {
                let help = match &error {
                    ItemSourceError::Io { .. } => {
                        "write the file's path relative to this file; its header is `path,address,type,access,unit,description`"
                    }
                    ItemSourceError::TooLarge { .. } => "split the interface into several",
                };
                self.error(place, error.to_string(), "items file", help);
                Vec::new()
            }
        }
    }

    /// Dates have no place in settings, and would silently become null.
    fn dates(&mut self, settings: Option<&Place>) {
        let Some(place) = settings else { return };
        let mut open = vec![&*place.tree];
        while let Some(tree) = open.pop() {
            match &tree.kind {
                Kind::Table(entries) => open.extend(entries.values().map(|entry| &entry.value)),
                Kind::Array(values) => open.extend(values),
                Kind::Other(what) => {
                    let found = Diagnostic::error(format!("a setting is {what}"))
                        .at(self.source, tree.span.clone(), "not possible here")
                        .help("write a text in double quotes, or a number");
                    self.found.push(found);
                }
                Kind::Text(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Bool(_) => {}
            }
        }
    }

    fn overrides(&mut self, file: &File, interfaces: &[Interface]) {
        for (name, node) in &file.nodes {
            for id in node.overrides.interface.keys() {
                if interfaces.iter().any(|interface| interface.id == *id) {
                    continue;
                }
                let help =
                    with_nearest(id, interfaces.iter().map(|interface| interface.id.as_str()), |names| {
                        format!("the interfaces are: {names}")
                    });
                let place = [
                    "nodes".into(),
                    name.as_str().into(),
                    "override".into(),
                    "interface".into(),
                    id.as_str().into(),
                ];
                self.error(&place, format!("no interface is called `{id}`"), "unknown interface", help);
            }
        }
    }

    fn web(&mut self, file: &File) -> Web {
        let max_body = bytes(file.web.max_body.as_ref(), 1 << 20);
        if !(1 << 10..=1 << 30).contains(&max_body) {
            let place = ["web".into(), "max_body".into()];
            self.error(
                &place,
                "`web.max_body` is out of range".to_owned(),
                "here",
                "write \"1KiB\" to \"1GiB\"",
            );
        }
        let session = span(file.web.session.as_ref(), SESSION_DEFAULT);
        if !(SESSION_MIN..=SESSION_MAX).contains(&session) {
            let place = ["web".into(), "session".into()];
            let help = "write \"1m\" to \"90d\"";
            self.error(&place, "`web.session` is out of range".to_owned(), "here", help);
        }
        // Who may change items must not choose the secret that lets everybody do everything.
        let is_items = |name: &String| file.interface.iter().any(|other| other.items.as_ref() == Some(name));
        if file.web.token_file.as_ref().is_some_and(is_items) {
            let place = ["web".into(), "token_file".into()];
            let message = "`web.token_file` is an items file, too".to_owned();
            self.error(&place, message, "no secret", "name a file that only the hub reads");
        }
        Web {
            token: file.web.token_file.as_ref().map(PathBuf::from),
            trust_loopback: file.web.trust_loopback.unwrap_or(true),
            max_body,
            session,
        }
    }

    fn journal(&mut self, file: &File) -> Journal {
        let segment_bytes = bytes(file.journal.segment.as_ref(), 16 << 20);
        let retain_bytes = bytes(file.journal.retain.as_ref(), 256 << 20);
        let sync_interval = span(file.journal.sync_interval.as_ref(), Duration::from_millis(200));
        if !(64 << 10..=1 << 30).contains(&segment_bytes) {
            let place = ["journal".into(), "segment".into()];
            self.error(
                &place,
                "`journal.segment` is out of range".to_owned(),
                "here",
                "write \"64KiB\" to \"1GiB\"",
            );
        } else if retain_bytes < segment_bytes * 2 {
            let place = ["journal".into(), "retain".into()];
            let help = "write at least twice `journal.segment`: one file is being written, one can be read";
            self.error(&place, "`journal.retain` is smaller than two files".to_owned(), "too small", help);
        }
        if sync_interval < TIMER_MIN || sync_interval > Duration::from_secs(60) {
            let place = ["journal".into(), "sync_interval".into()];
            let help = "write \"1ms\" to \"1m\"";
            self.error(&place, "`journal.sync_interval` is out of range".to_owned(), "here", help);
        }
        let keep_aside = span(file.journal.keep_aside.as_ref(), Duration::from_secs(30 * 86_400));
        if keep_aside < KEEP_ASIDE_MIN {
            let place = ["journal".into(), "keep_aside".into()];
            let help =
                "write at least \"1h\": what is deleted has to be on the disks of the other nodes by then";
            self.error(&place, "`journal.keep_aside` is too short".to_owned(), "too short", help);
        }
        Journal { segment_bytes, retain_bytes, sync_interval, keep_aside }
    }

    fn history(&mut self, file: &File) -> History {
        let retain = span(file.history.retain.as_ref(), Duration::from_secs(400 * 86_400));
        let max_bytes = bytes(file.history.max_size.as_ref(), 10_000_000_000);
        let sync_rate = bytes(file.history.sync_rate.as_ref(), 16 << 20);
        if retain < Duration::from_secs(3600) {
            let place = ["history".into(), "retain".into()];
            self.error(&place, "`history.retain` is too short".to_owned(), "here", "write \"1h\" or more");
        }
        if max_bytes < 16 << 20 {
            let place = ["history".into(), "max_size".into()];
            let help = "write \"16MiB\" or more";
            self.error(&place, "`history.max_size` is too small".to_owned(), "here", help);
        }
        if sync_rate < 64 << 10 {
            let place = ["history".into(), "sync_rate".into()];
            let help = "write \"64KiB\" or more per second";
            self.error(&place, "`history.sync_rate` is too small".to_owned(), "here", help);
        }
        History { retain, max_bytes, sync_rate }
    }

    pub(crate) fn identifier(&mut self, place: &[Step<'_>], what: &str, text: &str) {
        let is_good = !text.is_empty()
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && !text.starts_with(['-', '.']);
        if !is_good {
            let message = format!("`{}` is no name of {what}", text.escape_debug());
            let help = "write 1 to 64 letters, digits, `_`, `-` or `.`, with a letter, digit or `_` first";
            self.error(place, message, "here", help);
        }
    }

    /// `host:port`, also `[::1]:port`.
    pub(crate) fn address(&mut self, place: &[Step<'_>], text: &str) {
        let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
            let is_clean =
                !host.is_empty() && !host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
            is_clean && !is_bare_v6 && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !is_good {
            let message = format!("`{}` is no address", text.escape_debug());
            self.error(
                place,
                message,
                "no host and port",
                "write host and port, such as \"10.0.0.11:7620\" or \"[fd00::1]:7620\"",
            );
        }
    }
}

fn hash_item(hash: &mut Fnv, item: &Item) {
    for text in
        [item.key.as_str(), &item.address, &item.type_name, item.access.word(), &item.unit, &item.description]
    {
        hash.text(text);
    }
    hash.text(if item.edge { "edge" } else { "" });
    hash.text(if item.non_idempotent { "step" } else { "" });
    // Left out where it is not set, so that a file without it has the hash it always had.
    if item.historize {
        hash.text("historize");
    }
    for (name, text) in &item.columns {
        hash.text(name);
        hash.text(text);
    }
}

fn bytes(given: Option<&file::Size>, default: u64) -> u64 {
    given.and_then(|size| size_bytes(&size.0)).unwrap_or(default)
}

const SESSION_DEFAULT: Duration = Duration::from_secs(12 * 3600);
const SESSION_MIN: Duration = Duration::from_secs(60);
const SESSION_MAX: Duration = Duration::from_secs(90 * 86_400);
const WEB_DEFAULT: &str = "127.0.0.1:8620";
const KEEP_ASIDE_MIN: Duration = Duration::from_secs(3600);
const TIMER_MIN: Duration = Duration::from_millis(1);
const TIMER_MAX: Duration = Duration::from_secs(3600);
