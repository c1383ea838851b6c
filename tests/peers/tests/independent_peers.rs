//! The independent peers start, answer, log who asked, and keep what they promise over a restart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use twinhub_peers::{
    Broker, Commander, Knxd, KnxdOptions, Mosquitto, Observer, Pymodbus, PymodbusOptions, UdpRelay, Xknx,
    wait_until,
};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn pymodbus_counts_and_logs_writes_with_the_clients_address() {
    let counter = Some((3, Duration::from_millis(5)));
    let device = Pymodbus::start(&PymodbusOptions { counter, ..PymodbusOptions::default() }).unwrap();
    assert!(device.version().starts_with("3."));
    let mut client = TcpStream::connect(device.address()).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = |pdu: [u8; 5]| {
        client.write_all(&[&[0, 1, 0, 0, 0, 6, 1], &pdu[..]].concat()).unwrap();
        let mut answer = vec![0; if pdu[0] == 3 { 11 } else { 12 }];
        client.read_exact(&mut answer).unwrap();
        u16::from_be_bytes([answer[answer.len() - 2], answer[answer.len() - 1]])
    };
    let first = ask([3, 0, 3, 0, 1]);
    wait_until("the counter counts", SOON, || ask([3, 0, 3, 0, 1]) > first).unwrap();
    assert_eq!(ask([6, 0, 20, 0, 99]), 99);
    assert_eq!(ask([3, 0, 20, 0, 1]), 99);
    let mine = client.local_addr().unwrap().to_string();
    let requests = device.requests().unwrap();
    let write = requests.iter().find(|request| request.function == 6).unwrap();
    assert_eq!(
        (write.peer.as_str(), write.address, write.values.as_slice()),
        (mine.as_str(), 20, [99].as_slice())
    );
    assert!(requests.iter().any(|request| request.function == 3));
}

#[test]
fn mosquitto_keeps_the_queue_of_an_absent_subscriber_over_a_restart() {
    let mut broker = Mosquitto::start().unwrap();
    assert!(Mosquitto::version().unwrap().starts_with(char::is_numeric));
    drop(Observer::start(broker.address(), "absent", "queue/#").unwrap());
    {
        let commander = Commander::start(broker.address(), "commander").unwrap();
        for number in 0..50 {
            commander.publish("queue/a", &number.to_string()).unwrap();
        }
        wait_until("the broker has all 50", SOON, || commander.acknowledged() == 50).unwrap();
    }
    broker.restart().unwrap();
    let observer = Observer::start(broker.address(), "absent", "queue/#").unwrap();
    wait_until("50 messages arrive", SOON, || observer.count() >= 50).unwrap();
    let numbers: Vec<String> = observer.messages().iter().map(twinhub_peers::Message::text).collect();
    assert_eq!(numbers, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_embedded_broker_queues_for_an_absent_wildcard_subscriber() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_mqtt-broker"));
    let broker = Broker::start(program, &folder.path().join("broker.log")).unwrap();
    drop(Observer::start(broker.address(), "absent", "site/+/value").unwrap());
    let present = Observer::start(broker.address(), "present", "site/#").unwrap();
    let commander = Commander::start(broker.address(), "commander").unwrap();
    for number in 0..50 {
        commander.publish("site/a/value", &number.to_string()).unwrap();
    }
    wait_until("50 messages arrive", SOON, || present.count() >= 50).unwrap();
    let absent = Observer::start(broker.address(), "absent", "site/+/value").unwrap();
    wait_until("50 queued messages arrive", SOON, || absent.count() >= 50).unwrap();
    assert_eq!(present.count(), 50);
    assert_eq!(absent.messages()[49].text(), "49");
}

#[test]
fn two_xknx_hear_each_other_through_knxd_and_a_relay_writes_down_what_passes() {
    let gateway = Knxd::start(&KnxdOptions::default()).unwrap();
    assert!(Knxd::version().unwrap().starts_with("0.14"));
    let relay = UdpRelay::start(gateway.address()).unwrap();
    let asks = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    asks.send_to(&[6, 0x10, 2, 3, 0, 14, 8, 1, 0, 0, 0, 0, 0, 0], relay.address()).unwrap();
    asks.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 512];
    asks.recv(&mut answer).unwrap();
    assert_eq!(answer[..4], [6, 0x10, 2, 4], "a description");
    let directions: Vec<_> = relay.log().iter().map(|datagram| datagram.is_from_client).collect();
    assert_eq!(directions, [true, false]);
    let mut first = Xknx::tunnel(gateway.address()).unwrap();
    let mut second = Xknx::tunnel(gateway.address()).unwrap();
    assert_ne!(first.address(), second.address());
    second.answer("1/2/4", &json!([1, 2])).unwrap();
    first.write("1/2/3", &json!(1)).unwrap();
    second.hears("1/2/3", "write", 1).unwrap();
    assert_eq!(second.heard()[0].source, first.address());
    first.read("1/2/4").unwrap();
    first.hears("1/2/4", "response", 1).unwrap();
    assert_eq!(first.values("1/2/4", "response"), [json!([1, 2])]);
}
