//! What is tried: a library with a configuration and items.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use twinhub_contract::access;
use twinhub_loader::{ItemSpec, Manifest};

use crate::error::Error;

/// A library with a configuration and items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kit {
    /// The library.
    pub library: PathBuf,
    /// Configuration of its instances, as `settings` of an interface.
    pub config: Json,
    /// Rows of its items, a text for each column.
    pub items: Vec<BTreeMap<String, String>>,
    /// The library of the version before.
    #[serde(default)]
    pub before: Option<PathBuf>,
    /// The command that simulates its device, for a shell.
    #[serde(default)]
    pub device: Option<String>,
}

impl Kit {
    /// A kit for the library with an empty configuration and one item that can be read and written.
    pub fn new(library: impl Into<PathBuf>) -> Self {
        Self {
            library: library.into(),
            config: Json::Object(serde_json::Map::new()),
            items: default_items(),
            before: None,
            device: None,
        }
    }

    pub(crate) fn is_default_items(&self) -> bool {
        self.items == default_items()
    }

    /// Takes the configuration from a file, TOML or JSON by its ending.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_config(mut self, path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let form = |why: String| Error::Form { path: path.to_path_buf(), why };
        self.config = if path.extension().is_some_and(|ending| ending == "toml") {
            toml::from_str(&text).map_err(|error| form(error.to_string()))?
        } else {
            serde_json::from_str(&text).map_err(|error| form(error.to_string()))?
        };
        Ok(self)
    }

    /// Takes the library of the version before.
    ///
    /// # Errors
    /// If it is not there.
    pub fn with_before(mut self, path: &Path) -> Result<Self, Error> {
        self.before = Some(std::path::absolute(path).map_err(Error::file("find", path))?);
        Ok(self)
    }

    /// Takes the items from a list as an interface of the hub has it: CSV with a header.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_items(mut self, path: &Path) -> Result<Self, Error> {
        let form = |error: csv::Error| Error::Form { path: path.to_path_buf(), why: error.to_string() };
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(form)?;
        self.items = rows.deserialize().collect::<Result<_, _>>().map_err(form)?;
        if self.items.is_empty() {
            let why = "no items: the kit needs at least one".to_owned();
            return Err(Error::Form { path: path.to_path_buf(), why });
        }
        Ok(self)
    }

    /// The configuration as instances of this plugin get it on a node, with where they run if they ask for that, as of a hub.
    pub(crate) fn config_text(&self, manifest: &Manifest, node: &str) -> String {
        let mut config = self.config.clone();
        let wants_context = manifest.config_schema.pointer("/properties/twinhub").is_some();
        if let Some(config) = config.as_object_mut().filter(|_| wants_context) {
            let context =
                serde_json::json!({ "node": node, "site": "kit", "interface": "kit", "cluster": "kit" });
            config.insert("twinhub".to_owned(), context);
        }
        config.to_string()
    }

    /// The items as instances get them, handles from 0 on.
    pub(crate) fn specs(&self) -> Vec<ItemSpec> {
        let specs = self.items.iter().zip(0..).map(|(row, handle)| ItemSpec {
            handle,
            access: match row.get("access").map(String::as_str) {
                Some("r") => access::READ,
                Some("w") => access::WRITE,
                _ => access::READ | access::WRITE,
            },
            address_json: Json::from_iter(row.clone()).to_string(),
            type_hint: 0,
            group: 0,
        });
        specs.collect()
    }
}

fn default_items() -> Vec<BTreeMap<String, String>> {
    let row = [("path", "kit"), ("address", "kit"), ("type", "float64"), ("access", "rw")];
    vec![row.map(|(column, text)| (column.to_owned(), text.to_owned())).into()]
}
