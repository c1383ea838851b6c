//! Letting a new machine join: a code for it, and what it gets for the code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use twinhub_config::{Files, Place, Site};
use twinhub_documents::Action;
use twinhub_model::Severity;
use twinhub_trust::{LOCK_FILE, signature_path};

use super::Handle;
use super::accounts::{Author, Need};
use crate::clock;
use crate::documents::secret;
use crate::error::CommandError;
use crate::join::{Codes, JoinAnswer, JoinCode, JoinRequest, PluginFile, Welcome};
use crate::pki;
use crate::trust::read_signature;

/// A file with a secret is shorter.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where things of this node are that a new machine needs, too.
#[derive(Debug)]
pub(crate) struct Places {
    /// `twinhub.toml`.
    pub(crate) config_file: PathBuf,
    /// Certificates.
    pub(crate) pki: PathBuf,
    /// Plugin libraries under their content.
    pub(crate) libraries: PathBuf,
    /// Backups that this node keeps.
    pub(crate) backups: PathBuf,
    pub(crate) codes: Codes,
}

impl Handle {
    /// A code with which a machine becomes this node.
    ///
    /// # Errors
    /// If there is no such node, it is this one, or the key of the authority is not on this machine.
    pub async fn make_join_code(
        &self,
        author: &Author,
        node: &str,
        lasts: Duration,
    ) -> Result<JoinCode, CommandError> {
        let site = self.next_site().await?.1;
        if site.node(node).is_none() {
            return Err(site.unknown_node(node).into());
        }
        if node == self.node_name() {
            return Err(CommandError::BadValue { what: format!("`{node}` is this node itself") });
        }
        let places = &self.0.places;
        if !places.pki.join("ca.key").exists() && !places.pki.join(format!("{node}.key")).exists() {
            let what = format!(
                "the key of the authority is not here ({}): make the code on the machine where `twinhub init` was run",
                places.pki.join("ca.key").display()
            );
            return Err(CommandError::BadValue { what });
        }
        let code = places.codes.make(node, lasts, clock::utc())?;
        self.note(author, format!("made a join code for node `{node}`")).await;
        Ok(code)
    }

    /// Takes a machine's proof that it knows a code, and answers with what it needs.
    ///
    /// # Errors
    /// If the code does not count, or something that the machine needs cannot be read.
    pub async fn join(&self, request: &JoinRequest, origin: &str) -> Result<JoinAnswer, CommandError> {
        let admitted = self.0.places.codes.admit(request, clock::utc())?;
        let node = admitted.node.clone();
        let (files, site) = self.next_site().await?;
        let ticket = self.0.places.codes.ticket(clock::utc())?;
        let handle = self.clone();
        let (for_node, sealed_ticket) = (node.clone(), ticket);
        let made =
            tokio::task::spawn_blocking(move || handle.welcome(&files, &site, &for_node, sealed_ticket));
        let welcome = made.await.map_err(|error| CommandError::Internal { why: error.to_string() })??;
        let answer = admitted.seal(&welcome)?;
        tracing::info!(node, origin, "a machine joined");
        let author = Author { name: format!("node {node}"), origin: origin.to_owned() };
        self.note(&author, format!("joined as node `{node}`")).await;
        Ok(answer)
    }

    /// The plugin library with this content, for who has a ticket.
    pub fn plugin_library(&self, ticket: &str, sha256: &str) -> Option<PathBuf> {
        let places = &self.0.places;
        let is_used = self.loaded().iter().any(|plugin| plugin.sha256 == sha256);
        (places.codes.is_ticket(ticket, clock::utc()) && is_used)
            .then(|| places.libraries.join(format!("{sha256}.so")))
    }

    /// What the next start runs: the configuration in force, or the files if none was applied.
    pub(super) async fn next_site(&self) -> Result<(Files, Site), CommandError> {
        let handle = self.clone();
        let read = tokio::task::spawn_blocking(move || -> Result<(Files, Site), CommandError> {
            let wrong =
                |failure: twinhub_config::Failure| CommandError::Configuration { report: failure.render() };
            if handle.0.documents.read(|documents| documents.configuration().is_some()) {
                let files = handle.configuration_files(None)?;
                let site = files.check().map_err(wrong)?.site;
                return Ok((files, site));
            }
            let (files, loaded) = Files::read(&handle.0.places.config_file).map_err(wrong)?;
            Ok((files, loaded.site))
        });
        read.await.map_err(|error| CommandError::Internal { why: error.to_string() })?
    }

