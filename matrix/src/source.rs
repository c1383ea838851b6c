//! The hash of a plugin's sources.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ring::digest;

use crate::error::Error;

/// SHA-256 over everything in the plugin's directory that goes into its library: `Cargo.toml`, `plugin.json`, `Makefile`,
/// sources of C beside them, `src` and `include`, each file with its path, in the order of the paths, with line ends of
/// Unix. The same on every machine.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be read, [`Error::Content`] if it has no sources.
pub fn source_hash(plugin_dir: &Path) -> Result<String, Error> {
    let files = sources(plugin_dir)?;
    if !files.keys().any(|name| is_code(name)) {
        let problem = "there are no sources of a plugin in it".to_owned();
        return Err(Error::Content { path: plugin_dir.to_path_buf(), problem });
    }
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, path) in files {
        let bytes = std::fs::read(&path).map_err(|source| Error::Io { verb: "read", path, source })?;
        let text: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\r').collect();
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(&text);
    }
    let mut hex = String::new();
    for byte in context.finish().as_ref() {
        write!(hex, "{byte:02x}").expect(STRING);
    }
    Ok(hex)
}

/// Whether a directory has more of a plugin than its manifest.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be read.
pub(crate) fn has_sources(plugin_dir: &Path) -> Result<bool, Error> {
    Ok(sources(plugin_dir)?.keys().any(|name| is_code(name)))
}

/// Every file that goes into a library, by its path in the directory.
fn sources(plugin_dir: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut files = BTreeMap::new();
    gather(plugin_dir, "", &mut files, DEPTH_MAX)?;
    files.retain(|name, _| is_code(name) || BESIDE.contains(&name.as_str()));
    for folder in FOLDERS {
        let dir = plugin_dir.join(folder);
        if dir.is_dir() {
            gather(&dir, &format!("{folder}/"), &mut files, 0)?;
        }
    }
    Ok(files)
}

/// Whether it is source text of a library: all in the folders, and C beside them.
fn is_code(name: &str) -> bool {
    FOLDERS.iter().any(|folder| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        || Path::new(name).extension().is_some_and(|end| C.iter().any(|kind| end == *kind))
}

fn gather(dir: &Path, name: &str, files: &mut BTreeMap<String, PathBuf>, depth: usize) -> Result<(), Error> {
    let failed = |source| Error::Io { verb: "read", path: dir.to_path_buf(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let below = format!("{name}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && depth < DEPTH_MAX {
            gather(&entry.path(), &format!("{below}/"), files, depth + 1)?;
        } else if kind.is_file() {
            files.insert(below, entry.path());
        }
    }
    Ok(())
}

const DEPTH_MAX: usize = 16;
const BESIDE: [&str; 3] = ["Cargo.toml", "Makefile", "plugin.json"];
const FOLDERS: [&str; 2] = ["include", "src"];
const C: [&str; 6] = ["c", "cc", "cpp", "cxx", "h", "hpp"];

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
