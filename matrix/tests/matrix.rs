//! What the matrix says for plugins and runs made for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinhub_contract::manifest::Mode;
use twinhub_matrix::{
    Error, Fenced, Inputs, Matrix, Outcome, Peer, RESULT_SCHEMA, RunResult, Scenario, ScenarioName, State,
    TakeoverMs, build, collect, collect_from, source_hash, verify,
};

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
fn text_of_plugins_cannot_break_out_of_the_page() {
    let site = Fixture::new();
    site.manifest("<script>alert(1)</script>|");
    let matrix = site.matrix();
    assert!(!matrix.html().contains("<script>alert"));
    assert!(matrix.html().contains("&lt;script&gt;alert(1)&lt;/script&gt;|"));
    assert!(matrix.markdown().contains("&lt;script&gt;alert(1)&lt;/script&gt;\\|"));
    assert!(!matrix.html().contains("http"), "the page needs nothing from elsewhere");
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
        results: site.root().join("matrix/results"),
        seed: site.root().join("matrix/seed.json"),
    };
    let (from_library, from_source) =
        (collect_from(&inputs(libraries.path())).unwrap(), collect_from(&inputs(sources.path())).unwrap());
    assert_eq!(from_library.json(), from_source.json());
}

fn crash(run: &mut RunResult) -> &mut Scenario {
    run.scenarios.get_mut(&ScenarioName::Crash).expect("the fixture has a crash")
}

/// A library with nothing but the manifest and an entry that refuses, made by the C compiler.
fn compile(root: &Path, manifest: &str, to: &Path) {
    let bytes: Vec<String> = manifest.bytes().map(|byte| byte.to_string()).collect();
    let code = format!(
        "#include \"twinhub_plugin.h\"\n\
         __attribute__((section(\"{}\"), used)) static const unsigned char manifest[] = {{ {} }};\n\
         static int32_t create(const twinhub_host *host, twinhub_str id, twinhub_str config, const twinhub_plugin **out) {{\n\
         (void)host, (void)id, (void)config, (void)out; return TWINHUB_E_CONFIG; }}\n\
         __attribute__((visibility(\"default\"))) const twinhub_entry twinhub_plugin_entry = {{\n\
         TWINHUB_MAGIC, sizeof(twinhub_entry), ((uint32_t)TWINHUB_ABI_MAJOR << 16) | TWINHUB_ABI_MINOR, TWINHUB_BUILD_UNWIND, 0,\n\
         {{manifest, sizeof manifest}}, create}};\n",
        twinhub_contract::MANIFEST_SECTION,
        bytes.join(",")
    );
    let source = to.with_extension("c");
    std::fs::write(&source, code).expect("the temporary directory can be written");
    let output = std::process::Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-I"])
        .arg(root.join("sdk/contract/include"))
        .arg("-o")
        .args([to, &source])
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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

fn kit(site: &Fixture) -> serde_json::Value {
    let test = |group: &str, name: &str, verdict: &str| serde_json::json!({"group": group, "name": name, "verdict": verdict, "took_ms": 7});
    serde_json::json!({
        "schema": 1, "plugin": "org.twinhub.modbus", "version": "0.1.0", "sha256": "1".repeat(64),
        "source_hash": source_hash(&site.root().join("plugins/modbus")).expect("the fixture can be read"),
        "date": "2026-11-22", "contract": "1.0", "kit": "0.1.0", "verdict": "passed",
        "tests": [
            test("roles", "again", "passed"), test("roles", "every_edge", "passed"), test("state", "moves", "skipped"),
        ]
    })
}

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().expect("a temporary directory"));
        for dir in ["plugins/modbus/src", "matrix/results"] {
            std::fs::create_dir_all(fixture.root().join(dir)).expect("the fixture can be written");
        }
        std::fs::write(fixture.root().join("plugins/modbus/src/lib.rs"), "//! source\n").expect("as above");
        std::fs::write(fixture.root().join("matrix/seed.json"), SEED).expect("as above");
        fixture.manifest("Twinhub");
        fixture
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn manifest(&self, vendor: &str) {
        let text = serde_json::to_string(&manifest(vendor)).expect("a manifest is JSON");
        std::fs::write(self.root().join("plugins/modbus/plugin.json"), text)
            .expect("the fixture can be written");
    }

    fn result(&self, name: &str, result: &RunResult) {
        let text = serde_json::to_string_pretty(result).expect("a result is JSON");
        std::fs::write(self.root().join("matrix/results").join(name), text)
            .expect("the fixture can be written");
    }

    fn kit(&self, report: &serde_json::Value) {
        let dir = self.root().join("matrix/results/kits");
        std::fs::create_dir_all(&dir).expect("the fixture can be written");
        std::fs::write(dir.join("modbus.json"), report.to_string()).expect("the fixture can be written");
    }

    fn try_matrix(&self) -> Result<Matrix, Error> {
        let at = |path: &str| -> PathBuf { self.root().join(path) };
        collect(&at("plugins"), &at("matrix/results"), &at("matrix/seed.json"))
    }

    fn matrix(&self) -> Matrix {
        self.try_matrix().expect("the fixture is good")
    }

    fn modbus(&self) -> twinhub_matrix::Row {
        self.matrix().rows.into_iter().find(|row| row.id == "modbus").expect("the fixture has a row for it")
    }
}

