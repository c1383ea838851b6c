//! `plugin lock` and `plugin verify`: `plugins.lock` of the site. None of a library's code runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use twinhub_loader::inspect_checked;
use twinhub_runtime::trust::{Trust, lock_path, read_lock, read_signature};
use twinhub_runtime::write_whole;
use twinhub_trust::{
    Entry, Grant, Lock, NewEntry, PublicKey, Verdict, signature_path, verify as verify_signature,
    with_content, with_entry, with_publisher,
};

use super::{installed, locate, nothing};
use crate::cli::PluginLockArgs;
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::{Answer, plain};
use crate::paths::Paths;

/// What `plugin verify` says of a library.
#[derive(Debug, Serialize)]
struct Verified {
    plugin: String,
    version: Option<String>,
    file: String,
    sha256: Option<String>,
    /// `trusted`, `allowed` or `unlocked`.
    verdict: Option<&'static str>,
    publisher: Option<String>,
    hosting: Option<&'static str>,
    /// Why the hub would not load it.
    error: Option<String>,
    #[serde(skip)]
    line: String,
}

pub(super) fn verify(paths: &Paths, names: &[String], answer: Answer) -> Outcome {
    let trust = Trust::open(&paths.config_dir())
        .map_err(|failure| Failure::new(Code::Configuration, failure.render()))?;
    let rows: Vec<Verified> =
        chosen(paths, names)?.iter().map(|(name, file)| verified(&trust, name, file)).collect();
    let is_bad = rows.iter().any(|row| row.error.is_some());
    let end = trust.lock().is_none().then(|| {
        format!(
            "\nThere is no {}: every library is loaded as it is. `twinhub plugin lock` makes one.",
            lock_path(&paths.config_dir()).display()
        )
    });
    answer.give(&rows, |rows| {
        rows.iter().map(|row| row.line.clone()).chain(end).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if is_bad { Code::Configuration } else { Code::Ok })
}

fn verified(trust: &Trust, name: &str, file: &Path) -> Verified {
    let row = Verified {
        plugin: name.to_owned(),
        version: None,
        file: file.display().to_string(),
        sha256: None,
        verdict: None,
        publisher: None,
        hosting: None,
        error: None,
        line: String::new(),
    };
    match trust.inspect(file) {
        Ok((inspection, verdict)) => Verified {
            line: format!(
                "ok    {name} {}: {}",
                plain(&inspection.manifest.version),
                plain(&verdict.to_string())
            ),
            version: Some(inspection.manifest.version),
            sha256: Some(inspection.sha256.to_string()),
            verdict: Some(verdict.word()),
            publisher: verdict.publisher().map(str::to_owned),
            hosting: match &verdict {
                Verdict::Trusted { hosting, .. } => Some(hosting.word()),
                Verdict::Allowed | Verdict::Unlocked => None,
            },
            ..row
        },
        Err(error) => {
            let error = chain(&error);
            Verified { line: format!("fail  {name}: {}", plain(&error)), error: Some(error), ..row }
        }
    }
}

/// What became of a library in `plugins.lock`.
#[derive(Debug, Serialize)]
struct Locked {
    plugin: String,
    version: String,
    file: String,
    sha256: String,
    /// `added`, `updated` or `unchanged`.
    change: &'static str,
    /// Version and hash before an update.
    before: Option<Before>,
    publisher: Option<String>,
}

#[derive(Debug, Serialize)]
struct Before {
    version: String,
    sha256: String,
}

impl Locked {
    fn line(&self) -> String {
        let (plugin, version) = (plain(&self.plugin), plain(&self.version));
        let manner = match &self.publisher {
            Some(publisher) => format!("signed by `{}`", plain(publisher)),
            None => "unsigned, only isolated".to_owned(),
        };
        match &self.before {
            None => format!("{:<9} {plugin} {version}, {manner}\n          {}", self.change, self.sha256),
            Some(before) => format!(
                "{:<9} {plugin} {} → {version}, {manner}\n          {} → {}",
                self.change,
                plain(&before.version),
                before.sha256,
                self.sha256
            ),
        }
    }
}

/// Puts libraries into `plugins.lock`: all of them, or nothing is written.
pub(super) fn lock(paths: &Paths, args: &PluginLockArgs, answer: Answer) -> Outcome {
    let wrong = |failure: twinhub_config::Failure| Failure::new(Code::Configuration, failure.render());
    let path = lock_path(&paths.config_dir());
    let before = read_lock(&path).map_err(wrong)?;
    let mut draft = Draft {
        name: path.display().to_string(),
        text: before.clone().unwrap_or_else(|| twinhub_trust::EMPTY.to_owned()),
        args,
    };
    // What is there already is not made worse, and places in it are known.
    draft.lock().map_err(wrong)?;
    for publisher in &args.publisher {
        draft.publisher(publisher)?;
    }
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for (name, file) in chosen(paths, &args.names)? {
        match draft.take(&file) {
            Ok(row) => rows.push(row),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    if !refused.is_empty() {
        refused.push(format!("{} stays as it is", draft.name));
        return Err(Failure::new(Code::Configuration, refused.join("\n")));
    }
    if before.as_ref() != Some(&draft.text) {
        write_whole(&path, draft.text.as_bytes(), None).map_err(|error| {
            Failure::new(Code::Error, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    answer.give(&rows, |rows| {
        let end = format!("\nThe same {} belongs on every node; a hub reads it when it starts.", draft.name);
        rows.iter().map(Locked::line).chain([end]).collect::<Vec<_>>().join("\n")
    })
}

/// The file as it will be.
struct Draft<'a> {
    name: String,
    text: String,
    args: &'a PluginLockArgs,
}

impl Draft<'_> {
    fn lock(&self) -> Result<Lock, twinhub_config::Failure> {
        Lock::parse(&self.text, &self.name)
    }

    /// Takes another text, if it still is one.
    fn change(&mut self, text: String) -> Result<(), String> {
        Lock::parse(&text, &self.name).map_err(|failure| {
            let why = failure.errors().next().map(ToString::to_string).unwrap_or_default();
            format!(
                "cannot be added to {} ({why}): write its tables as [[plugin]] and [[publisher]]",
                self.name
            )
        })?;
        self.text = text;
        Ok(())
    }

    /// `NAME=KEY`.
    fn publisher(&mut self, given: &str) -> Result<(), Failure> {
        let usage = || {
            let text = format!("`{}` is no publisher: write NAME=KEY", plain(given));
            Failure::new(Code::Usage, text)
        };
        // A key may end with `=`, a name has none.
        let (name, key) = given.split_once('=').ok_or_else(usage)?;
        if name.is_empty() {
            return Err(usage());
        }
        let parsed = PublicKey::parse(key).map_err(|error| {
            let text = format!("the key of publisher `{}` is {error}: it begins with RW", plain(name));
            Failure::new(Code::Usage, text)
        })?;
        let wrong = |text: String| Failure::new(Code::Configuration, text);
        let lock = self.lock().map_err(|failure| wrong(failure.render()))?;
        match lock.publishers().get(name) {
            Some(known) if known.key == parsed => Ok(()),
            Some(known) => Err(wrong(format!(
                "publisher `{}` has the key {} in {}: if it has a new one, change it there by hand",
                plain(name),
                known.text,
                self.name
            ))),
            None => self.change(with_publisher(&self.text, name, key)).map_err(wrong),
        }
    }

    /// Sees to it that a library is in the file.
    fn take(&mut self, file: &Path) -> Result<Locked, String> {
        let lock = self.lock().map_err(|failure| failure.to_string())?;
        let signature = read_signature(&signature_path(file))
            .map_err(|error| format!("cannot read {}: {error}", signature_path(file).display()))?;
        let signers = |bytes: &[u8]| -> BTreeSet<String> {
            let Some(signature) = &signature else { return BTreeSet::new() };
            let publishers = lock.publishers().iter();
            let signed =
                publishers.filter(|(_, known)| verify_signature(&known.key, signature, bytes).is_ok());
            signed.map(|(name, _)| name.clone()).collect()
        };
        let (inspection, signers) =
            inspect_checked(file, |_, bytes| Ok(signers(bytes))).map_err(|error| chain(&error))?;
        let (id, version) = (inspection.manifest.id, inspection.manifest.version);
        let sha256 = inspection.sha256.to_string();
        let library = Library { id: &id, version: &version, file, sha256: &sha256, signers: &signers };
        if let Some(entry) = lock.entries().iter().find(|entry| entry.sha256 == sha256) {
            return self.unchanged(entry, &library);
        }
        let of_plugin: Vec<&Entry> = lock.entries_of(&id).collect();
        if of_plugin.is_empty() || self.args.add {
            return self.add(&library, signature.is_some());
        }
        let of_version: Vec<&Entry> =
            of_plugin.iter().filter(|entry| entry.version == version).copied().collect();
        match (&of_plugin[..], &of_version[..]) {
            ([entry], _) | (_, [entry]) => self.update(entry, &library),
            _ => Err(format!(
                "{id} has {} entries in {}: change the one that is meant by hand, or say --add",
                of_plugin.len(),
                self.name
            )),
        }
    }

    fn unchanged(&self, entry: &Entry, library: &Library<'_>) -> Result<Locked, String> {
        if entry.id != library.id || entry.version != library.version {
            return Err(format!(
                "{}:{} calls {} {} {}, it is {} {}: correct the entry",
                self.name,
                entry.line,
                library.file.display(),
                entry.id,
                entry.version,
                library.id,
                library.version
            ));
        }
        library.fits(&entry.grant, true)?;
        Ok(library.locked("unchanged", None, &entry.grant))
    }

    fn add(&mut self, library: &Library<'_>, has_signature: bool) -> Result<Locked, String> {
        let grant = match library.signers.first() {
            Some(publisher) => Grant::SignedBy(publisher.clone()),
            None if self.args.allow_unsigned => Grant::Unsigned,
            None => {
                let signature = signature_path(library.file);
                let state = if has_signature {
                    format!("no publisher of {} made its signature {}", self.name, signature.display())
                } else {
                    format!("it is not signed: there is no {}", signature.display())
                };
                return Err(format!(
                    "{state}; name the publisher with --publisher NAME=KEY, or let it run unsigned and isolated with \
                     --allow-unsigned"
                ));
            }
        };
        let Library { id, version, sha256, .. } = *library;
        self.change(with_entry(&self.text, &NewEntry { id, version, sha256, grant: &grant }))?;
        Ok(library.locked("added", None, &grant))
    }

    fn update(&mut self, entry: &Entry, library: &Library<'_>) -> Result<Locked, String> {
        if !self.args.update {
            return Err(format!(
                "{}:{} names another file: {} {} → {}, {} → {}; --update takes the new one over, \
                 --add lets both run",
                self.name,
                entry.line,
                library.id,
                entry.version,
                library.version,
                entry.sha256,
                library.sha256
            ));
        }
        library.fits(&entry.grant, self.args.allow_unsigned)?;
        self.change(with_content(&self.text, entry, library.version, library.sha256))?;
        let before = Before { version: entry.version.clone(), sha256: entry.sha256.clone() };
        Ok(library.locked("updated", Some(before), &entry.grant))
    }
}

/// A library that is to be locked, and whose signature it has.
struct Library<'a> {
    id: &'a str,
    version: &'a str,
    file: &'a Path,
    sha256: &'a str,
    signers: &'a BTreeSet<String>,
}

impl Library<'_> {
    /// Whether it has what its entry asks for.
    fn fits(&self, grant: &Grant, allow_unsigned: bool) -> Result<(), String> {
        match grant {
            Grant::SignedBy(publisher) if self.signers.contains(publisher) => Ok(()),
            Grant::SignedBy(publisher) => Err(format!(
                "{} is no signature of publisher `{publisher}` over {}: get both from the publisher again",
                signature_path(self.file).display(),
                self.file.display()
            )),
            Grant::Unsigned if allow_unsigned => Ok(()),
            Grant::Unsigned => Err(format!(
                "{} was allowed unsigned with another content: say --allow-unsigned, too, if this one is",
                self.id
            )),
        }
    }

    fn locked(&self, change: &'static str, before: Option<Before>, grant: &Grant) -> Locked {
        Locked {
            plugin: self.id.to_owned(),
            version: self.version.to_owned(),
            file: self.file.display().to_string(),
            sha256: self.sha256.to_owned(),
            change,
            before,
            publisher: match grant {
                Grant::SignedBy(publisher) => Some(publisher.clone()),
                Grant::Unsigned => None,
            },
        }
    }
}

/// The libraries that are named; those that the configuration uses if none is, or all that are installed if it uses none.
fn chosen(paths: &Paths, names: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut names: BTreeSet<String> = names.iter().cloned().collect();
    if names.is_empty() && paths.config.exists() {
        names = paths.load()?.site.interfaces.into_iter().map(|interface| interface.plugin).collect();
    }
    if names.is_empty() {
        let found: Vec<_> = installed(paths).into_iter().collect();
        return if found.is_empty() {
            Err(Failure::new(Code::Configuration, nothing(paths)))
        } else {
            Ok(found)
        };
    }
    names.into_iter().map(|name| locate(paths, &name).map(|file| (name, file))).collect()
}
