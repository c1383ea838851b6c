//! Members of a group on a network that tests can hold, repeat and forge.

use std::time::Duration;

use proptest::prelude::*;

use super::recent::{RECENT_MAX, Recent};
use super::*;
use crate::cemi::{LData, Payload};
use crate::ip::{Frame, SecureFrame};
use crate::secure::Key;
use crate::secure::wrapper::{self, Nonce, sequence_number};
use crate::{Apdu, GroupAddress, Priority};

#[test]
fn a_node_alone_asks_waits_and_becomes_timekeeper() {
    let mut node = Node::new(1, 5000);
    node.input(Input::Start);
    let (timer, serial) = notification(&node.sent()[..]);
    assert_eq!((timer, serial), (5000, [1; 6]));
    node.write(7);
    assert_eq!((node.told(), node.routing.waiting()), (vec![], 1), "held until the timer is known");
    // 100 + 200 + 11 * 200 ms for the slowest follower's answer, and twice the latency.
    node.pass(2_500 + 4_000 - 1);
    assert!(!node.routing.is_synchronized());
    node.pass(1);
    assert!(node.routing.is_synchronized());
    assert_eq!(node.told(), [Action::Sent { id: 7, outcome: SendOutcome::Transmitted }]);
    let sent = node.sent();
    let Frame::Secure(SecureFrame::Wrapper { session: 0, sequence, serial: [1, ..], .. }) = &sent[..][0]
    else {
        panic!("{sent:?}")
    };
    assert_eq!(sequence_number(*sequence), 5000 + 6_500);
    // As timekeeper it tells its timer after 10.0 to 10.6 s.
    node.pass(9_999);
    assert_eq!(node.sent(), []);
    node.pass(602);
    assert_eq!(notification(&node.sent()), (5000 + 6_500 + 10_601, [1; 6]));
}

#[test]
fn a_node_that_joins_takes_over_the_timer_and_both_talk() {
    let mut old = Node::opened(1, 1_000_000);
    let mut new = Node::new(2, 5);
    new.input(Input::Start);
    // The question is far behind: the timekeeper answers it after 100 to 300 ms, with serial number and tag of the asker.
    old.hear(&mut new);
    old.pass(99);
    assert_eq!(old.sent.len(), 0);
    old.pass(202);
    let (timer, serial) = notification(&decoded(&old.sent));
    assert_eq!((timer, serial), (old.timer(), [2; 6]));
    new.hear(&mut old);
    assert!(new.routing.is_synchronized());
    assert_eq!(new.timer(), old.timer());
    assert!(old.routing.is_timekeeper() && !new.routing.is_timekeeper());

    new.write(1);
    old.hear(&mut new);
    assert_eq!(old.heard(), [1]);
    old.write(2);
    new.hear(&mut old);
    assert_eq!(new.heard(), [2]);
}

#[test]
fn a_timer_that_is_ahead_is_followed_but_never_back() {
    let mut fast = Node::opened(1, 9_000_000);
    let mut slow = Node::opened(2, 1_000);
    fast.write(1);
    slow.hear(&mut fast);
    assert_eq!(slow.heard(), [1]);
    assert_eq!(slow.timer(), fast.timer());
    let before = slow.timer();
    let mut other = Node::opened(3, 500);
    other.write(2);
    slow.hear(&mut other);
    assert_eq!((slow.heard(), slow.timer()), (vec![], before), "the frame is old");
    assert_eq!(slow.routing.group_counters().old, 1);
    // The one that is behind is told so.
    slow.sent();
    slow.pass(3_000);
    assert_eq!(notification(&slow.sent()[..1]).1, [3; 6]);
}

#[test]
fn frames_count_once_and_within_the_latency_tolerance_only() {
    let mut sender = Node::opened(1, 1_000_000);
    let mut receiver = Node::opened(2, 1_000_000);
    sender.write(1);
    let frames = sender.sent.clone();
    receiver.hear(&mut sender);
    assert_eq!(receiver.heard(), [1]);
    receiver.take(&frames);
    assert_eq!((receiver.heard(), receiver.routing.group_counters().duplicates), (vec![], 1));

    sender.now = receiver.now;
    sender.pass(1_000);
    receiver.pass(1_000);
    sender.write(2);
    let late = sender.sent.split_off(0);
    receiver.pass(1_999);
    receiver.take(&late);
    assert_eq!(receiver.heard(), [2], "late, but within the tolerance");
    sender.pass(1_999);
    sender.write(3);
    let late = sender.sent.split_off(0);
    receiver.pass(2_000);
    receiver.take(&late);
    assert_eq!((receiver.heard(), receiver.routing.group_counters().old), (vec![], 1));
}

