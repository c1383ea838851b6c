//! A tunnel in a session, against the server of a session and a gateway of a few lines.

use std::collections::BTreeMap;

use super::*;
use crate::cemi::{LData, Message, Payload, Tpci, Tpdu};
use crate::ip::{ConnectionInfo, Frame, Hpai, SecureFrame, Status};
use crate::secure::data::{DataConfig, Protection};
use crate::secure::session::{Server, ServerAction, ServerConfig};
use crate::secure::{DataSecure, Key};
use crate::tunnel::{ReadOutcome, SendOutcome};
use crate::{Apdu, Cemi, GroupAddress, Priority};

#[test]
fn a_telegram_goes_through_session_and_tunnel() {
    let mut world = World::new(secure());
    world.open();
    let telegram = LData::group_request(GROUP, Priority::Low, write());
    world.input(Input::Send { id: 1, telegram });
    assert!(matches!(world.told()[..], [Action::Sent { id: 1, outcome: SendOutcome::Confirmed { .. } }]));
    assert_eq!(world.on_bus[0].group_apdu(), Some((GROUP, &write())));
    assert!(world.plain.is_empty(), "{:?}", world.plain);
    world.input(Input::Stop);
    assert_eq!(world.told(), [Action::Disconnected { reason: Reason::Stopped }]);
    assert!(world.is_closed, "the session is closed too");
    world.open();
}

#[test]
fn the_reason_of_whoever_ended_first_is_told_once() {
    let mut world = World::new(secure());
    world.open();
    world.input(Input::TransportLost);
    assert_eq!(world.told(), [Action::Disconnected { reason: Reason::TransportLost }]);
    world.open();
    world.gateway(&Frame::DisconnectRequest { channel: 7, control: Hpai::TCP });
    assert_eq!(world.told(), [Action::Disconnected { reason: Reason::ClosedByGateway { channel: 7 } }]);
    assert!(world.is_closed);
    world.open();
    let closing = SecureFrame::SessionStatus { status: 5 };
    world.gateway(&Frame::Secure(closing));
    let reason = Reason::Session(session::Reason::ClosedByGateway);
    assert_eq!(world.told(), [Action::Disconnected { reason }]);
    assert!(!world.tunnel.is_connected());
    world.refuses = true;
    world.start();
    let reason = Reason::Refused { status: Status::NO_MORE_CONNECTIONS };
    assert_eq!(world.told(), [Action::Disconnected { reason }]);
}

#[test]
fn a_start_without_randomness_and_a_wrong_password_are_told() {
    let mut world = World::new(secure());
    world.input(Input::Start);
    let reason = Reason::Session(session::Reason::NoPrivateKey);
    assert_eq!(world.told(), [Action::Disconnected { reason }]);
    world.is_cut = true;
    world.start();
    world.input(Input::Start);
    assert_eq!(world.told(), [], "a session is being opened");
    world.input(Input::Stop);
    assert_eq!(world.told(), [Action::Disconnected { reason: Reason::Stopped }]);
    let config = SessionConfig::new(3, Key::new([9; 16]), None, [5; 6]);
    let mut world = World::new(SecureTunnel::new(TunnelConfig::tcp()).with_session(config));
    world.start();
    let reason = Reason::Session(session::Reason::WrongUser { user: 3 });
    assert_eq!(world.told(), [Action::Disconnected { reason }]);
    assert!(reason.to_string().contains("user 3"), "{reason}");
}

#[test]
fn silence_is_found_by_the_timeouts_of_both() {
    let mut world = World::new(secure());
    world.is_cut = true;
    world.start();
    world.pass_to_timeout();
    let reason = Reason::Session(session::Reason::NoResponse { waited_ms: 10_000 });
    assert_eq!(world.told(), [Action::Disconnected { reason }]);
    world.is_cut = false;
    world.open();
    world.is_cut = true;
    world.pass_to_timeout();
    world.pass_to_timeout();
    assert!(
        matches!(world.told()[..], [Action::Disconnected { reason: Reason::HeartbeatLost { .. } }]),
        "the tunnel inside finds a dead peer"
    );
    assert_eq!(world.tunnel.poll_output(), Output::Timeout(Moment::NEVER));
}

