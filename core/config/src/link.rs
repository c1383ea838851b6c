//! Links: which item drives which, and that they do not chase each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use twinhub_model::{Convert, IntentKind, ItemKey, Value};

use crate::assembly::{Assembly, span};
use crate::diagnostic::with_nearest;
use crate::duration::parse_duration;
use crate::file;
use crate::site::{Interface, Item, Link, LinkEnd, Site};
use crate::tree::Step;

impl Link {
    /// The pairs of items this link stands for, in the order of the items file.
    pub fn expand(&self, site: &Site) -> Vec<(ItemKey, ItemKey)> {
        match (&self.from, &self.to) {
            (LinkEnd::Item(from), LinkEnd::Item(to)) => vec![(from.clone(), to.clone())],
            (LinkEnd::Prefix { prefix, .. }, LinkEnd::Prefix { interface: to, prefix: onto }) => {
                let pair = |from: ItemKey| {
                    let rest = below(from.path(), prefix)?;
                    let path = if onto.is_empty() { rest.to_owned() } else { format!("{onto}/{rest}") };
                    let to = ItemKey::new(to, &path).ok()?;
                    Some((from, to))
                };
                self.from.readable(site).into_iter().filter_map(pair).collect()
            }
            (LinkEnd::Item(_), LinkEnd::Prefix { .. }) | (LinkEnd::Prefix { .. }, LinkEnd::Item(_)) => {
                Vec::new()
            }
        }
    }
}

impl LinkEnd {
    /// The items that can be read, in the order of the items file.
    pub fn readable(&self, site: &Site) -> Vec<ItemKey> {
        let is_meant = |item: &&Item| match self {
            LinkEnd::Item(key) => item.key == *key,
            LinkEnd::Prefix { prefix, .. } => below(item.key.path(), prefix).is_some(),
        };
        let items = site.interface(self.interface()).into_iter().flat_map(|found| &found.items);
        let readable = items.filter(|item| item.access.is_readable());
        readable.filter(is_meant).map(|item| item.key.clone()).collect()
    }
}

/// What of `path` is below `prefix`.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() { Some(path) } else { path.strip_prefix(prefix)?.strip_prefix('/') }
}

pub(crate) struct Linker<'a, 'b> {
    pub(crate) assembly: &'a mut Assembly<'b>,
    pub(crate) site: &'a Site,
}

/// What a text names: an item, or all items below a part.
pub(crate) fn end_of(
    assembly: &mut Assembly<'_>,
    site: &Site,
    path: &[Step<'_>],
    text: &str,
) -> Option<LinkEnd> {
    let parsed = match text.strip_suffix("/*") {
        Some(whole) if !whole.contains('*') => {
            let (interface, prefix) = whole.split_once('/').unwrap_or((whole, ""));
            let probe = if prefix.is_empty() { "x".to_owned() } else { format!("{prefix}/x") };
            ItemKey::new(interface, &probe)
                .map(|_| LinkEnd::Prefix { interface: interface.to_owned(), prefix: prefix.to_owned() })
        }
        Some(_) | None if text.contains('*') => {
            let help = "write `*` only as the last part: `interface/part/*`";
            let message = format!("`{}` has `*` in the wrong place", text.escape_debug());
            assembly.error(path, message, "here", help);
            return None;
        }
        Some(_) | None => ItemKey::parse(text).map(LinkEnd::Item),
    };
    let end = match parsed {
        Ok(end) => end,
        Err(error) => {
            let help = "write `interface/path` of an item, or `interface/part/*` for all items under it";
            assembly.error(path, error.to_string(), "no item", help);
            return None;
        }
    };
    if site.interface(end.interface()).is_none() {
        let names = site.interfaces.iter().map(|interface| interface.id.as_str());
        let help = with_nearest(end.interface(), names, |names| format!("the interfaces are: {names}"));
        let message = format!("no interface is called `{}`", end.interface());
        assembly.error(path, message, "unknown interface", help);
        return None;
    }
    Some(end)
}

pub(crate) fn unknown_item(assembly: &mut Assembly<'_>, site: &Site, path: &[Step<'_>], item: &ItemKey) {
    let interface: Option<&Interface> = site.interface(item.interface());
    let names = interface.into_iter().flat_map(|found| found.items.iter().map(|item| item.key.as_str()));
    let help = with_nearest(item.as_str(), names, |names| {
        let file = interface.and_then(|found| found.origin.items_file.as_deref()).unwrap_or("the items file");
        if names.is_empty() { format!("write it into {file}") } else { format!("{file} has: {names}") }
    });
    assembly.error(path, format!("there is no item `{item}`"), "unknown item", help);
}

