//! A device that sends whatever comes to its mind.

use std::net::UdpSocket;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::rig::{Rig, item};

#[test]
fn hostile_answers_leave_the_plugin_running() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let std::net::SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!() };
    let items = [
        item(1, json!({"address": "1002/av:1", "access": "rw"})),
        item(2, json!({"address": "1002/device:1002/object-list"})),
    ];
    let rig = Rig::active(address, &json!({"timeout": "20ms", "retry_silent": "100ms"}), &items);
    let mut runner = TestRunner::deterministic();
    let (mut answered, mut buffer) = (0, [0; 2048]);
    while answered < 400 {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let body = prop::collection::vec(any::<u8>(), 0..80).new_tree(&mut runner).unwrap().current();
        // The invoke id of the request, so that the answer is taken for one: it is the third byte of the APDU.
        let invoke_id = buffer.get(8).copied().filter(|_| length > 8).unwrap_or_default();
        let kind = [0x20, 0x30, 0x38, 0x3c, 0x50, 0x60, 0x71, 0x10, 0x00][answered % 9];
        let npdu = [&[1, 0, kind, invoke_id], body.as_slice()].concat();
        let bytes = u16::try_from(npdu.len() + 4).unwrap().to_be_bytes();
        let datagram = [&[0x81, 0x0a, bytes[0], bytes[1]], npdu.as_slice()].concat();
        socket.send_to(&datagram, from).unwrap();
        answered += 1;
    }
    assert!(rig.diagnosis()["transactions"].is_object());
    assert_eq!(rig.seen(|seen| seen.faults.clone()), Vec::<String>::new());
}