#[test]
fn a_protected_group_is_written_confirmed_and_read() {
    for tunnel in [secure(), SecureTunnel::new(TunnelConfig::tcp())] {
        let mut world = World::new(tunnel.with_data(data(100)));
        world.tunnel.data().unwrap().reserve(200);
        world.open();
        let telegram = LData::group_request(GROUP, Priority::Low, write());
        world.input(Input::Send { id: 1, telegram });
        assert!(matches!(world.told()[..], [Action::Sent { id: 1, outcome: SendOutcome::Confirmed { .. } }]));
        let Some((GROUP, Apdu::Other { apci: 0x3f1, .. })) = world.on_bus[0].group_apdu() else {
            panic!("{:?}", world.on_bus)
        };
        world.pass(1000);
        world.input(Input::Read { id: 2, group: GROUP });
        assert_eq!(world.told(), []);
        let mut device = data(5000);
        device.reserve(5001);
        let payload = Payload::Bytes(vec![1, 2]);
        let answer = LData::group_request(GROUP, Priority::Low, Apdu::GroupValueResponse(payload.clone()));
        let answer = LData { message: Message::Indication, ..device.protect(answer, DEVICE).unwrap() };
        world.indication(&answer);
        let told = world.told();
        let [Action::ReadDone { id: 2, outcome }, Action::Received(_)] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(*outcome, ReadOutcome::Answered { source: DEVICE, payload });
        world.indication(&answer);
        assert_eq!(world.told(), [], "a replay");
        let data = world.tunnel.data().unwrap();
        assert_eq!((data.next(), data.senders()[&DEVICE], data.counters().refused), (102, 5000, 1));
    }
}

#[test]
fn what_has_no_number_is_not_sent() {
    let mut world = World::new(secure().with_data(data(100)));
    world.open();
    world.input(Input::Send { id: 1, telegram: LData::group_request(GROUP, Priority::Low, write()) });
    assert_eq!(world.on_bus, []);
    world.pass(3000);
    assert!(matches!(world.told()[..], [Action::Sent { outcome: SendOutcome::NotConfirmed { .. }, .. }]));
    assert!(world.tunnel.data().unwrap().take_refusal().is_some());
}

const GROUP: GroupAddress = GroupAddress(0x0a03);
const DEVICE: IndividualAddress = IndividualAddress(0x1101);
const OWN: IndividualAddress = IndividualAddress(0x11fa);

fn write() -> Apdu {
    Apdu::GroupValueWrite(Payload::Small(1))
}

fn secure() -> SecureTunnel {
    let config = SessionConfig::new(3, Key::new([1; 16]), Some(Key::new([2; 16])), [5; 6]);
    SecureTunnel::new(TunnelConfig::tcp()).with_session(config)
}

fn data(next: u64) -> DataSecure {
    DataSecure::new(DataConfig {
        groups: BTreeMap::from([(GROUP, Key::new([3; 16]))]),
        senders: BTreeMap::from([(DEVICE, 0)]),
        next,
        protection: Protection::Confidentiality,
    })
}

struct World {
    tunnel: SecureTunnel,
    server: Option<Server>,
    now: Moment,
    is_cut: bool,
    refuses: bool,
    is_closed: bool,
    told: Vec<Action>,
    /// Frames that came to the gateway in plain, beside the request for a session.
    plain: Vec<Frame>,
    on_bus: Vec<LData>,
}

impl World {
    fn new(tunnel: SecureTunnel) -> World {
        World {
            tunnel,
            server: None,
            now: Moment::from_millis(1000),
            is_cut: false,
            refuses: false,
            is_closed: false,
            told: Vec::new(),
            plain: Vec::new(),
            on_bus: Vec::new(),
        }
    }

    fn start(&mut self) {
        self.is_closed = false;
        self.tunnel.set_private_key(PrivateKey::new([0x55; 32]));
        self.input(Input::Start);
    }

