//! Reads declarations, results and seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinhub_contract::Manifest;

use crate::cell::{Declared, Matrix, assemble};
use crate::error::Error;
use crate::kit::KitReport;
use crate::result::RunResult;
use crate::seed::Seed;
use crate::source::{has_sources, source_hash};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Directory of built libraries, or of plugin sources (`*/plugin.json`).
    pub plugins: PathBuf,
    /// Directory of plugin sources, to tell whether a result is stale. If `plugins` holds sources, those count.
    pub sources: Option<PathBuf>,
    /// Directory of plugins to learn from, as sources.
    pub examples: Option<PathBuf>,
    /// Directory of result files.
    pub results: PathBuf,
    /// The seed file.
    pub seed: PathBuf,
}

/// Makes the matrix from a directory of libraries or of sources.
///
/// # Errors
/// [`Error`] that names the file.
pub fn collect(plugin_dir: &Path, results_dir: &Path, seed: &Path) -> Result<Matrix, Error> {
    collect_from(&Inputs {
        plugins: plugin_dir.to_path_buf(),
        sources: None,
        examples: None,
        results: results_dir.to_path_buf(),
        seed: seed.to_path_buf(),
    })
}

/// Makes the matrix.
///
/// # Errors
/// [`Error`] that names the file.
pub fn collect_from(inputs: &Inputs) -> Result<Matrix, Error> {
    let seed: Seed = json(&inputs.seed)?;
    check_seed(&inputs.seed, &seed)?;
    let mut hashes: BTreeMap<String, String> = BTreeMap::new();
    for dir in inputs.sources.iter().chain(&inputs.examples).chain([&inputs.plugins]) {
        for (path, manifest, _) in from_sources(dir)? {
            let dir = path.parent().unwrap_or(Path::new("."));
            if has_sources(dir)? {
                hashes.insert(manifest.id.clone(), source_hash(dir)?);
            }
        }
    }
    let mut found = from_libraries(&inputs.plugins)?;
    if found.is_empty() {
        found = from_sources(&inputs.plugins)?;
    }
    if found.is_empty() {
        return Err(Error::NoPlugins { path: inputs.plugins.clone() });
    }
    let mut declared: BTreeMap<String, (PathBuf, Declared)> = BTreeMap::new();
    for (path, manifest, sha256) in found {
        let id = manifest.id.clone();
        let source_hash = hashes.get(&id).cloned();
        if let Some((first, _)) = declared.get(&id) {
            return Err(Error::Twice { id, first: first.clone(), second: path });
        }
        declared.insert(id, (path, Declared { manifest, source_hash, sha256, is_example: false }));
    }
    if let Some(dir) = &inputs.examples {
        for (path, manifest, sha256) in from_sources(dir)? {
            let source_hash = hashes.get(&manifest.id).cloned();
            // Its library may lie among those of plugins.
            let found = declared.entry(manifest.id.clone());
            let found = found.or_insert((path, Declared { manifest, source_hash, sha256, is_example: true }));
            found.1.is_example = true;
        }
    }
    let declared = declared.into_values().map(|(_, declared)| declared).collect();
    Ok(assemble(seed, declared, results(&inputs.results)?, kits(&inputs.results)?))
}

/// A manifest, where it was found, and the SHA-256 of the library that it was found in.
type Found = (PathBuf, Manifest, Option<String>);

fn from_libraries(dir: &Path) -> Result<Vec<Found>, Error> {
    let is_library = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let end = path.extension().unwrap_or_default();
        (name.starts_with("libtwinhub_") && (end == "so" || end == "dylib"))
            || (name.starts_with("twinhub_") && end == "dll")
    };
    entries(dir)?
        .into_iter()
        .filter(|path| is_library(path))
        .map(|path| match twinhub_loader::read_manifest(&path) {
            Ok((manifest, sha256)) => Ok((path, manifest, Some(sha256.to_string()))),
            Err(source) => Err(Error::Library { path, source }),
        })
        .collect()
}

fn from_sources(dir: &Path) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for path in entries(dir)?.into_iter().map(|path| path.join("plugin.json")).filter(|path| path.is_file()) {
        let manifest = Manifest::parse(&bytes(&path)?)
            .map_err(|error| Error::Content { path: path.clone(), problem: error.to_string() })?;
        found.push((path, manifest, None));
    }
    Ok(found)
}

/// The usable results; of several for one plugin, profile, mode and peer the newest.
fn results(dir: &Path) -> Result<Vec<RunResult>, Error> {
    let mut newest: BTreeMap<(String, String, u8, String), RunResult> = BTreeMap::new();
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    for path in entries(dir)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let result: RunResult = json(&path)?;
        let problems = result.problems();
        if !problems.is_empty() {
            let problem =
                format!("{}; results are written only by `cargo xtask conformance`", problems.join("; "));
            return Err(Error::Content { path, problem });
        }
        let key = (
            result.plugin.clone(),
            result.profile.clone(),
            u8::try_from(result.standby as usize).unwrap_or(u8::MAX),
            result.peer.name.clone(),
        );
        let is_newer = newest.get(&key).is_none_or(|other| other.date <= result.date);
        if is_newer {
            newest.insert(key, result);
        }
    }
    Ok(newest.into_values().collect())
}

/// The reports of the kit, one for each plugin.
fn kits(results: &Path) -> Result<BTreeMap<String, KitReport>, Error> {
    let dir = results.join("kits");
    let mut kits = BTreeMap::new();
    if !dir.is_dir() {
        return Ok(kits);
    }
    for path in entries(&dir)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let report: KitReport = json(&path)?;
        let problems = report.problems();
        if !problems.is_empty() {
            let problem = format!(
                "{}; reports are written only by `twinhub plugin test --report`",
                problems.join("; ")
            );
            return Err(Error::Content { path, problem });
        }
        let is_newer = kits.get(&report.plugin).is_none_or(|other: &KitReport| other.date <= report.date);
        if is_newer {
            kits.insert(report.plugin.clone(), report);
        }
    }
    Ok(kits)
}

fn check_seed(path: &Path, seed: &Seed) -> Result<(), Error> {
    for (index, row) in seed.rows.iter().enumerate() {
        let twice = seed.rows[..index]
            .iter()
            .any(|other| other.id == row.id || (row.plugin.is_some() && other.plugin == row.plugin));
        if twice {
            let problem = format!("row `{}` or its plugin is there twice", row.id);
            return Err(Error::Content { path: path.to_path_buf(), problem });
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Io { verb: "read", path: dir.to_path_buf(), source };
    let mut paths = std::fs::read_dir(dir)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { verb: "read", path: path.to_path_buf(), source })
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&bytes(path)?)
        .map_err(|error| Error::Content { path: path.to_path_buf(), problem: error.to_string() })
}
