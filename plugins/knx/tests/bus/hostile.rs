//! Gateways that are not what they should be, and a gateway over TCP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use twinhub_contract::code;
use twinhub_contract::constants::quality;
use twinhub_knx_protocol::cemi::{Cemi, LData, Message};
use twinhub_knx_protocol::ip::{ConnectionInfo, Frame, Hpai, Sequenced, Status, StreamReader};
use twinhub_knx_protocol::{Apdu, IndividualAddress, Payload, Priority};
use twinhub_loader::ValueRef;

use crate::rig::{Got, Rig, item};

fn items() -> [(u32, serde_json::Value); 1] {
    [item(1, json!({"address": "1/2/1", "dpt": "7.001", "access": "rw"}))]
}

/// A gateway over TCP, as no independent one is at hand: it confirms what it gets and gives it to the other clients.
struct Stream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cut: Arc<AtomicBool>,
    _thread: JoinHandle<()>,
}

impl Stream {
    fn start(is_refusing: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&connections), Arc::clone(&cut));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let stop = Arc::clone(&stop);
                thread::spawn(move || serve(stream, is_refusing, &stop));
            }
        });
        Self { address, connections, cut, _thread: thread }
    }

    fn settings(&self) -> serde_json::Value {
        json!({ "gateway": self.address.to_string(), "transport": "tcp" })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a client sends nothing else")]
fn serve(mut stream: TcpStream, is_refusing: bool, cut: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut reader, mut buffer, mut sequence) = (StreamReader::new(), [0; 1024], 0u8);
    while !cut.load(Ordering::SeqCst) {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(_) => continue,
        };
        reader.push(&buffer[..count]).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            let answers = match Frame::decode(frame).unwrap() {
                Frame::ConnectRequest { .. } => {
                    let info = ConnectionInfo::Tunnel { address: IndividualAddress(0x1105) };
                    vec![Frame::ConnectResponse { channel: 7, result: Ok((Hpai::TCP, info)) }]
                }
                Frame::ConnectionStateRequest { channel, .. } => {
                    vec![Frame::ConnectionStateResponse { channel, status: Status::NO_ERROR }]
                }
                Frame::DisconnectRequest { channel, .. } => {
                    vec![Frame::DisconnectResponse { channel, status: Status::NO_ERROR }]
                }
                Frame::TunnellingRequest { cemi, .. } => {
                    let Ok(Cemi::Data(mut telegram)) = Cemi::decode(&cemi) else { panic!("no telegram") };
                    assert_eq!(telegram.message, Message::Request);
                    telegram.message = Message::Confirmation;
                    telegram.control.is_error = is_refusing;
                    let echo = LData {
                        message: Message::Indication,
                        source: IndividualAddress(0x1106),
                        ..LData::group_request(
                            "1/2/1".parse().unwrap(),
                            Priority::Low,
                            Apdu::GroupValueWrite(Payload::Bytes(vec![0, 99])),
                        )
                    };
                    [telegram, echo].map(|telegram| tunnelled(&mut sequence, telegram)).to_vec()
                }
                other => panic!("{other:?}"),
            };
            for answer in answers {
                stream.write_all(&answer.encode().unwrap()).unwrap();
            }
        }
    }
}

fn tunnelled(sequence: &mut u8, telegram: LData) -> Frame {
    let header = Sequenced { channel: 7, sequence: *sequence };
    *sequence = sequence.wrapping_add(1);
    Frame::TunnellingRequest { header, cemi: Cemi::Data(telegram).encode().unwrap() }
}

#[test]
fn a_tunnel_over_tcp_carries_telegrams_both_ways_and_comes_back_after_a_loss() {
    let gateway = Stream::start(false);
    let rig = Rig::active(&gateway.settings(), &items());
    assert_eq!(rig.written(&[(1, ValueRef::U64(5))]), [code::OK]);
    rig.reads(1, &Got::I64(99));
    assert_eq!(rig.values(1), [Got::I64(5), Got::I64(99)]);
    assert_eq!(rig.diagnosis()["connection"]["individual_address"], "1.1.5");
    gateway.cut.store(true, Ordering::SeqCst);
    rig.until("the loss", |seen| seen.status(1) == Some(quality::UNCERTAIN_LAST_USABLE));
    gateway.cut.store(false, Ordering::SeqCst);
    rig.connects();
    assert!(gateway.connections.load(Ordering::SeqCst) >= 2);
    assert_eq!(rig.written(&[(1, ValueRef::U64(6))]), [code::OK]);
}

