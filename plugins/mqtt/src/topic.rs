//! Topic names, filters, templates, and the way from a received topic to those who want it.

use std::collections::HashMap;

use crate::placement::Placement;

/// Why a topic, filter or template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Empty text.
    #[error("the topic is empty")]
    Empty,
    /// MQTT limits names to 65,535 bytes.
    #[error("the topic has {bytes} bytes, at most {TOPIC_BYTES_MAX} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many levels.
    #[error("the topic has more than {LEVELS_MAX} levels")]
    TooDeep,
    /// A character that MQTT forbids.
    #[error("the topic contains a zero character")]
    Zero,
    /// A wildcard where a message is published.
    #[error("`{topic}` contains a wildcard, which is possible for reading only")]
    Wildcard {
        /// The topic.
        topic: String,
    },
    /// A wildcard in the wrong place.
    #[error("`{filter}`: `+` and `#` must fill a whole level, and `#` only the last one")]
    Filter {
        /// The filter.
        filter: String,
    },
    /// A placeholder that does not exist here.
    #[error(
        "`{{{name}}}` is not a placeholder; help: use {{interface}}, {{node}}, {{site}}, {{cluster}}, or {{path}} for items"
    )]
    Placeholder {
        /// Its name.
        name: String,
    },
    /// A brace without its partner.
    #[error("`{template}`: a brace is not closed; help: write {{{{ for a brace")]
    Brace {
        /// The template.
        template: String,
    },
}

/// What the placeholders of a template stand for.
#[derive(Debug, Clone, Copy)]
pub struct Placeholders<'a> {
    /// Where the instance runs.
    pub placement: &'a Placement,
    /// The item's path, for item templates.
    pub path: Option<&'a str>,
}

/// Fills `{interface}`, `{node}`, `{site}`, `{cluster}` and `{path}`; `{{` and `}}` are braces.
/// Wildcard and zero characters of a substituted text become `_`.
pub fn expand(template: &str, values: &Placeholders<'_>) -> Result<String, Error> {
    let brace = || Error::Brace { template: template.to_owned() };
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let found = &rest[at..];
        if found.starts_with("{{") || found.starts_with("}}") {
            out.push_str(&found[..1]);
            rest = &found[2..];
            continue;
        }
        let inner = found.strip_prefix('{').ok_or_else(brace)?;
        let (name, tail) = inner.split_once('}').ok_or_else(brace)?;
        let text = match (name, values.path) {
            ("interface", _) => &values.placement.interface,
            ("node", _) => &values.placement.node,
            ("site", _) => &values.placement.site,
            ("cluster", _) => &values.placement.cluster,
            ("path", Some(path)) => path,
            _ => return Err(Error::Placeholder { name: name.to_owned() }),
        };
        out.extend(text.chars().map(|c| if matches!(c, '+' | '#' | '\0') { '_' } else { c }));
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Checks a topic that messages are published to (MQTT 5.0, 4.7).
pub fn check_name(topic: &str) -> Result<(), Error> {
    check_common(topic)?;
    if is_wildcard(topic) {
        return Err(Error::Wildcard { topic: topic.to_owned() });
    }
    Ok(())
}

/// Checks a filter that is subscribed to (MQTT 5.0, 4.7).
pub fn check_filter(filter: &str) -> Result<(), Error> {
    check_common(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fits = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !is_wildcard(level),
        };
        if !fits {
            return Err(Error::Filter { filter: filter.to_owned() });
        }
    }
    Ok(())
}

fn check_common(topic: &str) -> Result<(), Error> {
    if topic.is_empty() {
        return Err(Error::Empty);
    }
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(Error::TooLong { bytes: topic.len() });
    }
    if topic.contains('\0') {
        return Err(Error::Zero);
    }
    if topic.split('/').count() > LEVELS_MAX {
        return Err(Error::TooDeep);
    }
    Ok(())
}

/// Whether a text contains `+` or `#`.
pub fn is_wildcard(text: &str) -> bool {
    text.contains(['+', '#'])
}

/// The part of `topic` that the wildcards of `filter` stand for, levels joined by `/`; `None` if it does not match.
pub fn capture(filter: &str, topic: &str) -> Option<String> {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return None;
    }
    let mut captured = String::new();
    let mut push = |text: &str| {
        if !captured.is_empty() {
            captured.push('/');
        }
        captured.push_str(text);
    };
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            levels.for_each(&mut push);
            return Some(captured);
        }
        let level = levels.next()?;
        if wanted == "+" {
            push(level);
        } else if wanted != level {
            return None;
        }
    }
    levels.next().is_none().then_some(captured)
}

/// Filters as a tree of levels: finding all filters of a topic costs its depth, not the number of filters.
#[derive(Debug)]
pub struct Router<T> {
    root: Level<T>,
}

#[derive(Debug)]
struct Level<T> {
    named: HashMap<Box<str>, Level<T>>,
    any: Option<Box<Level<T>>>,
    rest: Option<T>,
    here: Option<T>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { root: Level::default() }
    }
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { named: HashMap::new(), any: None, rest: None, here: None }
    }
}

