//! Project files of the ETS, read by this product and by the independent reader xknxproject: both find the same.

#![expect(clippy::unwrap_used, reason = "what the tests share is a part of them")]

#[path = "../../../protocols/commissioning/tests/project/mod.rs"]
mod project;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use project::parts::{Form, project as file_of};
use serde_json::Value;
use twinhub_commissioning::{Imported, Options, read};
use twinhub_peers::peers_dir;

#[test]
fn xknxproject_finds_the_same_in_projects_of_every_version() {
    for schema in [11, 14, 20, 21, 23] {
        for style in ["ThreeLevel", "TwoLevel", "Free"] {
            for password in [None, Some("Paßwort 1")] {
                compare(Form { schema, style, password });
            }
        }
    }
}

fn compare(form: Form<'_>) {
    let bytes = file_of(form);
    let theirs = theirs(&bytes, form.password);
    let options = Options { password: form.password.map(str::to_owned), ..Options::default() };
    let ours = read("knxproj", &[("x.knxproj", &bytes)], &options).unwrap();

    let info = &theirs["info"];
    assert_eq!(ours.project.name, info["name"], "{form:?}");
    assert_eq!(ours.project.schema_version, info["schema_version"], "{form:?}");
    assert_eq!(ours.project.last_modified, info["last_modified"], "{form:?}");
    assert_eq!(info["group_address_style"], form.style, "{form:?}");
    assert_eq!(devices(&ours), their_devices(&theirs), "{form:?}");

    let groups = theirs["group_addresses"].as_object().unwrap();
    assert_eq!(ours.rows.len(), groups.len(), "{form:?}");
    let access = their_access(&theirs);
    for row in &ours.rows {
        let group = &groups[&row.address];
        let place = format!("{form:?} {}", row.address);
        let words: Vec<&str> = group["name"].as_str().unwrap().split_whitespace().collect();
        let name = if words.is_empty() { row.address.replace('/', "-") } else { words.join(" ") };
        let own = row.path.rsplit('/').next().unwrap();
        assert!(
            own == name || own == format!("{name} ({})", row.address.replace('/', "-")),
            "{place}: {own}"
        );
        assert_eq!(row.description, group["description"], "{place}");
        let dpt = &group["dpt"];
        let dpt = match (&dpt["main"], &dpt["sub"]) {
            (Value::Number(main), Value::Number(sub)) => format!("{main}.{:03}", sub.as_u64().unwrap()),
            (Value::Number(main), _) => main.to_string(),
            _ => String::new(),
        };
        assert_eq!(row.cell("dpt"), dpt, "{place}");
        if row.cell("status").is_empty() {
            assert_eq!(row.access.word(), access.get(&row.address).copied().unwrap_or("rw"), "{place}");
        }
    }
    // In the order of addresses.
    let order: Vec<&Value> = groups.values().map(|group| &group["raw_address"]).collect();
    let raw = |address: &str| groups[address]["raw_address"].as_u64().unwrap();
    assert!(ours.rows.is_sorted_by_key(|row| raw(&row.address)), "{order:?}");
}

/// What their flags come to: an object sends to and answers on its first address, and takes telegrams on all.
fn their_access(theirs: &Value) -> BTreeMap<String, &'static str> {
    let mut ways: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for object in theirs["communication_objects"].as_object().unwrap().values() {
        let flag = |name: &str| object["flags"][name].as_bool().unwrap();
        for (index, link) in object["group_address_links"].as_array().unwrap().iter().enumerate() {
            let (is_read, is_written) = ways.entry(link.as_str().unwrap().to_owned()).or_default();
            *is_read |= index == 0 && (flag("transmit") || flag("read"));
            *is_written |= flag("write");
        }
    }
    let word = |(is_read, is_written)| match (is_read, is_written) {
        (true, false) => "r",
        (false, true) => "w",
        _ => "rw",
    };
    ways.into_iter().map(|(address, ways)| (address, word(ways))).collect()
}

/// Address, name, manufacturer, order number and building part of each device.
fn devices(ours: &Imported) -> Vec<[String; 5]> {
    let rows = ours.project.devices.iter();
    rows.map(|device| {
        [&device.address, &device.name, &device.manufacturer, &device.order_number, &device.location]
            .map(String::clone)
    })
    .collect()
}

fn their_devices(theirs: &Value) -> Vec<[String; 5]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let devices = theirs["devices"].as_object().unwrap();
    devices
        .iter()
        .map(|(address, device)| {
            let location = location_of(&theirs["locations"], address).unwrap_or_default();
            let about = ["name", "manufacturer_name", "order_number"].map(|field| text(&device[field]));
            let [name, manufacturer, order_number] = about;
            [address.clone(), name, manufacturer, order_number, location]
        })
        .collect()
}

fn location_of(spaces: &Value, address: &str) -> Option<String> {
    spaces.as_object()?.iter().find_map(|(name, space)| {
        if space["devices"].as_array()?.iter().any(|device| device == address) {
            return Some(name.clone());
        }
        Some(format!("{name}/{}", location_of(&space["spaces"], address)?))
    })
}

fn theirs(bytes: &[u8], password: Option<&str>) -> Value {
    let python = peers_dir().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.knxproj");
    std::fs::write(&file, bytes).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/knx_project.py");
    let output = Command::new(python).arg(script).arg(file).args(password).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
