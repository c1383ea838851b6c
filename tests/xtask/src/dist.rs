//! The release archive.

use std::fs;
use std::path::{Path, PathBuf};

use crate::steps::{Failure, Result, command, output, run};
use crate::workspace::{PRODUCT, cargo, root, target_dir};

/// What the archive holds beside hub and plugins, each at its place in the tree, so that links in it lead somewhere.
const CONTENT: [&str; 50] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "plugins/bacnet/README.md",
    "plugins/knx/README.md",
    "plugins/modbus/README.md",
    "plugins/mqtt/README.md",
    "plugins/sim/README.md",
    "sdk/contract/README.md",
    "sdk/contract/include/twinhub_plugin.h",
    "sdk/guide/README.md",
    "sdk/guide/plugin.json",
    "sdk/guide/chapters/c.md",
    "sdk/guide/chapters/device.md",
    "sdk/guide/chapters/events.md",
    "sdk/guide/chapters/inactive.md",
    "sdk/guide/chapters/items.md",
    "sdk/guide/chapters/lifecycle.md",
    "sdk/guide/chapters/modules.md",
    "sdk/guide/chapters/redundancy.md",
    "sdk/guide/chapters/start.md",
    "sdk/guide/chapters/testing.md",
    "sdk/guide/chapters/versions.md",
    "sdk/testkit/README.md",
    "examples/c-plugin/README.md",
    "examples/c-plugin/hello.c",
    "examples/c-plugin/kit/items.csv",
    "examples/c-plugin/plugin.json",
    "examples/hello-plugin/README.md",
    "examples/hello-plugin/kit/items.csv",
    "examples/hello-plugin/plugin.json",
    "examples/hello-plugin/src/lib.rs",
    "examples/load-balancer/README.md",
    "examples/load-balancer/haproxy.cfg",
    "examples/load-balancer/keepalived.conf",
    "examples/pair/README.md",
    "examples/pair/twinhub.toml",
    "examples/pair/items/mqtt1.csv",
    "examples/pair/items/plc1.csv",
    "examples/pair/items/sim1.csv",
    "matrix/COMPATIBILITY.md",
    "matrix/compatibility.html",
    "matrix/compatibility.json",
    "matrix/seed.json",
    "core/runtime/EVENTS.md",
    "core/hub/systemd/twinhub-witness.service",
    "core/hub/systemd/twinhub.sysusers",
    "core/hub/systemd/twinhub@.service",
];

/// Builds hub and plugins, optimized as a whole.
pub(crate) fn build() -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--profile", "dist", "--locked"]);
    for package in PRODUCT {
        cargo.args(["--package", package]);
    }
    run(&mut cargo)
}

/// Where [`build`] puts them.
pub(crate) fn folder() -> PathBuf {
    target_dir().join("dist")
}

/// `cargo xtask dist`: hub and plugins, optimized as a whole, in one archive with all that a site needs. With a secret key of
/// minisign each plugin is signed, as `plugins.lock` wants it, and the archive, too.
pub(crate) fn archive(key: Option<&Path>) -> Result<()> {
    // Before what takes minutes.
    let key = key.map(secret_key).transpose()?;
    build()?;
    let triple = output(command("rustc", &root()).args(["-vV"]))
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)))
        .ok_or_else(|| Failure::failed("rustc does not say for which system it builds"))?;
    let name = format!("twinhub-{}-{triple}", env!("CARGO_PKG_VERSION"));
    let built = folder();
    let folder = built.join(&name);
    // Left from an earlier run; that it is absent is the usual case.
    drop(fs::remove_dir_all(&folder));
    copy(&built.join("twinhub"), &folder.join("bin/twinhub"))?;
    for package in &PRODUCT[1..] {
        let library = format!("lib{}.so", package.replace('-', "_"));
        let place = folder.join("plugins").join(&library);
        copy(&built.join(&library), &place)?;
        if let Some(key) = &key {
            let comment = format!("{package} {}", env!("CARGO_PKG_VERSION"));
            sign(key, &place, &comment)?;
        }
    }
    for file in CONTENT {
        copy(&root().join(file), &folder.join(file))?;
    }
    // `matrix show` reads what was measured, and what the kit found.
    for results in RESULTS {
        for file in files(&root().join(results))? {
            copy(&file, &folder.join(results).join(file.file_name().unwrap_or_default()))?;
        }
    }
    let archive = format!("{name}.tar.gz");
    run(command("tar", &built).args(["--sort=name", "--owner=0", "--group=0", "-czf", &archive, &name]))?;
    let sum = output(command("sha256sum", &built).arg(&archive))
        .ok_or_else(|| Failure::failed("sha256sum says nothing"))?;
    let sum_file = built.join(format!("{archive}.sha256"));
    fs::write(&sum_file, sum).map_err(|error| Failure::failed(format!("{}: {error}", sum_file.display())))?;
    if let Some(key) = &key {
        sign(key, &built.join(&archive), &name)?;
        println!("{}", built.join(format!("{archive}.minisig")).display());
    }
    println!("{}", built.join(archive).display());
    println!("{}", sum_file.display());
    Ok(())
}

