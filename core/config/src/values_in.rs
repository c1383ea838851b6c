//! Items of other interfaces whose values an interface takes: `values_in`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::assembly::Assembly;
use crate::file;
use crate::link::{end_of, unknown_item};
use crate::site::{Interface, LinkEnd, Site};
use crate::tree::Step;

impl Assembly<'_> {
    /// What each interface names, by its id.
    pub(crate) fn values_in(
        &mut self,
        site: &Site,
        forms: &[file::Interface],
    ) -> Vec<(String, Vec<LinkEnd>)> {
        let mut all = Vec::new();
        for (number, form) in forms.iter().enumerate() {
            let Some(interface) = site.interface(&form.id) else { continue };
            let mut ends = Vec::new();
            for (place, text) in form.values_in.iter().enumerate() {
                let path = ["interface".into(), number.into(), "values_in".into(), place.into()];
                ends.extend(self.value_in(site, interface, &path, text));
            }
            all.push((form.id.clone(), ends));
        }
        self.rings(forms, &all);
        all
    }

    /// Interfaces that take values of each other, in a ring: what one makes of a value comes back to it.
    fn rings(&mut self, forms: &[file::Interface], all: &[(String, Vec<LinkEnd>)]) {
        let takes = |id: &str| {
            let found = all.iter().find(|(other, _)| other == id);
            found.into_iter().flat_map(|(_, ends)| ends).map(LinkEnd::interface)
        };
        let mut told: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
        for (number, form) in forms.iter().enumerate() {
            let Some(ring) = way_back(&form.id, &takes) else { continue };
            if told.insert(ring.iter().copied().collect()) {
                let message = format!("values go in a ring: {} <- {}", form.id, ring.join(" <- "));
                let help = "fine if a module answers some values only; otherwise each value makes another one for ever: \
                            take single items in place of whole interfaces";
                self.warn(&["interface".into(), number.into(), "values_in".into()], message, "a ring", help);
            }
        }
    }

    fn value_in(
        &mut self,
        site: &Site,
        interface: &Interface,
        path: &[Step<'_>],
        text: &str,
    ) -> Option<LinkEnd> {
        let end = end_of(self, site, path, text)?;
        let source = site.interface(end.interface())?;
        if source.id == interface.id {
            let message = format!("`{text}` is of this interface itself");
            let help = "name items of other interfaces; its own are in its items file";
            self.error(path, message, "its own", help);
            return None;
        }
        if source.group != interface.group {
            let message = format!(
                "`{text}` is of group `{}`, and the interface `{}` of group `{}`",
                source.group, interface.id, interface.group
            );
            let help = "an interface takes values of its own group, which become active with it: move one of the two";
            self.error(path, message, "another group", help);
            return None;
        }
        if end.readable(site).is_empty() {
            match &end {
                LinkEnd::Item(key) if source.items.iter().any(|item| item.key == *key) => {
                    let help = "give it the access `r` or `rw` in the items file";
                    self.error(path, format!("`{key}` cannot be read"), "access `w`", help);
                    return None;
                }
                LinkEnd::Item(key) => {
                    unknown_item(self, site, path, key);
                    return None;
                }
                LinkEnd::Prefix { .. } => {
                    let message = format!("`{end}` stands for no item that can be read");
                    let help = "nothing is taken; look at the paths in the items file";
                    self.warn(path, message, "no items", help);
                }
            }
        }
        Some(end)
    }
}

/// The shortest way from an interface over those whose values it takes back to itself; it ends with itself.
fn way_back<'a, I: Iterator<Item = &'a str>>(
    start: &str,
    takes: &impl Fn(&str) -> I,
) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next: VecDeque<&str> = VecDeque::new();
    for first in takes(start) {
        next.push_back(first);
    }
    let mut seen: BTreeSet<&str> = next.iter().copied().collect();
    while let Some(at) = next.pop_front() {
        if at == start {
            let mut way = vec![at];
            let mut step = at;
            while let Some(earlier) = before.get(step).filter(|earlier| !way.contains(earlier)) {
                way.push(earlier);
                step = earlier;
            }
            way.reverse();
            return Some(way);
        }
        for further in takes(at).filter(|further| seen.insert(further)) {
            before.insert(further, at);
            next.push_back(further);
        }
    }
    None
}
