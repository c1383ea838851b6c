//! Benchmarks: measured ones of whole processes, and those of single crates.

use std::fs;
use std::path::Path;

use crate::dist;
use crate::setup;
use crate::steps::{Failure, Result, command, run};
use crate::story;
use crate::workspace::{AROUND, artifacts, build, cargo, root};

/// `cargo xtask bench NAME`.
pub(crate) fn measure(name: &str, rest: &[&str]) -> Result<()> {
    match name {
        "takeover" => {
            setup::install_peers()?;
            story::program("twinhub-measure", &[&["takeover"], rest].concat(), true)
        }
        "catch-up" | "replication" | "standby" | "start" | "write" => {
            setup::install_peers()?;
            story::program("twinhub-measure", &[&[name], rest].concat(), true)
        }
        "failover" => {
            setup::install_peers()?;
            build(&["twinhub-network"], true)?;
            story::program("twinhub-failover", rest, true)
        }
        "gateway" | "flat-out" => gateway(name, rest),
        other => {
            let found = crate_benches().into_iter().find(|(_, bench)| bench == other);
            let (package, bench) = found.ok_or_else(|| {
                Failure::usage(format!("no benchmark `{other}`; there are: {}", names().join(", ")))
            })?;
            run(cargo().args(["bench", "--package", &package, "--bench", &bench, "--"]).args(rest))
        }
    }
}

/// Memory and processor time are those of what ships, so hub and plugins are built as the release archive has them.
fn gateway(name: &str, rest: &[&str]) -> Result<()> {
    setup::install_peers()?;
    dist::build()?;
    build(&AROUND, true)?;
    let around = artifacts(true);
    let mut measure = command(around.join("twinhub-measure"), &root());
    measure.arg(name);
    match setup::node_red() {
        Ok(folder) => drop(measure.arg("--node-red").arg(folder)),
        Err(failure) => println!("bench: without Node-RED: {failure}"),
    }
    run(measure.args(rest).env("TWINHUB_BIN_DIR", around).env("TWINHUB_PRODUCT_DIR", dist::folder()))
}

/// All that can be asked for.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = WHOLE.map(str::to_owned).to_vec();
    names.extend(crate_benches().into_iter().map(|(_, bench)| bench));
    names
}

/// Package and name of every `benches/*.rs`.
fn crate_benches() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["core", "sdk", "plugins", "tests"] {
        for package in entries(&root().join(folder)) {
            for bench in entries(&package.join("benches")) {
                let name = bench.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                if bench.extension().is_some_and(|extension| extension == "rs")
                    && let (Some(package), Some(name)) = (package_name(&package), name)
                {
                    found.push((package, name));
                }
            }
        }
    }
    found.sort();
    found
}

/// Those of whole processes.
const WHOLE: [&str; 9] =
    ["catch-up", "takeover", "failover", "gateway", "flat-out", "replication", "standby", "start", "write"];

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn package_name(folder: &Path) -> Option<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = \""))?;
    Some(line.trim_end_matches('"').to_owned())
}