/// One item drives another, by the link in this place.
struct Edge {
    from: ItemKey,
    to: ItemKey,
    place: usize,
    changes: bool,
}

impl Linker<'_, '_> {
    pub(crate) fn links(mut self, forms: &[file::Link]) -> Vec<Link> {
        let items: HashMap<&str, &Item> = self
            .site
            .interfaces
            .iter()
            .flat_map(|interface| &interface.items)
            .map(|item| (item.key.as_str(), item))
            .collect();
        let mut links: Vec<Link> = Vec::new();
        let mut edges: Vec<Edge> = Vec::new();
        let mut driven: HashMap<(ItemKey, ItemKey), usize> = HashMap::new();
        for (place, form) in forms.iter().enumerate() {
            let ends = (self.end(place, "from", &form.from), self.end(place, "to", &form.to));
            let convert = self.convert(place, form);
            let back = if form.both { self.inverse(place, &convert) } else { None };
            let (Some(from), Some(to)) = ends else { continue };
            if matches!(from, LinkEnd::Item(_)) != matches!(to, LinkEnd::Item(_)) {
                let help = "write `*` at the end of both, or of none";
                let message = "only one end of the link stands for many items".to_owned();
                self.assembly.error(&at(place, "to"), message, "here", help);
                continue;
            }
            let line = self.assembly.line(&["link".into(), place.into(), "from".into()]);
            let number = |links: &Vec<Link>| u32::try_from(links.len()).unwrap_or(u32::MAX);
            let kind = match form.kind {
                file::Kind::Set => IntentKind::Set,
                file::Kind::Step => IntentKind::Step,
            };
            let link = Link {
                index: number(&links),
                from,
                to,
                convert,
                both: form.both,
                delivery: form.delivery,
                kind,
                line,
            };
            let pairs = self.pairs(place, &link, &items, "from", "to");
            for (from, to) in &pairs {
                if let Some(first) = driven.insert((from.clone(), to.clone()), place)
                    && first != place
                {
                    let line = self.assembly.line(&["link".into(), first.into(), "from".into()]);
                    let help = format!("the link in line {line} does it already; remove one of them");
                    self.assembly.error(
                        &at(place, "from"),
                        format!("`{from}` drives `{to}` twice"),
                        "again",
                        help,
                    );
                    break;
                }
            }
            let changes = changes_values(&link.convert);
            edges.extend(pairs.into_iter().map(|(from, to)| Edge { from, to, place, changes }));
            let reverse = back.map(|convert| Link {
                index: number(&links) + 1,
                from: link.to.clone(),
                to: link.from.clone(),
                convert,
                ..link.clone()
            });
            links.push(link);
            if let Some(reverse) = reverse {
                for (from, to) in self.pairs(place, &reverse, &items, "to", "from") {
                    driven.insert((from, to), place);
                }
                links.push(reverse);
            }
        }
        self.cycles(edges);
        links
    }

    fn end(&mut self, place: usize, key: &'static str, text: &str) -> Option<LinkEnd> {
        end_of(self.assembly, self.site, &at(place, key), text)
    }

    /// The pairs of a link whose items exist and can be used so.
    fn pairs(
        &mut self,
        place: usize,
        link: &Link,
        items: &HashMap<&str, &Item>,
        from_key: &'static str,
        to_key: &'static str,
    ) -> Vec<(ItemKey, ItemKey)> {
        let mut pairs = link.expand(self.site);
        let is_many = matches!(link.from, LinkEnd::Prefix { .. });
        if pairs.is_empty() {
            let message = format!("`{}` stands for no item that can be read", link.from);
            let help = "nothing is linked; look at the paths in the items file";
            self.assembly.warn(&at(place, from_key), message, "no items", help);
            return pairs;
        }
        let mut missing: Vec<String> = Vec::new();
        let mut read_only: Vec<String> = Vec::new();
        pairs.retain(|(from, to)| match (items.get(from.as_str()), items.get(to.as_str())) {
            (None, _) => false,
            (Some(_), None) => {
                missing.push(to.to_string());
                false
            }
            (Some(_), Some(target)) if !target.access.is_writable() => {
                read_only.push(to.to_string());
                false
            }
            (Some(_), Some(_)) => true,
        });
        if let LinkEnd::Item(from) = &link.from {
            match items.get(from.as_str()) {
                None => self.unknown(place, from_key, from),
                Some(item) if !item.access.is_readable() => {
                    let message = format!("`{from}` cannot be read");
                    let help = "give it the access `rw` in the items file, or let another item drive";
                    self.assembly.error(&at(place, from_key), message, "access `w`", help);
                }
                Some(_) => {}
            }
            if let (LinkEnd::Item(to), None) = (&link.to, items.get(from.as_str()))
                && !items.contains_key(to.as_str())
            {
                missing.push(to.to_string());
            }
        }
        if let Some(first) = missing.first() {
            if let (false, LinkEnd::Item(to)) = (is_many, &link.to) {
                self.unknown(place, to_key, to);
            } else {
                let others = missing.len() - 1;
                let more = if others > 0 { format!(" and {others} more") } else { String::new() };
                let message = format!("there is no item `{first}`{more} for `{}` to drive", link.from);
                let help = "every item under `from` needs one with the same rest of its path under `to`";
                self.assembly.error(&at(place, to_key), message, "items missing", help);
            }
        }
        if let Some(first) = read_only.first() {
            let others = read_only.len() - 1;
            let more = if others > 0 { format!(" and {others} more") } else { String::new() };
            let help = if link.both {
                "give it the access `rw` in the items file, or remove `both = true`"
            } else {
                "give it the access `w` or `rw` in the items file, or let another item be driven"
            };
            self.assembly.error(
                &at(place, to_key),
                format!("`{first}`{more} cannot be written"),
                "access `r`",
                help,
            );
        }
        pairs
    }

