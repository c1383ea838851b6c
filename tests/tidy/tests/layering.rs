//! Who may know whom. The arrows are those of ARCHITECTURE.md.

use std::path::Path;

use twinhub_tidy::{folder, metadata, needs, report, root, rust_files, text};

/// Decide, and have no socket, clock, thread or file.
const PURE: [&str; 11] = [
    "core/alarms",
    "core/deliveries",
    "core/documents",
    "core/events",
    "core/model",
    "core/redundancy",
    "core/replica",
    "core/wire",
    "protocols/bacnet",
    "protocols/commissioning",
    "protocols/knx",
];
/// All that a pure crate may use: encoding, error texts, checksums, and the vocabulary.
const PURE_MAY_USE: [&str; 6] =
    ["crc32fast", "minicbor", "serde", "thiserror", "twinhub-model", "twinhub-wire"];
/// What some may use besides: ciphers and formats of files are pure, too.
const PURE_MAY_ALSO_USE: [(&str, &[&str]); 2] = [
    (
        "protocols/commissioning",
        &["aes", "base64", "hmac", "miniz_oxide", "pbkdf2", "quick-xml", "sha1", "sha2"],
    ),
    (
        "protocols/knx",
        &["aes", "base64", "hmac", "pbkdf2", "roxmltree", "sha2", "subtle", "x25519-dalek", "zeroize"],
    ),
];
/// May contain `unsafe`, each block with its proof.
const UNSAFE: [&str; 4] = ["core/isolation", "core/loader", "sdk/contract", "sdk/plugin"];

#[test]
fn core_never_sees_a_plugin_nor_the_author_api() {
    let metadata = metadata();
    let is_plugin = |name: &str| {
        name == "twinhub-plugin"
            || metadata.packages.iter().any(|package| {
                package.name.as_str() == name
                    && ["plugins/", "examples/"].iter().any(|top| folder(package).starts_with(top))
            })
    };
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|package| folder(package).starts_with("core/")) {
        findings.extend(
            needs(package)
                .into_iter()
                .filter(|name| is_plugin(name))
                .map(|name| format!("{} -> {name}", folder(package))),
        );
    }
    report("core depends on plugins", &findings);
}

#[test]
fn plugins_see_only_the_author_api_of_this_workspace() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let place = folder(package);
        let protocol;
        let with_protocol;
        let allowed: &[&str] = match place.as_str() {
            // What the code of the guide needs is needed by its tests only.
            "sdk/contract" | "sdk/guide" => &[],
            "sdk/plugin" => &["twinhub-contract"],
            // The kit loads libraries with the very loader of the hub, in its process and in others, and knows nothing else
            // of it.
            "sdk/testkit" => &["twinhub-contract", "twinhub-isolation", "twinhub-loader"],
            // A plugin may use the protocol of its name.
            place if place.starts_with("plugins/") => {
                protocol = format!("twinhub-{}-protocol", place.trim_start_matches("plugins/"));
                with_protocol = ["twinhub-plugin", &protocol];
                &with_protocol
            }
            place if place.starts_with("examples/") => &["twinhub-plugin"],
            _ => continue,
        };
        let ours = needs(package)
            .into_iter()
            .filter(|name| metadata.packages.iter().any(|other| other.name.as_str() == *name));
        findings.extend(ours.filter(|name| !allowed.contains(name)).map(|name| format!("{place} -> {name}")));
    }
    report("plugins or sdk depend on the wrong side", &findings);
}

#[test]
fn protocols_see_nothing_of_this_workspace_and_only_plugins_see_them() {
    let metadata = metadata();
    let home = |name: &str| {
        let found = metadata.packages.iter().find(|package| package.name.as_str() == name);
        found.map(folder).unwrap_or_default()
    };
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let place = folder(package);
        for name in needs(package) {
            let is_ours = !home(name).is_empty();
            // What engineering tools export is read by the hub's command line: it is about items, not about telegrams.
            let is_import = name == "twinhub-commissioning" && place == "core/hub";
            let is_user = place.starts_with("plugins/") || place.starts_with("tests/") || is_import;
            if (place.starts_with("protocols/") && is_ours)
                || (home(name).starts_with("protocols/") && !is_user)
            {
                findings.push(format!("{place} -> {name}"));
            }
        }
    }
    report("protocols depend on the workspace, or others on them", &findings);
}

#[test]
fn nothing_of_the_product_depends_on_its_tests() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for package in metadata.packages.iter().filter(|package| !folder(package).starts_with("tests/")) {
        for name in needs(package) {
            let target = metadata
                .packages
                .iter()
                .find(|other| other.name.as_str() == name)
                .map(folder)
                .unwrap_or_default();
            // `twinhub matrix` is a command of the executable, so the hub may use the generator.
            let is_allowed = target == "matrix" && folder(package) == "core/hub";
            if (target.starts_with("tests/") || target == "matrix") && !is_allowed {
                findings.push(format!("{} -> {name}", folder(package)));
            }
        }
    }
    report("the product depends on tests or the matrix", &findings);
}

#[test]
fn lower_crates_of_core_do_not_see_upper_ones() {
    // From the bottom up: a crate may use only what stands before it.
    let order = [
        "model",
        "wire",
        "alarms",
        "events",
        "deliveries",
        "redundancy",
        "replica",
        "documents",
        "config",
        "trust",
        "store",
        "history",
        "historian",
        "loader",
        "isolation",
        "floating",
        "runtime",
        "web",
        "hub",
    ];
    let level = |name: &str| order.iter().position(|known| name == format!("twinhub-{known}"));
    let mut findings = Vec::new();
    for package in metadata().packages.iter().filter(|package| folder(package).starts_with("core/")) {
        let Some(own) = level(&package.name) else {
            findings.push(format!("{} has no place in the order of this test", folder(package)));
            continue;
        };
        let above = needs(package).into_iter().filter(|name| level(name).is_some_and(|other| other >= own));
        findings.extend(above.map(|name| format!("{} -> {name}", folder(package))));
    }
    report("dependencies against the direction", &findings);
}

