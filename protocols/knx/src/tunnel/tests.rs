use proptest::prelude::*;

use super::*;
use crate::GroupAddress;
use crate::cemi::Payload;

#[test]
fn the_states_are_walked_as_in_the_diagram() {
    let mut world = World::new(TunnelConfig { reclaim: Some(9), ..udp() });
    world.input(Input::Start);
    assert_eq!(world.sent(), [Frame::DisconnectRequest { channel: 9, control: Hpai::NAT }], "reclaiming");
    world.frame(&Frame::DisconnectResponse { channel: 9, status: Status::NO_ERROR });
    assert_eq!(world.told(), [Action::Reclaimed { channel: 9, status: Some(Status::NO_ERROR) }]);
    assert!(matches!(world.sent()[..], [Frame::ConnectRequest { .. }]), "connecting");
    world.frame(&connected(5));
    assert!(matches!(world.told()[..], [Action::Connected { channel: 5, .. }]));
    world.input(Input::Stop);
    assert_eq!(world.sent(), [Frame::DisconnectRequest { channel: 5, control: Hpai::NAT }], "disconnecting");
    assert_eq!(world.told(), []);
    world.frame(&Frame::DisconnectResponse { channel: 5, status: Status::NO_ERROR });
    assert_eq!(world.told(), [Action::Disconnected { reason: Reason::Stopped }], "idle");
    assert_eq!(world.timeout(), Moment::NEVER);

    world.input(Input::Start);
    assert!(matches!(world.sent()[..], [Frame::ConnectRequest { .. }]), "reclaims only once");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.reason(), Reason::NoAnswer { waited_ms: 10_000 });
}

#[test]
fn a_predecessor_that_cannot_be_reclaimed_does_not_hold_up_the_connection() {
    let mut world = World::new(TunnelConfig { reclaim: Some(9), ..udp() });
    world.input(Input::Start);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.told(), [Action::Reclaimed { channel: 9, status: None }]);
    assert!(matches!(world.sent()[..], [_, Frame::ConnectRequest { .. }]));
}

#[test]
fn a_full_gateway_is_told_with_its_number() {
    let mut world = World::new(udp());
    world.input(Input::Start);
    world.frame(&Frame::ConnectResponse { channel: 0, result: Err(Status::NO_MORE_CONNECTIONS) });
    let reason = world.reason();
    assert_eq!(reason, Reason::Refused { status: Status::NO_MORE_CONNECTIONS });
    assert!(reason.to_string().contains("0x24"), "{reason}");
}

#[test]
fn an_extended_request_is_repeated_without_the_address_where_another_one_will_do() {
    let address = Some(IndividualAddress(0x11fa));
    for is_address_required in [false, true] {
        let mut world = World::new(TunnelConfig { address, is_address_required, ..udp() });
        world.input(Input::Start);
        let asks = |frames: &[Frame]| match frames {
            [Frame::ConnectRequest { request: ConnectionRequest::Tunnel { address, .. }, .. }] => *address,
            other => panic!("{other:?}"),
        };
        assert_eq!(asks(&world.sent()), address);
        world.frame(&Frame::ConnectResponse { channel: 0, result: Err(Status::CONNECTION_TYPE) });
        if is_address_required {
            assert_eq!(world.reason(), Reason::Refused { status: Status::CONNECTION_TYPE });
        } else {
            assert_eq!(asks(&world.sent()), None);
        }
    }
}

#[test]
fn a_connection_that_comes_too_late_is_closed_at_once() {
    let mut world = World::new(udp());
    world.input(Input::Start);
    world.pass(Duration::from_secs(10));
    world.sent();
    world.frame(&connected(7));
    assert_eq!(world.sent(), [Frame::DisconnectRequest { channel: 7, control: Hpai::NAT }]);
}

