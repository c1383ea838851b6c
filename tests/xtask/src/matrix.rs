//! The compatibility matrix, and the kit whose reports stand in it.

use std::path::{Path, PathBuf};

use crate::steps::{Failure, Result, command, run};
use crate::workspace::{EXAMPLES, PRODUCT, artifacts, build, root, target_dir};

/// `cargo xtask kit`: tries every plugin and example with the kit and writes the reports for the matrix.
pub(crate) fn kit() -> Result<()> {
    build(&[&PRODUCT[..], &EXAMPLES[..], &["twinhub-peers"]].concat(), false)?;
    let (built, reports) = (artifacts(false), root().join("matrix/results/kits"));
    make_folder(&reports)?;
    let library = |name: &str| built.join(format!("libtwinhub_{name}.so"));
    for (name, device) in PLUGINS {
        let report = reports.join(format!("{name}.json"));
        try_one(&library(name), &root().join("plugins").join(name), device, &report)?;
    }
    let examples = root().join("examples");
    try_one(&library("hello"), &examples.join("hello-plugin"), None, &reports.join("hello.json"))?;
    try_one(&compile_c_example()?, &examples.join("c-plugin"), None, &reports.join("hello-c.json"))
}

/// Tries a library with the settings and items that lie beside its sources, and with its simulated device.
fn try_one(library: &Path, sources: &Path, device: Option<&str>, report: &Path) -> Result<()> {
    let kit = sources.join("kit");
    let mut test = command(artifacts(false).join("twinhub"), &root());
    test.args(["plugin", "test"]).arg(library).arg("--items").arg(kit.join("items.csv"));
    let settings = kit.join("settings.toml");
    if settings.is_file() {
        test.arg("--settings").arg(settings);
    }
    if let Some(device) = device {
        let program = artifacts(false).join("kit-device");
        test.arg("--device").arg(format!("exec '{}' {device}", program.display()));
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

/// Plugins of the product, as their folders are called, and what `kit-device` calls their device.
const PLUGINS: [(&str, Option<&str>); 5] = [
    ("bacnet", None),
    ("knx", Some("knx")),
    ("modbus", Some("modbus")),
    ("mqtt", Some("mqtt")),
    ("sim", None),
];

/// `cargo xtask matrix build|verify`.
pub(crate) fn build_or_verify(which: &str) -> Result<()> {
    build(&PRODUCT, false)?;
    run(command(artifacts(false).join("twinhub"), &root()).args(["matrix", which]))
}
