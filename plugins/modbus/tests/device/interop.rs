//! Against pymodbus, an implementation that shares no code with this one.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use twinhub_contract::code;
use twinhub_loader::ValueRef;
use twinhub_peers::peers_dir;

use crate::rig::{Got, Rig, item};

pub(crate) struct Pymodbus {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Pymodbus {
    pub(crate) fn start() -> Self {
        let python = peers_dir().join("venv/bin/python");
        assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/device/device.py");
        let mut process = Command::new(python).arg("-u").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.strip_prefix("READY ").expect("pymodbus starts").trim().parse().unwrap();
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }
}

impl Drop for Pymodbus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn every_type_and_table_is_read_as_pymodbus_means_it() {
    let device = Pymodbus::start();
    let items = [
        item(1, json!({"address": "hr:0", "type": "int16"})),
        item(2, json!({"address": "40002", "type": "uint16"})),
        item(3, json!({"address": "400003", "type": "int32"})),
        item(4, json!({"address": "1/hr:4", "type": "uint32"})),
        item(5, json!({"address": "hr:6", "type": "int64"})),
        item(6, json!({"address": "hr:10", "type": "uint64"})),
        item(7, json!({"address": "hr:14", "type": "float32"})),
        item(8, json!({"address": "hr:16", "type": "float64"})),
        item(9, json!({"address": "hr:20", "type": "string(8)"})),
        item(10, json!({"address": "ir:99", "type": "uint16"})),
        item(11, json!({"address": "co:63"})),
        item(12, json!({"address": "di:63"})),
        item(13, json!({"address": "hr:1.0"})),
        item(14, json!({"address": "hr:1.1"})),
        item(15, json!({"address": "hr:200"})),
    ];
    let rig = Rig::active(device.address, &json!({}), &items);
    for (item, value) in [
        (1, Got::I64(-1234)),
        (2, Got::U64(54_321)),
        (3, Got::I64(-123_456_789)),
        (4, Got::U64(3_456_789_012)),
        (5, Got::I64(-1_234_567_890_123_456_789)),
        (6, Got::U64(12_345_678_901_234_567_890)),
        (7, Got::F64(21.5)),
        (8, Got::F64(-1.0e-300)),
        (9, Got::Str("Twinhub!".to_owned())),
        (10, Got::U64(4711)),
        (11, Got::Bool(false)),
        (12, Got::Bool(true)),
        (13, Got::Bool(true)),
        (14, Got::Bool(false)),
    ] {
        rig.reads(item, &value);
    }
    rig.until("address refused", |seen| seen.status(15) == Some(0x8034_0000));
}

#[test]
fn every_write_function_changes_what_pymodbus_holds() {
    let device = Pymodbus::start();
    let row = |handle, address: &str, kind: &str, write: &str, order: &str| {
        item(
            handle,
            json!({"address": address, "type": kind, "write": write, "order": order, "access": "rw"}),
        )
    };
    let items = [
        row(1, "co:1", "bool", "single", ""),
        row(2, "co:2", "bool", "multiple", ""),
        row(3, "hr:100", "uint16", "single", ""),
        row(4, "hr:101", "int32", "multiple", "CDAB"),
        row(5, "hr:110.7", "bool", "", ""),
        row(6, "hr:120", "float64", "", "DCBA"),
        row(7, "hr:130", "string(6)", "", "BADC"),
        row(8, "hr:140", "bcd32", "", ""),
    ];
    for use_fc23 in [false, true] {
        let rig = Rig::active(device.address, &json!({"use_fc23": use_fc23}), &items);
        let offset = i64::from(use_fc23);
        let text = if use_fc23 { "after" } else { "before" };
        let values = [
            (1, ValueRef::Bool(!use_fc23), Got::Bool(!use_fc23)),
            (2, ValueRef::Bool(!use_fc23), Got::Bool(!use_fc23)),
            (3, ValueRef::I64(77 + offset), Got::U64(77 + offset.cast_unsigned())),
            (4, ValueRef::I64(-70_000 + offset), Got::I64(-70_000 + offset)),
            (5, ValueRef::Bool(!use_fc23), Got::Bool(!use_fc23)),
            (6, ValueRef::F64(1.0 / 3.0), Got::F64(1.0 / 3.0)),
            (7, ValueRef::Str(text), Got::Str(text.to_owned())),
            (8, ValueRef::I64(12_345_678 + offset), Got::U64(12_345_678 + offset.cast_unsigned())),
        ];
        for (item, value, _) in &values {
            assert_eq!(rig.written(&[(*item, *value)]), [code::OK], "item {item}");
        }
        // Another client of the device sees it as well.
        let other = Rig::active(device.address, &json!({}), &items);
        for (item, _, got) in values {
            rig.reads(item, &got);
            other.reads(item, &got);
        }
        let words = [item(1, json!({"address": "hr:101"})), item(2, json!({"address": "hr:102"}))];
        let raw = Rig::active(device.address, &json!({}), &words);
        let value = (-70_000_i64 + offset).cast_unsigned();
        raw.reads(1, &Got::U64(value & 0xffff));
        raw.reads(2, &Got::U64(value >> 16 & 0xffff));
    }
}
