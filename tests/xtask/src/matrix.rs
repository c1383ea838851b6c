//! The compatibility matrix, and the kit whose reports stand in it.

use crate::steps::{Failure, Result, command, run};
use crate::workspace::{PRODUCT, artifacts, build, root};

/// `cargo xtask kit`: tries every plugin with the kit and writes the reports for the matrix.
pub(crate) fn kit() -> Result<()> {
    build(&PRODUCT, false)?;
    let (built, reports) = (artifacts(false), root().join("matrix/results/kits"));
    std::fs::create_dir_all(&reports)
        .map_err(|error| Failure::failed(format!("cannot make {}: {error}", reports.display())))?;
    for name in PLUGINS {
        let sources = root().join("plugins").join(name);
        let kit = sources.join("kit");
        run(command(built.join("twinhub"), &root())
            .args(["plugin", "test"])
            .arg(built.join(format!("libtwinhub_{name}.so")))
            .arg("--settings")
            .arg(kit.join("settings.toml"))
            .arg("--items")
            .arg(kit.join("items.csv"))
            .arg("--sources")
            .arg(&sources)
            .arg("--report")
            .arg(reports.join(format!("{name}.json"))))?;
    }
    Ok(())
}

/// Plugins of the product, as their folders are called.
const PLUGINS: [&str; 3] = ["modbus", "mqtt", "sim"];

/// `cargo xtask matrix build|verify`.
pub(crate) fn build_or_verify(which: &str) -> Result<()> {
    build(&PRODUCT, false)?;
    run(command(artifacts(false).join("twinhub"), &root()).args(["matrix", which]))
}