/// A file that minisign signs with.
fn secret_key(path: &Path) -> Result<PathBuf> {
    let found =
        fs::canonicalize(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if output(command("minisign", &root()).arg("-v")).is_none() {
        return Err(Failure::failed(
            "minisign is not installed, and signs what is released: `apt install minisign`",
        ));
    }
    Ok(found)
}

/// Puts the signature beside a file. A key with a password is asked for it each time.
fn sign(key: &Path, file: &Path, comment: &str) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    run(command("minisign", folder).arg("-S").arg("-s").arg(key).arg("-m").arg(file).args(["-t", comment]))
}

/// Folders that are copied with every file in them.
const RESULTS: [&str; 2] = ["matrix/results", "matrix/results/kits"];

/// The files of a folder, without those of folders in it.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failure = |error: std::io::Error| Failure::failed(format!("{}: {error}", folder.display()));
    let entries = fs::read_dir(folder).map_err(failure)?;
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(failure)?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to));
    copied
        .map(drop)
        .map_err(|error| Failure::failed(format!("{} to {}: {error}", from.display(), to.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets of `](…)` in a text.
    fn links(text: &str) -> Vec<&str> {
        text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
    }

    #[test]
    fn every_link_of_the_readme_leads_to_something_in_the_archive() {
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        let local: Vec<&str> = links(&readme).into_iter().filter(|link| !link.contains("://")).collect();
        assert!(local.len() > 5, "{local:?}");
        for link in local {
            let place = link.split('#').next().unwrap_or(link);
            let is_there =
                CONTENT.iter().any(|file| *file == place || file.starts_with(&format!("{place}/")));
            assert!(is_there, "{link} is not in the archive");
        }
    }

    #[test]
    fn no_result_is_left_out() {
        let found: Vec<PathBuf> =
            RESULTS.iter().flat_map(|folder| files(&root().join(folder)).unwrap()).collect();
        assert!(found.iter().any(|file| file.ends_with("matrix/results/modbus-normal.json")), "{found:?}");
        assert!(found.iter().any(|file| file.ends_with("matrix/results/kits/modbus.json")), "{found:?}");
        let listed = output(command("git", &root()).args(["ls-files", "matrix/results"])).unwrap();
        for file in listed.lines() {
            assert!(found.contains(&root().join(file)), "{file}");
        }
    }

    #[test]
    fn what_is_signed_is_what_the_public_key_verifies() {
        let dir = target_dir().join("tmp").join(format!("signed-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        let minisign = |arguments: &[&str]| output(command("minisign", &dir).args(arguments));
        if minisign(&["-v"]).is_none() {
            println!("skipped: minisign is not installed");
            return;
        }
        minisign(&["-G", "-W", "-p", "site.pub", "-s", "site.key"]).unwrap();
        fs::write(path("library.so"), b"code").unwrap();
        let key = secret_key(&path("site.key")).unwrap();
        sign(&key, &path("library.so"), "twinhub-any 1.2.3").unwrap();
        let said = minisign(&["-V", "-p", "site.pub", "-m", "library.so"]).unwrap();
        assert!(said.contains("Trusted comment: twinhub-any 1.2.3"), "{said}");
        assert!(secret_key(&path("nowhere.key")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn everything_in_the_archive_exists() {
        for file in CONTENT {
            assert!(root().join(file).is_file(), "{file}");
        }
    }
}
