//! `config`: check, schema, show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use twinhub_config::{Diagnostic, Named, Place, Severity, Site};

use twinhub_loader::Inspection;
use twinhub_runtime::trust::Trust;
use twinhub_runtime::{find_library, library_name};
use twinhub_trust::Verdict;

use crate::cli::Global;
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::{Answer, print};
use crate::paths::Paths;

#[derive(Debug, Serialize)]
struct Found {
    severity: &'static str,
    message: String,
    help: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

impl Found {
    fn new(found: &Diagnostic) -> Found {
        Found {
            severity: match found.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: found.message.clone(),
            help: found.help.clone(),
            file: found.file.as_deref().map(ToOwned::to_owned),
            line: found.line,
            column: found.column,
        }
    }
}

/// Configuration, items files, plugins and their settings.
pub(crate) fn check(global: &Global, answer: Answer) -> Outcome {
    let paths = Paths::of(global);
    let (site, mut found) = if paths.config.exists() {
        match twinhub_config::load(&paths.config) {
            Ok(loaded) => (Some(loaded.site), loaded.warnings),
            Err(failure) => (None, failure.diagnostics),
        }
    } else {
        return Err(paths
            .load()
            .err()
            .unwrap_or_else(|| Failure::new(Code::Configuration, "no configuration")));
    };
    if let Some(site) = &site {
        found.extend(check_plugins(site, &paths));
        found.extend(check_floating(site));
        found.extend(site.named().iter().filter_map(|named| check_named(named, &paths.config)));
    }
    let is_bad = found.iter().any(|found| found.severity == Severity::Error);
    let code = if is_bad { Code::Configuration } else { Code::Ok };
    let list: Vec<Found> = found.iter().map(Found::new).collect();
    let name = paths.config.display();
    answer.give(&json!({ "file": name.to_string(), "ok": !is_bad, "found": list }), |_| {
        let mut parts: Vec<String> = found.iter().map(Diagnostic::render).collect();
        parts.push(match (&site, is_bad) {
            (Some(site), false) => {
                let items: usize = site.interfaces.iter().map(|interface| interface.items.len()).sum();
                format!(
                    "{name} is fine: {}, {}, {}, {}",
                    count(site.nodes.len(), "node"),
                    count(site.interfaces.len(), "interface"),
                    count(items, "item"),
                    count(site.links.len(), "link")
                )
            }
            (Some(_) | None, _) => format!("{name} cannot be used as it is"),
        });
        parts.join("\n\n")
    })?;
    Ok(code)
}

/// Whether this user may change addresses, if there are any to move.
fn check_floating(site: &Site) -> Option<Diagnostic> {
    let missing = twinhub_floating::missing_capabilities();
    let is_wanted = site.groups.iter().any(|group| group.floating.is_some());
    (is_wanted && !missing.is_empty()).then(|| {
        let message = format!("there is a floating address, and this user lacks {}", missing.join(" and "));
        Diagnostic::warning(message).help(FLOATING_HELP)
    })
}

/// Whether what stands elsewhere is there. What only another user, another process or another machine can see is no error.
fn check_named(named: &Named, config: &Path) -> Option<Diagnostic> {
    let key = &named.key;
    let name = match &named.place {
        Place::File(name) => name,
        Place::Variable(name) => {
            let message = format!("`{key}`: the environment variable {name} is not set here");
            let help =
                "fine if the hub's service has it, as by `Environment=` or `LoadCredential=` of its unit";
            return std::env::var_os(name).is_none().then(|| Diagnostic::warning(message).help(help));
        }
    };
    let path = config.parent().unwrap_or(Path::new("")).join(name);
    let shown = path.display();
    let read = File::open(&path).and_then(|mut file| file.read(&mut [0]));
    let (message, help) = match read {
        Ok(1..) => return None,
        Ok(0) => (format!("`{key}`: {shown} is empty"), "write the secret or certificate into it".to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let message = format!("`{key}`: this user may not read {shown}");
            return Some(Diagnostic::warning(message).help("fine if the user of the hub may"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let help =
                format!("put it there, readable by the user of the hub; `{key}` is relative to this file");
            (format!("`{key}`: there is no {shown}"), help)
        }
        Err(error) => {
            (format!("`{key}`: cannot read {shown}: {error}"), "name a file that can be read".to_owned())
        }
    };
    Some(match &named.node {
        None => Diagnostic::error(message).help(help),
        Some(node) => {
            Diagnostic::warning(message).help(format!("fine if this machine is not node `{node}`; {help}"))
        }
    })
}

/// How a process comes to change addresses.
pub(crate) const FLOATING_HELP: &str = "fine if the hub runs as root or from the unit that comes with it, which has \
                                        both; otherwise run `setcap cap_net_admin,cap_net_raw+ep` on the executable";

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// What the plugins' manifests say about the interfaces that use them, and whether nodes and timers can work.
pub(crate) fn check_plugins(site: &Site, paths: &Paths) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut manifests = Vec::new();
    let trust = match Trust::open(&paths.config_dir()) {
        Ok(trust) => Some(trust),
        Err(failure) => {
            found.extend(failure.diagnostics);
            None
        }
    };
    // A library is read, and its signature checked, once.
    let mut read: BTreeMap<PathBuf, Result<(Inspection, Option<Verdict>), String>> = BTreeMap::new();
    for interface in &site.interfaces {
        let Some(file) = find_library(&interface.plugin, &paths.plugins) else {
            let dirs: Vec<String> = paths.plugins.iter().map(|dir| dir.display().to_string()).collect();
            let message =
                format!("interface `{}`: plugin `{}` is not installed", interface.id, interface.plugin);
            let help = format!("{} is in none of {}", library_name(&interface.plugin), dirs.join(", "));
            found.push(at(paths, Diagnostic::error(message).help(help), interface.origin.line));
            continue;
        };
        let inspected = read.entry(file).or_insert_with_key(|file| {
            let inspected = match &trust {
                Some(trust) => trust.inspect(file).map(|(inspection, verdict)| (inspection, Some(verdict))),
                None => twinhub_loader::inspect(file).map(|inspection| (inspection, None)),
            };
            inspected.map_err(|error| chain(&error))
        });
        match inspected.clone() {
            Ok((inspection, verdict)) => {
                if let Some(verdict) = verdict
                    && let Err(why) = twinhub_runtime::check_hosting(interface, &inspection, &verdict)
                {
                    found.push(at(paths, Diagnostic::error(why), interface.origin.line));
                }
                let manifest = inspection.manifest;
                let columns: BTreeSet<String> =
                    manifest.item_columns().into_iter().map(ToOwned::to_owned).collect();
                found.extend(twinhub_config::check_columns(interface, &columns));
                found.extend(twinhub_config::check_required(interface, &manifest.required_item_columns()));
                let schema = serde_json::to_value(&manifest.config_schema).unwrap_or_default();
                found.extend(twinhub_config::check_settings(interface, &schema));
                manifests.push((interface.id.as_str(), manifest));
            }
            Err(error) => {
                found.push(at(paths, Diagnostic::error(error), interface.origin.line));
            }
        }
    }
    let of_interfaces = manifests.iter().map(|(id, manifest)| (*id, manifest)).collect();
    found.extend(
        twinhub_runtime::check_event_links(site, &of_interfaces)
            .into_iter()
            .map(|fault| at(paths, Diagnostic::error(fault.message).help(fault.help), fault.line)),
    );
    let manifests: Vec<_> = manifests.iter().map(|(_, manifest)| manifest).collect();
    found.extend(twinhub_runtime::check_cluster(site, &manifests).into_iter().map(|fault| {
        let help =
            "change `[cluster]`: nodes, witness, profile or timers; what is left out follows the profile";
        Diagnostic::error(fault).help(help)
    }));
    found
}

fn at(paths: &Paths, found: Diagnostic, line: u32) -> Diagnostic {
    if line == 0 { found } else { found.at_line(&paths.config.display().to_string(), line) }
}

pub(crate) fn schema() -> Outcome {
    let text = serde_json::to_string_pretty(&twinhub_config::schema())
        .map_err(|error| Failure::of(Code::Internal, &error))?;
    print(&text)
}
