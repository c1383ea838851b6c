//! The rule by which names of a project become item paths.
//!
//! A path is the names from the outside to the inside, joined by `/`. Names are changed as little as possible:
//!
//! 1. Line ends, tabs and other control characters become a space; rows of spaces become one, those at the ends go.
//! 2. `/` becomes `-`, since it would cut the name into two; `*` becomes `_`, since it stands for many items in links.
//! 3. A name that is empty after this is left out if it is a level above, and becomes the address if it is the last.
//! 4. A name is cut at [`NAME_BYTES_MAX`] bytes; of a path that is longer than [`PATH_BYTES_MAX`] the levels above go,
//!    from the outside on.
//! 5. The first row with a path keeps it. Each further one gets ` (ADDRESS)` behind it, and if that is taken, too, a
//!    number from 2 on. Paths that differ only in small and capital letters are not the same.
//!
//! What is changed by 2 to 5 is told by a finding; spaces are not worth one. Since addresses do not change when a name
//! above does, a path that was made by 5 stays the same in the next import, as long as the order of rows does.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::text::one_line;

/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 120;
/// The longest path in bytes: an item's key has 512 at most, and the name of its interface is part of it.
pub const PATH_BYTES_MAX: usize = 440;

/// Makes paths, each once.
#[derive(Debug, Default)]
pub struct Paths {
    taken: BTreeSet<String>,
    /// The next number of paths with addresses that are taken, too.
    next: BTreeMap<String, u32>,
}

/// A path, and why it is not what the names say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The path.
    pub path: String,
    /// What was changed, in the order of the rule; empty if nothing was.
    pub changes: Vec<&'static str>,
}

impl Paths {
    /// The path of a row with these names, the last its own; `address` is that of the row.
    pub fn make(&mut self, names: &[&str], address: &str) -> Made {
        let mut changes = Vec::new();
        let mut parts: Vec<Cow<'_, str>> = Vec::with_capacity(names.len());
        let (own, above) = names.split_last().map_or(("", &[][..]), |(own, above)| (*own, above));
        for name in above {
            let part = part(name, &mut changes);
            if !part.is_empty() {
                parts.push(part.into());
            }
        }
        let own = part(own, &mut changes);
        if own.is_empty() {
            note(&mut changes, NO_NAME);
            parts.push(part(address, &mut Vec::new()).into());
        } else {
            parts.push(own.into());
        }
        while parts.len() > 1 && length(&parts) > PATH_BYTES_MAX {
            parts.remove(0);
            note(&mut changes, CUT);
        }
        let wanted = parts.join("/");
        let path = self.free(wanted, address, &mut changes);
        self.taken.insert(path.clone());
        Made { path, changes }
    }

    fn free(&mut self, wanted: String, address: &str, changes: &mut Vec<&'static str>) -> String {
        if !self.taken.contains(&wanted) {
            return wanted;
        }
        note(changes, TWICE);
        let with_address = format!("{wanted} ({})", part(address, &mut Vec::new()));
        if !self.taken.contains(&with_address) {
            return with_address;
        }
        let next = self.next.entry(with_address.clone()).or_insert(2);
        loop {
            let path = format!("{with_address} {next}");
            *next += 1;
            if !self.taken.contains(&path) {
                return path;
            }
        }
    }
}

/// One level of a path.
fn part(name: &str, changes: &mut Vec<&'static str>) -> String {
    let mut part = one_line(name);
    if part.contains('/') {
        note(changes, SLASH);
        part = part.replace('/', "-");
    }
    if part.contains('*') {
        note(changes, STAR);
        part = part.replace('*', "_");
    }
    if part.len() > NAME_BYTES_MAX {
        note(changes, CUT);
        let end = (0..=NAME_BYTES_MAX).rev().find(|end| part.is_char_boundary(*end)).unwrap_or(0);
        part.truncate(end);
        part.truncate(part.trim_end().len());
    }
    part
}

fn length(parts: &[Cow<'_, str>]) -> usize {
    parts.iter().map(|part| part.len() + 1).sum()
}

fn note(changes: &mut Vec<&'static str>, change: &'static str) {
    if !changes.contains(&change) {
        changes.push(change);
    }
}

const SLASH: &str = "`/` in a name became `-`";
const STAR: &str = "`*` in a name became `_`";
const NO_NAME: &str = "without a name the address stands for it";
const CUT: &str = "it was too long and was cut";
const TWICE: &str = "the path was taken, and the address was added";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_changed_as_the_rule_says() {
        let mut paths = Paths::default();
        let cases: [(&[&str], &str, &str, &[&str]); 6] = [
            (&["Licht", " EG ", "Küche\r\nDecke"], "1/2/3", "Licht/EG/Küche Decke", &[]),
            (&["Licht", "", "Ein/Aus *"], "1/2/4", "Licht/Ein-Aus _", &[SLASH, STAR]),
            (&["Licht", "EG", "Küche Decke"], "1/2/5", "Licht/EG/Küche Decke (1-2-5)", &[TWICE]),
            (&["Licht", "EG", "Küche Decke"], "1/2/5", "Licht/EG/Küche Decke (1-2-5) 2", &[TWICE]),
            (&["Licht", "\t"], "1/2/6", "Licht/1-2-6", &[NO_NAME]),
            (&["Licht", "EG", "küche Decke"], "1/2/7", "Licht/EG/küche Decke", &[]),
        ];
        for (names, address, path, changes) in cases {
            let made = paths.make(names, address);
            assert_eq!((made.path.as_str(), made.changes.as_slice()), (path, changes));
        }
    }

    proptest! {
        #[test]
        fn a_path_is_one_that_the_hub_takes_and_never_given_twice(
            rows in prop::collection::vec((prop::collection::vec("(?s).{0,200}", 0..5), ".{0,9}"), 1..20),
        ) {
            let mut paths = Paths::default();
            let mut seen = BTreeSet::new();
            for (names, address) in &rows {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let path = paths.make(&names, &format!("1/{address}")).path;
                prop_assert!(path.len() <= PATH_BYTES_MAX + 60, "{path}");
                prop_assert!(path.split('/').all(|part| !part.is_empty() && part.trim() == part), "{path:?}");
                prop_assert!(!path.contains('*') && !path.chars().any(char::is_control), "{path:?}");
                prop_assert!(seen.insert(path));
            }
        }
    }
}