    fn open(&mut self) {
        self.start();
        assert!(matches!(self.told()[..], [Action::Connected { channel: 7, address: OWN, .. }]));
    }

    fn input(&mut self, input: Input) {
        self.tunnel.handle_input(input, self.now);
        while let Output::Action(action) = self.tunnel.poll_output() {
            let Action::Transmit { frame, .. } = action else {
                self.told.push(action);
                continue;
            };
            if !self.is_cut {
                self.on_client(&frame);
            }
        }
    }

    fn on_client(&mut self, frame: &[u8]) {
        let now = self.now;
        let decoded = Frame::decode(frame).unwrap();
        let Frame::Secure(frame) = decoded else {
            self.on_tunnel(&decoded);
            return self.plain.push(decoded);
        };
        let SecureFrame::SessionRequest { public_key, .. } = frame else {
            for action in self.server.as_mut().unwrap().handle_frame(frame, now) {
                match action {
                    ServerAction::Transmit(frame) => self.input(Input::Frame(frame)),
                    ServerAction::Authenticated { .. } => {}
                    ServerAction::Received(frame) => self.on_tunnel(&Frame::decode(&frame).unwrap()),
                    ServerAction::Closed => self.is_closed = true,
                }
            }
            return;
        };
        let config = ServerConfig {
            device_key: Key::new([2; 16]),
            users: BTreeMap::from([(3, Key::new([1; 16]))]),
            serial: [6; 6],
            authenticate_timeout: std::time::Duration::from_secs(10),
            silence_max: std::time::Duration::from_secs(60),
        };
        let private_key = PrivateKey::new([0x66; 32]);
        let (server, response) = Server::accept(config, 1, public_key, &private_key, now).unwrap();
        self.server = Some(server);
        self.input(Input::Frame(response));
    }

    /// The gateway behind the session.
    fn on_tunnel(&mut self, frame: &Frame) {
        if matches!(frame, Frame::ConnectRequest { .. }) {
            let result = if self.refuses {
                Err(Status::NO_MORE_CONNECTIONS)
            } else {
                Ok((Hpai::TCP, ConnectionInfo::Tunnel { address: OWN }))
            };
            self.gateway(&Frame::ConnectResponse { channel: 7, result });
        } else if matches!(frame, Frame::DisconnectRequest { .. }) {
            self.gateway(&Frame::DisconnectResponse { channel: 7, status: Status::NO_ERROR });
        } else if let Frame::TunnellingRequest { cemi, .. } = frame {
            let Ok(Cemi::Data(mut telegram)) = Cemi::decode(cemi) else { panic!("{cemi:?}") };
            self.on_bus.push(telegram.clone());
            telegram.message = Message::Confirmation;
            telegram.source = OWN;
            self.telegram(telegram);
        }
    }

    fn indication(&mut self, telegram: &LData) {
        assert!(matches!(telegram.tpdu, Tpdu::Data { tpci: Tpci::Unnumbered, .. }));
        self.telegram(telegram.clone());
    }

    fn telegram(&mut self, telegram: LData) {
        let cemi = Cemi::Data(telegram).encode().unwrap();
        let header = crate::ip::Sequenced { channel: 7, sequence: 0 };
        self.gateway(&Frame::TunnellingRequest { header, cemi });
    }

    /// The gateway sends a frame, in the session if there is one.
    fn gateway(&mut self, frame: &Frame) {
        let frame = frame.encode().unwrap();
        let frame = match &mut self.server {
            Some(server) => server.send(&frame).unwrap(),
            None => frame,
        };
        self.input(Input::Frame(frame));
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + std::time::Duration::from_millis(ms);
        self.input(Input::Wakeup);
    }

    fn pass_to_timeout(&mut self) {
        let Output::Timeout(moment) = self.tunnel.poll_output() else { panic!("not drained") };
        self.now = moment;
        self.input(Input::Wakeup);
    }

    fn told(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.told)
    }
}