#[test]
fn pure_crates_use_nothing_that_can_act() {
    let mut findings = Vec::new();
    for package in metadata().packages.iter().filter(|package| PURE.contains(&folder(package).as_str())) {
        let place = folder(package);
        let besides =
            PURE_MAY_ALSO_USE.iter().filter(|(pure, _)| *pure == place).flat_map(|(_, names)| *names);
        let allowed: Vec<&str> = PURE_MAY_USE.iter().chain(besides).copied().collect();
        let other = needs(package).into_iter().filter(|name| !allowed.contains(name));
        findings.extend(other.map(|name| format!("{} -> {name}", folder(package))));
    }
    report("pure crates depend on more than encodings", &findings);
}

#[test]
fn every_pure_crate_bans_clocks_threads_locks_and_hash_order() {
    let bans = [
        "Instant::now",
        "SystemTime::now",
        "thread::spawn",
        "HashMap",
        "HashSet",
        "sync::Mutex",
        "sync::RwLock",
    ];
    let mut findings = Vec::new();
    for place in PURE {
        let file = text(&format!("{place}/clippy.toml")).unwrap_or_default();
        findings.extend(
            bans.iter().filter(|ban| !file.contains(**ban)).map(|ban| format!("{place}/clippy.toml: {ban}")),
        );
    }
    report("bans are missing", &findings);
}

#[test]
fn tokio_is_only_at_the_edges() {
    let edges = ["core/historian", "core/runtime", "core/web", "core/hub", "sdk/plugin"];
    let is_edge = |place: &str| {
        edges.contains(&place) || ["plugins/", "tests/", "examples/"].iter().any(|top| place.starts_with(top))
    };
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let asynchronous = needs(package).into_iter().filter(|name| name.starts_with("tokio"));
        findings.extend(
            asynchronous
                .filter(|_| !is_edge(&folder(package)))
                .map(|name| format!("{} -> {name}", folder(package))),
        );
    }
    report("tokio is not at the edge", &findings);
}

#[test]
fn only_the_loader_loads_libraries() {
    let packages = metadata().packages;
    let users: Vec<String> =
        packages.iter().filter(|package| needs(package).contains(&"libloading")).map(folder).collect();
    assert_eq!(users, ["core/loader"]);
}

#[test]
fn code_without_memory_safety_stands_only_at_the_contract() {
    // Put together here, so that this file does not find itself.
    let word = concat!("un", "safe");
    let marks = [" {", " fn", " impl", " extern", "(", "_code"].map(|mark| format!("{word}{mark}"));
    let mut findings = Vec::new();
    for (name, text) in
        rust_files().filter(|(name, _)| !UNSAFE.iter().any(|place| name.starts_with(&format!("{place}/"))))
    {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if marks.iter().any(|mark| code.contains(mark.as_str())) {
                findings.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("unsafe code outside its crates", &findings);
}

#[test]
fn nothing_but_one_command_takes_safety_rules_away() {
    // In two parts, so that this file does not name the switch either.
    let switch = ["twinhub_", "sabotage"].concat();
    let mut named: Vec<String> = twinhub_tidy::files()
        .into_iter()
        .filter(|name| twinhub_tidy::text(name).is_some_and(|text| text.contains(&switch)))
        .collect();
    named.sort();
    let allowed = [
        "Cargo.toml",
        "core/redundancy/src/lib.rs",
        "core/redundancy/src/rule.rs",
        "tests/simulation/tests/rules.rs",
        "tests/xtask/src/test.rs",
    ];
    assert_eq!(named, allowed, "the switch is set by `cargo xtask sim --sabotage` alone");
}

#[test]
fn every_crate_inherits_lints_licence_and_version() {
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let place = folder(package);
        let manifest = text(&format!("{place}/Cargo.toml")).unwrap_or_default();
        if !manifest.contains("[lints]\nworkspace = true") {
            findings.push(format!("{place}: no `[lints] workspace = true`"));
        }
        if package.license.as_deref() != Some("MIT OR Apache-2.0") {
            findings.push(format!("{place}: license is {:?}", package.license));
        }
        if package.rust_version.is_none() || package.publish.as_deref() != Some(&[]) {
            findings.push(format!("{place}: no rust-version, or may be published"));
        }
        if package.description.as_deref().unwrap_or_default().is_empty() {
            findings.push(format!("{place}: no description"));
        }
    }
    report("incomplete manifests", &findings);
}

#[test]
fn every_plugin_has_a_manifest_and_a_readme() {
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let place = folder(package);
        if place.starts_with("plugins/") {
            let missing = ["plugin.json", "README.md"]
                .into_iter()
                .filter(|file| !root().join(&place).join(file).is_file());
            findings.extend(missing.map(|file| format!("{place}/{file}")));
        }
    }
    report("missing files", &findings);
}

#[test]
fn top_level_folders_are_those_of_the_architecture() {
    let known = [".cargo", ".ci", "core", "examples", "matrix", "plugins", "protocols", "sdk", "tests"];
    let mut findings: Vec<String> = twinhub_tidy::files()
        .iter()
        .filter_map(|name| name.split_once('/').map(|(top, _)| top.to_owned()))
        .filter(|top| !known.contains(&top.as_str()))
        .collect();
    findings.dedup();
    report("unknown folders", &findings);
    assert!(Path::new(&root()).join("Cargo.lock").is_file());
}
