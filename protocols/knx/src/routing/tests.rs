use proptest::prelude::*;

use super::*;

const GROUP: GroupAddress = GroupAddress(0x0a03);
const OWN: IndividualAddress = IndividualAddress(0x11fa);

#[test]
fn a_telegram_is_sent_as_an_indication_of_this_node() {
    let mut world = open(config());
    world.send(1);
    let [Frame::RoutingIndication { cemi }] = &world.sent()[..] else { panic!("nothing sent") };
    let Ok(Cemi::Data(telegram)) = Cemi::decode(cemi) else { panic!("no telegram") };
    assert_eq!((telegram.message, telegram.source), (Message::Indication, OWN));
    assert_eq!(world.told(), [Action::Sent { id: 1, outcome: SendOutcome::Transmitted }]);
}

#[test]
fn own_echoes_are_dropped_and_counted() {
    let mut world = open(config());
    world.send(1);
    world.told();
    let echo = world.sent().remove(0);
    world.frame(&echo);
    assert_eq!(world.told(), []);
    world.heard(0x1105, Apdu::GroupValueWrite(Payload::Small(1)));
    assert!(matches!(world.told()[..], [Action::Received(_)]));
    assert_eq!((world.routing.counters().echoes, world.routing.counters().received), (1, 1));
}

#[test]
fn a_pause_is_kept_with_a_random_time_on_top() {
    for seed in 0..50 {
        let mut world = open(RoutingConfig { seed, ..config() });
        world.busy(200);
        let [Action::Paused { wait_ms, busy: 1 }] = world.told()[..] else { panic!("no pause") };
        assert!((200..=250).contains(&wait_ms), "{wait_ms}");
        world.send(1);
        world.pass(wait_ms - 1);
        assert_eq!(world.sent(), []);
        world.pass(1);
        assert_eq!(world.sent().len(), 1);
    }
    let waits: std::collections::BTreeSet<u64> = (0..50)
        .map(|seed| {
            let mut world = open(RoutingConfig { seed, ..config() });
            world.busy(200);
            match world.told()[..] {
                [Action::Paused { wait_ms, .. }] => wait_ms,
                _ => panic!("no pause"),
            }
        })
        .collect();
    assert!(waits.len() > 10, "nodes do not begin all at once: {waits:?}");
}