#[test]
fn what_is_forged_plain_early_or_an_echo_is_counted() {
    let mut node = Node::new(2, 1_000_000);
    let mut other = Node::opened(1, 1_000_000);
    node.input(Input::Start);
    let asked = node.sent.clone();
    other.write(1);
    let frames = other.sent.split_off(0);
    node.take(&frames);
    node.pass(10_000);
    node.take(&asked);
    let mut forged = frames[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    node.take(&[forged]);
    let cemi = vec![0x29, 0, 0xbc, 0xd0, 0x11, 0x59, 0x0a, 0x03, 1, 0, 0x81];
    node.take(&[Frame::RoutingIndication { cemi }.encode().unwrap(), vec![1]]);
    node.write(2);
    let own = node.sent.clone();
    node.take(&own);
    // A wrapper in a wrapper, by somebody with the key.
    let nonce = Nonce { sequence: node.timer(), serial: [9; 6], tag: 1 };
    let nested = wrapper::wrap(&Key::new([7; 16]), 0, nonce, &frames[0]).unwrap();
    node.take(&[nested]);
    let mut stranger = Node::with_key(4, 1_000_000, Key::new([8; 16]));
    stranger.input(Input::Start);
    node.hear(&mut stranger);
    assert_eq!(node.heard(), Vec::<u64>::new());
    let expected =
        GroupCounters { early: 1, echoes: 3, forged: 2, plain: 1, malformed: 2, ..GroupCounters::default() };
    assert_eq!(node.routing.group_counters(), expected);
}

#[test]
fn what_waits_for_the_timer_is_bounded_and_told_at_the_end() {
    let mut node = Node::new(1, 1);
    node.input(Input::Start);
    for id in 0..=HELD_MAX as u64 {
        node.write(id);
    }
    let full = SendOutcome::QueueFull { waiting: HELD_MAX, max: HELD_MAX };
    assert_eq!(node.told(), [Action::Sent { id: HELD_MAX as u64, outcome: full }]);
    node.input(Input::Read { id: 9, group: GROUP });
    assert!(matches!(node.told()[..], [Action::ReadDone { id: 9, .. }]));
    node.input(Input::Stop);
    assert_eq!(node.told().len(), HELD_MAX);
    assert_eq!(node.routing.poll_output(), Output::Timeout(Moment::NEVER));
    node.input(Input::Start);
    assert_eq!(node.timer(), 1, "no time has passed");
}

#[test]
fn without_a_group_it_is_routing_itself() {
    let mut routing = SecureRouting::new(RoutingConfig::new(IndividualAddress(0x1101), 1));
    assert!(routing.is_synchronized());
    routing.handle_input(Input::Start, Moment::ZERO);
    routing.handle_input(Input::Send { id: 1, telegram: telegram(1) }, Moment::ZERO);
    let Output::Action(Action::Transmit { frame }) = routing.poll_output() else { panic!("nothing is sent") };
    assert!(matches!(Frame::decode(&frame), Ok(Frame::RoutingIndication { .. })));
}

#[test]
fn frames_of_the_same_millisecond_differ() {
    let mut node = Node::opened(1, 5);
    let group = node.routing.group.as_mut().unwrap();
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let wrapped = group.wrap(&[6, 16, 5, 48, 0, 6], node.now).unwrap();
        assert!(nonces.insert(wrapped[8..22].to_vec()));
    }
}

#[test]
fn too_many_frames_at_once_close_the_window_and_not_the_memory() {
    let mut recent = Recent::default();
    let nonce = |sequence: usize| Nonce { sequence: sequence as u64, serial: [1; 6], tag: 0 };
    for sequence in 0..RECENT_MAX + 10 {
        assert!(recent.is_new(nonce(sequence), 0));
    }
    for sequence in 0..RECENT_MAX + 10 {
        assert!(
            !recent.is_new(nonce(sequence), 0),
            "{sequence}: neither what is known nor what was forgotten"
        );
    }
    assert!(recent.is_new(nonce(RECENT_MAX + 10), 0));
}

