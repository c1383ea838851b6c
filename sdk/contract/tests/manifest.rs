//! A manifest is read as declared, and refused with every problem named.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use serde_json::{Value as Json, json};
use twinhub_contract::manifest::{Delivery, Fence, Manifest, Mode, OnUnquorate, Possible, Recovery, Runtime};

#[test]
fn a_complete_manifest_is_read_as_declared() {
    let manifest = parse(&sample()).unwrap();
    assert_eq!(manifest.id, "org.example.modbus");
    assert_eq!(manifest.mb.possible, Possible::Yes);
    assert_eq!(manifest.mb.default_standby, Mode::Warm);
    assert_eq!(manifest.mb.fence, Fence::Bounded);
    assert_eq!(manifest.mb.recovery, Recovery::Resync);
    assert_eq!(manifest.mb.on_unquorate, OnUnquorate::ReadOnly);
    assert_eq!(manifest.mb.delivery, Delivery::Command, "the default");
    assert_eq!(manifest.runtime, Runtime::Multi(2));
    assert_eq!(manifest.item_columns(), ["byte_order", "scale"]);
    assert_eq!(manifest.abi.bounds(), Some(((1, 0), (1, 3))));
}

#[test]
fn a_manifest_survives_being_written_and_read_again() {
    let manifest = parse(&sample()).unwrap();
    let again = parse(&serde_json::to_value(&manifest).unwrap()).unwrap();
    assert_eq!(manifest, again);
}

#[test]
fn unknown_fields_are_tolerated() {
    let mut json = sample();
    json["from_the_future"] = json!({"x": 1});
    json["mb"]["from_the_future"] = json!(true);
    parse(&json).unwrap();
}

#[test]
fn a_missing_field_is_named() {
    for field in ["id", "version", "abi", "kind", "config_schema", "mb", "capabilities", "hosting"] {
        let mut json = sample();
        json.as_object_mut().unwrap().remove(field);
        let error = parse(&json).unwrap_err();
        assert!(error.contains(&format!("missing field `{field}`")), "{error}");
    }
}

#[test]
fn a_wrong_word_is_named_with_the_words_allowed() {
    let error = check("/mb/fence", json!("hope"));
    assert!(error.contains("unknown variant `hope`") && error.contains("`bounded`"), "{error}");
}

