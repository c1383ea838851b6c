//! `plugins.lock`.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use twinhub_config::{Diagnostic, Document, Failure, Step, nearest};

use crate::entry::{Entry, Grant};
use crate::form;
use crate::hosting::Hosting;
use crate::signature::PublicKey;

/// The largest file that is read, so that it comes along to a new node and into a backup; an entry has about 200 bytes.
pub const LOCK_BYTES_MAX: usize = 64 << 10;

/// Who signs plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The public key, as it is written.
    pub text: String,
    /// The public key.
    pub key: PublicKey,
}

/// The libraries that a site trusts. What it holds is consistent: every publisher that an entry names is there.
#[derive(Debug, Clone)]
pub struct Lock {
    name: String,
    publishers: BTreeMap<String, Publisher>,
    entries: Vec<Entry>,
}

impl Lock {
    /// Takes the text of the file, called `name` in messages.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong, each with its line.
    pub fn parse(text: &str, name: &str) -> Result<Lock, Failure> {
        let schema = form::schema().to_value();
        let (file, document) = Document::parse::<form::File>(text, name, schema)?;
        let mut reading = Reading { document: &document, found: Vec::new() };
        let publishers = reading.publishers(&file.publisher);
        let entries = reading.entries(&file.plugin, &publishers);
        if reading.found.is_empty() {
            Ok(Lock { name: name.to_owned(), publishers, entries })
        } else {
            Err(Failure::new(reading.found))
        }
    }

    /// The file's name, as in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who signs plugins, by name.
    pub const fn publishers(&self) -> &BTreeMap<String, Publisher> {
        &self.publishers
    }

    /// The libraries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of a plugin: several while a site goes from one version to the next.
    pub fn entries_of(&self, id: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.id == id)
    }

    /// SHA-256 over what the file means, 64 hexadecimal digits: the order of entries, comments and white space do not
    /// count, and neither do publishers that no entry names.
    pub fn hash(&self) -> String {
        let mut lines: Vec<[&str; 6]> = self
            .entries
            .iter()
            .map(|entry| {
                let (publisher, key) = match &entry.grant {
                    Grant::SignedBy(name) => {
                        (name.as_str(), self.publishers.get(name).map_or("", |found| found.text.as_str()))
                    }
                    Grant::Unsigned => ("", ""),
                };
                [&entry.id, &entry.version, &entry.sha256, publisher, key, entry.hosting.word()]
            })
            .collect();
        lines.sort_unstable();
        let mut context = Context::new(&SHA256);
        for part in lines.iter().flatten() {
            // With its length, so that `ab` + `c` differs from `a` + `bc`.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut text = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }
}

/// What is found while the file is read.
struct Reading<'a> {
    document: &'a Document,
    found: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn error(&mut self, path: &[Step<'_>], message: String, label: &str, help: impl Into<String>) {
        self.found.push(self.document.error(path, message, label).help(help));
    }

    fn publishers(&mut self, written: &[form::Publisher]) -> BTreeMap<String, Publisher> {
        let mut publishers = BTreeMap::new();
        for (index, publisher) in written.iter().enumerate() {
            let place = |key| ["publisher".into(), index.into(), Step::Key(key)];
            let name = &publisher.name;
            match PublicKey::parse(&publisher.key) {
                Ok(key) if !publishers.contains_key(name) => {
                    publishers.insert(name.clone(), Publisher { text: publisher.key.clone(), key });
                }
                Ok(_) => {
                    let message = format!("publisher `{}` is there twice", name.escape_debug());
                    self.error(&place("name"), message, "again", "give each publisher a name of its own");
                }
                Err(fault) => {
                    let message = format!("the key of publisher `{}` is {fault}", name.escape_debug());
                    let help = "write the second line of its `minisign.pub`, which begins with RW";
                    self.error(&place("key"), message, "no key", help);
                    // An entry that names it is not wrong, too.
                    publishers
                        .entry(name.clone())
                        .or_insert(Publisher { text: String::new(), key: PublicKey::none() });
                }
            }
        }
        publishers
    }

    fn entries(&mut self, written: &[form::Plugin], publishers: &BTreeMap<String, Publisher>) -> Vec<Entry> {
        let mut lines: BTreeMap<String, u32> = BTreeMap::new();
        let mut entries = Vec::new();
        for (index, plugin) in written.iter().enumerate() {
            let place = |key| ["plugin".into(), index.into(), Step::Key(key)];
            let line = self.document.line(&place("id")[..2]);
            let sha256 = plugin.sha256.to_ascii_lowercase();
            if !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = format!("`plugin[{index}].sha256` is no SHA-256");
                let help = "write 64 hexadecimal digits, as `sha256sum` and `twinhub plugin info` show them";
                self.error(&place("sha256"), message, "not hexadecimal", help);
            } else if let Some(first) = lines.insert(sha256.clone(), line) {
                let message = format!("the library of line {first} is there twice");
                self.error(&place("sha256"), message, "again", "leave one of the two entries");
            }
            let Some(grant) = self.grant(index, plugin, publishers) else { continue };
            entries.push(Entry {
                id: plugin.id.clone(),
                version: plugin.version.clone(),
                sha256,
                grant,
                hosting: plugin.hosting.unwrap_or_default(),
                line,
                version_at: self.document.span(&place("version")),
                sha256_at: self.document.span(&place("sha256")),
            });
        }
        entries
    }

    fn grant(
        &mut self,
        index: usize,
        plugin: &form::Plugin,
        publishers: &BTreeMap<String, Publisher>,
    ) -> Option<Grant> {
        let place = |key| ["plugin".into(), index.into(), Step::Key(key)];
        let name = plugin.id.escape_debug();
        match (&plugin.publisher, plugin.allow_unsigned.unwrap_or(false)) {
            (Some(publisher), false) if publishers.contains_key(publisher) => {
                Some(Grant::SignedBy(publisher.clone()))
            }
            (Some(publisher), false) => {
                let message =
                    format!("publisher `{}` of plugin `{name}` is unknown", publisher.escape_debug());
                let meant = nearest(publisher, publishers.keys().map(String::as_str));
                let add = "add `[[publisher]]` with its `name` and `key`";
                let help = meant.map_or_else(
                    || add.to_owned(),
                    |meant| format!("did you mean `{meant}`? otherwise {add}"),
                );
                self.error(&place("publisher"), message, "not known", help);
                None
            }
            (Some(_), true) => {
                let message = format!("plugin `{name}` has a publisher and needs no signature");
                let help = "leave out `allow_unsigned` or `publisher`";
                self.error(&place("allow_unsigned"), message, "contradicts `publisher`", help);
                None
            }
            (None, true) if plugin.hosting == Some(Hosting::Inproc) => {
                let message =
                    format!("plugin `{name}` is unsigned, and may not run in the process of the hub");
                let help = "write `hosting = \"isolated\"`, or have it signed and name its `publisher`";
                self.error(&place("hosting"), message, "only for signed plugins", help);
                None
            }
            (None, true) => Some(Grant::Unsigned),
            (None, false) => {
                let message = format!("plugin `{name}` has no publisher");
                let help = "name the `publisher` who signed it; or, to run it unsigned and isolated, write \
                            `allow_unsigned = true`";
                self.error(&place("id")[..2], message, "here", help);
                None
            }
        }
    }
}
