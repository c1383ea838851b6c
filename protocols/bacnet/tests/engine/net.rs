//! A network in memory with two engines in it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use twinhub_bacnet_protocol::engine::{
    Action, Answer, Engine, Failure, Input, Output, Peer, PeerLimits, Reply, RequestId, Settings,
};
use twinhub_bacnet_protocol::moment::Moment;
use twinhub_bacnet_protocol::names::{ConfirmedService, ObjectType, PropertyIdentifier, Segmentation};
use twinhub_bacnet_protocol::services::{PropertyReference, ReadProperty, ReadPropertyAck};
use twinhub_bacnet_protocol::shapes::object_list;
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::{ObjectId, Value};

/// As many objects as the device had that other stacks read only a part of.
const OBJECTS: u32 = 702;

/// What is done to packets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    None,
    Lose(u64),
    Double(u64),
    Delay(u64),
    Random { permille: u16 },
}

/// Two engines, what is under way between them, and an application that answers.
pub(crate) struct Net {
    pub(crate) client: Engine,
    pub(crate) server: Engine,
    pub(crate) now: Moment,
    /// When what arrives at whom; the number keeps the order.
    pub(crate) under_way: BTreeMap<(Moment, u64), (bool, Vec<u8>)>,
    pub(crate) sent: u64,
    pub(crate) fault: Fault,
    pub(crate) chance: Chance,
    pub(crate) answer: Option<Answer>,
    pub(crate) results: BTreeMap<u64, Result<Reply, Failure>>,
}

impl Net {
    pub(crate) fn new(client: Settings, server: Settings, seed: u64) -> Net {
        let limits =
            PeerLimits { max_apdu: server.max_apdu, segmentation: Segmentation::BOTH, segments_max: None };
        let mut client = Engine::new(client, seed);
        client.handle_input(Input::Learned { peer: peer(2), limits }, Moment::START);
        Net {
            client,
            server: Engine::new(server, seed + 1),
            now: Moment::START,
            under_way: BTreeMap::new(),
            sent: 0,
            fault: Fault::None,
            chance: Chance(seed),
            answer: None,
            results: BTreeMap::new(),
        }
    }

    /// Asks for the same bytes back.
    pub(crate) fn echo(&mut self, id: u64, bytes: usize) {
        self.ask(id, ConfirmedService::CONFIRMED_PRIVATE_TRANSFER, long(bytes));
    }

    pub(crate) fn read_list(&mut self, id: u64) {
        self.ask(id, ConfirmedService::READ_PROPERTY, object_list_read().encode());
    }

    pub(crate) fn ask(&mut self, id: u64, service: ConfirmedService, payload: Vec<u8>) {
        let input = Input::Request { id: RequestId(id), peer: peer(2), service, payload };
        self.client.handle_input(input, self.now);
    }

    pub(crate) fn list(&self, id: u64) -> Vec<ObjectId> {
        match &self.results[&id] {
            Ok(Reply::Complex(bytes)) => {
                object_list(&ReadPropertyAck::decode(bytes).unwrap().values).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Until nothing is under way and nobody waits.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            let wake = self.client_outputs().min(self.server_outputs());
            let arrival = self.under_way.keys().next().map_or(Moment::NEVER, |(at, _)| *at);
            let at = wake.min(arrival);
            if at == Moment::NEVER {
                return;
            }
            self.now = self.now.max(at);
            if arrival <= wake {
                let Some((_, (is_to_server, apdu))) = self.under_way.pop_first() else { return };
                let (engine, from) = if is_to_server { (&mut self.server, 1) } else { (&mut self.client, 2) };
                engine.handle_input(Input::Received { peer: peer(from), apdu: &apdu }, self.now);
            } else {
                self.client.handle_input(Input::Wake, self.now);
                self.server.handle_input(Input::Wake, self.now);
            }
        }
        panic!("it never ends");
    }

    pub(crate) fn client_outputs(&mut self) -> Moment {
        loop {
            match self.client.poll_output() {
                Output::Action(Action::Transmit { apdu, .. }) => self.send(true, apdu),
                Output::Action(Action::Done { id, result }) => {
                    let before = self.results.insert(id.0, result);
                    assert_eq!(before, None, "a request ends once");
                }
                Output::Action(other) => panic!("{other:?}"),
                Output::Timeout(at) => return at,
            }
        }
    }

    pub(crate) fn server_outputs(&mut self) -> Moment {
        loop {
            match self.server.poll_output() {
                Output::Action(Action::Transmit { apdu, .. }) => self.send(false, apdu),
                Output::Action(Action::Asked { token, service, payload, .. }) => {
                    let answer = match &self.answer {
                        Some(answer) => answer.clone(),
                        None if service == ConfirmedService::READ_PROPERTY => {
                            let values = (0..OBJECTS).map(|n| ObjectId::new(ObjectType::ANALOG_VALUE, n));
                            let values = values.map(Value::Object).collect();
                            Answer::Complex(ReadPropertyAck { read: object_list_read(), values }.encode())
                        }
                        None => Answer::Complex(payload),
                    };
                    self.server.handle_input(Input::Answer { token, answer }, self.now);
                }
                Output::Action(other) => panic!("{other:?}"),
                Output::Timeout(at) => return at,
            }
        }
    }

    pub(crate) fn send(&mut self, is_to_server: bool, apdu: Vec<u8>) {
        let place = self.sent;
        self.sent += 1;
        let random = matches!(self.fault, Fault::Random { permille } if self.chance.permille() < permille);
        let kind = if random { self.chance.below(3) } else { 3 };
        let is_dead = matches!(self.fault, Fault::Random { permille: 1000 });
        let is_lost = is_dead || kind == 0 || matches!(self.fault, Fault::Lose(lost) if lost == place);
        let is_doubled = kind == 1 || matches!(self.fault, Fault::Double(doubled) if doubled == place);
        let is_late = kind == 2 || matches!(self.fault, Fault::Delay(late) if late == place);
        if is_lost {
            return;
        }
        let transit = Duration::from_millis(if is_late { 2500 } else { 1 });
        self.under_way.insert((self.now + transit, 2 * place), (is_to_server, apdu.clone()));
        if is_doubled {
            self.under_way.insert((self.now + transit * 2, 2 * place + 1), (is_to_server, apdu));
        }
    }
}

/// The generator of Steele and Vigna, `SplitMix64`.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u16) -> u8 {
        u8::try_from(self.next() % u64::from(limit)).unwrap()
    }

    pub(crate) fn permille(&mut self) -> u16 {
        u16::try_from(self.next() % 1000).unwrap()
    }
}

pub(crate) fn settings(max_apdu: u16, window: u8) -> Settings {
    Settings { max_apdu, window, ..Settings::default() }
}

pub(crate) fn peer(host: u8) -> Peer {
    Peer::local(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 47_808))
}

pub(crate) fn long(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| place.to_le_bytes()[0] ^ place.to_le_bytes()[1]).collect()
}

pub(crate) fn object_list_read() -> ReadProperty {
    let reference = PropertyReference::whole(PropertyIdentifier::OBJECT_LIST);
    ReadProperty { object: ObjectId::device(1), reference }
}