#[test]
fn a_telegram_that_the_bus_refuses_is_an_error() {
    let gateway = Stream::start(true);
    let rig = Rig::active(&gateway.settings(), &items());
    assert_eq!(rig.written(&[(1, ValueRef::U64(5))]), [code::DEVICE]);
    rig.reads(1, &Got::I64(99));
    assert_eq!(rig.values(1), [Got::I64(99)], "what was refused is no value");
    assert_eq!(rig.diagnosis()["telegrams"]["refused"], 1);
}

#[test]
fn garbage_costs_a_connection_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let _thread = thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let octets: Vec<u8> =
                (0..600).map(|place: usize| u8::try_from(place * 31 * (number + 1) % 251).unwrap()).collect();
            // Cut short, too long, no frame at all.
            let begins = [&[6, 0x10, 2, 6, 0xff, 0xff][..], &[6, 0x10, 2, 6, 0, 3], &[6, 0x10], &[]];
            let _gone = stream.write_all(begins[number % 4]).and_then(|()| stream.write_all(&octets));
        }
    });
    let rig = Rig::new(&json!({ "gateway": address.to_string(), "transport": "tcp" }), &items());
    rig.role(twinhub_loader::Role::Active);
    rig.until("many attempts", |_| connections.load(Ordering::SeqCst) >= 12);
    rig.until("a fault", |seen| seen.state() == Some(4));
}

#[test]
fn datagrams_of_strangers_and_broken_ones_are_counted_and_dropped() {
    let gateway = UdpSocket::bind("127.0.0.1:0").unwrap();
    gateway.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let rig = Rig::new(
        &json!({ "gateway": gateway.local_addr().unwrap().to_string(), "heartbeat": "60s" }),
        &items(),
    );
    rig.role(twinhub_loader::Role::Active);
    let mut buffer = [0; 1024];
    let (_, client) = gateway.recv_from(&mut buffer).unwrap();
    let info = ConnectionInfo::Tunnel { address: IndividualAddress(0x1105) };
    let connect = Frame::ConnectResponse { channel: 7, result: Ok((Hpai::NAT, info)) };
    gateway.send_to(&connect.encode().unwrap(), client).unwrap();
    rig.connects();
    let say = |number: u16, sequence: &mut u8| {
        let apdu = Apdu::GroupValueWrite(Payload::Bytes(number.to_be_bytes().to_vec()));
        let telegram = LData {
            message: Message::Indication,
            source: IndividualAddress(0x1106),
            ..LData::group_request("1/2/1".parse().unwrap(), Priority::Low, apdu)
        };
        tunnelled(sequence, telegram).encode().unwrap()
    };
    let mut sequence = 0;
    for number in 0..200u16 {
        let frame = say(number, &mut sequence);
        for cut in [0, 1, 6, frame.len() / 2, frame.len() - 1] {
            gateway.send_to(&frame[..cut], client).unwrap();
        }
        let mut broken = frame.clone();
        let place = usize::from(number) % broken.len();
        // The length and the type are broken in turn, never the group, the value or the counter.
        broken[place.min(4)] ^= 0x55;
        gateway.send_to(&broken, client).unwrap();
        // The same once more is a repetition.
        gateway.send_to(&frame, client).unwrap();
        gateway.send_to(&frame, client).unwrap();
        rig.reads(1, &Got::I64(number.into()));
    }
    assert_eq!(rig.values(1), (0..200).map(Got::I64).collect::<Vec<_>>(), "each once");
    let frames = &rig.diagnosis()["connection"]["frames"];
    assert_eq!(frames["duplicates"], 200, "{frames}");
    assert!(frames["malformed"].as_u64().unwrap() >= 1000, "{frames}");
}
