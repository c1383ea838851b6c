//! The guard: an answer that comes late never becomes the value of another request.

use std::time::Duration;

use serde_json::json;
use twinhub_peers::{Device, DeviceOptions, Relay};

use crate::rig::{Got, Rig, item};

/// Each register holds its own address plus 1000, so that an answer to another request is recognized. The items lie too
/// far apart to share a request.
#[test]
fn late_answers_never_become_values() {
    late_answers(1);
}

#[test]
fn late_answers_never_become_values_with_several_requests_under_way() {
    late_answers(5);
}

fn late_answers(pipeline: u8) {
    let device = Device::start(DeviceOptions::default()).unwrap();
    let addresses = [0_u16, 100, 200, 300, 400, 500, 600, 700];
    let mut items = Vec::new();
    for address in addresses {
        device.set_register(address, 1000 + address);
        device.set_register(address + 1, 1000 + address);
        let kind = if address.is_multiple_of(200) { "uint16" } else { "uint32" };
        items.push(item(address.into(), json!({"address": format!("hr:{address}"), "type": kind})));
    }
    let expected = |address: u16| {
        let word = u64::from(1000 + address);
        Got::U64(if address.is_multiple_of(200) { word } else { word << 16 | word })
    };
    let relay = Relay::start(device.address()).unwrap();
    let rig = Rig::active(relay.address(), &json!({"timeout": "20ms", "pipeline": pipeline}), &items);
    let all_good = |rig: &Rig| {
        rig.until("good values", |seen| {
            addresses.iter().all(|a| seen.good((*a).into()) == Some(&expected(*a)))
        });
    };
    all_good(&rig);
    for _ in 0..3 {
        relay.delay(Duration::from_millis(100));
        let connections = relay.connections();
        rig.until("timeouts", |seen| {
            addresses.iter().all(|address| seen.status((*address).into()) == Some(0x800A_0000))
        });
        rig.until("some more of them", |_| relay.connections() >= connections + 4);
        relay.delay(Duration::ZERO);
        all_good(&rig);
    }
    rig.seen(|seen| {
        for update in seen.updates.iter().filter(|update| update.status == 0) {
            assert_eq!(update.value, expected(u16::try_from(update.item).unwrap()), "item {}", update.item);
        }
    });
}
