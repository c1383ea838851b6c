//! What the matrix says for plugins and runs made for it.

mod fixture;
mod kit;
mod page;
mod reference;

use std::path::Path;

use twinhub_contract::manifest::Mode;
use twinhub_matrix::{
    Cell, Error, Fenced, Inputs, Outcome, RunResult, Scenario, ScenarioName, State, TakeoverMs, build,
    collect, collect_from, source_hash, verify,
};

use fixture::{Fixture, compile, crash, good, manifest};

#[test]
fn a_plugin_without_runs_is_only_declared() {
    let site = Fixture::new();
    let matrix = site.matrix();
    let row = |id: &str| matrix.rows.iter().find(|row| row.id == id).unwrap();
    assert_eq!(row("modbus").claim.state, State::Declared);
    assert_eq!(row("modbus").claim.reasons, ["no run"]);
    assert_eq!(row("knx").claim.state, State::NotBuilt);
    assert!(matrix.verdicts().is_empty());
    assert!(matrix.markdown().contains("| KNX | not built yet |"), "{}", matrix.markdown());
}

#[test]
fn runs_of_all_scenarios_verify_a_claim() {
    let site = Fixture::new();
    site.result("a.json", &good(&site));
    assert_eq!(site.modbus().claim.state, State::Verified);
    assert_eq!(site.matrix().verdicts().len(), 4);
}

#[test]
fn a_declared_mode_without_runs_is_named_in_the_claim() {
    let site = Fixture::new();
    site.result("modbus.json", &good(&site));
    assert_eq!(site.modbus().claim.reasons, ["runs are missing with standby cold"]);
    site.result("modbus-cold.json", &RunResult { standby: Mode::Cold, ..good(&site) });
    assert_eq!(site.modbus().claim, Cell { state: State::Verified, reasons: Vec::new() });
}

#[test]
fn a_missing_scenario_is_not_tested_and_not_claimed() {
    let site = Fixture::new();
    let mut result = good(&site);
    result.scenarios.remove(&ScenarioName::Cut);
    site.result("a.json", &result);
    let row = site.modbus();
    assert_eq!((row.claim.state, row.claim.reasons), (State::Declared, vec!["no run of cut".to_owned()]));
    assert_eq!(row.measured[0].scenarios[&ScenarioName::Cut].cell.state, State::NotTested);
}

