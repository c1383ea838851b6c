//! `plugin`: ls, info, check, verify, lock, new, test, upgrade, rollback, keep, release. None of a library's code runs here, except
//! that `check` lets the system load it and `test` tries it, in processes of their own.

mod kit;
mod new;
mod trust;
mod upgrade;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use twinhub_runtime::trust::Trust;
use twinhub_runtime::{find_library, library_name};

use crate::cli::{Global, PluginCommand};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::{Answer, plain, table, value_text};
use crate::paths::Paths;

pub(crate) fn run(global: &Global, command: &PluginCommand, answer: Answer) -> Outcome {
    let paths = Paths::of(global);
    match command {
        PluginCommand::Ls => ls(&paths, answer),
        PluginCommand::Info { plugin } => info(&paths, plugin, answer),
        PluginCommand::Check { names } => check(&paths, names, answer),
        PluginCommand::Verify { names } => trust::verify(&paths, names, answer),
        PluginCommand::Lock(args) => trust::lock(&paths, args, answer),
        PluginCommand::New(args) => new::run(args),
        PluginCommand::Test(args) => kit::run(&paths, args, answer),
        PluginCommand::Upgrade(args) => upgrade::run(global, args, answer),
        PluginCommand::Rollback(args) => upgrade::end_trial(global, args, upgrade::End::Rollback, answer),
        PluginCommand::Keep(args) => upgrade::end_trial(global, args, upgrade::End::Keep, answer),
        PluginCommand::Release { plugin, node } => release(global, plugin, node.as_deref(), answer),
        PluginCommand::TestOne { dir, test } => kit::run_one(dir, test),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Released {
    node: String,
    released: usize,
}

fn release(global: &Global, plugin: &str, node: Option<&str>, answer: Answer) -> Outcome {
    let path = format!("/api/v1/plugins/{}/release", escape(plugin));
    let released: Released = Client::new(global)?.send("POST", &path, &json!({ "node": node }))?;
    answer.give(&released, |released| match released.released {
        0 => format!("nothing of plugin {plugin} is in quarantine on {}", released.node),
        _ => format!(
            "plugin {plugin} is not in quarantine on {} any more: from its next start on, as `hosting` says",
            released.node
        ),
    })
}

/// A library that is found.
#[derive(Debug, Serialize)]
struct Row {
    plugin: String,
    version: String,
    vendor: String,
    abi: String,
    standby: String,
    file: String,
    sha256: String,
    /// Why it is not usable.
    error: Option<String>,
}

/// Libraries by short name; of two with one name the hub would take the first, as this does.
pub(crate) fn installed(paths: &Paths) -> BTreeMap<String, PathBuf> {
    let (prefix, suffix) =
        (format!("{}twinhub_", std::env::consts::DLL_PREFIX), std::env::consts::DLL_SUFFIX);
    let mut found = BTreeMap::new();
    for dir in &paths.plugins {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(short) = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(suffix))
            else {
                continue;
            };
            if entry.path().is_file() {
                found.entry(short.to_owned()).or_insert_with(|| entry.path());
            }
        }
    }
    found
}

fn row(name: &str, file: &Path) -> Row {
    let mut row = Row {
        plugin: name.to_owned(),
        version: "-".to_owned(),
        vendor: "-".to_owned(),
        abi: "-".to_owned(),
        standby: "-".to_owned(),
        file: file.display().to_string(),
        sha256: String::new(),
        error: None,
    };
    match twinhub_loader::inspect(file) {
        Ok(inspection) => {
            let manifest = inspection.manifest;
            row.version = manifest.version;
            row.vendor = manifest.vendor;
            row.abi = format!("{} to {}", manifest.abi.min, manifest.abi.max);
            row.standby = serde_json::to_value(manifest.mb.default_standby)
                .map_or_else(|_| "-".to_owned(), |word| value_text(&word));
            row.sha256 = inspection.sha256.to_string();
        }
        Err(error) => row.error = Some(chain(&error)),
    }
    row
}

fn ls(paths: &Paths, answer: Answer) -> Outcome {
    let rows: Vec<Row> = installed(paths).iter().map(|(name, file)| row(name, file)).collect();
    answer.give(&rows, |rows| {
        if rows.is_empty() {
            return nothing(paths);
        }
        let cells = rows.iter().map(|row| {
            let note = row.error.clone().unwrap_or_else(|| row.file.clone());
            [
                row.plugin.clone(),
                row.version.clone(),
                row.vendor.clone(),
                row.abi.clone(),
                row.standby.clone(),
                note,
            ]
        });
        table(["plugin", "version", "vendor", "abi", "standby", "file"], cells)
    })
}