fn good(site: &Fixture) -> RunResult {
    let run = Scenario {
        runs: 3,
        takeover_ms: TakeoverMs::of(vec![1500.0, 1700.5, 1600.0]),
        resolution_ms: None,
        detection_ms_max: 2000.0,
        values_lost: 0,
        values_lost_allowed: 0,
        values_lost_because: String::new(),
        values_doubled: 0,
        commands_doubled: 0,
        writes_by_two_nodes: 0,
        stray_packets: 0,
        fenced: Some(Fenced::Count(4)),
        verdict: Outcome::Pass,
        note: String::new(),
    };
    RunResult {
        schema: RESULT_SCHEMA,
        plugin: "org.twinhub.modbus".to_owned(),
        plugin_version: "0.1.0".to_owned(),
        plugin_sha256: "00".repeat(32),
        source_hash: source_hash(&site.root().join("plugins/modbus")).expect("the fixture has sources"),
        contract: "1.0".to_owned(),
        product_version: "0.1.0".to_owned(),
        profile: "normal".to_owned(),
        standby: Mode::Warm,
        peer: Peer { name: "pymodbus".to_owned(), version: "3.6.9".to_owned() },
        date: "2026-01-31".to_owned(),
        machine: "2 cores".to_owned(),
        scenarios: ScenarioName::ALL.into_iter().map(|name| (name, run.clone())).collect::<BTreeMap<_, _>>(),
        command: "cargo xtask conformance modbus".to_owned(),
    }
}

fn manifest(vendor: &str) -> serde_json::Value {
    serde_json::json!({
        "manifest": 1, "id": "org.twinhub.modbus", "name": "Modbus", "vendor": vendor, "version": "0.1.0",
        "license": "MIT OR Apache-2.0", "abi": { "min": "1.0", "max": "1.0" }, "kind": "interface",
        "protocols": [{ "name": "Modbus", "versions": ["TCP"] }],
        "config_schema": { "type": "object" }, "item_address_schema": { "type": "object" },
        "mb": {
            "relevant": true, "possible": "yes", "why": "", "modes": ["cold", "warm"], "default_standby": "warm",
            "takeover_target_ms": { "cold": 1000, "warm": 200 },
            "inactive": { "reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress" },
            "state": "none", "fence": "bounded", "in_flight_max_ms": 300, "recovery": "resync",
            "parallel_input": false, "loss_window": "changes between two polls"
        },
        "capabilities": [{ "name": "read", "mb": "by the active node", "inactive": "nothing", "limits": "" }],
        "hosting": { "allowed": ["inproc"], "recommended": "inproc" }
    })
}

const SEED: &str = r#"{ "source": "an example", "rows": [
    { "id": "knx", "name": "KNX", "section": "field", "relevant": true, "possible": "yes", "plugin": "org.twinhub.knx" },
    { "id": "modbus", "name": "Modbus", "section": "field", "relevant": true, "possible": "yes", "plugin": "org.twinhub.modbus" },
    { "id": "meter", "name": "Metering", "section": "module", "relevant": true, "possible": "yes", "note": "A | B" }
] }"#;
