//! The plugin libraries of a node, and in whose process each interface has its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhub_config::{Hosting, Interface, Site};
use twinhub_contract::manifest;
use twinhub_isolation::Isolated;
use twinhub_loader::{Inspection, Library, Maker, Manifest, Refused};
use twinhub_trust::{LOCK_FILE, Verdict, signature_path};

use super::settings::settings_of;
use super::{NodeOptions, find_library, library_name, make_dir};
use crate::error::StartError;
use crate::instance::Hosted;
use crate::quarantine::Quarantine;
use crate::trust::{Trust, read_signature};
use crate::versions::Versions;
use crate::whole_file::write_whole;

/// The library of a plugin, and why it may run.
pub(crate) struct PluginLibrary {
    pub(crate) library: Arc<Library>,
    pub(crate) verdict: Verdict,
}

/// Every library that the configuration names.
pub(crate) struct Libraries {
    /// By short name of the plugin.
    plugins: BTreeMap<String, PluginLibrary>,
    /// By interface.
    hosted: BTreeMap<String, Hosted>,
}

impl Libraries {
    /// Loads what is to run in this process, and looks at the rest.
    ///
    /// # Errors
    /// What is missing or cannot be hosted as configured, and what to do.
    pub(crate) fn load(
        site: &Site,
        options: &NodeOptions,
        trust: &Trust,
        records: &Records,
    ) -> Result<Self, StartError> {
        let mut opener = Opener::new(options, trust, records)?;
        let (mut plugins, mut hosted) = (BTreeMap::new(), BTreeMap::new());
        for interface in &site.interfaces {
            let hosts = opener.host(interface, Choice::OfRestart)?;
            let (library, verdict) = (&hosts.library, &hosts.verdict);
            let allowed = library.manifest().item_columns().into_iter().map(str::to_owned).collect();
            let problems: Vec<String> = twinhub_config::check_columns(interface, &allowed)
                .into_iter()
                .map(|problem| problem.to_string())
                .collect();
            if !problems.is_empty() {
                return Err(StartError::Config(problems.join("; ")));
            }
            let found = || PluginLibrary { library: Arc::clone(library), verdict: verdict.clone() };
            plugins.entry(interface.plugin.clone()).or_insert_with(found);
            hosted.insert(interface.id.clone(), hosts);
        }
        Ok(Self { plugins, hosted })
    }

    /// Each plugin once.
    pub(crate) fn of_plugins(&self) -> impl Iterator<Item = (&str, &PluginLibrary)> {
        self.plugins.iter().map(|(name, found)| (name.as_str(), found))
    }

    pub(crate) fn plugin(&self, name: &str) -> Option<&Arc<Library>> {
        self.plugins.get(name).map(|found| &found.library)
    }

    pub(crate) fn hosted(&self, interface: &str) -> Option<&Hosted> {
        self.hosted.get(interface)
    }
}

/// What this node remembers of libraries.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) versions: Arc<Versions>,
}

impl Records {
    pub(crate) fn open(state_dir: &Path) -> Records {
        Records {
            quarantine: Arc::new(Quarantine::open(state_dir.join("quarantine.json"))),
            versions: Arc::new(Versions::open(state_dir.join("plugin-versions.json"))),
        }
    }
}

/// Which file of a plugin is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one where plugins are, unless it was taken back.
    OfRestart,
    /// The one where plugins are.
    OfOperator,
}

