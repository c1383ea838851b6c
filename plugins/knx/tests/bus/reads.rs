//! Reads of the plugin, and reads that it answers.

use std::time::Duration;

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::quality;
use twinhub_loader::ValueRef;
use twinhub_peers::{Knxd, KnxdOptions, Xknx};

use crate::rig::{Got, Rig, item};

fn gateway() -> Knxd {
    Knxd::start(&KnxdOptions::default()).unwrap()
}

#[test]
fn items_are_read_when_the_connection_begins_and_silence_is_a_bad_value() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.answer("1/2/1", &json!([0x0c, 0x1a])).unwrap();
    device.answer("1/2/3", &json!(1)).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "9.001", "read_on_init": "true"})),
            item(2, json!({"address": "1/2/2", "dpt": "9.001", "read_on_init": "true"})),
            item(
                3,
                json!({"address": "1/2/9", "status": "1/2/3", "dpt": "1.001", "access": "rw", "read_on_init": "true"}),
            ),
            item(4, json!({"address": "1/2/4", "dpt": "9.001"})),
        ],
    );
    rig.reads(1, &Got::F64(21.0));
    rig.reads(3, &Got::Bool(true));
    rig.until("nobody answers", |seen| seen.status(2) == Some(quality::BAD_TIMEOUT));
    rig.until("the text says so", |seen| {
        seen.states.last().is_some_and(|(state, cause)| *state == 3 && cause.contains("1/2/2 (item2)"))
    });
    assert_eq!(rig.seen(|seen| seen.status(4)), None);
    let asked: Vec<_> = device.heard().into_iter().filter(|heard| heard.service == "read").collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    // The device speaks up after all.
    device.write("1/2/2", &json!([0x0c, 0x1a])).unwrap();
    rig.reads(2, &Got::F64(21.0));
}

#[test]
fn the_echo_of_a_read_answers_nothing() {
    let gateway = gateway();
    // Without any device: knxd gives the client nothing but its own confirmation.
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[item(1, json!({"address": "1/2/1", "dpt": "9.001", "read_on_init": "true"}))],
    );
    rig.until("nobody answers", |seen| seen.status(1) == Some(quality::BAD_TIMEOUT));
    assert_eq!(rig.diagnosis()["reads"]["unanswered"], 1);
}

#[test]
fn cycles_read_again_and_again() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    device.answer("1/2/1", &json!(1)).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[item(1, json!({"address": "1/2/1", "dpt": "1.001", "poll": "1s"}))],
    );
    device.hears("1/2/1", "read", 3).unwrap();
    rig.reads(1, &Got::Bool(true));
}

#[test]
fn many_first_reads_keep_their_pace() {
    let gateway = gateway();
    let device = Xknx::tunnel(gateway.address()).unwrap();
    let items: Vec<_> = (0..20u32)
        .map(|number| {
            let address = format!("1/2/{number}");
            item(number, json!({"address": address, "dpt": "1.001", "read_on_init": "true"}))
        })
        .collect();
    let begun = std::time::Instant::now();
    let rig = Rig::active(&json!({ "gateway": gateway.address().to_string(), "read_rate": 20 }), &items);
    rig.until("all are asked", |_| device.heard().len() >= 20);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    rig.until("all are bad", |seen| (0..20).all(|item| seen.status(item) == Some(quality::BAD_TIMEOUT)));
    assert_eq!(device.heard().len(), 20);
}

#[test]
fn reads_of_others_are_answered_with_the_last_value() {
    let gateway = gateway();
    let mut device = Xknx::tunnel(gateway.address()).unwrap();
    let rig = Rig::active(
        &json!({ "gateway": gateway.address().to_string() }),
        &[
            item(1, json!({"address": "1/2/1", "dpt": "9.001", "access": "rw", "answer_reads": "true"})),
            item(2, json!({"address": "1/2/2", "dpt": "1.001", "access": "rw"})),
        ],
    );
    device.read("1/2/1").unwrap();
    device.write("1/2/3", &json!(1)).unwrap();
    rig.until_said("the bus was heard", |diagnosis| diagnosis["telegrams"]["received"] == 2);
    assert_eq!(rig.diagnosis()["telegrams"]["answers_to_reads"], 0, "nothing is known yet");
    assert_eq!(rig.written(&[(1, ValueRef::F64(21.0)), (2, ValueRef::Bool(true))]), [code::OK; 2]);
    device.read("1/2/2").unwrap();
    device.read("1/2/1").unwrap();
    device.hears("1/2/1", "response", 1).unwrap();
    assert_eq!(device.values("1/2/1", "response"), [json!([0x0c, 0x1a])]);
    // Somebody else changes it.
    device.write("1/2/1", &json!([0, 0])).unwrap();
    device.read("1/2/1").unwrap();
    device.hears("1/2/1", "response", 2).unwrap();
    assert_eq!(device.values("1/2/1", "response")[1], json!([0, 0]));
    assert_eq!(device.values("1/2/2", "response").len(), 0);
}
