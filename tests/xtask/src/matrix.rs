//! The compatibility matrix, and the kit whose reports stand in it.

use std::path::{Path, PathBuf};

use crate::steps::{Failure, Result, command, run};
use crate::workspace::{EXAMPLES, PRODUCT, artifacts, build, root, target_dir};

/// `cargo xtask kit`: tries every plugin and example with the kit and writes the reports for the matrix.
pub(crate) fn kit() -> Result<()> {
    build(&[&PRODUCT[..], &EXAMPLES[..]].concat(), false)?;
    let (built, reports) = (artifacts(false), root().join("matrix/results/kits"));
    make_folder(&reports)?;
    let library = |name: &str| built.join(format!("libtwinhub_{name}.so"));
    for name in PLUGINS {
        try_one(&library(name), &root().join("plugins").join(name), &reports.join(format!("{name}.json")))?;
    }
    let examples = root().join("examples");
    try_one(&library("hello"), &examples.join("hello-plugin"), &reports.join("hello.json"))?;
    try_one(&compile_c_example()?, &examples.join("c-plugin"), &reports.join("hello-c.json"))
}

/// Tries a library with the settings and items that lie beside its sources.
fn try_one(library: &Path, sources: &Path, report: &Path) -> Result<()> {
    let kit = sources.join("kit");
    let mut test = command(artifacts(false).join("twinhub"), &root());
    test.args(["plugin", "test"]).arg(library).arg("--items").arg(kit.join("items.csv"));
    let settings = kit.join("settings.toml");
    if settings.is_file() {
        test.arg("--settings").arg(settings);
    }
    run(test.arg("--sources").arg(sources).arg("--report").arg(report))
}

fn compile_c_example() -> Result<PathBuf> {
    let folder = target_dir().join("examples-c");
    make_folder(&folder)?;
    let library = folder.join("libhello_c.so");
    run(command("cc", &root())
        .args([
            "-std=c11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
        ])
        .args(["-I", "sdk/contract/include", "-o"])
        .arg(&library)
        .arg("examples/c-plugin/hello.c"))?;
    Ok(library)
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::failed(format!("cannot make {}: {error}", folder.display())))
}

/// Plugins of the product, as their folders are called.
const PLUGINS: [&str; 3] = ["modbus", "mqtt", "sim"];

/// `cargo xtask matrix build|verify`.
pub(crate) fn build_or_verify(which: &str) -> Result<()> {
    build(&PRODUCT, false)?;
    run(command(artifacts(false).join("twinhub"), &root()).args(["matrix", which]))
}
