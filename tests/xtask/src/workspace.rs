//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Result, command, run};

/// Packages that make a running site: the hub, its plugins, and what stands around them.
pub(crate) const PRODUCT: [&str; 6] =
    ["twinhub-hub", "twinhub-bacnet", "twinhub-knx", "twinhub-modbus", "twinhub-mqtt", "twinhub-sim"];
/// Plugins to learn from that cargo builds.
pub(crate) const EXAMPLES: [&str; 1] = ["twinhub-hello"];
pub(crate) const AROUND: [&str; 2] = ["twinhub-peers", "twinhub-conformance"];

pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where cargo puts what it builds with this profile.
pub(crate) fn artifacts(release: bool) -> PathBuf {
    target_dir().join(if release { "release" } else { "debug" })
}

/// `.peers`, or what the environment says.
pub(crate) fn peers_dir() -> PathBuf {
    match std::env::var_os("TWINHUB_PEERS") {
        Some(dir) => dir.into(),
        None => root().join(".peers"),
    }
}

pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), &root())
}

/// Builds packages; cargo itself shows the progress.
pub(crate) fn build(packages: &[&str], release: bool) -> Result<()> {
    let mut cargo = cargo();
    cargo.arg("build");
    for package in packages {
        cargo.args(["--package", package]);
    }
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo)
}
