//! The way of an author: from nothing to a plugin that is green and survives the death of a main, by the commands that stand
//! in the guide.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use twinhub_peers::Port;

use crate::{compile, is_green, root};

#[test]
fn the_commands_of_the_guide_make_a_plugin_in_c_that_survives_a_main() {
    let author = Author::new();
    let [commands] = blocks("start.md", "## In C", "sh").try_into().unwrap();
    author.tries_a_pair(&commands, "boiler-room");
}

#[test]
fn the_commands_of_the_guide_make_a_plugin_in_rust_that_survives_a_main() {
    let author = Author::new();
    let [first, second] = blocks("start.md", "## In Rust", "sh").try_into().unwrap();
    author.tries_a_pair(&first, "wind-mill");

    // The author's own source, and the schema that follows from it.
    let project = author.dir.path().join("wind-mill");
    let [source] = blocks("start.md", "## In Rust", "rust,standalone_crate").try_into().unwrap();
    std::fs::write(project.join("src/lib.rs"), source).unwrap();
    let shown = author.runs(&second, &project);
    assert!(shown.contains(": green ("), "{shown}");
    let manifest = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let (written, kept) =
        (manifest(project.join("plugin.json")), manifest(root().join("sdk/guide/plugin.json")));
    assert_eq!(written["config_schema"], kept["config_schema"]);
}

