//! Secure multicast between this product and xknx, on the loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each test looks for one action")]

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use twinhub_knx_protocol::cemi::LData;
use twinhub_knx_protocol::routing::{Action, Input, Output, ReadOutcome, SendOutcome};
use twinhub_knx_protocol::secure::Key;
use twinhub_knx_protocol::secure::routing::{GroupConfig, SecureRouting};
use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, Moment, Payload, Priority, RoutingConfig};
use twinhub_peers::SecureXknx;

/// xknx joins this node, whose timer is far ahead of its own, and takes it over; both then talk.
#[test]
fn xknx_joins_a_secure_group_and_both_talk() {
    let mut ours = Member::new(KEY, 5_000_000_000_000);
    ours.input(Input::Start);
    ours.run_until("alone, so timekeeper", |ours| ours.routing.is_synchronized());
    let mut xknx = SecureXknx::start(&options(&ours.port(), HEX)).unwrap();
    // While it asks, this node answers.
    let mut is_ready = false;
    ours.run_until("xknx is synchronized", |_| {
        is_ready |= xknx.try_line(|line| line.starts_with("READY")).is_some();
        is_ready
    });
    assert!(!xknx.log().contains("not answered"), "{}", xknx.log());
    talk(&mut ours, &mut xknx);
    let counters = ours.routing.group_counters();
    assert_eq!((counters.forged, counters.old, counters.malformed), (0, 0, 0), "{counters:?}");
}

/// The other way round: xknx is there first, and this node asks it for the timer.
#[test]
fn this_node_joins_a_secure_group_of_xknx_and_both_talk() {
    let mut ours = Member::new(KEY, 1);
    let mut xknx = SecureXknx::connect(&options(&ours.port(), HEX)).unwrap();
    ours.drain();
    ours.input(Input::Start);
    ours.run_until("the timer of xknx", |ours| ours.routing.is_synchronized());
    assert!(ours.routing.timer_ms(ours.now()).unwrap() > 60_000, "not the own one");
    assert!(!ours.routing.is_timekeeper(), "xknx answered");
    talk(&mut ours, &mut xknx);
}

#[test]
fn with_another_key_nothing_is_heard() {
    let mut ours = Member::new(Key::new([9; 16]), 5_000_000_000_000);
    ours.input(Input::Start);
    ours.run_until("alone", |ours| ours.routing.is_synchronized());
    let mut xknx = SecureXknx::connect(&options(&ours.port(), HEX)).unwrap();
    let timer = ours.routing.timer_ms(ours.now()).unwrap();
    xknx.done("write 1/2/3 1").unwrap();
    // Its notification and its telegram.
    ours.run_until("two forged frames", |ours| ours.routing.group_counters().forged >= 2);
    assert!(ours.told.iter().all(|action| !matches!(action, Action::Received(_))));
    let passed = ours.routing.timer_ms(ours.now()).unwrap() - timer;
    assert!(passed < 60_000, "the timer is the own one");
}

fn talk(ours: &mut Member, xknx: &mut SecureXknx) {
    xknx.done("write 1/2/3 0c33").unwrap();
    let heard = ours.wait_for(|action| match action {
        Action::Received(telegram) => Some(telegram.clone()),
        _ => None,
    });
    let payload = Payload::Bytes(vec![0x0c, 0x33]);
    assert_eq!(heard.group_apdu(), Some((GROUP, &Apdu::GroupValueWrite(payload))));
    assert_eq!(heard.source, XKNX);

    let apdu = Apdu::GroupValueWrite(Payload::Small(1));
    let telegram = LData::group_request(GROUP, Priority::Low, apdu);
    ours.input(Input::Send { id: 1, telegram });
    let outcome = ours.wait_for(|action| match action {
        Action::Sent { id: 1, outcome } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, SendOutcome::Transmitted);
    xknx.wait_for(|line| line == "telegram 1.1.240 1/2/3 GroupValueWrite 1").unwrap();

    ours.input(Input::Read { id: 2, group: GROUP });
    let mut is_asked = false;
    ours.run_until("the read is heard", |_| {
        is_asked |= xknx.try_line(|line| line == "telegram 1.1.240 1/2/3 GroupValueRead -").is_some();
        is_asked
    });
    xknx.order("response 1/2/3 7").unwrap();
    let outcome = ours.wait_for(|action| match action {
        Action::ReadDone { id: 2, outcome } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, ReadOutcome::Answered { source: XKNX, payload: Payload::Small(7) });
}

const GROUP: GroupAddress = GroupAddress(0x0a03);
const OURS: IndividualAddress = IndividualAddress(0x11f0);
const XKNX: IndividualAddress = IndividualAddress(0x1105);
/// Of those that stay within one organization; so it is not that of KNX devices nearby.
const MULTICAST: Ipv4Addr = Ipv4Addr::new(239, 77, 23, 12);
const KEY: Key = Key::new([0x5a; 16]);
const HEX: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const SOON: Duration = Duration::from_secs(30);

fn options<'a>(port: &'a str, key: &'a str) -> [&'a str; 12] {
    [
        "--kind",
        "routing-secure",
        "--multicast",
        "239.77.23.12",
        "--port",
        port,
        "--address",
        "1.1.5",
        "--backbone-key",
        key,
        "--latency",
        "1000",
    ]
}

/// Routing with a socket.
struct Member {
    routing: SecureRouting,
    socket: Socket,
    port: u16,
    began: Instant,
    told: Vec<Action>,
}

impl Member {
    fn new(key: Key, timer_ms: u64) -> Member {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        socket.join_multicast_v4(&MULTICAST, &Ipv4Addr::LOCALHOST).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let group =
            GroupConfig { latency_ms: 1000, ..GroupConfig::new(key, [0, 0xfa, 0, 0, 0, 3], timer_ms, 7) };
        let routing = SecureRouting::new(RoutingConfig::new(OURS, 7)).with_group(group);
        Member { routing, socket, port, began: Instant::now(), told: Vec::new() }
    }

    fn port(&self) -> String {
        self.port.to_string()
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_nanos()).unwrap())
    }

    fn input(&mut self, input: Input) -> Moment {
        let now = self.now();
        self.routing.handle_input(input, now);
        loop {
            match self.routing.poll_output() {
                Output::Action(Action::Transmit { frame }) => {
                    let to = SocketAddrV4::new(MULTICAST, self.port);
                    self.socket.send_to(&frame, &SocketAddr::V4(to).into()).unwrap();
                }
                Output::Action(action) => self.told.push(action),
                Output::Timeout(moment) => return moment,
            }
        }
    }

    fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 2048];
        let mut reader = &self.socket;
        let count = reader.read(&mut bytes).ok()?;
        Some(bytes[..count].to_vec())
    }

    /// Throws away what came before the start.
    fn drain(&mut self) {
        while self.receive(Duration::from_millis(1)).is_some() {}
    }

    fn turn(&mut self) {
        let wake = self.input(Input::Wakeup);
        let wait = wake.since(self.now()).clamp(Duration::from_millis(1), Duration::from_millis(20));
        if let Some(bytes) = self.receive(wait) {
            self.input(Input::Frame(bytes));
        }
    }

    fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&Member) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_so(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: not within {SOON:?}; {:?}",
                self.routing.group_counters()
            );
            self.turn();
        }
    }

    fn wait_for<T>(&mut self, find: impl Fn(&Action) -> Option<T>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(found) = self.told.iter().find_map(&find) {
                return found;
            }
            assert!(Instant::now() < deadline, "not within {SOON:?}; {:?}", self.routing.group_counters());
            self.turn();
        }
    }
}
