//! A library under test, and the tap before it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinhub_contract::Manifest;
use twinhub_contract::manifest::Hosting;
use twinhub_loader::read_manifest;

use super::sources;
use super::{Part, Subject};
use crate::artifacts::Artifacts;
use crate::error::{Error, Result};

/// A library with its tap built.
#[derive(Debug)]
pub(super) struct Tapped {
    pub(super) subject: Subject,
    pub(super) manifest: Manifest,
    /// Of the library behind the tap, the very file that is loaded.
    pub(super) sha256: String,
}

impl Tapped {
    /// Copies the library of `subject`, or compiles it, and builds a tap in `folder` that is called like it.
    pub(super) fn build(subject: &Subject, artifacts: &Artifacts, folder: &Path) -> Result<Self> {
        let library = folder.join(format!("behind_{}.so", subject.plugin));
        if let Some(source) = &subject.c_source {
            compile(&sources(subject).join(source), &library)?;
        } else {
            let built = artifacts.library(&subject.plugin);
            fs::copy(&built, &library).map_err(Error::file(&built))?;
        }
        let (manifest, sha256) = read_manifest(&library).map_err(|error| Error::State(error.to_string()))?;
        if !manifest.hosting.allowed.contains(&Hosting::Inproc) {
            let why = "a tap needs a plugin that may run in the hub's process";
            return Err(Error::State(format!("{}: {why}", subject.plugin)));
        }
        let source = folder.join(format!("tap_{}.c", subject.plugin));
        fs::write(&source, tap_source(&library, &manifest)?).map_err(Error::file(&source))?;
        compile(&source, &folder.join(format!("libtwinhub_{}.so", subject.plugin)))?;
        Ok(Self { subject: subject.clone(), manifest, sha256: sha256.to_string() })
    }

    /// It in each mode that it declares.
    pub(super) fn parts(&self) -> Vec<Part> {
        let part =
            |mode| Part { id: format!("{}-{mode}", self.subject.name), subject: self.subject.clone(), mode };
        self.manifest.mb.modes.iter().copied().map(part).collect()
    }
}

/// The tap for one library: where it is, what it declares, and the text that all taps have in common.
fn tap_source(library: &Path, manifest: &Manifest) -> Result<String> {
    let json = serde_json::to_string(manifest).map_err(|error| Error::State(error.to_string()))?;
    let mut bytes = String::new();
    for byte in json.bytes() {
        write!(bytes, "{byte},").expect("a String takes any text");
    }
    let path = |path: &Path| format!("{:?}", path.display().to_string());
    Ok(format!(
        "#define TAP_LIBRARY {}\n#define TAP_MANIFEST {bytes}\n#include {}\n",
        path(library),
        path(&here().join("tap/tap.c"))
    ))
}

fn compile(source: &Path, library: &Path) -> Result<()> {
    let output = Command::new("cc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden"])
        .arg("-I")
        .arg(here().join("../../sdk/contract/include"))
        .arg("-o")
        .args([library, source])
        .output()
        .map_err(Error::file("cc"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::State(format!("{} does not compile:\n{said}", source.display())))
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
