//! Keyrings with random content are read as xknx reads them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};
use twinhub_knx_protocol::keyring::{InterfaceKind, Keyring, KeyringError};
use twinhub_knx_protocol::secure::{Key, Secret};
use twinhub_peers::SecureXknx;

/// Values have fewer than 256 octets: with more, xknx fails. Each case is two starts of Python, so there are few; each has several of everything.
#[test]
fn a_keyring_is_read_as_xknx_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("project.knxkeys");
    let config = Config { cases: 6, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(keyring(), "[ -~äß€]{1,30}"), |(tree, password)| {
        script("write", &file, &password, &tree.to_string());
        let theirs: Json = serde_json::from_str(&script("read", &file, &password, "")).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let ours = Keyring::read(&bytes, &Secret::from(password.as_str())).unwrap();
        prop_assert_eq!(shown(&ours), theirs);

        let wrong = format!("{password}x");
        prop_assert!(script("read", &file, &wrong, "").starts_with("FAILED InvalidSecureConfiguration"));
        let refused = Keyring::read(&bytes, &Secret::from(wrong.as_str()));
        prop_assert_eq!(refused, Err(KeyringError::WrongPassword));
        Ok(())
    });
    result.unwrap();
}

fn keyring() -> impl Strategy<Value = Json> {
    let backbone = (proptest::option::of("key:[0-9a-f]{32}"), 0..60_000_u16).prop_map(|(key, latency)| {
        let mut element =
            json!(["Backbone", { "Latency": latency.to_string(), "MulticastAddress": "224.0.23.12" }, []]);
        if let Some(key) = key {
            element[1]["Key"] = key.into();
        }
        element
    });
    let group = (1..=u16::MAX, proptest::collection::vec(address(), 0..25))
        .prop_map(|(group, senders)| json!(["Group", { "Address": group.to_string(), "Senders": senders.join(" ") }, []]));
    let tunnel =
        (address(), address(), 2..=127_u8, secret(), secret(), proptest::collection::vec(group, 0..3))
            .prop_map(|(own, host, user, password, code, groups)| {
                let groups = distinct(groups);
                json!(["Interface", {
                "Type": "Tunneling", "IndividualAddress": own, "Host": host, "UserID": user.to_string(),
                "Password": password, "Authentication": code,
            }, groups])
            });
    let usb = address().prop_map(|own| json!(["Interface", { "Type": "USB", "IndividualAddress": own }, []]));
    let key = (1..=u16::MAX, "key:[0-9a-f]{32}")
        .prop_map(|(group, key)| json!(["Group", { "Key": key, "Address": group.to_string() }, []]));
    let device = (address(), "key:[0-9a-f]{32}", secret(), secret(), 0..1_u64 << 48).prop_map(
        |(own, key, password, code, number)| {
            json!(["Device", {
                "IndividualAddress": own, "ToolKey": key, "ManagementPassword": password, "Authentication": code,
                "SequenceNumber": number.to_string(),
            }, []])
        },
    );
    let parts = (
        proptest::option::of(backbone),
        proptest::collection::vec(prop_oneof![tunnel, usb], 0..5),
        proptest::collection::vec(key, 0..6),
        proptest::collection::vec(device, 0..4),
    );
    ("[ -~ä<>&'\"]{0,40}", parts).prop_map(|(project, (backbone, interfaces, keys, devices))| {
        let mut children: Vec<Json> = backbone.into_iter().chain(interfaces).collect();
        children.push(json!(["GroupAddresses", {}, distinct(keys)]));
        children.push(json!(["Devices", {}, devices]));
        let root = json!({ "Project": project, "CreatedBy": "ETS", "Created": "2026-01-02T03:04:05" });
        json!(["Keyring", root, children])
    })
}

fn address() -> impl Strategy<Value = String> {
    (0..16_u8, 0..16_u8, 1..=255_u8).prop_map(|(area, line, device)| format!("{area}.{line}.{device}"))
}

fn secret() -> impl Strategy<Value = String> {
    "secret:[ -~äß]{1,20}"
}

/// A group is there once.
fn distinct(mut groups: Vec<Json>) -> Vec<Json> {
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|group| seen.insert(group[1]["Address"].to_string()));
    groups
}

fn shown(keyring: &Keyring) -> Json {
    let hex = |key: &Key| format!("{:032x}", u128::from_be_bytes(*key.as_bytes()));
    let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.as_str().to_owned());
    let interfaces: Vec<Json> = keyring
        .interfaces
        .iter()
        .map(|each| {
            let kind = match &each.kind {
                InterfaceKind::Tunneling => "Tunneling",
                InterfaceKind::Usb => "USB",
                InterfaceKind::Other(other) => other,
            };
            let groups: serde_json::Map<String, Json> = each
                .groups
                .iter()
                .map(|(group, senders)| {
                    let senders: Vec<String> = senders.iter().map(ToString::to_string).collect();
                    (group.0.to_string(), senders.into())
                })
                .collect();
            let address = each.address.map(|address| address.to_string());
            let host = each.host.map(|address| address.to_string());
            json!([kind, address, host, each.user, text(&each.password), text(&each.authentication), groups])
        })
        .collect();
    let devices: Vec<Json> = keyring
        .devices
        .iter()
        .map(|each| {
            let (password, code) = (text(&each.management_password), text(&each.authentication));
            json!([each.address.to_string(), each.tool_key.as_ref().map(hex), password, code, each.sequence])
        })
        .collect();
    let groups: serde_json::Map<String, Json> =
        keyring.groups.iter().map(|(group, key)| (group.0.to_string(), hex(key).into())).collect();
    let senders: serde_json::Map<String, Json> = keyring
        .data(1)
        .senders
        .iter()
        .map(|(sender, number)| (sender.to_string(), (*number).into()))
        .collect();
    json!({
        "project": keyring.project,
        "backbone": keyring.backbone.as_ref().map(|each| {
            (each.multicast.map(|address| address.to_string()), each.latency_ms, each.key.as_ref().map(hex))
        }),
        "interfaces": interfaces,
        "groups": groups,
        "devices": devices,
        "senders": senders,
    })
}

fn script(order: &str, file: &Path, password: &str, input: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/knx_keyring.py");
    let mut child = Command::new(SecureXknx::python().unwrap())
        .args([path.as_os_str(), order.as_ref(), file.as_os_str(), password.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{order}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
