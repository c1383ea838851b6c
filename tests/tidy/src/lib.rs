//! Layering, licence, generated-file and link checks.
//!
//! The checks are the tests of this crate; here is only what they share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// What cargo knows about the workspace, without its outside dependencies.
pub fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("the workspace that runs this test is readable")
}

/// A package's folder, as written from the root: `core/model`.
pub fn folder(package: &Package) -> String {
    let manifest = package.manifest_path.as_std_path();
    let root = root().canonicalize().unwrap_or_else(|_| root());
    let folder = manifest.parent().unwrap_or(manifest);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.strip_prefix(&root).unwrap_or(&folder).to_string_lossy().into_owned()
}

/// Names of what a package needs to be built; what only its tests need does not count.
pub fn needs(package: &Package) -> Vec<&str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

/// Files under version control, or those that will be once added; as written from the root.
pub fn files() -> Vec<String> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output();
    let listed = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        // An unpacked archive has no version control.
        Ok(_) | Err(_) => walk(&root(), ""),
    };
    // What is deleted but not committed is still listed.
    listed.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

/// The text of a file; `None` if it is not text.
pub fn text(name: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(name)).ok()?).ok()
}

/// Rust files with their text.
pub fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|name| is_kind(name, "rs")).filter_map(|name| {
        let text = text(&name)?;
        Some((name, text))
    })
}

/// Whether a name ends with this extension.
pub fn is_kind(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// Fails with all findings at once.
pub fn report(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

fn walk(folder: &Path, prefix: &str) -> String {
    let mut found = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let full = format!("{prefix}{name}");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            found.push_str(&walk(&entry.path(), &format!("{full}/")));
        } else {
            found.push_str(&full);
            found.push('\n');
        }
    }
    found
}

const SKIPPED: [&str; 4] = [".git", ".peers", "target", "node_modules"];