impl<T> Router<T> {
    /// The entry of `filter`, made with `make` if there is none. The filter must have passed [`check_filter`].
    pub fn entry(&mut self, filter: &str, make: impl FnOnce() -> T) -> &mut T {
        let mut level = &mut self.root;
        for name in filter.split('/') {
            if name == "#" {
                return level.rest.get_or_insert_with(make);
            }
            level = if name == "+" {
                level.any.get_or_insert_default()
            } else {
                level.named.entry(name.into()).or_default()
            };
        }
        level.here.get_or_insert_with(make)
    }

    /// Calls `found` for each entry whose filter matches `topic`. A topic deeper than any accepted filter matches
    /// only through `#`.
    pub fn matches<'a>(&'a self, topic: &str, found: &mut impl FnMut(&'a T)) {
        let mut levels = [""; LEVELS_MAX];
        let mut count = 0;
        for level in topic.split('/') {
            if count == LEVELS_MAX {
                break;
            }
            levels[count] = level;
            count += 1;
        }
        self.root.matches(&levels[..count], topic.starts_with('$'), found);
    }
}

impl<T> Level<T> {
    fn matches<'a>(&'a self, topic: &[&str], is_system: bool, found: &mut impl FnMut(&'a T)) {
        if let Some(rest) = &self.rest
            && !is_system
        {
            found(rest);
        }
        let Some((first, tail)) = topic.split_first() else {
            if let Some(here) = &self.here {
                found(here);
            }
            return;
        };
        if let Some(level) = self.named.get(*first) {
            level.matches(tail, false, found);
        }
        if let Some(level) = &self.any
            && !is_system
        {
            level.matches(tail, false, found);
        }
    }
}

/// MQTT 5.0, 1.5.4: the length of a string has two bytes.
pub const TOPIC_BYTES_MAX: usize = 65_535;
/// Bounds the recursion over levels; mosquitto's own limit is 200.
pub const LEVELS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn placement() -> Placement {
        Placement { node: "main".into(), site: "ho#tel".into(), interface: "m1".into(), cluster: "c".into() }
    }

    fn matching(filters: &[&str], topic: &str) -> Vec<String> {
        let mut router = Router::default();
        for filter in filters {
            check_filter(filter).unwrap();
            router.entry(filter, || (*filter).to_owned());
        }
        let mut found = Vec::new();
        router.matches(topic, &mut |name: &String| found.push(name.clone()));
        found.sort();
        found
    }

    #[test]
    fn templates_are_filled_and_wildcards_in_values_made_harmless() {
        let placement = placement();
        let values = Placeholders { placement: &placement, path: Some("boiler/t1") };
        assert_eq!(
            expand("{site}/{interface}/{path}/{node}{{x}}", &values).unwrap(),
            "ho_tel/m1/boiler/t1/main{x}"
        );
        assert!(matches!(expand("{nope}", &values), Err(Error::Placeholder { .. })));
        assert!(matches!(expand("{site", &values), Err(Error::Brace { .. })));
        assert!(matches!(expand("a}", &values), Err(Error::Brace { .. })));
        assert!(expand("{path}", &Placeholders { placement: &placement, path: None }).is_err());
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        // MQTT 5.0, 4.7.1.2 and 4.7.2.
        assert_eq!(matching(&["sport/tennis/player1/#"], "sport/tennis/player1").len(), 1);
        assert_eq!(matching(&["sport/+"], "sport").len(), 0);
        assert_eq!(matching(&["sport/+"], "sport/").len(), 1);
        assert_eq!(matching(&["+/+", "/+", "+"], "/finance"), ["+/+", "/+"]);
        assert_eq!(matching(&["#", "+/monitor"], "$SYS/monitor").len(), 0);
        assert_eq!(matching(&["$SYS/#"], "$SYS/monitor").len(), 1);
        assert_eq!(matching(&["é/+"], "é/x").len(), 1);
    }

    #[test]
    fn wrong_filters_are_refused() {
        for bad in ["", "a/#/b", "a#", "+a", "a\0b", "a/b+"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
        assert!(check_filter(&"/".repeat(LEVELS_MAX)).is_err());
        assert!(check_name("a/+").is_err());
    }

    proptest! {
        #[test]
        fn router_and_capture_agree(
            filter in "(\\$?[ab+]{1}|#)(/([abé]|\\+)){0,4}(/#)?",
            topic in "\\$?[abé]?(/[abé]?){0,6}",
        ) {
            prop_assume!(check_filter(&filter).is_ok());
            let found = !matching(&[&filter], &topic).is_empty();
            prop_assert_eq!(found, capture(&filter, &topic).is_some());
        }

        #[test]
        fn hostile_text_never_panics(filter in "\\PC{0,80}", topic in "[^\u{0}]{0,300}") {
            let placement = placement();
            let _unused = expand(&filter, &Placeholders { placement: &placement, path: Some(&topic) });
            let _unused = capture(&filter, &topic);
            if check_filter(&filter).is_ok() {
                let _unused = matching(&[&filter], &topic);
            }
        }

        #[test]
        fn expanded_names_without_wildcards_are_valid_topics(path in "[^\u{0}]{1,40}") {
            let placement = placement();
            let text = expand("t/{path}", &Placeholders { placement: &placement, path: Some(&path) }).unwrap();
            prop_assert!(check_name(&text).is_ok());
        }
    }
}