#[test]
fn a_telegram_is_sent_when_the_bus_confirms_it() {
    let mut world = open(udp());
    world.send(1);
    let [request] = &world.sent()[..] else { panic!("no request") };
    assert!(matches!(
        request,
        Frame::TunnellingRequest { header: Sequenced { channel: 5, sequence: 0 }, .. }
    ));
    world.ack(0);
    assert_eq!(world.told(), [], "the gateway has it, the bus not yet");
    world.pass(Duration::from_millis(20));
    world.con(0, false);
    assert_eq!(world.told(), [sent(1, SendOutcome::Confirmed { after_ms: 20 })]);
    assert_eq!(world.sent(), [ack(0)], "the confirmation is acknowledged");
    world.pass(Duration::from_millis(100));
    world.send(2);
    world.con(1, true);
    assert_eq!(world.told(), [], "before its acknowledgment");
    world.ack(1);
    assert_eq!(world.told(), [sent(2, SendOutcome::Negative { after_ms: 0 })]);
}

#[test]
fn a_telegram_without_confirmation_lets_the_next_one_go() {
    let mut world = open(udp());
    world.send(1);
    world.send(2);
    world.ack(0);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.told(), [sent(1, SendOutcome::NotConfirmed { waited_ms: 3000 })]);
    let frames = world.sent();
    assert!(
        matches!(frames[..], [_, Frame::TunnellingRequest { header: Sequenced { sequence: 1, .. }, .. }]),
        "{frames:?}"
    );
    assert!(world.tunnel.is_connected());
}

#[test]
fn a_lost_acknowledgment_is_made_good_by_one_repetition() {
    let mut world = open(udp());
    world.send(1);
    let first = world.sent();
    world.pass(Duration::from_millis(999));
    assert_eq!(world.sent(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.sent(), first, "the very same frame");
    world.ack(0);
    world.con(0, false);
    assert_eq!(world.told(), [sent(1, SendOutcome::Confirmed { after_ms: 1000 })]);
    assert_eq!(world.tunnel.counters().resent, 1);
}

#[test]
fn two_lost_acknowledgments_end_the_connection() {
    let mut world = open(udp());
    world.send(1);
    world.send(2);
    world.frame(&Frame::TunnellingAck { header: header(0), status: Status::KNX_CONNECTION });
    world.pass(Duration::from_secs(2));
    assert_eq!(world.told(), [sent(1, SendOutcome::InDoubt), sent(2, SendOutcome::NotSent)]);
    assert_eq!(world.sent().last(), Some(&Frame::DisconnectRequest { channel: 5, control: Hpai::NAT }));
    world.pass(Duration::from_secs(1));
    let reason =
        Reason::AckMissing { sequence: 0, sent: 2, waited_ms: 2000, status: Some(Status::KNX_CONNECTION) };
    assert_eq!(world.reason(), reason, "{reason}");
}

#[test]
fn an_acknowledgment_of_another_request_is_none() {
    let mut world = open(udp());
    world.send(1);
    world.ack(3);
    world.frame(&Frame::TunnellingAck {
        header: Sequenced { channel: 8, sequence: 0 },
        status: Status::NO_ERROR,
    });
    world.con(0, false);
    assert_eq!(world.told(), []);
    assert_eq!((world.tunnel.counters().unexpected, world.tunnel.counters().other_channels), (1, 1));
}

#[test]
fn repetitions_are_acknowledged_and_dropped_and_strange_counters_are_neither() {
    let mut world = open(udp());
    world.heard(0, 0x1105, GROUP, value(1));
    assert_eq!((world.told().len(), world.sent()), (1, vec![ack(0)]));
    world.heard(0, 0x1105, GROUP, value(1));
    assert_eq!((world.told().len(), world.sent()), (0, vec![ack(0)]));
    world.heard(2, 0x1105, GROUP, value(1));
    assert_eq!((world.told().len(), world.sent()), (0, vec![]));
    let counters = world.tunnel.counters();
    assert_eq!((counters.received, counters.duplicates, counters.out_of_order), (1, 1, 1));
}

#[test]
fn counters_of_both_directions_wrap() {
    let mut world = open(TunnelConfig { telegrams_per_second: 0, ..udp() });
    for round in 0..600u64 {
        let sequence = u8::try_from(round % 256).unwrap();
        world.send(round);
        world.ack(sequence);
        world.con(sequence, false);
        assert_eq!(world.told(), [sent(round, SendOutcome::Confirmed { after_ms: 0 })]);
    }
}

#[test]
fn what_cannot_be_read_is_acknowledged_all_the_same() {
    let mut world = open(udp());
    world.frame(&Frame::TunnellingRequest { header: header(0), cemi: vec![0x29, 0xff] });
    assert_eq!(world.sent(), [ack(0)]);
    assert_eq!(world.tunnel.counters().malformed, 1);
}

#[test]
fn three_lost_heartbeats_are_the_end() {
    let mut world = open(udp());
    world.pass(Duration::from_secs(10));
    let question = Frame::ConnectionStateRequest { channel: 5, control: Hpai::NAT };
    assert_eq!(world.sent(), std::slice::from_ref(&question));
    world.frame(&Frame::ConnectionStateResponse { channel: 5, status: Status::NO_ERROR });
    world.pass(Duration::from_secs(16));
    assert_eq!(world.sent(), [question.clone(), question.clone(), question]);
    assert_eq!(world.told(), []);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.sent(), [Frame::DisconnectRequest { channel: 5, control: Hpai::NAT }]);
    assert_eq!(world.reason(), Reason::HeartbeatLost { failed: 3, silent_ms: 19_000, status: None });
}

