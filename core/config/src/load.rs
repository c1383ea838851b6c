//! Files of a configuration.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::assemble::{assemble, file_of};
use crate::assembly::{Assembly, Loaded};
use crate::diagnostic::{Diagnostic, Failure, Source};
use crate::item_source::{ITEMS_BYTES_MAX, ItemSource, ItemSourceError};
use crate::site::Site;
use crate::tree::Tree;

/// Items files in a directory.
#[derive(Debug, Clone)]
pub struct Directory(pub PathBuf);

impl ItemSource for Directory {
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError> {
        let path = self.0.join(name);
        let shown = path.display().to_string();
        match read_limited(&path, ITEMS_BYTES_MAX) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(ItemSourceError::TooLarge { path: shown }),
            Err(source) => Err(ItemSourceError::Io { path: shown, source }),
        }
    }
}

/// For a file whose interfaces are left out.
struct NoItems;

impl ItemSource for NoItems {
    fn read(&self, _: &str) -> Result<Vec<u8>, ItemSourceError> {
        Ok(Vec::new())
    }
}

/// Reads `twinhub.toml` and the items files beside it.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let (text, name) = read_text(path)?;
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    parse(&text, &name, &Directory(base))
}

/// Reads what `twinhub.toml` says of nodes, cluster and groups; the site has no interfaces and no links, and its
/// hash is not that of the whole. For who has to know the others and nothing else.
///
/// # Errors
/// [`Failure`] with everything that is wrong with that part.
pub fn load_cluster(path: &Path) -> Result<Site, Failure> {
    let (text, name) = read_text(path)?;
    let source = Source::new(&name, text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned());
    let tree = Tree::parse(&source).map_err(Failure::new)?;
    let (mut file, found) = file_of(&source, &tree)?;
    file.interface.clear();
    file.link.clear();
    file.event_link.clear();
    // Of items that are not read here.
    file.alarm.clear();
    for node in file.nodes.values_mut() {
        node.overrides.interface.clear();
    }
    let mut assembly = Assembly { source: &source, tree: &tree, found };
    let site = assembly.site(&file, &NoItems);
    assembly.end(site).map(|loaded| loaded.site)
}

pub(crate) fn read_text(path: &Path) -> Result<(String, String), Failure> {
    let name = path.display().to_string();
    let refuse = |message: String, help: &str| Failure::new(vec![Diagnostic::error(message).help(help)]);
    let bytes = match read_limited(path, CONFIG_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message = format!("{name} is larger than {} MiB", CONFIG_BYTES_MAX >> 20);
            return Err(refuse(message, "put the items into CSV files beside it"));
        }
        Err(error) => {
            let help = "name the file with --config, the TWINHUB_CONFIG variable or --root; `twinhub init` writes one";
            return Err(refuse(format!("cannot read {name}: {error}"), help));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&name, &error))?;
    Ok((text, name))
}

/// Takes the text of `twinhub.toml`, called `name` in messages, and its items files from `items`.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn parse(text: &str, name: &str, items: &dyn ItemSource) -> Result<Loaded, Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    assemble(&Source::new(name, text.to_owned()), items)
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> Failure {
    let at = error.utf8_error().valid_up_to();
    let source = Source::new(name, String::from_utf8_lossy(error.as_bytes()).into_owned());
    let found = Diagnostic::error("the file is not UTF-8").at(&source, at..at + 1, "this is no character");
    Failure::new(vec![found.help("save the file with the encoding UTF-8")])
}

/// The bytes of a file; `None` if there are more than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

const CONFIG_BYTES_MAX: u64 = 4 << 20;