/// The device is the judge: what it was asked, and on which link, does not depend on what the hub believes.
#[test]
fn the_plugin_of_the_guide_for_a_device_asks_from_the_active_node_only() {
    let (author, device) = (Author::new(), Device::start());
    author.runs("twinhub plugin new gauge", author.dir.path());
    let project = author.dir.path().join("gauge");
    for (language, path) in [
        ("json", "plugin.json"),
        ("rust,standalone_crate", "src/lib.rs"),
        ("csv", "kit/items.csv"),
        ("toml", "kit/settings.toml"),
    ] {
        let [text] = blocks("device.md", "# A device on the network", language).try_into().unwrap();
        std::fs::write(project.join(path), text.replace("127.0.0.1:7777", &device.address)).unwrap();
    }
    let [commands] = blocks("device.md", "# A device on the network", "sh").try_into().unwrap();
    let shown = author.runs(&commands, &project);
    assert!(shown.contains(": green ("), "{shown}");

    std::fs::create_dir(project.join("examples")).unwrap();
    let [simulator] = blocks("testing.md", "## A simulator of the device", "rust,no_run").try_into().unwrap();
    std::fs::write(project.join("examples/device.rs"), simulator).unwrap();
    let [commands] = blocks("testing.md", "## A simulator of the device", "sh").try_into().unwrap();
    let shown = author.runs(&commands, &project);
    for word in [": green (", "ok    robustness.device", "ok    failover.device"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    let asked = device.take_log();
    for word in ["READ 1", "READ 2", "SET 2 1"] {
        assert!(asked.iter().any(|(_, line)| line == word), "the kit made it {word}");
    }

    let site = project.join("site/twinhub.toml");
    let text = std::fs::read_to_string(&site).unwrap();
    let settings = format!("settings = {{ address = \"{}\", poll_ms = 20 }}\n", device.address);
    std::fs::write(site, text + &settings).unwrap();
    author.runs_a_pair(&project);
    let mut asked: Vec<usize> = device.take_log().into_iter().map(|(link, _)| link).collect();
    assert!(asked.len() > 20, "{} requests", asked.len());
    asked.dedup();
    assert_eq!(asked.len(), 2, "first the one node, then the other one: links {asked:?}");
}

#[test]
fn the_plugin_in_c_of_the_guide_is_green() {
    let dir = tempfile::tempdir().unwrap();
    let (source, library, items) =
        (dir.path().join("lamps.c"), dir.path().join("liblamps.so"), dir.path().join("items.csv"));
    std::fs::write(&source, blocks("c.md", "# In C", "c").concat()).unwrap();
    std::fs::write(&items, "path,address,type,access\nfirst,1,bool,rw\nsecond,2,bool,r\n").unwrap();
    compile(&source, &library, &["-fvisibility=hidden"]);
    is_green(&[library.to_str().unwrap(), "--items", items.to_str().unwrap()]);
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

/// Somebody at a shell in an empty folder, with `twinhub` on the path.
struct Author {
    dir: tempfile::TempDir,
    programs: tempfile::TempDir,
}

impl Author {
    fn new() -> Author {
        let (dir, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = |name: &str, lines: &str| {
            let path = programs.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\nset -e\n{lines}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(path, mode).unwrap();
        };
        program("twinhub", &format!("exec '{}' \"$@\"", env!("CARGO_BIN_EXE_twinhub")));
        // The versions that are here, so that nothing is fetched, and what was built for the last run.
        let lines = format!(
            "[ -e Cargo.lock ] || cp '{}' Cargo.lock\n[ -e target ] || ln -s '{}' target\nexec '{}' \"$@\" --offline --quiet",
            root().join("Cargo.lock").display(),
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("author").display(),
            env!("CARGO"),
        );
        program("cargo", &lines);
        std::fs::create_dir_all(Path::new(env!("CARGO_TARGET_TMPDIR")).join("author")).unwrap();
        Author { dir, programs }
    }

    /// What the commands show; each has to succeed.
    fn runs(&self, commands: &str, dir: &Path) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        done(
            Command::new("sh")
                .args(["-eu", "-c", commands])
                .env("PATH", format!("{}:{path}", self.programs.path().display()))
                .env_remove("CARGO_TARGET_DIR")
                .current_dir(dir),
        )
    }

    /// Runs commands that end with `site/pair.sh`, which gets ports that nobody uses.
    fn tries_a_pair(&self, commands: &str, name: &str) {
        let pair = "sh site/pair.sh\n";
        let before = commands.strip_suffix(pair).unwrap_or_else(|| panic!("{commands}"));
        let shown = self.runs(before, self.dir.path());
        assert!(shown.contains(": green ("), "{shown}");
        let after = self.runs_a_pair(&self.dir.path().join(name));
        let items = after.lines().filter(|line| line.starts_with("mine/")).collect::<Vec<_>>();
        assert!(items.len() == 2 && items.iter().all(|line| !line.contains("uncertain")), "{after}");
    }

    /// What `site/pair.sh` shows after the main was killed.
    fn runs_a_pair(&self, project: &Path) -> String {
        let ports: [u16; 5] = Port::hold();
        for file in ["site/twinhub.toml", "site/pair.sh"] {
            let path = project.join(file);
            let mut text = std::fs::read_to_string(&path).unwrap();
            for (old, new) in ["27630", "27620", "27621", "28620", "28621"].iter().zip(ports) {
                text = text.replace(old, &new.to_string());
            }
            std::fs::write(&path, text).unwrap();
        }
        let shown = self.runs("sh site/pair.sh", project);
        let (before, after) = shown.split_once("== the main is killed").unwrap_or_else(|| panic!("{shown}"));
        assert!(before.contains("active main") && before.contains("· protected"), "{shown}");
        assert!(after.contains("active backup"), "{shown}");
        after.to_owned()
    }
}

/// A device with lines of text: `READ 1` is answered with a number, `SET 1 21.5` with `OK`.
struct Device {
    address: String,
    /// What it was asked, with the number of the link.
    log: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Device {
    fn start() -> Device {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::<Mutex<Vec<(usize, String)>>>::default();
        let registers = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let asked = Arc::clone(&log);
        std::thread::spawn(move || {
            for (number, link) in listener.incoming().flatten().enumerate() {
                let (asked, registers) = (Arc::clone(&asked), Arc::clone(&registers));
                std::thread::spawn(move || answer(&link, number, &asked, &registers));
            }
        });
        Device { address, log }
    }

    fn take_log(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

fn answer(
    link: &TcpStream,
    number: usize,
    asked: &Mutex<Vec<(usize, String)>>,
    registers: &Mutex<BTreeMap<String, String>>,
) {
    for line in BufReader::new(link).lines().map_while(Result::ok) {
        let said = match line.split(' ').collect::<Vec<_>>()[..] {
            ["READ", at] => registers.lock().unwrap().get(at).cloned().unwrap_or_else(|| "0".to_owned()),
            ["SET", at, value] => {
                registers.lock().unwrap().insert(at.to_owned(), value.to_owned());
                "OK".to_owned()
            }
            _ => "WHAT".to_owned(),
        };
        asked.lock().unwrap().push((number, line));
        let mut link = link;
        if link.write_all(format!("{said}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// The blocks of a language below a heading of a chapter.
fn blocks(chapter: &str, heading: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("sdk/guide/chapters").join(chapter)).unwrap();
    let level = heading.split(' ').next().unwrap_or_default();
    let (mut found, mut is_below) = (Vec::new(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            if is_below && info == language {
                found.push(block.join("\n") + "\n");
            }
        } else if line.starts_with(&format!("{level} ")) {
            is_below = line == heading;
        }
    }
    found
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