    fn unknown(&mut self, place: usize, key: &'static str, item: &ItemKey) {
        unknown_item(self.assembly, self.site, &at(place, key), item);
    }

    fn convert(&mut self, place: usize, form: &file::Link) -> Convert {
        let given = &form.convert;
        let mut fault = |key: &'static str, message: &str, help: &str| {
            let path = ["link".into(), place.into(), "convert".into(), Step::Key(key)];
            self.assembly.error(&path, message.to_owned(), "here", help);
        };
        if given.scale.is_some_and(|scale| scale == 0.0) {
            fault("scale", "`scale` is 0, which makes every value the same", "write a factor other than 0");
        }
        let clamp = given.clamp.as_deref().and_then(|limits| match limits {
            [low, high] => Some((*low, *high)),
            _ => None,
        });
        if clamp.is_some_and(|(low, high)| low > high) {
            fault("clamp", "`clamp` has its smallest above its greatest value", "write [smallest, greatest]");
        }
        if given
            .min_interval
            .as_ref()
            .and_then(|span| parse_duration(&span.0))
            .is_some_and(|span| span.is_zero())
        {
            fault("min_interval", "`min_interval` is zero", "leave it out to pass every value");
        }
        Convert {
            scale: given.scale,
            offset: given.offset,
            invert: given.invert,
            map: given.map.iter().map(|(from, to)| (from.clone(), scalar_value(to))).collect(),
            clamp,
            deadband: given.deadband,
            min_interval: given
                .min_interval
                .as_ref()
                .map(|given| span(Some(given), std::time::Duration::ZERO)),
        }
    }

    /// What turns the values of a two-way link back.
    fn inverse(&mut self, place: usize, convert: &Convert) -> Option<Convert> {
        match invert(convert) {
            Ok(inverse) => Some(inverse),
            Err(why) => {
                let path = ["link".into(), place.into(), "both".into()];
                let help = format!("{why}; write two links, each with its own `convert`");
                let message = "a two-way link needs a conversion that can be turned back".to_owned();
                self.assembly.error(&path, message, "not possible with this `convert`", help);
                None
            }
        }
    }

    /// Reports every ring of one-way links once. A ring that changes values would never come to rest.
    fn cycles(&mut self, edges: Vec<Edge>) {
        let mut targets: BTreeMap<ItemKey, BTreeSet<ItemKey>> = BTreeMap::new();
        for edge in &edges {
            targets.entry(edge.from.clone()).or_default().insert(edge.to.clone());
        }
        let mut by_pair: HashMap<(ItemKey, ItemKey), (usize, bool)> = HashMap::new();
        for edge in edges {
            by_pair.insert((edge.from, edge.to), (edge.place, edge.changes));
        }
        let mut reported = BTreeSet::new();
        for ring in rings(&targets).into_iter().take(RINGS_MAX) {
            let steps: Vec<(usize, bool)> = (0..ring.len())
                .filter_map(|at| by_pair.get(&(ring[at].clone(), ring[(at + 1) % ring.len()].clone())))
                .copied()
                .collect();
            let Some(place) = steps.iter().map(|(place, _)| *place).max() else { continue };
            if !reported.insert(place) {
                continue;
            }
            let mut shown: Vec<&str> = ring.iter().take(8).map(ItemKey::as_str).collect();
            if ring.len() > 8 {
                shown.push("…");
            }
            shown.push(ring[0].as_str());
            let shown = shown.join(" → ");
            let path = at(place, "to");
            if ring.len() == 1 {
                let help = "write another item in `to`";
                self.assembly.error(&path, format!("`{}` drives itself", ring[0]), "here", help);
            } else if steps.iter().any(|(_, changes)| *changes) {
                let help = "remove one of the links; for two items that follow each other write one link with `both = true`";
                let message = format!("links go in a ring and change values on the way: {shown}");
                self.assembly.error(&path, message, "closes the ring", help);
            } else {
                let help = "it comes to rest because equal values are not repeated; for two items write `both = true`";
                self.assembly.warn(&path, format!("links go in a ring: {shown}"), "closes the ring", help);
            }
        }
    }
}