/// Opens libraries, each once for each place.
pub(super) struct Opener<'a> {
    options: &'a NodeOptions,
    trust: &'a Trust,
    records: &'a Records,
    cache: PathBuf,
    here: BTreeMap<String, Arc<Library>>,
    elsewhere: BTreeMap<String, Arc<Library>>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(
        options: &'a NodeOptions,
        trust: &'a Trust,
        records: &'a Records,
    ) -> Result<Self, StartError> {
        let cache = options.state_dir.join("cache");
        make_dir(&cache)?;
        Ok(Opener { options, trust, records, cache, here: BTreeMap::new(), elsewhere: BTreeMap::new() })
    }

    /// The library of an interface, in the place where it is to run.
    pub(super) fn host(&mut self, interface: &Interface, choice: Choice) -> Result<Hosted, StartError> {
        let (found, verdict) = self.find(interface, choice)?;
        let held = self.records.quarantine.why(&found.sha256).map(|held| held.cause);
        let place = place(interface.hosting, &found, &verdict, held.as_deref()).map_err(|why| {
            StartError::Plugin(format!("interface `{}`: plugin `{}` {why}", interface.id, interface.plugin))
        })?;
        if interface.hosting == Hosting::Inproc && place == Place::Elsewhere {
            tracing::warn!(
                interface = %interface.id,
                cause = held,
                "the plugin is in quarantine on this node: it runs in a process of its own, against `hosting`"
            );
        }
        let library = match place {
            Place::Here => self.here(interface, &found)?,
            Place::Elsewhere => self.elsewhere(interface, &found)?,
        };
        let may_leave = place == Place::Here && allows(&found, manifest::Hosting::Isolated);
        let refuge = may_leave.then(|| self.elsewhere(interface, &found)).transpose()?;
        let config_json = settings_of(interface, library.manifest(), self.options)?;
        let quarantine = Arc::clone(&self.records.quarantine);
        Ok(Hosted { library, verdict, refuge, quarantine, config_json })
    }

    fn find(&self, interface: &Interface, choice: Choice) -> Result<(Inspection, Verdict), StartError> {
        let wrong = |error: twinhub_loader::LoadError| StartError::Plugin(error.to_string());
        let plugin = &interface.plugin;
        let path = locate(interface, self.options)?;
        if choice == Choice::OfRestart
            && let Ok(installed) = twinhub_loader::inspect(&path)
            && let Some(held) = self.records.versions.instead_of(plugin, installed.sha256.as_str())
        {
            let cached = self.cache.join(format!("{}.so", held.runs));
            match self.trust.inspect(&cached) {
                Ok(found) => {
                    tracing::warn!(
                        plugin,
                        runs = held.runs_version,
                        refused = installed.manifest.version,
                        on_trial = held.on_trial,
                        "an upgrade was taken back, or the process died within its trial: the version before is loaded"
                    );
                    return Ok(found);
                }
                Err(error) => {
                    tracing::error!(plugin, %error, "the version before an upgrade that was taken back cannot be loaded");
                }
            }
        }
        self.trust.inspect(&path).map_err(wrong)
    }

    fn here(&mut self, interface: &Interface, found: &Inspection) -> Result<Arc<Library>, StartError> {
        if let Some(library) = self.here.get(&interface.plugin) {
            return Ok(Arc::clone(library));
        }
        let opened = Library::open_checked(&found.path, &self.cache, |now, _| is_same(found, now));
        let library = Arc::new(opened.map_err(|error| StartError::Plugin(error.to_string()))?.0);
        self.keep_signature(found);
        self.here.insert(interface.plugin.clone(), Arc::clone(&library));
        Ok(library)
    }

    fn elsewhere(&mut self, interface: &Interface, found: &Inspection) -> Result<Arc<Library>, StartError> {
        if let Some(library) = self.elsewhere.get(&interface.plugin) {
            return Ok(Arc::clone(library));
        }
        let host = self.options.plugin_host.clone();
        let maker = |copy: &Path, manifest: &Manifest| -> Arc<dyn Maker> {
            Arc::new(Isolated::new(host, copy, manifest))
        };
        let opened =
            Library::elsewhere_checked(&found.path, &self.cache, |now, _| is_same(found, now), maker);
        let library = Arc::new(opened.map_err(|error| StartError::Plugin(error.to_string()))?.0);
        self.keep_signature(found);
        self.elsewhere.insert(interface.plugin.clone(), Arc::clone(&library));
        Ok(library)
    }

    /// Beside the copy, so that it can be trusted when its file has been replaced.
    fn keep_signature(&self, found: &Inspection) {
        let copy = self.cache.join(format!("{}.so", found.sha256));
        if copy == found.path {
            return;
        }
        let (from, to) = (signature_path(&found.path), signature_path(&copy));
        let kept = match read_signature(&from) {
            Ok(Some(bytes)) => write_whole(&to, &bytes, None),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(file = %from.display(), %error, "the signature of a plugin is not kept");
        }
    }
}

/// The very bytes that were judged are the ones that are loaded.
fn is_same(judged: &Inspection, now: &Inspection) -> Result<(), Refused> {
    if judged.sha256 == now.sha256 {
        return Ok(());
    }
    Err(format!("plugin {} was replaced while the node started: start it again", now.path.display()).into())
}