#[test]
fn a_gateway_that_does_not_know_the_channel_is_not_asked_again() {
    let mut world = open(udp());
    world.pass(Duration::from_secs(10));
    world.frame(&Frame::ConnectionStateResponse { channel: 5, status: Status::CONNECTION_ID });
    assert_eq!(world.reason(), Reason::ChannelUnknown { channel: 5 });
}

#[test]
fn a_gateway_without_bus_is_asked_again_after_a_pause() {
    let mut world = open(udp());
    world.pass(Duration::from_secs(10));
    for _ in 0..2 {
        world.sent();
        world.frame(&Frame::ConnectionStateResponse { channel: 5, status: Status::KNX_CONNECTION });
        assert_eq!(world.sent(), []);
        world.pass(Duration::from_secs(3));
    }
    world.frame(&Frame::ConnectionStateResponse { channel: 5, status: Status::KNX_CONNECTION });
    let reason = Reason::HeartbeatLost { failed: 3, silent_ms: 0, status: Some(Status::KNX_CONNECTION) };
    assert_eq!(world.reason(), reason);
}

#[test]
fn the_gateway_closes_and_is_answered() {
    let mut world = open(udp());
    world.send(1);
    world.sent();
    world.frame(&Frame::DisconnectRequest { channel: 5, control: Hpai::NAT });
    assert_eq!(world.sent(), [Frame::DisconnectResponse { channel: 5, status: Status::NO_ERROR }]);
    assert_eq!(
        world.told(),
        [
            sent(1, SendOutcome::InDoubt),
            Action::Disconnected { reason: Reason::ClosedByGateway { channel: 5 } }
        ]
    );
    world.send(2);
    assert_eq!(world.told(), [sent(2, SendOutcome::NotConnected)]);
}

#[test]
fn tcp_has_no_acknowledgments_and_forgives_no_heartbeat() {
    let mut world = open(TunnelConfig::tcp());
    world.send(1);
    world.sent();
    world.con(77, false);
    assert_eq!(world.told(), [sent(1, SendOutcome::Confirmed { after_ms: 0 })]);
    assert_eq!(world.sent(), []);
    world.pass(Duration::from_secs(13));
    assert!(matches!(world.reason(), Reason::HeartbeatLost { failed: 1, .. }));
    let mut world = open(TunnelConfig::tcp());
    world.input(Input::TransportLost);
    assert_eq!(world.reason(), Reason::TransportLost);
}

