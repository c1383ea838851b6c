//! The demo and the conformance runs: built here, carried out by programs of `tests/conformance`.

use crate::setup;
use crate::steps::{Result, command, run};
use crate::workspace::{AROUND, EXAMPLES, PRODUCT, artifacts, build, root};

/// `cargo xtask demo`.
pub(crate) fn demo(rest: &[&str]) -> Result<()> {
    let release = rest.contains(&"--release");
    println!(
        "demo: building the hub, its plugins and the simulators around them (a few minutes the first time)"
    );
    program("twinhub-story", rest, release)
}

/// `cargo xtask conformance`.
pub(crate) fn conformance(rest: &[&str]) -> Result<()> {
    setup::install_peers()?;
    build(&EXAMPLES, true)?;
    program("twinhub-measure", &[&["conformance"], rest].concat(), true)
}

/// Builds everything and runs a program of `tests/conformance` in the root folder.
pub(crate) fn program(name: &str, rest: &[&str], release: bool) -> Result<()> {
    build(&[&PRODUCT[..], &AROUND[..]].concat(), release)?;
    let folder = artifacts(release);
    let words = rest.iter().filter(|word| **word != "--release");
    run(command(folder.join(name), &root()).args(words).env("TWINHUB_BIN_DIR", folder))
}