fn locate(interface: &Interface, options: &NodeOptions) -> Result<PathBuf, StartError> {
    find_library(&interface.plugin, &options.plugin_dirs).ok_or_else(|| {
        let looked: Vec<String> = options.plugin_dirs.iter().map(|dir| dir.display().to_string()).collect();
        StartError::Plugin(format!(
            "interface `{}` wants plugin `{}`, but {} is in none of: {}; install it there or name the directory with \
             --plugins",
            interface.id,
            interface.plugin,
            library_name(&interface.plugin),
            looked.join(", ")
        ))
    })
}

/// In whose process an interface has its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this one.
    Here,
    /// In one of its own.
    Elsewhere,
}

/// Whether an interface can have its plugin where the configuration says. None of its code runs.
///
/// # Errors
/// Why not, and what to do.
pub fn check_hosting(interface: &Interface, found: &Inspection, verdict: &Verdict) -> Result<(), String> {
    placed(interface, found, verdict, None).map(|_| ())
}

fn placed(
    interface: &Interface,
    found: &Inspection,
    verdict: &Verdict,
    held: Option<&str>,
) -> Result<Place, String> {
    place(interface.hosting, found, verdict, held)
        .map_err(|why| format!("interface `{}`: plugin `{}` {why}", interface.id, interface.plugin))
}

/// What the configuration, the declaration, the build and the past of a library say about its place; if it has none, why.
fn place(
    hosting: Hosting,
    found: &Inspection,
    verdict: &Verdict,
    held: Option<&str>,
) -> Result<Place, String> {
    let here = allows(found, manifest::Hosting::Inproc);
    let elsewhere = allows(found, manifest::Hosting::Isolated);
    let unwinds = found.entry.is_none_or(|entry| entry.unwinds());
    if !verdict.allows_inproc() {
        return match hosting {
            Hosting::Auto | Hosting::Isolated if elsewhere => Ok(Place::Elsewhere),
            Hosting::Auto | Hosting::Isolated => Err(format!(
                "is {verdict}, and declares that it runs in the hub's process only: have it signed, and name its publisher and \
                 hosting \"inproc\" in {LOCK_FILE}"
            )),
            Hosting::Inproc => Err(format!(
                "is {verdict}, which is no leave to run in the hub's process; leave `hosting` away"
            )),
        };
    }
    let is_vouched = matches!(verdict, Verdict::Trusted { hosting: twinhub_trust::Hosting::Inproc, .. });
    match hosting {
        Hosting::Isolated if elsewhere => Ok(Place::Elsewhere),
        Hosting::Isolated => Err("declares that it runs in the hub's process only; set `hosting` to \"inproc\"".to_owned()),
        Hosting::Inproc if !here => {
            Err("declares that it runs in a process of its own only; leave `hosting` away".to_owned())
        }
        Hosting::Inproc if !unwinds => {
            Err("was built with panic=abort, so a panic of it would end the hub; leave `hosting` away, or build it with \
                 panic=unwind"
                .to_owned())
        }
        Hosting::Inproc if held.is_some() && elsewhere => Ok(Place::Elsewhere),
        Hosting::Inproc => Ok(Place::Here),
        Hosting::Auto => {
            let is_ours = found.manifest.id.starts_with(OURS);
            let is_recommended = found.manifest.hosting.recommended == manifest::Hosting::Inproc;
            let may_be_here = here && unwinds && (is_ours || is_vouched);
            if may_be_here && (!elsewhere || ((is_recommended || is_vouched) && held.is_none())) {
                return Ok(Place::Here);
            }
            if elsewhere {
                return Ok(Place::Elsewhere);
            }
            Err(format!(
                "of {} declares that it runs in the hub's process only, where a mistake in it ends the node; set `hosting` to \
                 \"inproc\" if you trust it that much",
                found.manifest.vendor
            ))
        }
    }
}

fn allows(found: &Inspection, hosting: manifest::Hosting) -> bool {
    found.manifest.hosting.allowed.contains(&hosting)
}

/// How the ids of this product's plugins begin.
const OURS: &str = "org.twinhub.";

#[cfg(test)]
mod tests {
    use serde_json::json;
    use twinhub_contract::Manifest;
    use twinhub_loader::{EntryNumbers, Sha256Hex};

    use super::*;

    fn unlocked(hosting: Hosting, found: &Inspection, held: Option<&str>) -> Result<Place, String> {
        place(hosting, found, &Verdict::Unlocked, held)
    }

