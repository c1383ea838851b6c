//! `import`: what engineering tools export, into the items file of an interface.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use twinhub_commissioning::merge::{Absent, merge};
use twinhub_commissioning::{Finding, Imported, Options, Place, Row, Severity, items};
use twinhub_config::items::{ALARM_COLUMNS, OWN_COLUMNS};
use twinhub_config::{Directory, ItemSource, ItemSourceError};
use twinhub_runtime::find_library;

use crate::cli::{Global, ImportArgs};
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::{Answer, print};
use crate::paths::Paths;
use report::Report;

mod report;

/// Reads the files, and merges them into an items file if one is meant.
pub(crate) fn run(global: &Global, args: &ImportArgs, answer: Answer) -> Outcome {
    let imported = read(args)?;
    let Some(interface) = &args.interface else {
        if answer.is_json() {
            return Report::of_rows(&imported).give(args, answer);
        }
        Report::of_rows(&imported).warn();
        return print(&items::write(&imported.rows));
    };
    if imported.rows.is_empty() {
        let text = "there is no row in it: nothing was changed";
        return Err(Failure::new(Code::Error, text));
    }
    let paths = Paths::of(global);
    let target = Target::of(&paths, interface)?;
    let (imported, left_out) = target.as_the_plugin_takes_them(imported);
    let list = rows_of(&target.items)?.unwrap_or_default();
    let base = rows_of(&target.base())?;
    let absent = if args.remove { Absent::Removed } else { Absent::Stays };
    let merged = merge(base.as_deref(), &list, &imported.rows, absent);
    let text = items::write(&merged.rows);
    target.check(&text)?;
    if !args.dry_run {
        // The list first: an import that ends in between finds in it what it would have written.
        replace(&target.items, &text)?;
        replace(&target.base(), &items::write(&merged.base))?;
    }
    Report::of_merge(&imported, &merged, &target.items, left_out, args.dry_run).give(args, answer)
}

/// What is in the files.
fn read(args: &ImportArgs) -> Result<Imported, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::new(Code::Error, format!("cannot read {}: {error}", path.display())))?;
        files.push((path.display().to_string(), bytes));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let options = Options { password: password(args)?, ..Options::default() };
    twinhub_commissioning::read(&args.format, &files, &options).map_err(|error| {
        let help = "; --password-file names a file that has it";
        let is_password = matches!(error, twinhub_commissioning::Error::PasswordNeeded { .. });
        Failure::new(Code::Error, format!("{}{}", chain(&error), if is_password { help } else { "" }))
    })
}

fn password(args: &ImportArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &args.password_file else {
        return Ok(std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Code::Error, format!("cannot read {}: {error}", path.display())))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The items file of an interface.
#[derive(Debug)]
struct Target<'a> {
    paths: &'a Paths,
    /// As the configuration names it.
    name: String,
    items: PathBuf,
    plugin: String,
}

impl<'a> Target<'a> {
    fn of(paths: &'a Paths, interface: &str) -> Result<Target<'a>, Failure> {
        let site = load(paths, &Lists { dir: Directory(paths.config_dir()), replaced: None })?;
        let Some(found) = site.interfaces.iter().find(|found| found.id == interface) else {
            let ids: Vec<&str> = site.interfaces.iter().map(|found| found.id.as_str()).collect();
            let text = format!(
                "there is no interface `{interface}` in {}: it has {}",
                paths.config.display(),
                if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
            );
            return Err(Failure::new(Code::Configuration, text));
        };
        let Some(name) = found.origin.items_file.as_deref() else {
            let text = format!(
                "interface `{interface}` has no items file: write `items = \"items/{interface}.csv\"` into it, \
                 the import makes the file"
            );
            return Err(Failure::new(Code::Configuration, text));
        };
        let items = paths.config_dir().join(name);
        Ok(Target { paths, name: name.to_owned(), items, plugin: found.plugin.clone() })
    }

    /// What an import has last written.
    fn base(&self) -> PathBuf {
        self.items.with_extension("import.csv")
    }

    /// Columns that the interface's plugin does not have are left out, and rows without what it needs; which columns. All stay
    /// if it is not installed here.
    fn as_the_plugin_takes_them(&self, mut imported: Imported) -> (Imported, BTreeSet<String>) {
        let mut left_out = BTreeSet::new();
        let manifest = find_library(&self.plugin, &self.paths.plugins)
            .and_then(|file| twinhub_loader::inspect(&file).ok())
            .map(|inspection| inspection.manifest);
        let Some(manifest) = manifest else { return (imported, left_out) };
        let known: BTreeSet<&str> =
            manifest.item_columns().into_iter().chain(OWN_COLUMNS).chain(ALARM_COLUMNS).collect();
        for row in &mut imported.rows {
            row.columns.retain(|column, _| {
                known.contains(column.as_str()) || {
                    left_out.insert(column.clone());
                    false
                }
            });
        }
        let required = manifest.required_item_columns();
        let (rows, findings) = (&mut imported.rows, &mut imported.findings);
        rows.retain(|row| {
            let missing = required.iter().find(|column| row.cell(column).is_empty());
            findings.extend(missing.map(|column| Finding {
                severity: Severity::Error,
                place: Place::default(),
                what: format!("{} ({}) is left out: it has no `{column}`", row.path, row.address),
                remedy: "give it one in the source, or write the row by hand".to_owned(),
            }));
            missing.is_none()
        });
        (imported, left_out)
    }

    /// Whether the configuration can be used with this list.
    fn check(&self, text: &str) -> Result<(), Failure> {
        let replaced = Some((self.name.as_str(), text));
        load(self.paths, &Lists { dir: Directory(self.paths.config_dir()), replaced }).map(drop)
    }
}

/// The rows of a file, if there is one.
fn rows_of(path: &Path) -> Result<Option<Vec<Row>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => items::read(&path.display().to_string(), &bytes)
            .map(Some)
            .map_err(|error| Failure::of(Code::Configuration, &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(Code::Error, format!("cannot read {}: {error}", path.display()))),
    }
}

fn load(paths: &Paths, lists: &Lists<'_>) -> Result<twinhub_config::Site, Failure> {
    let name = paths.config.display();
    let text = std::fs::read_to_string(&paths.config).map_err(|error| {
        let text = format!("cannot read {name}: {error}; --config or --root name another configuration");
        Failure::new(Code::Configuration, text)
    })?;
    twinhub_config::parse(&text, &name.to_string(), lists)
        .map(|loaded| loaded.site)
        .map_err(|failure| Failure::new(Code::Configuration, failure.render()))
}

/// Items files beside the configuration. One may be another than it is; one that is not there is empty.
struct Lists<'a> {
    dir: Directory,
    replaced: Option<(&'a str, &'a str)>,
}

impl ItemSource for Lists<'_> {
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError> {
        match (self.replaced, self.dir.read(name)) {
            (Some((replaced, text)), _) if replaced == name => Ok(text.as_bytes().to_vec()),
            (_, Err(ItemSourceError::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                Ok(items::write(&[]).into_bytes())
            }
            (_, read) => read,
        }
    }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let draft = path.with_extension("draft");
    let written = (|| {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    })();
    written.map_err(|error| Failure::new(Code::Error, format!("cannot write {}: {error}", path.display())))
}

/// Has the password of a protected project.
const PASSWORD_VARIABLE: &str = "TWINHUB_IMPORT_PASSWORD";