    /// On a thread that may wait for the disk.
    fn welcome(
        &self,
        files: &Files,
        site: &Site,
        node: &str,
        ticket: String,
    ) -> Result<Welcome, CommandError> {
        let places = &self.0.places;
        pki::ensure(&places.pki, &[node])
            .map_err(|error| CommandError::Internal { why: error.to_string() })?;
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| CommandError::Internal {
                why: format!("{} is not readable: {error}", path.display()),
            })
        };
        let mut pki = BTreeMap::new();
        for name in ["ca.pem".to_owned(), format!("{node}.pem"), format!("{node}.key")] {
            let bytes = read(&places.pki.join(&name))?;
            pki.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
        let dir = places.config_file.parent().unwrap_or(Path::new("."));
        let mut secrets = BTreeMap::new();
        for name in secret_files(site) {
            let path = dir.join(&name);
            // What is not here, or elsewhere on this machine, is the operator's to bring.
            if Path::new(&name).is_relative()
                && std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= SECRET_BYTES_MAX)
            {
                secrets.insert(name, BASE64.encode(read(&path)?));
            }
        }
        let plugins = self.loaded().into_iter().map(|plugin| PluginFile {
            name: plugin.name.clone(),
            file: crate::node::library_name(&plugin.name),
            sha256: plugin.sha256.clone(),
            // One that cannot be read does not hold a join up: the new node says what it lacks.
            signature: read_signature(&signature_path(&plugin.path))
                .ok()
                .flatten()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        });
        Ok(Welcome {
            site: site.site.clone(),
            node: node.to_owned(),
            authority: secret::digest(pki["ca.pem"].as_bytes()).to_string(),
            files: files.0.iter().map(|(name, bytes)| (name.clone(), BASE64.encode(bytes))).collect(),
            secrets,
            pki,
            plugins: plugins.collect(),
            ticket,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: clock::utc().0,
        })
    }

    /// Leaves a note in the audit list, and an event; a node that is not active has no list of its own to write to.
    pub(super) async fn note(&self, author: &Author, text: String) {
        tracing::info!(who = author.name, origin = author.origin, text, "noted");
        let said = format!("{} ({}) {text}", author.name, author.origin);
        if let Err(error) = self.change(author, Action::Note { text }, Need::Any).await {
            tracing::debug!(%error, "not in the audit list");
            self.tell(Severity::Info, "TH-DOC-006", &said);
        }
    }
}

/// Files with secrets, and others that plugins read, that a configuration names; and which plugins the site trusts.
pub(super) fn secret_files(site: &Site) -> Vec<String> {
    let files = site.named().into_iter().filter_map(|named| match named.place {
        Place::File(name) => Some(name),
        Place::Variable(_) => None,
    });
    // None that leads out of the folder.
    let files = files.filter(|name| !name.split('/').any(|part| part == ".."));
    files.chain([LOCK_FILE.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_machine_gets_every_file_with_a_secret_that_the_site_names() {
        let text = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\", \"backup\"]\n\
            witness = { etcd = [\"https://10.0.0.3:2379\"], ca = \"etcd-ca.pem\", password_file = \"etcd.secret\", \
            user = \"hub\" }\n\
            [nodes.main]\nlinks = [\"127.0.0.1:1\"]\n[nodes.backup]\nlinks = [\"127.0.0.1:2\"]\n\
            [nodes.backup.override]\ninterface.sim1.settings.key = { file = \"backup.secret\" }\n\
            [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nsettings = { key = { file = \"sim.secret\" }, \
            tls = [{ ca_file = \"sim-ca.pem\", key = { env = \"NONE\" } }] }\n\
            [web]\ntoken_file = \"web.secret\"\n\
            [historian]\nhost = \"10.0.0.9\"\npassword = { file = \"historian.secret\" }\nca = \"db-ca.pem\"\n";
        let files = Files(BTreeMap::from([("twinhub.toml".to_owned(), text.as_bytes().to_vec())]));
        let loaded = files.check();
        let site = loaded.unwrap_or_else(|failure| panic!("{}", failure.render())).site;
        let mut names = secret_files(&site);
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "backup.secret",
                "db-ca.pem",
                "etcd-ca.pem",
                "etcd.secret",
                "historian.secret",
                "plugins.lock",
                "sim-ca.pem",
                "sim.secret",
                "web.secret"
            ]
        );
    }
}
