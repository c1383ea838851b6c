//! The hash of a plugin's sources.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ring::digest;

use crate::error::Error;

/// SHA-256 over everything in the plugin's directory that goes into its library: `Cargo.toml`, `plugin.json` and `src`,
/// each file with its path, in the order of the paths, with line ends of Unix. The same on every machine.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be read.
pub fn source_hash(plugin_dir: &Path) -> Result<String, Error> {
    let mut files = BTreeMap::new();
    for name in ["Cargo.toml", "plugin.json"] {
        let path = plugin_dir.join(name);
        if path.is_file() {
            files.insert(name.to_owned(), path);
        }
    }
    gather(&plugin_dir.join("src"), "src", &mut files, 0)?;
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

fn gather(dir: &Path, name: &str, files: &mut BTreeMap<String, PathBuf>, depth: usize) -> Result<(), Error> {
    let failed = |source| Error::Io { verb: "read", path: dir.to_path_buf(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let below = format!("{name}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && depth < DEPTH_MAX {
            gather(&entry.path(), &below, files, depth + 1)?;
        } else if kind.is_file() {
            files.insert(below, entry.path());
        }
    }
    Ok(())
}

const DEPTH_MAX: usize = 16;

/// Why writing into a string is no error case.
const STRING: &str = "a string takes any text";