#[test]
fn a_longer_pause_replaces_a_shorter_one_and_not_the_other_way_round() {
    let mut world = open(config());
    world.busy(500);
    world.told();
    world.pass(20);
    world.busy(100);
    assert_eq!(world.told(), [], "it ends within the first one");
    world.pass(20);
    world.busy(1000);
    assert!(matches!(world.told()[..], [Action::Paused { busy: 3, .. }]));
    world.send(1);
    world.pass(999);
    assert_eq!(world.sent(), []);
    world.pass(151);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn messages_of_one_moment_count_once_and_the_count_fades() {
    let mut world = open(config());
    for _ in 0..5 {
        world.busy(10);
        world.pass(2);
    }
    assert_eq!(world.routing.busy, 1);
    world.pass(20);
    world.busy(300);
    assert_eq!(world.routing.busy, 2);
    world.pass(300 + 100 + 2 * 100 + 5);
    assert_eq!(world.routing.busy, 0);
    assert_eq!(world.timeout(), Moment::NEVER);
}

#[test]
fn routing_is_free_when_a_telegram_would_leave_at_once() {
    let mut world = open(config());
    assert!(world.routing.is_free(world.now));
    world.send(1);
    assert!(!world.routing.is_free(world.now), "the pace");
    world.pass(1_000);
    assert!(world.routing.is_free(world.now));
    world.busy(100);
    assert!(!world.routing.is_free(world.now), "a router asked for a pause");
    world.pass(200);
    assert!(world.routing.is_free(world.now));
    world.input(Input::Stop);
    assert!(!world.routing.is_free(world.now), "closed");
}

#[test]
fn lost_telegrams_are_told_and_counted() {
    let mut world = open(config());
    world.frame(&Frame::RoutingLost { device_state: 1, lost: 5 });
    assert_eq!(world.told(), [Action::Lost { telegrams: 5, is_bus_fault: true }]);
    assert_eq!(world.routing.counters().lost, 5);
}

#[test]
fn telegrams_keep_their_distance_also_without_a_limit() {
    let mut world = open(RoutingConfig { telegrams_per_second: 0, ..config() });
    for id in 0..3 {
        world.send(id);
    }
    for _ in 0..3 {
        assert_eq!(world.sent().len(), 1);
        world.pass(19);
        assert_eq!(world.sent(), []);
        world.pass(1);
    }
}

#[test]
fn a_full_queue_refuses_and_counts_and_stopping_tells_all() {
    let mut world = open(RoutingConfig { queue_max: 2, ..config() });
    world.busy(1000);
    world.told();
    for id in 1..=3 {
        world.send(id);
    }
    let full = SendOutcome::QueueFull { waiting: 2, max: 2 };
    assert_eq!(world.told(), [Action::Sent { id: 3, outcome: full }]);
    assert_eq!(world.routing.counters().overflowed, 1);
    world.input(Input::Stop);
    assert_eq!(world.told(), [1, 2].map(|id| Action::Sent { id, outcome: SendOutcome::NotSent }));
    world.send(4);
    assert_eq!(world.told(), [Action::Sent { id: 4, outcome: SendOutcome::NotOpen }]);
    assert_eq!(world.timeout(), Moment::NEVER);
}

#[test]
fn a_read_is_answered_or_ends() {
    let mut world = open(config());
    world.input(Input::Read { id: 1, group: GROUP });
    assert_eq!(world.sent().len(), 1);
    world.heard(OWN.0, Apdu::GroupValueResponse(Payload::Small(0)));
    assert_eq!(world.told(), [], "an echo");
    world.heard(0x1105, Apdu::GroupValueResponse(Payload::Small(1)));
    let outcome = ReadOutcome::Answered { source: IndividualAddress(0x1105), payload: Payload::Small(1) };
    assert_eq!(world.told()[0], Action::ReadDone { id: 1, outcome });
    world.pass(100);
    world.input(Input::Read { id: 2, group: GROUP });
    world.pass(3000);
    let outcome = ReadOutcome::NoAnswer { waited_ms: 3000 };
    assert_eq!(world.told(), [Action::ReadDone { id: 2, outcome }]);
}

struct World {
    routing: Routing,
    now: Moment,
    sent: Vec<Frame>,
    told: Vec<Action>,
}

impl World {
    fn input(&mut self, input: Input) {
        self.routing.handle_input(input, self.now);
        self.timeout();
    }

    fn timeout(&mut self) -> Moment {
        loop {
            match self.routing.poll_output() {
                Output::Action(Action::Transmit { frame }) => self.sent.push(Frame::decode(&frame).unwrap()),
                Output::Action(action) => self.told.push(action),
                Output::Timeout(moment) => return moment,
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
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

    fn frame(&mut self, frame: &Frame) {
        self.input(Input::Frame(frame.encode().unwrap()));
    }

    fn busy(&mut self, wait_ms: u16) {
        self.frame(&Frame::RoutingBusy { device_state: 0, wait_ms, control: 0 });
    }

    fn send(&mut self, id: u64) {
        let telegram = LData::group_request(GROUP, Priority::Low, Apdu::GroupValueWrite(Payload::Small(1)));
        self.input(Input::Send { id, telegram });
    }

    fn heard(&mut self, source: u16, apdu: Apdu) {
        let telegram = LData {
            message: Message::Indication,
            source: IndividualAddress(source),
            ..LData::group_request(GROUP, Priority::Low, apdu)
        };
        let cemi = Cemi::Data(telegram).encode().unwrap();
        self.frame(&Frame::RoutingIndication { cemi });
    }
}

fn config() -> RoutingConfig {
    RoutingConfig::new(OWN, 7)
}

fn open(config: RoutingConfig) -> World {
    let routing = Routing::new(config);
    let mut world = World { routing, now: Moment::from_millis(1000), sent: vec![], told: vec![] };
    world.input(Input::Start);
    world
}

proptest! {
    /// Whatever comes over multicast, each telegram has one outcome and the machine comes to rest.
    #[test]
    fn every_telegram_has_one_outcome(
        seed: u64,
        steps in proptest::collection::vec((0u8..8, any::<u16>(), 0u64..300), 0..100)
    ) {
        let mut world = open(RoutingConfig { queue_max: 4, seed, ..config() });
        let mut open = 0i64;
        for (kind, number, ms) in steps {
            match kind {
                0 => world.busy(number / 16),
                1 => world.frame(&Frame::RoutingLost { device_state: 0, lost: number }),
                2 => world.heard(number, Apdu::GroupValueResponse(Payload::Small(1))),
                3 => world.input(Input::Frame(number.to_be_bytes().to_vec())),
                4 => world.input(if number < 8000 { Input::Stop } else { Input::Start }),
                5 => {
                    open += 1;
                    world.input(Input::Read { id: u64::from(number), group: GROUP });
                }
                _ => {
                    open += 1;
                    world.send(u64::from(number));
                }
            }
            world.pass(ms);
        }
        world.pass(30_000);
        prop_assert_eq!(world.timeout(), Moment::NEVER);
        let done = world.told().iter().filter(|action| {
            matches!(action, Action::Sent { .. } | Action::ReadDone { .. })
        }).count();
        prop_assert_eq!(open, i64::try_from(done).unwrap());
    }
}
