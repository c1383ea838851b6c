//! A configuration as its files: `twinhub.toml` and the items files beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use crate::assembly::Loaded;
use crate::diagnostic::{Diagnostic, Failure};
use crate::item_source::{ItemSource, ItemSourceError};
use crate::load::{Directory, parse, read_text};

/// The name of the main file in a set.
pub const MAIN_FILE: &str = "twinhub.toml";

/// The name of the file beside it that says which plugins may run. It never is one of a set: who may change what a site
/// does may not thereby say whose code it runs.
pub const LOCK_FILE: &str = "plugins.lock";

/// The files of a configuration by name, with `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    /// Reads the configuration in `path` with all files that it names, and checks it.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong.
    pub fn read(path: &Path) -> Result<(Files, Loaded), Failure> {
        let (text, name) = read_text(path)?;
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let source = Recorded { inner: &Directory(base), read: RefCell::default() };
        let loaded = parse(&text, &name, &source)?;
        let mut files = source.read.into_inner();
        files.insert(MAIN_FILE.to_owned(), text.into_bytes());
        Ok((Files(files), loaded))
    }

    /// Checks the configuration that these files make.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong.
    pub fn check(&self) -> Result<Loaded, Failure> {
        let text = self.0.get(MAIN_FILE).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let source = Recorded { inner: self, read: RefCell::default() };
        let loaded = parse(&text, MAIN_FILE, &source)?;
        let read = source.read.into_inner();
        let strange: Vec<Diagnostic> = self
            .0
            .keys()
            .filter(|name| *name != MAIN_FILE && !read.contains_key(*name))
            .map(|name| unnamed(name))
            .collect();
        if strange.is_empty() { Ok(loaded) } else { Err(Failure::new(strange)) }
    }
}

/// It would be written beside the others, in the place of whatever has its name there.
fn unnamed(name: &str) -> Diagnostic {
    let message = format!("`{}` is no file of this configuration", name.escape_debug());
    Diagnostic::error(message).help("leave it out, or name it as `items` of an interface")
}

impl ItemSource for Files {
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError> {
        self.0.get(name).cloned().ok_or_else(|| ItemSourceError::Io {
            path: name.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "it is not among the files"),
        })
    }
}

/// Keeps what was read.
struct Recorded<S> {
    inner: S,
    read: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl<S: std::ops::Deref<Target: ItemSource>> ItemSource for Recorded<S> {
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError> {
        let bytes = self.inner.read(name)?;
        self.read.borrow_mut().insert(name.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\"]\n[nodes.main]\nlinks = [\"127.0.0.1:1\"]\n\
                        [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nitems = \"items/sim1.csv\"\n";

    #[test]
    fn a_directory_and_its_files_make_the_same_configuration() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("items")).unwrap();
        std::fs::write(dir.path().join("my.toml"), TEXT).unwrap();
        let items = "path,address,type,access,unit,description\na,a,int64,r,,\n";
        std::fs::write(dir.path().join("items/sim1.csv"), items).unwrap();
        let (files, loaded) = Files::read(&dir.path().join("my.toml")).unwrap();
        let names: Vec<&str> = files.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["items/sim1.csv", MAIN_FILE]);
        assert_eq!(files.check().unwrap().site.hash, loaded.site.hash);
        let mut strange = files.clone();
        strange.0.insert("pki/main.key".to_owned(), b"mine".to_vec());
        assert!(
            strange.check().unwrap_err().render().contains("`pki/main.key` is no file of this configuration")
        );
        let mut trusting = files.clone();
        let text = TEXT.replace("items/sim1.csv", LOCK_FILE);
        trusting.0.insert(MAIN_FILE.to_owned(), text.into_bytes());
        trusting.0.insert(LOCK_FILE.to_owned(), items.as_bytes().to_vec());
        assert!(trusting.check().unwrap_err().render().contains("says which plugins may run"));
        let mut lacking = files;
        lacking.0.remove("items/sim1.csv");
        assert!(lacking.check().unwrap_err().render().contains("items/sim1.csv"));
    }
}