    fn library(id: &str, allowed: &[&str], unwinds: bool) -> Inspection {
        let text = json!({
            "manifest": 1, "id": id, "name": "Any", "vendor": "Example", "version": "0.1.0", "license": "MIT",
            "abi": {"min": "1.0", "max": "1.0"}, "kind": "interface", "protocols": [{"name": "none"}],
            "config_schema": {}, "item_address_schema": {},
            "mb": {
                "relevant": false, "possible": "yes", "default_standby": "cold",
                "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
                "state": "none", "fence": "none", "recovery": "none", "parallel_input": false
            },
            "capabilities": [{"name": "anything"}],
            "hosting": {"allowed": allowed, "recommended": allowed[0]}
        });
        let flags = if unwinds { twinhub_contract::build::UNWIND } else { 0 };
        let sha256 = Sha256Hex::of(b"library");
        Inspection {
            path: "any.so".into(),
            sha256,
            bytes: 7,
            manifest: Manifest::parse(text.to_string().as_bytes()).unwrap(),
            entry: Some(EntryNumbers { magic: 0, size: 0, abi: 0, build_flags: flags }),
        }
    }

    const BOTH: [&str; 2] = ["inproc", "isolated"];

    #[test]
    fn plugins_of_this_product_run_here_and_others_in_processes_of_their_own() {
        let ours = library("org.twinhub.any", &BOTH, true);
        let other = library("com.example.any", &BOTH, true);
        assert_eq!(unlocked(Hosting::Auto, &ours, None), Ok(Place::Here));
        assert_eq!(unlocked(Hosting::Auto, &other, None), Ok(Place::Elsewhere));
        assert_eq!(unlocked(Hosting::Isolated, &ours, None), Ok(Place::Elsewhere));
        assert_eq!(unlocked(Hosting::Inproc, &other, None), Ok(Place::Here));
        let recommends = library("org.twinhub.any", &["isolated", "inproc"], true);
        assert_eq!(unlocked(Hosting::Auto, &recommends, None), Ok(Place::Elsewhere));
    }

    #[test]
    fn what_would_end_the_hub_does_not_run_here() {
        let aborts = library("org.twinhub.any", &BOTH, false);
        assert_eq!(unlocked(Hosting::Auto, &aborts, None), Ok(Place::Elsewhere));
        assert!(unlocked(Hosting::Inproc, &aborts, None).unwrap_err().contains("panic=abort"));
        let held = library("org.twinhub.any", &BOTH, true);
        for hosting in [Hosting::Auto, Hosting::Inproc] {
            assert_eq!(unlocked(hosting, &held, Some("faulted 4 times")), Ok(Place::Elsewhere));
        }
    }

    #[test]
    fn a_declaration_that_leaves_no_place_is_said() {
        let only_here = library("com.example.any", &["inproc"], true);
        assert!(unlocked(Hosting::Auto, &only_here, None).unwrap_err().contains("Example declares"));
        assert!(unlocked(Hosting::Isolated, &only_here, None).unwrap_err().contains("only"));
        assert_eq!(unlocked(Hosting::Inproc, &only_here, None), Ok(Place::Here));
        let only_there = library("com.example.any", &["isolated"], true);
        assert!(unlocked(Hosting::Inproc, &only_there, None).unwrap_err().contains("of its own only"));
    }

    #[test]
    fn what_the_lock_says_of_a_library_counts_more_than_its_id() {
        let other = library("com.example.any", &BOTH, true);
        let by = |hosting| Verdict::Trusted { publisher: "acme".to_owned(), hosting };
        assert_eq!(place(Hosting::Auto, &other, &by(twinhub_trust::Hosting::Inproc), None), Ok(Place::Here));
        assert_eq!(
            place(Hosting::Auto, &other, &by(twinhub_trust::Hosting::Auto), None),
            Ok(Place::Elsewhere)
        );
        let ours = library("org.twinhub.any", &BOTH, true);
        for verdict in [by(twinhub_trust::Hosting::Isolated), Verdict::Allowed] {
            assert_eq!(place(Hosting::Auto, &ours, &verdict, None), Ok(Place::Elsewhere));
            assert!(place(Hosting::Inproc, &ours, &verdict, None).unwrap_err().contains("no leave"));
            let only_here = library("org.twinhub.any", &["inproc"], true);
            assert!(place(Hosting::Auto, &only_here, &verdict, None).unwrap_err().contains("have it signed"));
        }
    }
}
