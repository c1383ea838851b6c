//! The code of the chapters that no documentation test compiles, and the links between them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_pieces_of_c_are_one_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("lamps.c");
    let chapter = chapter("c.md");
    let pieces = blocks(&chapter, "c");
    assert!(pieces.len() >= 6, "{} pieces", pieces.len());
    std::fs::write(&source, pieces.concat()).unwrap();
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-I"])
        .arg(root().join("sdk/contract/include"))
        .arg("-o")
        .args([dir.path().join("liblamps.so"), source])
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let manifest = pieces.concat();
    let manifest: String = manifest
        .lines()
        .skip_while(|line| !line.starts_with("#define MANIFEST"))
        .skip(1)
        .take_while(|line| line.starts_with("  \""))
        .map(|line| line.trim_end_matches('\\').trim().trim_matches('"').replace("\\\"", "\""))
        .collect();
    twinhub_contract::Manifest::parse(manifest.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_manifest_of_the_first_chapter_is_one() {
    let manifest = std::fs::read(here().join("plugin.json")).unwrap();
    twinhub_contract::Manifest::parse(&manifest).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn only_the_chapter_on_c_has_c() {
    for name in CHAPTERS.iter().filter(|name| **name != "c.md") {
        assert!(blocks(&chapter(name), "c").is_empty(), "nothing compiles the C of {name}");
    }
}

#[test]
fn links_between_chapters_lead_to_chapters() {
    let mut found = 0;
    for name in CHAPTERS {
        let text = chapter(name);
        let definitions: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect();
        for (label, target) in &definitions {
            assert_eq!(*target, format!("{label}.md"), "{name}");
            assert!(CHAPTERS.contains(target), "{name}: {target}");
            assert!(text.contains(&format!("][{label}]")), "{name} does not use [{label}]");
            found += 1;
        }
        for used in text.split("][").skip(1).filter_map(|rest| rest.split_once(']')) {
            let is_defined = definitions.iter().any(|(label, _)| *label == used.0);
            assert!(is_defined, "{name}: [{}] leads nowhere", used.0);
        }
    }
    assert!(found > 5, "{found} links");
}

#[test]
fn every_chapter_is_known_and_fits_a_line_of_the_contents() {
    let mut files: Vec<String> = std::fs::read_dir(here().join("chapters"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, CHAPTERS);
    let contents = std::fs::read_to_string(here().join("README.md")).unwrap();
    let library = std::fs::read_to_string(here().join("src/lib.rs")).unwrap();
    for name in CHAPTERS {
        assert!(contents.contains(&format!("](chapters/{name})")), "{name} is not in README.md");
        assert!(library.contains(&format!("\"../chapters/{name}\"")), "{name} is not in src/lib.rs");
    }
}

/// The blocks of a language, in their order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if info == language {
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

fn chapter(name: &str) -> String {
    std::fs::read_to_string(here().join("chapters").join(name)).unwrap()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root() -> PathBuf {
    here().join("../..")
}

/// In the order of their names.
const CHAPTERS: [&str; 11] = [
    "c.md",
    "device.md",
    "events.md",
    "inactive.md",
    "items.md",
    "lifecycle.md",
    "modules.md",
    "redundancy.md",
    "start.md",
    "testing.md",
    "versions.md",
];