#[test]
fn telegrams_go_by_priority_and_at_the_pace() {
    let mut world = open(TunnelConfig { telegrams_per_second: 10, ..TunnelConfig::tcp() });
    for (id, priority) in [
        (1, Priority::Low),
        (2, Priority::Low),
        (3, Priority::Normal),
        (4, Priority::System),
        (5, Priority::Urgent),
    ] {
        let telegram = LData::group_request(GROUP, priority, Apdu::GroupValueWrite(value(1)));
        world.input(Input::Send { id, telegram });
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        assert_eq!(world.sent().len(), 1);
        world.con(0, false);
        order.extend(world.told());
        assert_eq!(world.sent(), [], "not before its time");
        world.pass(Duration::from_millis(100));
    }
    let confirmed = |id| sent(id, SendOutcome::Confirmed { after_ms: 0 });
    assert_eq!(order, [1, 4, 5, 3, 2].map(confirmed));
}

#[test]
fn a_tunnel_is_free_when_a_telegram_would_leave_at_once() {
    let mut closed = World::new(udp());
    assert!(!closed.tunnel.is_free(closed.now), "not before it is open");
    let mut world = open(TunnelConfig { telegrams_per_second: 10, ..TunnelConfig::tcp() });
    assert!(world.tunnel.is_free(world.now));
    world.send(1);
    assert_eq!(world.sent().len(), 1, "as was said");
    assert!(!world.tunnel.is_free(world.now), "one is under way");
    world.con(0, false);
    assert!(!world.tunnel.is_free(world.now), "the pace");
    world.pass(Duration::from_millis(100));
    assert!(world.tunnel.is_free(world.now));
    closed.told();
}

#[test]
fn a_full_queue_refuses_and_counts() {
    let mut world = open(TunnelConfig { queue_max: 2, ..udp() });
    for id in 1..=4 {
        world.send(id);
    }
    let full = SendOutcome::QueueFull { waiting: 2, max: 2 };
    assert_eq!(world.told(), [sent(4, full)]);
    assert_eq!((world.tunnel.counters().overflowed, world.tunnel.waiting()), (1, 2));
}

#[test]
fn a_read_is_answered_by_somebody_else_only() {
    let mut world = open(udp());
    world.input(Input::Read { id: 1, group: GROUP });
    world.ack(0);
    world.confirm(0, LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead));
    assert_eq!(world.told(), [], "confirmed, not answered");
    world.heard(1, 0x11ff, GROUP, value(1));
    world.told();
    world.response(2, 0x11ff, GROUP);
    assert!(matches!(world.told()[..], [Action::Received(_)]), "an echo of this client");
    world.response(3, 0x1105, GroupAddress(9));
    assert!(matches!(world.told()[..], [Action::Received(_)]), "another group");
    world.response(4, 0x1105, GROUP);
    let outcome = ReadOutcome::Answered { source: IndividualAddress(0x1105), payload: value(1) };
    assert_eq!(world.told()[0], Action::ReadDone { id: 1, outcome });
}

#[test]
fn a_read_that_nobody_answers_ends() {
    let mut world = open(udp());
    world.input(Input::Read { id: 1, group: GROUP });
    world.ack(0);
    world.confirm(0, LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead));
    world.pass(Duration::from_secs(3));
    let outcome = ReadOutcome::NoAnswer { waited_ms: 3000 };
    assert_eq!(world.told(), [Action::ReadDone { id: 1, outcome }]);
    world.input(Input::Read { id: 2, group: GROUP });
    world.input(Input::Stop);
    let outcome = ReadOutcome::NotAsked(SendOutcome::InDoubt);
    assert_eq!(world.told(), [Action::ReadDone { id: 2, outcome }], "told once");
}

