//! A site made for the tests: one plugin, one seed, and what runs and the kit found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinhub_contract::manifest::Mode;
use twinhub_matrix::{
    Error, Fenced, Matrix, Outcome, Peer, RESULT_SCHEMA, RunResult, Scenario, ScenarioName, TakeoverMs,
    collect, source_hash,
};

pub(crate) fn crash(run: &mut RunResult) -> &mut Scenario {
    run.scenarios.get_mut(&ScenarioName::Crash).expect("the fixture has a crash")
}

/// A library with nothing but the manifest and an entry that refuses, made by the C compiler.
pub(crate) fn compile(root: &Path, manifest: &str, to: &Path) {
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

pub(crate) fn kit(site: &Fixture) -> serde_json::Value {
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

pub(crate) struct Fixture(tempfile::TempDir);

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let fixture = Fixture(tempfile::tempdir().expect("a temporary directory"));
        for dir in ["plugins/modbus/src", "matrix/results"] {
            std::fs::create_dir_all(fixture.root().join(dir)).expect("the fixture can be written");
        }
        std::fs::write(fixture.root().join("plugins/modbus/src/lib.rs"), "//! source\n").expect("as above");
        std::fs::write(fixture.root().join("matrix/seed.json"), SEED).expect("as above");
        fixture.manifest("Twinhub");
        fixture
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn manifest(&self, vendor: &str) {
        let text = serde_json::to_string(&manifest(vendor)).expect("a manifest is JSON");
        std::fs::write(self.root().join("plugins/modbus/plugin.json"), text)
            .expect("the fixture can be written");
    }

    pub(crate) fn result(&self, name: &str, result: &RunResult) {
        let text = serde_json::to_string_pretty(result).expect("a result is JSON");
        std::fs::write(self.root().join("matrix/results").join(name), text)
            .expect("the fixture can be written");
    }

    pub(crate) fn kit(&self, report: &serde_json::Value) {
        let dir = self.root().join("matrix/results/kits");
        std::fs::create_dir_all(&dir).expect("the fixture can be written");
        std::fs::write(dir.join("modbus.json"), report.to_string()).expect("the fixture can be written");
    }

    pub(crate) fn try_matrix(&self) -> Result<Matrix, Error> {
        let at = |path: &str| -> PathBuf { self.root().join(path) };
        collect(&at("plugins"), &at("matrix/results"), &at("matrix/seed.json"))
    }

    pub(crate) fn matrix(&self) -> Matrix {
        self.try_matrix().expect("the fixture is good")
    }

    pub(crate) fn modbus(&self) -> twinhub_matrix::Row {
        self.matrix().rows.into_iter().find(|row| row.id == "modbus").expect("the fixture has a row for it")
    }
}

pub(crate) fn good(site: &Fixture) -> RunResult {
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

pub(crate) fn manifest(vendor: &str) -> serde_json::Value {
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

pub(crate) const SEED: &str = r#"{ "source": "an example", "rows": [
    { "id": "knx", "name": "KNX", "section": "field", "relevant": true, "possible": "yes", "plugin": "org.twinhub.knx" },
    { "id": "modbus", "name": "Modbus", "section": "field", "relevant": true, "possible": "yes", "plugin": "org.twinhub.modbus" },
    { "id": "meter", "name": "Metering", "section": "module", "relevant": true, "possible": "yes", "note": "A | B" }
] }"#;