fn nothing(paths: &Paths) -> String {
    let dirs: Vec<String> = paths.plugins.iter().map(|dir| dir.display().to_string()).collect();
    format!("no plugin is in {}; --plugins DIR names another place", dirs.join(", "))
}

/// The file of a short name or path.
fn locate(paths: &Paths, plugin: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(plugin);
    if plugin.contains('/') || path.is_file() {
        return Ok(path.to_owned());
    }
    find_library(plugin, &paths.plugins).ok_or_else(|| {
        let dirs: Vec<String> = paths.plugins.iter().map(|dir| dir.display().to_string()).collect();
        let known: Vec<String> = installed(paths).into_keys().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let text = format!(
            "plugin `{plugin}` is not installed: {} is in none of {}; installed: {known}",
            library_name(plugin),
            dirs.join(", ")
        );
        Failure::new(Code::Configuration, text)
    })
}

fn info(paths: &Paths, plugin: &str, answer: Answer) -> Outcome {
    let file = locate(paths, plugin)?;
    let inspection =
        twinhub_loader::inspect(&file).map_err(|error| Failure::of(Code::Configuration, &error))?;
    let manifest =
        serde_json::to_value(&inspection.manifest).map_err(|error| Failure::of(Code::Internal, &error))?;
    let whole = serde_json::json!({
        "file": file.display().to_string(),
        "sha256": inspection.sha256.to_string(),
        "bytes": inspection.bytes,
        "manifest": manifest,
    });
    answer.give(&whole, |_| {
        let mut lines = vec![
            ["file".to_owned(), file.display().to_string()],
            ["sha256".to_owned(), inspection.sha256.to_string()],
        ];
        flatten("", &manifest, &mut lines);
        let lines = lines.into_iter().filter(|[name, _]| !is_schema(name));
        format!("{}\n\nThe schemas of settings and items: --output json", table(["", ""], lines).trim_start())
    })
}

fn is_schema(name: &str) -> bool {
    name.starts_with("config_schema") || name.starts_with("item_address_schema")
}

/// One line for each leaf, its name the path to it.
fn flatten(name: &str, value: &Value, lines: &mut Vec<[String; 2]>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, lines);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, value) in list.iter().enumerate() {
                flatten(&format!("{name}.{index}"), value, lines);
            }
        }
        Value::Array(list) => {
            let words: Vec<String> = list.iter().map(value_text).collect();
            lines.push([name.to_owned(), words.join(", ")]);
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push([name.to_owned(), plain(&value_text(value))]);
        }
    }
}

/// Loads each library as the hub would, into a cache that is thrown away.
fn check(paths: &Paths, plugins: &[String], answer: Answer) -> Outcome {
    let files: Vec<(String, PathBuf)> = if plugins.is_empty() {
        installed(paths).into_iter().collect()
    } else {
        plugins
            .iter()
            .map(|plugin| Ok((plugin.clone(), locate(paths, plugin)?)))
            .collect::<Result<_, Failure>>()?
    };
    if files.is_empty() {
        return Err(Failure::new(Code::Configuration, nothing(paths)));
    }
    let trust = Trust::open(&paths.config_dir())
        .map_err(|failure| Failure::new(Code::Configuration, failure.render()))?;
    let cache = std::env::temp_dir().join(format!("twinhub-check-{}", std::process::id()));
    let rows: Vec<Row> = files
        .iter()
        .map(|(name, file)| {
            let mut row = row(name, file);
            if row.error.is_none() {
                row.error = trust.try_out(file, &cache).err().map(|error| chain(&error));
            }
            row
        })
        .collect();
    // What is left is only a copy.
    std::fs::remove_dir_all(&cache).ok();
    let bad = rows.iter().filter(|row| row.error.is_some()).count();
    answer.give(&rows, |rows| {
        let lines = rows.iter().map(|row| match &row.error {
            None => format!("ok    {} {} (contract {})", row.plugin, row.version, row.abi),
            Some(error) => format!("fail  {}: {}", row.plugin, plain(error)),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(if bad == 0 { Code::Ok } else { Code::Configuration })
}