#[test]
fn reads_are_bounded() {
    let mut world = open(TunnelConfig { telegrams_per_second: 0, ..TunnelConfig::tcp() });
    for id in 0..=READS_MAX as u64 {
        world.input(Input::Read { id, group: GROUP });
        world.confirm(0, LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead));
    }
    let full = SendOutcome::QueueFull { waiting: READS_MAX, max: READS_MAX };
    let outcome = ReadOutcome::NotAsked(full);
    assert_eq!(world.told(), [Action::ReadDone { id: READS_MAX as u64, outcome }]);
}

#[test]
fn a_monitor_sends_nothing() {
    let mut world = open(TunnelConfig { layer: crate::ip::TunnelLayer::Busmonitor, ..udp() });
    world.send(1);
    assert_eq!(world.told(), [sent(1, SendOutcome::WrongLayer)]);
    let cemi = Cemi::Busmon { additional: vec![], frame: vec![0xbc] }.encode().unwrap();
    world.frame(&Frame::TunnellingRequest { header: header(0), cemi });
    assert!(matches!(&world.told()[..], [Action::Monitored { frame, .. }] if frame == &[0xbc]));
}

const GROUP: GroupAddress = GroupAddress(0x0a03);

struct World {
    tunnel: Tunnel,
    now: Moment,
    sent: Vec<Frame>,
    told: Vec<Action>,
}

impl World {
    fn new(config: TunnelConfig) -> World {
        World { tunnel: Tunnel::new(config), now: Moment::from_millis(1000), sent: vec![], told: vec![] }
    }

    fn input(&mut self, input: Input) {
        self.tunnel.handle_input(input, self.now);
        self.timeout();
    }

    /// Drains, and gives the moment of the next timer.
    fn timeout(&mut self) -> Moment {
        loop {
            match self.tunnel.poll_output() {
                Output::Action(Action::Transmit { frame, .. }) => {
                    self.sent.push(Frame::decode(&frame).unwrap());
                }
                Output::Action(action) => self.told.push(action),
                Output::Timeout(moment) => return moment,
            }
        }
    }

    /// Lets time pass, and wakes the machine when it asked for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.timeout();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.input(Input::Wakeup);
        }
        self.now = end;
    }

    fn sent(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }

    fn told(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.told)
    }

    fn reason(&mut self) -> Reason {
        match self.told().last() {
            Some(Action::Disconnected { reason }) => *reason,
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.input(Input::Frame(frame.encode().unwrap()));
    }

    fn send(&mut self, id: u64) {
        self.input(Input::Send { id, telegram: write_request() });
    }

    fn ack(&mut self, sequence: u8) {
        self.frame(&Frame::TunnellingAck { header: header(sequence), status: Status::NO_ERROR });
    }

    fn con(&mut self, sequence: u8, is_error: bool) {
        let mut telegram = write_request();
        telegram.control.is_error = is_error;
        self.confirm(sequence, telegram);
    }

    fn confirm(&mut self, sequence: u8, telegram: LData) {
        // The gateway fills in the source.
        let telegram =
            LData { message: Message::Confirmation, source: IndividualAddress(0x11ff), ..telegram };
        self.cemi(sequence, telegram);
    }

    fn heard(&mut self, sequence: u8, source: u16, group: GroupAddress, payload: Payload) {
        let telegram = LData::group_request(group, Priority::Low, Apdu::GroupValueWrite(payload));
        self.indicate(sequence, source, telegram);
    }

    fn response(&mut self, sequence: u8, source: u16, group: GroupAddress) {
        let telegram = LData::group_request(group, Priority::Low, Apdu::GroupValueResponse(value(1)));
        self.indicate(sequence, source, telegram);
    }

    fn indicate(&mut self, sequence: u8, source: u16, telegram: LData) {
        let source = IndividualAddress(source);
        self.cemi(sequence, LData { message: Message::Indication, source, ..telegram });
    }

    fn cemi(&mut self, sequence: u8, telegram: LData) {
        let cemi = Cemi::Data(telegram).encode().unwrap();
        self.frame(&Frame::TunnellingRequest { header: header(sequence), cemi });
    }
}