#[test]
fn contradictions_are_named_by_field() {
    let cases = [
        ("/manifest", json!(2), "manifest is format 2"),
        ("/id", json!("modbus"), "id is not reverse DNS"),
        ("/id", json!("org.Example.modbus"), "id is not reverse DNS"),
        ("/name", json!(" "), "name is empty"),
        ("/version", json!("1.0"), "version `1.0` is not written major.minor.patch"),
        ("/abi/min", json!("1"), "abi.min and abi.max are not written major.minor"),
        ("/abi/min", json!("2.0"), "abi.min 2.0 is newer than abi.max 1.3"),
        ("/protocols", json!([]), "protocols is empty"),
        ("/config_schema", json!("x"), "config_schema is not an object"),
        (
            "/item_address_schema/properties/scale/type",
            json!("number"),
            "properties.scale is not of type string",
        ),
        ("/mb/possible", json!("limited"), "mb.why does not say why"),
        ("/mb/modes", json!([]), "mb.modes is empty"),
        ("/mb/default_standby", json!("hot"), "mb.default_standby is `hot`"),
        ("/mb/takeover_target_ms", json!({"cold": 5}), "mb.takeover_target_ms.warm is missing"),
        ("/mb/takeover_target_ms/hot", json!(5), "`hot` is not in mb.modes"),
        ("/mb/takeover_target_ms/cold", json!(0), "mb.takeover_target_ms.cold is 0"),
        ("/mb/modes", json!(["cold", "warm", "hot"]), "mb.exclusive names `device-session`"),
        ("/mb/in_flight_max_ms", Json::Null, "mb.in_flight_max_ms does not give the bound"),
        ("/mb/state_schema", Json::Null, "mb.state_schema gives no version"),
        ("/mb/state_bytes_max", json!(1 << 21), "mb.state_bytes_max is not within 1 to 1048576"),
        ("/mb/loss_window", json!(""), "mb.loss_window does not say"),
        ("/events", json!({"gives": ["Guest"]}), "events.gives[0] `Guest` is not a name"),
        ("/events", json!({"takes": [""]}), "events.takes[0] `` is not a name"),
        ("/events", json!({"takes": ["a", "a"]}), "events.takes[1] `a` is there twice"),
        ("/events", json!({"gives": vec!["a"; 33]}), "events.gives names 33 streams, the limit is 32"),
        ("/capabilities", json!([]), "capabilities is empty"),
        ("/capabilities", json!([{"name": "a"}, {"name": "a"}]), "capabilities[1].name `a` is there twice"),
        ("/hosting/recommended", json!("isolated"), "hosting.recommended is `isolated`"),
        ("/runtime", json!("multi(0)"), "`multi(0)` is not dedicated"),
    ];
    for (pointer, value, expected) in cases {
        let error = check(pointer, value);
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let mut json = sample();
    json["name"] = json!("");
    json["version"] = json!("one");
    let error = parse(&json).unwrap_err();
    assert!(error.contains("name is empty") && error.contains("version `one`"), "{error}");
    assert!(error.contains("manifest of `org.example.modbus`"), "{error}");
}

#[test]
fn a_manifest_that_is_too_long_is_refused_before_it_is_read() {
    let error = Manifest::parse(&vec![b' '; (1 << 20) + 1]).unwrap_err().to_string();
    assert_eq!(error, "manifest of 1048577 bytes is longer than 1048576");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let text = "[".repeat(100_000);
    Manifest::parse(text.as_bytes()).unwrap_err();
}

proptest::proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        drop(Manifest::parse(&bytes));
    }

    #[test]
    fn a_damaged_manifest_never_panics(index in 0_usize..2_000, byte in proptest::num::u8::ANY) {
        let mut bytes = serde_json::to_vec(&sample()).unwrap();
        let index = index % bytes.len();
        bytes[index] = byte;
        drop(Manifest::parse(&bytes));
    }
}

fn check(pointer: &str, value: Json) -> String {
    let mut json = sample();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[key] = value;
    parse(&json).unwrap_err()
}

fn parse(json: &Json) -> Result<Manifest, String> {
    Manifest::parse(&serde_json::to_vec(json).unwrap()).map_err(|error| error.to_string())
}

fn sample() -> Json {
    json!({
        "manifest": 1, "id": "org.example.modbus", "name": "Modbus", "vendor": "Example", "version": "1.2.3",
        "license": "MIT", "abi": {"min": "1.0", "max": "1.3"}, "kind": "interface",
        "protocols": [{"name": "Modbus TCP", "versions": ["1.1b3"]}],
        "config_schema": {"type": "object"},
        "item_address_schema": {
            "type": "object",
            "properties": {"scale": {"type": "string"}, "byte_order": {"type": "string"}}
        },
        "mb": {
            "relevant": true, "possible": "yes", "modes": ["cold", "warm"], "default_standby": "warm",
            "takeover_target_ms": {"cold": 900, "warm": 300}, "exclusive": ["device-session"],
            "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
            "state": "snapshot", "state_schema": 1, "state_bytes_max": 4096,
            "fence": "bounded", "in_flight_max_ms": 200, "recovery": "resync", "parallel_input": true,
            "on_unquorate": "read_only", "loss_window": "changes shorter than a poll",
            "source_confidence": "standard"
        },
        "capabilities": [{"name": "read registers", "mb": "active only", "inactive": "silent", "limits": "125"}],
        "hosting": {"allowed": ["inproc"], "recommended": "inproc", "needs": ["network"]},
        "runtime": "multi(2)"
    })
}