#[test]
fn figures_that_were_not_declared_contradict() {
    type Change = fn(&mut Scenario);
    let cases: [(Change, &str); 9] = [
        (|run| run.writes_by_two_nodes = 1, "1 writes by two nodes, declared is none"),
        (|run| run.stray_packets = 2, "2 stray packets while inactive, declared is none"),
        (|run| run.commands_doubled = 1, "1 commands carried out twice, declared is none"),
        (|run| run.values_lost = 3, "3 values lost, the declared loss window allows 0"),
        (|run| run.fenced = Some(Fenced::Is(false)), "the old node was not kept from acting"),
        (|run| run.takeover_ms = None, "no time of takeover was measured"),
        (
            |run| run.takeover_ms = TakeoverMs::of(vec![1700.0, 3000.0, 9.0]),
            "takeover took 3000 ms (p99), declared are 2200 ms: 2000 ms for the protocol with profile normal, 200 ms for the plugin",
        ),
        (|run| run.verdict = Outcome::Fail, "the run failed"),
        (
            |run| {
                run.verdict = Outcome::Fail;
                run.note = "the broker went away".to_owned();
            },
            "the broker went away",
        ),
    ];
    for (change, reason) in cases {
        let site = Fixture::new();
        let mut result = good(&site);
        change(result.scenarios.get_mut(&ScenarioName::Crash).unwrap());
        site.result("a.json", &result);
        let row = site.modbus();
        assert_eq!(row.claim.state, State::Contradicted, "{reason}");
        assert_eq!(row.measured[0].scenarios[&ScenarioName::Crash].cell.reasons, [reason]);
        build(site.root()).unwrap();
        let error = verify(site.root()).unwrap_err().to_string();
        let expected = format!(
            "contradicted: org.twinhub.modbus (normal warm pymodbus crash): {reason}; repeat with: cargo xtask conformance modbus"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn a_takeover_is_judged_by_what_it_took_at_least() {
    // Declared: 2000 ms for the protocol and 200 ms for the plugin.
    let judged = |longest: f64, resolution_ms: Option<f64>| {
        let site = Fixture::new();
        let mut result = good(&site);
        let run = result.scenarios.get_mut(&ScenarioName::Crash).unwrap();
        run.takeover_ms = TakeoverMs::of(vec![1500.0, longest, 1600.0]);
        run.resolution_ms = resolution_ms;
        site.result("a.json", &result);
        site.modbus().measured[0].scenarios[&ScenarioName::Crash].cell.clone()
    };
    assert_eq!(judged(2300.0, Some(100.0)).state, State::Verified);
    assert_eq!(judged(2200.0, None).state, State::Verified);
    for resolution in [None, Some(0.0), Some(99.0)] {
        assert_eq!(judged(2300.0, resolution).state, State::Contradicted, "{resolution:?}");
    }
    assert_eq!(
        judged(2301.0, Some(100.0)).reasons,
        [
            "takeover took 2301 ms (p99, up to 100 ms too long), declared are 2200 ms: 2000 ms for the protocol with \
             profile normal, 200 ms for the plugin"
        ]
    );
    // A clock of minutes shows nothing of seconds.
    assert_eq!(
        judged(1700.0, Some(60_000.0)).reasons,
        ["measured to 60000 ms, which says nothing of the 2200 ms that are declared"]
    );
}

#[test]
fn the_resolution_is_shown_and_results_without_it_are_read() {
    let site = Fixture::new();
    let mut result = good(&site);
    result.scenarios.get_mut(&ScenarioName::Crash).unwrap().resolution_ms = Some(100.0);
    site.result("a.json", &result);
    let text = std::fs::read_to_string(site.root().join("matrix/results/a.json")).unwrap();
    assert_eq!(text.matches("resolution_ms").count(), 1, "left out where it is not known");
    let markdown = site.matrix().markdown();
    assert!(markdown.contains("| 1600 | 1700 | 1700 | 100 | 0 |"), "{markdown}");
    assert!(markdown.contains("| 1600 | 1700 | 1700 | – | 0 |"), "{markdown}");

    for wrong in [-1.0, -0.1] {
        result.scenarios.get_mut(&ScenarioName::Crash).unwrap().resolution_ms = Some(wrong);
        assert_eq!(result.problems(), ["crash: resolution_ms is no time"]);
    }
}

#[test]
fn a_loss_that_the_declaration_allows_is_no_contradiction() {
    let site = Fixture::new();
    let mut result = good(&site);
    let run = result.scenarios.get_mut(&ScenarioName::Crash).unwrap();
    (run.values_lost, run.values_lost_allowed) = (3, 3);
    run.values_lost_because = "changes between two polls".to_owned();
    site.result("a.json", &result);
    assert_eq!(site.modbus().claim.state, State::Verified);
    assert!(site.matrix().markdown().contains("3 (allowed 3: changes between two polls)"));
}

#[test]
fn a_plugin_of_others_may_be_contradicted_without_failing_the_build() {
    let site = Fixture::new();
    let mut result = good(&site);
    result.scenarios.get_mut(&ScenarioName::Crash).unwrap().stray_packets = 1;
    site.manifest("Example Inc");
    result.source_hash = source_hash(&site.root().join("plugins/modbus")).unwrap();
    site.result("a.json", &result);
    build(site.root()).unwrap();
    assert_eq!(verify(site.root()).unwrap().contradictions(), []);
    assert_eq!(site.modbus().claim.state, State::Contradicted);
}

#[test]
fn a_result_of_another_version_or_other_sources_is_stale() {
    let stale = |change: &dyn Fn(&Fixture, &mut RunResult)| {
        let site = Fixture::new();
        let mut result = good(&site);
        // A contradiction of other sources is no contradiction of these.
        result.scenarios.get_mut(&ScenarioName::Crash).unwrap().stray_packets = 1;
        change(&site, &mut result);
        site.result("a.json", &result);
        let row = site.modbus();
        assert_eq!(row.claim.state, State::Stale);
        row.measured[0].scenarios[&ScenarioName::Crash].cell.reasons.join("; ")
    };
    assert_eq!(
        stale(&|_, run| run.plugin_version = "0.0.9".into()),
        "measured with version 0.0.9, this is 0.1.0"
    );
    assert_eq!(stale(&|_, run| run.contract = "0.9".into()), "measured with contract 0.9, this is 1.0");
    let edit = |site: &Fixture, _: &mut RunResult| {
        std::fs::write(site.root().join("plugins/modbus/src/lib.rs"), "// other").unwrap();
    };
    assert_eq!(stale(&edit), "the plugin's sources have changed since");
    let other_library = |_: &Fixture, run: &mut RunResult| {
        run.plugin_sha256 = "another build machine".into();
        run.contract = "0.9".into();
    };
    assert_eq!(
        stale(&other_library),
        "measured with contract 0.9, this is 1.0",
        "the library's hash says nothing"
    );
}

#[test]
fn the_source_hash_does_not_depend_on_line_ends_or_notes() {
    let site = Fixture::new();
    let dir = site.root().join("plugins/modbus");
    let before = source_hash(&dir).unwrap();
    std::fs::write(dir.join("README.md"), "a note").unwrap();
    std::fs::write(dir.join("src/lib.rs"), "//! source\r\n").unwrap();
    assert_eq!(source_hash(&dir).unwrap(), before);
    std::fs::create_dir(dir.join("src/more")).unwrap();
    std::fs::write(dir.join("src/more/part.rs"), "").unwrap();
    assert_ne!(source_hash(&dir).unwrap(), before);
}

#[test]
fn the_sources_of_a_plugin_in_c_are_beside_its_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("plugin.json", "{}");
    let error = source_hash(dir.path()).unwrap_err().to_string();
    assert!(error.contains("there are no sources of a plugin in it"), "{error}");
    file("mine.c", "int a;\n");
    let first = source_hash(dir.path()).unwrap();
    for (name, text) in
        [("mine.c", "int b;\n"), ("mine.h", ""), ("Makefile", "all:\n"), ("plugin.json", "[]")]
    {
        let before = source_hash(dir.path()).unwrap();
        file(name, text);
        assert_ne!(source_hash(dir.path()).unwrap(), before, "{name}");
    }
    assert_ne!(source_hash(dir.path()).unwrap(), first);
    let before = source_hash(dir.path()).unwrap();
    file("README.md", "a note");
    file("mine.so", "a library");
    assert_eq!(source_hash(dir.path()).unwrap(), before);
}

#[test]
fn the_newest_of_two_results_for_the_same_counts() {
    let site = Fixture::new();
    let mut old = good(&site);
    old.date = "2025-01-01".to_owned();
    old.scenarios.get_mut(&ScenarioName::Crash).unwrap().writes_by_two_nodes = 1;
    site.result("z-old.json", &old);
    site.result("a-new.json", &good(&site));
    let row = site.modbus();
    assert_eq!((row.claim.state, row.measured.len()), (State::Verified, 1));
}

#[test]
fn files_out_of_date_are_shown_as_a_diff() {
    let site = Fixture::new();
    build(site.root()).unwrap();
    verify(site.root()).unwrap();
    let path = site.root().join("matrix/COMPATIBILITY.md");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("not built yet |", "verified |", 1)).unwrap();
    let Error::Verification { differences, contradictions } = verify(site.root()).unwrap_err() else {
        panic!()
    };
    assert_eq!((differences.len(), contradictions.len()), (1, 0));
    let diff = differences[0].diff.lines().skip(1).collect::<Vec<_>>();
    assert!(
        matches!(diff.as_slice(), [old, new] if old.starts_with("-| ") && new.contains("not built yet")),
        "{diff:?}"
    );

    std::fs::remove_file(&path).unwrap();
    assert!(
        verify(site.root())
            .unwrap_err()
            .to_string()
            .contains("COMPATIBILITY.md is out of date, run `twinhub matrix build`")
    );
}

#[test]
fn a_result_that_was_edited_by_hand_is_refused() {
    type Change = fn(&mut RunResult);
    let cases: [(Change, &str); 7] = [
        (|run| run.schema = 9, "schema is 9, this version reads 1"),
        (|run| run.date = "today".into(), "date `today` is not written year-month-day"),
        (|run| run.command.clear(), "command is empty"),
        (|run| run.scenarios.clear(), "scenarios is empty"),
        (|run| crash(run).runs = 7, "crash: 3 takeover times for 7 runs"),
        (
            |run| crash(run).takeover_ms.as_mut().unwrap().p99 = 1.0,
            "crash: p50, p99 or max of takeover_ms are not those of its values",
        ),
        (|run| crash(run).values_lost_allowed = 7, "crash: values_lost_allowed without values_lost_because"),
    ];
    for (change, problem) in cases {
        let site = Fixture::new();
        let mut result = good(&site);
        change(&mut result);
        site.result("a.json", &result);
        let error = site.try_matrix().unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains(problem), "{error}");
    }
    let site = Fixture::new();
    std::fs::write(site.root().join("matrix/results/a.json"), "{\"schema\": 1, \"color\": 2}").unwrap();
    assert!(site.try_matrix().unwrap_err().to_string().contains("unknown field `color`"));
}