fn udp() -> TunnelConfig {
    TunnelConfig::udp(Hpai::NAT)
}

fn open(config: TunnelConfig) -> World {
    let mut world = World::new(config);
    world.input(Input::Start);
    world.frame(&connected(5));
    world.sent();
    world.told();
    world
}

fn connected(channel: u8) -> Frame {
    let info = ConnectionInfo::Tunnel { address: IndividualAddress(0x11ff) };
    Frame::ConnectResponse { channel, result: Ok((Hpai::NAT, info)) }
}

fn header(sequence: u8) -> Sequenced {
    Sequenced { channel: 5, sequence }
}

fn ack(sequence: u8) -> Frame {
    Frame::TunnellingAck { header: header(sequence), status: Status::NO_ERROR }
}

fn value(bit: u8) -> Payload {
    Payload::Small(bit)
}

fn write_request() -> LData {
    LData::group_request(GROUP, Priority::Low, Apdu::GroupValueWrite(value(1)))
}

fn sent(id: u64, outcome: SendOutcome) -> Action {
    Action::Sent { id, outcome }
}

/// Frames as a gateway could send them, in any order.
fn inputs() -> impl Strategy<Value = Input> {
    let frame = prop_oneof![
        (4u8..7).prop_map(connected),
        any::<u8>()
            .prop_map(|status| Frame::ConnectResponse { channel: 0, result: Err(Status(status.max(1))) }),
        (4u8..7, 0u8..3)
            .prop_map(|(channel, status)| Frame::ConnectionStateResponse { channel, status: Status(status) }),
        (4u8..7).prop_map(|channel| Frame::DisconnectRequest { channel, control: Hpai::NAT }),
        (4u8..7).prop_map(|channel| Frame::DisconnectResponse { channel, status: Status::NO_ERROR }),
        (0u8..6).prop_map(ack),
        (0u8..6, any::<bool>(), any::<bool>()).prop_map(|(sequence, is_error, is_con)| {
            let mut telegram = write_request();
            telegram.control.is_error = is_error;
            telegram.message = if is_con { Message::Confirmation } else { Message::Indication };
            let cemi = Cemi::Data(telegram).encode().unwrap();
            Frame::TunnellingRequest { header: header(sequence), cemi }
        }),
    ];
    prop_oneof![
        2 => Just(Input::Start),
        1 => Just(Input::Stop),
        1 => Just(Input::TransportLost),
        4 => Just(Input::Wakeup),
        8 => frame.prop_map(|frame| Input::Frame(frame.encode().unwrap())),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Input::Frame),
        4 => any::<u64>().prop_map(|id| Input::Send { id, telegram: write_request() }),
        2 => any::<u64>().prop_map(|id| Input::Read { id, group: GROUP }),
    ]
}

proptest! {
    /// The assertions of the machine hold in any order of events, and each telegram has one outcome in the end.
    #[test]
    fn every_telegram_has_one_outcome(
        is_tcp: bool,
        steps in proptest::collection::vec((inputs(), 0u64..4000), 0..120)
    ) {
        let config = if is_tcp { TunnelConfig::tcp() } else { udp() };
        let mut world = World::new(TunnelConfig { queue_max: 4, ..config });
        let mut open = 0i64;
        for (input, ms) in steps {
            open += i64::from(matches!(input, Input::Send { .. } | Input::Read { .. }));
            world.input(input);
            world.pass(Duration::from_millis(ms));
        }
        world.input(Input::TransportLost);
        open -= i64::try_from(world.told().iter().filter(|action| {
            matches!(action, Action::Sent { .. } | Action::ReadDone { .. })
        }).count()).unwrap();
        prop_assert_eq!(open, 0);
    }
}