proptest! {
    #[test]
    fn hostile_bytes_change_nothing(
        frames in proptest::collection::vec((0x0950_u16..0x0956, proptest::collection::vec(any::<u8>(), 0..60)), 1..20),
        starts: bool,
    ) {
        let mut node = Node::new(1, 1000);
        if starts {
            node.input(Input::Start);
            node.pass(10_000);
        }
        let timer = node.timer();
        for (service, body) in frames {
            let length = u16::try_from(body.len() + 6).unwrap();
            let frame = [&[6, 16][..], &service.to_be_bytes(), &length.to_be_bytes(), &body].concat();
            node.take(&[frame]);
        }
        prop_assert_eq!((node.timer(), node.heard()), (timer, vec![]));
    }
}

const GROUP: GroupAddress = GroupAddress(0x0a03);

fn telegram(value: u64) -> LData {
    let payload = Payload::Small(u8::try_from(value & 0x3f).unwrap());
    LData::group_request(GROUP, Priority::Low, Apdu::GroupValueWrite(payload))
}

fn decoded(frames: &[Vec<u8>]) -> Vec<Frame> {
    frames.iter().map(|frame| Frame::decode(frame).unwrap()).collect()
}

/// Timer and serial number of the only frame.
fn notification(frames: &[Frame]) -> (u64, [u8; 6]) {
    let [Frame::Secure(SecureFrame::TimerNotify { timer, serial, .. })] = frames else {
        panic!("{frames:?}")
    };
    (sequence_number(*timer), *serial)
}

struct Node {
    routing: SecureRouting,
    now: Moment,
    sent: Vec<Vec<u8>>,
    told: Vec<Action>,
}

impl Node {
    fn new(number: u8, timer: u64) -> Node {
        Node::with_key(number, timer, Key::new([7; 16]))
    }

    fn with_key(number: u8, timer: u64, key: Key) -> Node {
        let config = RoutingConfig::new(IndividualAddress(0x1100 | u16::from(number)), 1);
        let group = GroupConfig::new(key, [number; 6], timer, u64::from(number));
        Node {
            routing: SecureRouting::new(config).with_group(group),
            now: Moment::from_millis(77),
            sent: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Alone, and so timekeeper.
    fn opened(number: u8, timer: u64) -> Node {
        let mut node = Node::new(number, timer);
        node.input(Input::Start);
        node.pass(6_500);
        node.sent.clear();
        node
    }

    fn input(&mut self, input: Input) {
        self.routing.handle_input(input, self.now);
        while let Output::Action(action) = self.routing.poll_output() {
            match action {
                Action::Transmit { frame } => self.sent.push(frame),
                Action::Received(_)
                | Action::Sent { .. }
                | Action::ReadDone { .. }
                | Action::Paused { .. }
                | Action::Lost { .. } => self.told.push(action),
            }
        }
    }

    fn write(&mut self, id: u64) {
        self.input(Input::Send { id, telegram: telegram(id) });
    }

    fn take(&mut self, frames: &[Vec<u8>]) {
        for frame in frames {
            self.input(Input::Frame(frame.clone()));
        }
    }

    /// Takes all that another one sent.
    fn hear(&mut self, other: &mut Node) {
        let frames = other.sent.split_off(0);
        self.take(&frames);
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.input(Input::Wakeup);
    }

    fn timer(&self) -> u64 {
        self.routing.timer_ms(self.now).unwrap()
    }

    fn sent(&mut self) -> Vec<Frame> {
        decoded(&self.sent.split_off(0))
    }

    fn told(&mut self) -> Vec<Action> {
        self.told.split_off(0)
    }

    /// The values of the telegrams that were heard.
    fn heard(&mut self) -> Vec<u64> {
        let mut values = Vec::new();
        for action in self.told.split_off(0) {
            if let Action::Received(telegram) = action
                && let Some((_, Apdu::GroupValueWrite(payload))) = telegram.group_apdu()
            {
                values.push(u64::from(payload.as_bytes()[0]));
            }
        }
        values
    }
}
