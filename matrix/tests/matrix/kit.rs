//! What the kit for plugins found, and the examples, which have nothing else.

use twinhub_matrix::{Section, State, build, source_hash, verify};

use crate::fixture::{Fixture, good, kit, manifest};

#[test]
fn examples_have_a_section_of_their_own_and_grow_stale_as_plugins_do() {
    let site = Fixture::new();
    let example = site.root().join("examples/hello");
    std::fs::create_dir_all(&example).unwrap();
    let mut declared = manifest("Twinhub");
    (declared["id"], declared["name"]) = ("org.twinhub.hello".into(), "Hello".into());
    std::fs::write(example.join("plugin.json"), declared.to_string()).unwrap();
    std::fs::write(example.join("hello.c"), "int a;\n").unwrap();
    let mut report = kit(&site);
    report["plugin"] = "org.twinhub.hello".into();
    report["source_hash"] = source_hash(&example).unwrap().into();
    site.kit(&report);
    build(site.root()).unwrap();
    let hello = || {
        let matrix = verify(site.root()).unwrap();
        assert_eq!(matrix.rows.iter().filter(|row| row.id == "hello").count(), 1);
        matrix.rows.into_iter().last().unwrap()
    };
    let row = hello();
    assert_eq!((row.section, row.claim.state), (Section::Example, State::Declared));
    assert_eq!(row.kit.unwrap().cell.state, State::Verified);
    let text = std::fs::read_to_string(site.root().join("matrix/COMPATIBILITY.md")).unwrap();
    assert!(text.contains("## Examples\n"), "{text}");

    std::fs::write(example.join("hello.c"), "int b;\n").unwrap();
    build(site.root()).unwrap();
    let found = hello().kit.unwrap();
    assert_eq!(found.cell.reasons, ["the plugin's sources have changed since"]);
}

#[test]
fn what_the_kit_found_stands_beside_what_is_declared() {
    let site = Fixture::new();
    site.kit(&kit(&site));
    let row = site.modbus();
    let found = row.kit.unwrap();
    assert_eq!(
        (found.cell.state, found.groups["roles"], found.groups["state"]),
        (State::Verified, [2, 2], [0, 0])
    );
    assert_eq!(row.claim.state, State::Declared, "a kit alone verifies no takeover");
    let text = site.matrix().markdown();
    assert!(text.contains("| declared | green, 2 tests |"), "{text}");
    assert!(text.contains("Kit: green, 2 tests (2026-11-22): roles 2 of 2; 1 do not concern it."), "{text}");
    assert!(site.matrix().html().contains("roles 2 of 2"));
}

#[test]
fn a_red_kit_contradicts_the_claim_and_fails_the_build() {
    let site = Fixture::new();
    site.result("a.json", &good(&site));
    let mut report = kit(&site);
    report["verdict"] = "failed".into();
    report["tests"][0]["verdict"] = "failed".into();
    report["tests"][0]["note"] = "published a value of item 0 while COLD".into();
    site.kit(&report);
    let row = site.modbus();
    assert_eq!(row.claim.state, State::Contradicted);
    assert_eq!(row.claim.reasons, ["kit: roles.again: published a value of item 0 while COLD"]);
    build(site.root()).unwrap();
    let error = verify(site.root()).unwrap_err().to_string();
    assert!(error.contains("contradicted: org.twinhub.modbus (kit): roles.again: published"), "{error}");
}

#[test]
fn a_kit_of_other_sources_another_library_or_version_is_stale() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 4] = [
        (|report| report["source_hash"] = "0".repeat(64).into(), "the plugin's sources have changed since"),
        (|report| report["source_hash"] = serde_json::Value::Null, "tried with another library"),
        (|report| report["version"] = "0.0.9".into(), "tried with version 0.0.9, this is 0.1.0"),
        (|report| report["contract"] = "0.9".into(), "tried with contract 0.9, this is 1.0"),
    ];
    for (change, reason) in cases {
        let site = Fixture::new();
        let mut report = kit(&site);
        change(&mut report);
        site.kit(&report);
        let found = site.modbus().kit.unwrap();
        assert_eq!((found.cell.state, found.cell.reasons), (State::Stale, vec![reason.to_owned()]));
    }
}

#[test]
fn a_report_that_nobody_measured_is_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 4] = [
        (|report| report["schema"] = 7.into(), "schema is 7"),
        (
            |report| report["only"] = serde_json::json!(["abi"]),
            "only abi was run, which is not the whole kit",
        ),
        (|report| report["tests"] = serde_json::json!([]), "no test was run"),
        (|report| report["tests"][0]["verdict"] = "failed".into(), "the verdict is not that of its tests"),
    ];
    for (change, problem) in cases {
        let site = Fixture::new();
        let mut report = kit(&site);
        change(&mut report);
        site.kit(&report);
        let error = site.try_matrix().unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("twinhub plugin test --report"), "{error}");
    }
}
