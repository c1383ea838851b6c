//! The release archive.

use std::fs;
use std::path::Path;

use crate::steps::{Failure, Result, command, output, run};
use crate::workspace::{PRODUCT, cargo, root, target_dir};

/// `cargo xtask dist`: hub and plugins, optimized as a whole, in one archive with licences and README.
pub(crate) fn archive() -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--profile", "dist", "--locked"]);
    for package in PRODUCT {
        cargo.args(["--package", package]);
    }
    run(&mut cargo)?;
    let triple = output(command("rustc", &root()).args(["-vV"]))
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)))
        .ok_or_else(|| Failure::failed("rustc does not say for which system it builds"))?;
    let name = format!("twinhub-{}-{triple}", env!("CARGO_PKG_VERSION"));
    let built = target_dir().join("dist");
    let folder = built.join(&name);
    // Left from an earlier run; that it is absent is the usual case.
    drop(fs::remove_dir_all(&folder));
    copy(&built.join("twinhub"), &folder.join("bin/twinhub"))?;
    for package in &PRODUCT[1..] {
        let library = format!("lib{}.so", package.replace('-', "_"));
        copy(&built.join(&library), &folder.join("plugins").join(&library))?;
    }
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    run(command("tar", &built).args(["-czf", &format!("{name}.tar.gz"), &name]))?;
    println!("{}", built.join(format!("{name}.tar.gz")).display());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to));
    copied
        .map(drop)
        .map_err(|error| Failure::failed(format!("{} to {}: {error}", from.display(), to.display())))
}
