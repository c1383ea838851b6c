//! Changes to the text of `plugins.lock` that leave everything else in it as it is.

use std::ops::Range;

use crate::entry::{Entry, Grant};

/// What a new file begins with.
pub const EMPTY: &str = "# Plugin libraries that this site trusts; the same file on every node.\n\
                         # `twinhub plugin lock` adds what is installed, `twinhub plugin verify` checks it.\n";

/// An entry to write.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// The id of its manifest.
    pub id: &'a str,
    /// The version of its manifest.
    pub version: &'a str,
    /// SHA-256 of its file.
    pub sha256: &'a str,
    /// Why it may run.
    pub grant: &'a Grant,
}

/// The text with one more publisher.
#[must_use]
pub fn with_publisher(text: &str, name: &str, key: &str) -> String {
    format!("{}[[publisher]]\nname = {}\nkey = {}\n", begun(text), quoted(name), quoted(key))
}

/// The text with one more library.
#[must_use]
pub fn with_entry(text: &str, entry: &NewEntry<'_>) -> String {
    let grant = match entry.grant {
        Grant::SignedBy(publisher) => format!("publisher = {}", quoted(publisher)),
        Grant::Unsigned => "allow_unsigned = true".to_owned(),
    };
    format!(
        "{}[[plugin]]\nid = {}\nversion = {}\nsha256 = {}\n{grant}\n",
        begun(text),
        quoted(entry.id),
        quoted(entry.version),
        quoted(entry.sha256)
    )
}

/// The text with another version and hash in one of its entries.
#[must_use]
pub fn with_content(text: &str, entry: &Entry, version: &str, sha256: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut changes: [(&Range<usize>, String); 2] =
        [(&entry.version_at, quoted(version)), (&entry.sha256_at, quoted(sha256))];
    // From the end on, so that places before it stay what they are.
    changes.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for (place, value) in changes {
        text.replace_range(place.clone(), &value);
    }
    text
}

/// The text with an empty line at its end, for what follows.
fn begun(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let end = match text {
        "" => "",
        text if text.ends_with("\n\n") => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{text}{end}")
}

/// As a text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