#[test]
fn missing_plugins_and_broken_manifests_are_named() {
    let site = Fixture::new();
    std::fs::write(site.root().join("plugins/modbus/plugin.json"), "{").unwrap();
    assert!(site.try_matrix().unwrap_err().to_string().contains("plugins/modbus/plugin.json: "));
    let empty = tempfile::tempdir().unwrap();
    let error =
        collect(empty.path(), &site.root().join("matrix/results"), &site.root().join("matrix/seed.json"));
    assert!(error.unwrap_err().to_string().contains("has neither plugin libraries nor */plugin.json"));
    std::fs::write(empty.path().join("libtwinhub_x.so"), "no library").unwrap();
    let error =
        collect(empty.path(), &site.root().join("matrix/results"), &site.root().join("matrix/seed.json"));
    assert!(matches!(error, Err(Error::Library { .. })));
}

#[test]
fn the_same_inputs_give_the_same_files() {
    let site = Fixture::new();
    site.result("a.json", &good(&site));
    let (first, second) = (site.matrix(), site.matrix());
    assert_eq!(first.json(), second.json());
    assert_eq!(first.html(), second.html());
    insta::assert_snapshot!("markdown", first.markdown());
}

/// A built library carries the manifest of its sources, so both give the same matrix.
#[test]
fn libraries_and_sources_give_the_same_matrix() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let site = Fixture::new();
    let libraries = tempfile::tempdir().unwrap();
    let sources = tempfile::tempdir().unwrap();
    let plugin = sources.path().join("modbus");
    std::fs::create_dir_all(plugin.join("src")).unwrap();
    let manifest = serde_json::to_string(&manifest("Twinhub")).unwrap();
    std::fs::write(plugin.join("plugin.json"), &manifest).unwrap();
    compile(&root, &manifest, &libraries.path().join("libtwinhub_modbus.so"));
    let inputs = |plugins: &Path| Inputs {
        plugins: plugins.to_path_buf(),
        sources: Some(sources.path().to_path_buf()),
        examples: None,
        results: site.root().join("matrix/results"),
        seed: site.root().join("matrix/seed.json"),
    };
    let (from_library, from_source) =
        (collect_from(&inputs(libraries.path())).unwrap(), collect_from(&inputs(sources.path())).unwrap());
    assert_eq!(from_library.json(), from_source.json());
}
