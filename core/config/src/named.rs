//! What a configuration names that stands elsewhere: secrets, certificates, keys.

use serde_json::Value as Json;

use crate::secret::named_file;
use crate::site::{Site, Witness};

/// Something that stands elsewhere, and which key says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// The node that alone needs it; all do without one.
    pub node: Option<String>,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, relative to the configuration.
    File(String),
    /// In an environment variable of the hub.
    Variable(String),
}

impl Site {
    /// Everything that stands elsewhere, in the order in which the site has it.
    pub fn named(&self) -> Vec<Named> {
        let mut named = Vec::new();
        let mut file = |key: &str, name: Option<&str>| {
            named.extend(name.map(|name| Named {
                key: key.to_owned(),
                place: Place::File(name.to_owned()),
                node: None,
            }));
        };
        file("web.token_file", self.web.token.as_deref().and_then(|path| path.to_str()));
        if let Some(Witness::Etcd(etcd)) = &self.cluster.witness {
            for (key, name) in [
                ("ca", &etcd.ca),
                ("certificate", &etcd.certificate),
                ("key", &etcd.key),
                ("password_file", &etcd.password_file),
            ] {
                file(&format!("cluster.witness.{key}"), name.as_deref());
            }
        }
        if let Some(historian) = &self.historian {
            file("historian.ca", historian.ca.as_deref());
            find(historian.password.as_ref().unwrap_or(&Json::Null), "historian.password", None, &mut named);
        }
        for interface in &self.interfaces {
            find(&interface.settings, &format!("{}: settings", interface.id), None, &mut named);
        }
        for node in &self.nodes {
            for (id, change) in &node.overrides {
                let key = format!("nodes.{}.override.interface.{id}.settings", node.name);
                find(&change.settings, &key, Some(&node.name), &mut named);
            }
        }
        named
    }
}

/// As [`crate::resolve_secrets`] reads it. How deep it goes is bounded by what was parsed.
fn find(value: &Json, key: &str, node: Option<&str>, named: &mut Vec<Named>) {
    match value {
        Json::Object(map) => {
            let text = |word: &str| map.get(word).filter(|_| map.len() == 1).and_then(Json::as_str);
            let place = text("file").map(|name| Place::File(name.to_owned()));
            match place.or_else(|| text("env").map(|name| Place::Variable(name.to_owned()))) {
                Some(place) => {
                    named.push(Named { key: key.to_owned(), place, node: node.map(str::to_owned) });
                }
                None => {
                    for (name, below) in map {
                        let key = format!("{key}.{name}");
                        match named_file(name, below).map(|file| Place::File(file.to_owned())) {
                            Some(place) => named.push(Named { key, place, node: node.map(str::to_owned) }),
                            None => find(below, &key, node, named),
                        }
                    }
                }
            }
        }
        Json::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, below)| find(below, &format!("{key}[{index}]"), node, named)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Files, MAIN_FILE};

    #[test]
    fn each_place_that_a_configuration_names_is_found_with_its_key() {
        let text = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"a\", \"b\"]\n\
            witness = { etcd = [\"https://10.0.0.3:2379\"], ca = \"etcd.pem\", user = \"u\", password_file = \"etcd.secret\" }\n\
            [web]\ntoken_file = \"token\"\n\
            [historian]\nhost = \"db\"\nca = \"db.pem\"\npassword = { env = \"DB\" }\n\
            [nodes.a]\nlinks = [\"127.0.0.1:1\"]\n[nodes.b]\nlinks = [\"127.0.0.1:2\"]\n\
            [nodes.b.override.interface.mqtt1.settings]\npassword = { file = \"b\" }\n\
            [[interface]]\nid = \"mqtt1\"\nplugin = \"mqtt\"\n\
            settings = { login = [{ password = { file = \"mqtt\" } }], other = { file = \"x\", more = 1 } }\n";
        let files = Files([(MAIN_FILE.to_owned(), text.as_bytes().to_vec())].into());
        let named = files.check().unwrap().site.named();
        let found: Vec<(&str, Place, Option<&str>)> = named
            .iter()
            .map(|named| (named.key.as_str(), named.place.clone(), named.node.as_deref()))
            .collect();
        let file = |name: &str| Place::File(name.to_owned());
        assert_eq!(
            found,
            [
                ("web.token_file", file("token"), None),
                ("cluster.witness.ca", file("etcd.pem"), None),
                ("cluster.witness.password_file", file("etcd.secret"), None),
                ("historian.ca", file("db.pem"), None),
                ("historian.password", Place::Variable("DB".to_owned()), None),
                ("mqtt1: settings.login[0].password", file("mqtt"), None),
                ("nodes.b.override.interface.mqtt1.settings.password", file("b"), Some("b")),
            ]
        );
    }
}