fn at(place: usize, key: &'static str) -> [Step<'static>; 3] {
    ["link".into(), place.into(), key.into()]
}

/// A value as it is written in the file.
pub(crate) fn scalar_value(scalar: &file::Scalar) -> Value {
    match scalar {
        file::Scalar::Bool(value) => Value::Bool(*value),
        file::Scalar::Integer(value) => Value::I64(*value),
        file::Scalar::Number(value) => Value::F64(*value),
        file::Scalar::Text(text) => Value::Str(text.as_str().into()),
    }
}

fn changes_values(convert: &Convert) -> bool {
    convert.scale.is_some()
        || convert.offset.is_some()
        || convert.invert
        || !convert.map.is_empty()
        || convert.clamp.is_some()
}

/// The conversion that undoes another, or why there is none.
fn invert(convert: &Convert) -> Result<Convert, &'static str> {
    if convert.clamp.is_some() {
        return Err("what `clamp` cuts off is gone");
    }
    let is_scaled = convert.scale.is_some() || convert.offset.is_some();
    if (!convert.map.is_empty() || convert.invert) && is_scaled {
        return Err("`map` and `invert` come before `scale` and `offset` and cannot be undone after them");
    }
    if !convert.map.is_empty() && convert.invert {
        return Err("`map` and `invert` together cannot be undone");
    }
    if convert.scale.is_some_and(|scale| scale == 0.0) {
        return Err("`scale` is 0");
    }
    let mut map = BTreeMap::new();
    for (from, to) in &convert.map {
        if map.insert(to.to_string(), parse_value(from)).is_some() {
            return Err("`map` makes two values the same");
        }
    }
    let scale = convert.scale.unwrap_or(1.0);
    Ok(Convert {
        scale: convert.scale.map(|scale| 1.0 / scale),
        offset: convert.offset.map(|offset| -offset / scale),
        invert: convert.invert,
        map,
        clamp: None,
        deadband: convert.deadband.map(|band| band / scale.abs()),
        min_interval: convert.min_interval,
    })
}

/// The value whose text form this is.
fn parse_value(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text
            .parse()
            .map(Value::I64)
            .or_else(|_| text.parse().map(Value::F64))
            .unwrap_or_else(|_| Value::Str(text.into())),
    }
}

/// Rings of a graph, found by following a path until it meets itself; each starts at its smallest item. At least one
/// of every connected bunch of rings is found.
fn rings(targets: &BTreeMap<ItemKey, BTreeSet<ItemKey>>) -> Vec<Vec<ItemKey>> {
    let mut done: BTreeSet<&ItemKey> = BTreeSet::new();
    let mut rings = Vec::new();
    for start in targets.keys() {
        // A depth-first walk with its own stack, so that a long chain of links cannot exhaust the thread's.
        let mut path: Vec<&ItemKey> = Vec::new();
        let mut on_path: BTreeMap<&ItemKey, usize> = BTreeMap::new();
        let mut open: Vec<(&ItemKey, bool)> = vec![(start, false)];
        while let Some((node, is_left)) = open.pop() {
            if is_left {
                path.pop();
                on_path.remove(node);
                done.insert(node);
                continue;
            }
            if let Some(first) = on_path.get(node) {
                let mut ring: Vec<ItemKey> = path[*first..].iter().map(|key| (*key).clone()).collect();
                let smallest = (0..ring.len()).min_by_key(|at| &ring[*at]).unwrap_or(0);
                ring.rotate_left(smallest);
                rings.push(ring);
                continue;
            }
            if done.contains(node) || rings.len() >= RINGS_MAX {
                continue;
            }
            on_path.insert(node, path.len());
            path.push(node);
            open.push((node, true));
            open.extend(targets.get(node).into_iter().flatten().map(|next| (next, false)));
        }
    }
    rings
}

const RINGS_MAX: usize = 20;
