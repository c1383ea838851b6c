//! What must not be in the repository, and what must be as it was generated.

use std::collections::BTreeSet;

use twinhub_tidy::{files, is_kind, report, root, rust_files, text};

#[test]
fn source_files_are_shorter_than_600_lines() {
    let findings: Vec<String> = rust_files()
        .filter(|(name, _)| name.contains("/src/"))
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    report("split these", &findings);
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_to_do() {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("#[ign", "ore"), concat!("to", "do!("), concat!("unimple", "mented!(")];
    let mut findings = Vec::new();
    for (name, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if marks.iter().any(|mark| code.contains(mark)) {
                findings.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("unfinished", &findings);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let words = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("index.crates", ".io"),
        concat!("registry.npm", "js"),
        concat!("py", "pi.org"),
        concat!("python", "hosted"),
    ];
    let mut findings = Vec::new();
    for name in files().into_iter().filter(|name| !name.ends_with("Cargo.lock")) {
        let Some(text) = text(&name) else { continue };
        for (number, line) in text.lines().enumerate() {
            findings.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{name}:{}: {word}", number + 1)),
            );
        }
    }
    report("words that tie the repository to a place", &findings);
}

#[test]
fn there_is_one_lock_file_with_one_tls_stack() {
    let locks: Vec<String> = files().into_iter().filter(|name| name.ends_with("Cargo.lock")).collect();
    assert_eq!(locks, ["Cargo.lock"]);
    let lock = text("Cargo.lock").unwrap_or_default();
    let banned = ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls"];
    let findings: Vec<String> = banned
        .iter()
        .filter(|name| lock.contains(&format!("name = \"{name}\"")))
        .map(|name| format!("{name} is in Cargo.lock"))
        .collect();
    report("a second TLS stack", &findings);
}

#[test]
fn modules_are_files_beside_their_folder() {
    let findings: Vec<String> = files().into_iter().filter(|name| name.ends_with("/mod.rs")).collect();
    // A test harness file shared by several test programs has no other place.
    let findings: Vec<String> = findings.into_iter().filter(|name| !name.contains("/tests/")).collect();
    report("mod.rs", &findings);
}

#[test]
fn text_files_end_with_one_line_end_and_have_no_tabs_in_rust() {
    let kinds = ["rs", "toml", "md", "py", "json", "csv", "h", "c"];
    let mut findings = Vec::new();
    for name in files().into_iter().filter(|name| kinds.iter().any(|kind| is_kind(name, kind))) {
        let Some(text) = text(&name) else { continue };
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            findings.push(format!("{name}: end of file"));
        }
        if is_kind(&name, "rs") && text.contains('\t') {
            findings.push(format!("{name}: tab"));
        }
    }
    report("white space", &findings);
}

#[test]
fn relative_links_in_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for name in files().into_iter().filter(|name| is_kind(name, "md")) {
        let text = text(&name).unwrap_or_default();
        let base = root().join(&name);
        let folder = base.parent().unwrap_or(&base);
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() { base.clone() } else { folder.join(path) };
            if !target.exists() {
                findings.push(format!("{name}: {link}"));
            } else if !anchor.is_empty() && target.extension().is_some_and(|kind| kind == "md") {
                let headings = anchors(&std::fs::read_to_string(&target).unwrap_or_default());
                if !headings.contains(anchor) {
                    findings.push(format!("{name}: {link}: no such heading"));
                }
            }
        }
    }
    report("dead links", &findings);
}

#[test]
fn the_compatibility_matrix_is_up_to_date() {
    if let Err(error) = twinhub_matrix::verify(&root()) {
        panic!("run `cargo xtask matrix build`: {error}");
    }
}

#[test]
fn every_code_of_an_event_stands_in_the_list_of_events_and_no_other() {
    let list = text("core/runtime/EVENTS.md").unwrap_or_default();
    let listed = listed_codes(&list);
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for (name, text) in rust_files() {
        if !name.starts_with("core/runtime/src/") || name.contains("/tests") {
            continue;
        }
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            // What a refused order is called by is no event.
            let is_refusal = line.contains("Error::") && line.contains("=> \"TH-");
            for code in line.split('"').filter(|text| is_code(text) && !is_refusal) {
                told.insert(code.to_owned());
                if !listed.contains(code) {
                    findings.push(format!("{name}:{}: {code} is not listed", number + 1));
                }
            }
        }
    }
    assert!(told.len() > 40, "the codes are found where they are told: {told:?}");
    findings.extend(listed.difference(&told).map(|code| format!("{code} is listed and never told")));
    report("core/runtime/EVENTS.md", &findings);
}

/// `TH-ROLE-001`.
fn is_code(text: &str) -> bool {
    let number = text.strip_prefix("TH-").and_then(|rest| rest.split_once('-')).map(|(_, number)| number);
    number.is_some_and(|number| number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The codes of the first column: `TH-A-001`, further ones of the same kind as `-002`, and `TH-A-001` to `-003`.
fn listed_codes(list: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for line in list.lines().filter(|line| line.starts_with("| `TH-")) {
        let column = line.split('|').nth(1).unwrap_or_default();
        let (mut kind, mut last) = ("", 0);
        for (place, piece) in column.split('`').enumerate() {
            let is_range = place % 2 == 0 && piece.trim() == "to";
            if place % 2 == 0 && !is_range {
                last = 0;
                continue;
            }
            let Some((before, number)) = piece.rsplit_once('-').filter(|_| !is_range) else { continue };
            if !before.is_empty() {
                kind = before;
            }
            let number: u32 = number.parse().unwrap_or_default();
            let first = if last == 0 { number } else { last };
            codes.extend((first..=number).map(|number| format!("{kind}-{number:03}")));
            last = number;
        }
    }
    codes
}

#[test]
fn a_list_of_codes_is_read_with_its_short_forms() {
    let list = "| `TH-A-001`, `-003` | x |\n| `TH-B-001` to `-003` | x |\n| TH-C-001 | `TH-D-001` |\n";
    let codes: Vec<String> = listed_codes(list).into_iter().collect();
    assert_eq!(codes, ["TH-A-001", "TH-A-003", "TH-B-001", "TH-B-002", "TH-B-003"]);
}

/// Targets of Markdown links outside code that stay within the repository.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every second piece stands between backticks.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default().trim();
            let is_outside = target.contains("://") || target.starts_with("mailto:") || target.is_empty();
            if !is_outside {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Headings as a link names them.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        })
        .collect()
}
