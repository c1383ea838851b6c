//! Items of other interfaces whose values an interface takes: `values_in`.

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
        all
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
