//! The way of an author: from nothing to a plugin that is green and survives the death of a main.

use std::path::Path;
use std::process::Command;

use twinhub_peers::Port;

use crate::{is_green, root};

#[test]
fn a_new_plugin_in_c_is_green_and_survives_a_main() {
    let dir = tempfile::tempdir().unwrap();
    new(dir.path(), &["boiler-room", "--lang", "c"]);
    let project = dir.path().join("boiler-room");
    done(Command::new("make").current_dir(&project));
    is_green_and_survives(&project, "libtwinhub_boiler_room.so");
}

#[test]
fn a_new_plugin_in_rust_is_green_and_survives_a_main() {
    let dir = tempfile::tempdir().unwrap();
    let sdk = root().join("sdk");
    new(dir.path(), &["wind-mill", "--sdk", sdk.to_str().unwrap()]);
    let project = dir.path().join("wind-mill");
    // The versions that are here, so that nothing is fetched.
    std::fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("author");
    let cargo = |arguments: &[&str]| {
        done(
            Command::new(env!("CARGO"))
                .args(arguments)
                .args(["--release", "--offline", "--quiet", "--target-dir"])
                .arg(&target)
                .current_dir(&project),
        )
    };
    cargo(&["test"]);
    cargo(&["build"]);
    let built = project.join("target/release");
    std::fs::create_dir_all(&built).unwrap();
    let library = "libtwinhub_wind_mill.so";
    std::fs::copy(target.join("release").join(library), built.join(library)).unwrap();
    is_green_and_survives(&project, &format!("target/release/{library}"));
}

#[test]
fn a_folder_with_files_and_a_name_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    std::fs::write(dir.path().join("mine/file"), "").unwrap();
    let refused = |arguments: &[&str]| {
        let output = twinhub(dir.path()).args(["plugin", "new"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = refused(&["mine", "--lang", "c"]);
    assert!(code == Some(64) && said.contains("mine has files already"), "{said}");
    let (code, said) = refused(&["../mine", "--lang", "c"]);
    assert!(code == Some(2) && said.contains("is no name for a plugin"), "{said}");
    let (code, said) = refused(&["yours", "--sdk", "/nowhere"]);
    assert!(code == Some(64) && said.contains("--sdk DIR names the folder"), "{said}");
}

fn is_green_and_survives(project: &Path, library: &str) {
    let (library, items) = (project.join(library), project.join("kit/items.csv"));
    is_green(&[library.to_str().unwrap(), "--items", items.to_str().unwrap()]);

    // Others may use the ports of the example.
    let ports: [u16; 5] = Port::hold();
    for file in ["site/twinhub.toml", "site/pair.sh"] {
        let path = project.join(file);
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (old, new) in ["27630", "27620", "27621", "28620", "28621"].iter().zip(ports) {
            text = text.replace(old, &new.to_string());
        }
        std::fs::write(&path, text).unwrap();
    }
    let shown = done(
        Command::new("sh")
            .arg("site/pair.sh")
            .env("TWINHUB", env!("CARGO_BIN_EXE_twinhub"))
            .current_dir(project),
    );
    let (before, after) = shown.split_once("== the main is killed").unwrap_or_else(|| panic!("{shown}"));
    assert!(before.contains("active main") && before.contains("· protected"), "{shown}");
    assert!(after.contains("active backup"), "{shown}");
    let items = after.lines().filter(|line| line.starts_with("mine/")).collect::<Vec<_>>();
    assert!(items.len() == 2 && items.iter().all(|line| !line.contains("uncertain")), "{shown}");
}

fn new(dir: &Path, arguments: &[&str]) {
    done(twinhub(dir).args(["plugin", "new"]).args(arguments));
}

fn twinhub(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinhub"));
    command.current_dir(dir);
    command
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
    shown
}
