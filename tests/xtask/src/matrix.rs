//! The compatibility matrix.

use crate::steps::{Result, command, run};
use crate::workspace::{PRODUCT, artifacts, build, root};

/// `cargo xtask matrix build|verify`.
pub(crate) fn build_or_verify(which: &str) -> Result<()> {
    build(&PRODUCT, false)?;
    run(command(artifacts(false).join("twinhub"), &root()).args(["matrix", which]))
}
