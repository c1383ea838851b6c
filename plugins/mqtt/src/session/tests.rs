//! The session against every answer a broker can give.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::ids::Ids;

#[derive(Default)]
struct Log(RefCell<Vec<(u64, Outcome)>>);

impl Answers for Log {
    fn answer(&self, ids: &Ids, outcome: Outcome) {
        self.0.borrow_mut().extend(ids.iter().map(|id| (id, outcome)));
    }
}

struct Desk {
    session: Session,
    log: Rc<Log>,
    next: u64,
}

impl Desk {
    fn new(outbox: usize, in_flight: u16) -> Self {
        let mut session = Session::new(Limits { outbox, in_flight }, 0);
        session.connected(&ConnAck::default(), true);
        Self { session, log: Rc::default(), next: 0 }
    }

    fn send(&mut self, qos: Qos, deadline_ns: i64) {
        self.next += 1;
        let to = Rc::clone(&self.log) as Rc<dyn Answers>;
        self.session.enqueue(Message {
            topic: "t".into(),
            payload: Bytes::from(self.next.to_string()),
            qos,
            retain: false,
            epoch: None,
            deadline_ns,
            receipt: Some(Receipt { to, ids: self.next.into() }),
        });
    }

    fn publish(&mut self) -> Publish {
        match self.session.next_output(0) {
            Some(Outgoing::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }

    fn reconnect(&mut self, session_present: bool) {
        self.session.disconnected();
        self.session.connected(&ConnAck { session_present, ..ConnAck::default() }, false);
    }

    fn answers(&self) -> Vec<(u64, Outcome)> {
        self.log.0.borrow().clone()
    }
}

#[test]
fn packets_that_come_together_are_answered_together_and_none_is_forgotten() {
    let mut desk = Desk::new(10, 10);
    let ids: Vec<u16> = (0..3)
        .map(|_| {
            desk.send(Qos::AtLeastOnce, i64::MAX);
            desk.publish().id
        })
        .collect();
    for id in &ids[..2] {
        assert_eq!(desk.session.receive_more(Incoming::PubAck(*id, None)), Event::None);
    }
    assert_eq!(desk.answers(), []);
    // A refusal is not mixed up with them, and another batch does not wait for them.
    desk.session.receive_more(Incoming::PubAck(ids[2], Some("QuotaExceeded".to_owned())));
    assert_eq!(desk.answers(), [(3, Outcome::Refused)]);
    desk.session.answer_confirmed();
    assert_eq!(desk.answers(), [(3, Outcome::Refused), (1, Outcome::Done), (2, Outcome::Done)]);
    desk.session.answer_confirmed();
    assert_eq!(desk.answers().len(), 3);
}

#[test]
fn a_kept_session_gets_the_same_packet_again_and_a_new_one_a_new_message() {
    let mut desk = Desk::new(10, 10);
    desk.send(Qos::AtLeastOnce, i64::MAX);
    let first = desk.publish();
    desk.reconnect(true);
    let again = desk.publish();
    assert_eq!((again.id, again.dup, &again.payload), (first.id, true, &first.payload));
    desk.reconnect(false);
    let fresh = desk.publish();
    assert_eq!((fresh.dup, &fresh.payload), (false, &first.payload));
    desk.session.receive(Incoming::PubAck(fresh.id, None));
    desk.session.receive(Incoming::PubAck(fresh.id, None));
    assert_eq!(desk.answers(), [(1, Outcome::Done)]);
    assert_eq!(desk.session.counts().unsolicited, 1);
}

#[test]
fn exactly_once_is_released_once_and_in_doubt_when_the_broker_forgets() {
    let mut desk = Desk::new(10, 10);
    desk.send(Qos::ExactlyOnce, i64::MAX);
    desk.send(Qos::ExactlyOnce, i64::MAX);
    let (one, two) = (desk.publish(), desk.publish());
    desk.session.receive(Incoming::PubRec(one.id, None));
    desk.session.receive(Incoming::PubRec(one.id, None));
    assert_eq!(desk.session.next_output(0), Some(Outgoing::PubRel(one.id)));
    assert_eq!(desk.session.next_output(0), None);
    desk.reconnect(true);
    assert_eq!(desk.session.next_output(0), Some(Outgoing::PubRel(one.id)));
    assert!(desk.publish().dup);
    desk.session.receive(Incoming::PubComp(one.id));
    assert_eq!(desk.answers(), [(1, Outcome::Done)]);
    desk.reconnect(false);
    assert_eq!(desk.session.next_output(0), None);
    assert_eq!(desk.answers(), [(1, Outcome::Done), (2, Outcome::InDoubt)]);
    assert_ne!(one.id, two.id);
}

#[test]
fn the_window_the_outbox_and_the_deadline_hold() {
    let mut desk = Desk::new(3, 2);
    for deadline_ns in [5, i64::MAX, i64::MAX, i64::MAX] {
        desk.send(Qos::AtLeastOnce, deadline_ns);
    }
    assert_eq!(desk.answers(), [(4, Outcome::Busy)]);
    assert_eq!(desk.session.counts().overflow, 1);
    assert!(matches!(desk.session.next_output(6), Some(Outgoing::Publish(p)) if p.payload == "2"));
    assert_eq!(desk.answers().last(), Some(&(1, Outcome::Expired)));
    assert_eq!(desk.publish().payload, "3");
    desk.send(Qos::AtMostOnce, i64::MAX);
    assert_eq!(desk.session.next_output(0), None, "the window is full");
    desk.session.expire(0);
    assert_eq!(desk.session.depth(), (1, 2));
}

#[test]
fn a_v5_refusal_is_reported_and_the_brokers_limits_are_kept() {
    let mut desk = Desk::new(10, 10);
    desk.session.connected(
        &ConnAck { receive_max: Some(1), packet_size_max: Some(100), qos_max: Some(1), ..ConnAck::default() },
        true,
    );
    desk.send(Qos::ExactlyOnce, i64::MAX);
    let publish = desk.publish();
    assert_eq!(publish.qos, Qos::AtLeastOnce);
    desk.send(Qos::AtLeastOnce, i64::MAX);
    assert_eq!(desk.session.next_output(0), None);
    desk.session.receive(Incoming::PubAck(publish.id, Some("QuotaExceeded".to_owned())));
    assert_eq!(desk.answers(), [(1, Outcome::Refused)]);
    let to = Rc::clone(&desk.log) as Rc<dyn Answers>;
    desk.session.refuse_waiting();
    desk.session.enqueue(Message {
        topic: "t".into(),
        payload: vec![0; 100].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        epoch: None,
        deadline_ns: i64::MAX,
        receipt: Some(Receipt { to, ids: 9.into() }),
    });
    assert_eq!(desk.session.next_output(0), None);
    assert_eq!(desk.answers(), [(1, Outcome::Refused), (2, Outcome::NotActive), (9, Outcome::Invalid)]);
}

#[test]
fn received_exactly_once_messages_are_delivered_once() {
    let mut desk = Desk::new(1, 1);
    let publish = Publish {
        topic: "t".to_owned(),
        payload: Bytes::new(),
        qos: Qos::ExactlyOnce,
        retain: false,
        dup: false,
        id: 5,
        epoch: None,
    };
    let receive = |desk: &mut Desk| desk.session.receive(Incoming::Publish(publish.clone()));
    assert!(matches!(receive(&mut desk), Event::Message(_)));
    assert_eq!(desk.session.next_control(), None, "no receipt before the hub has it");
    desk.session.acknowledge(Qos::ExactlyOnce, 5);
    desk.reconnect(true);
    assert_eq!(receive(&mut desk), Event::None);
    assert_eq!(desk.session.next_control(), Some(Outgoing::PubRec(5)));
    for _ in 0..2 {
        desk.session.receive(Incoming::PubRel(5));
        assert_eq!(desk.session.next_control(), Some(Outgoing::PubComp(5)));
    }
    assert!(matches!(receive(&mut desk), Event::Message(_)));
}

#[test]
fn after_a_role_loss_nothing_leaves_and_everything_is_answered() {
    let mut desk = Desk::new(10, 2);
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce] {
        desk.send(qos, i64::MAX);
    }
    let (_, two) = (desk.publish(), desk.publish());
    desk.session.refuse_waiting();
    desk.session.abandon();
    desk.reconnect(true);
    assert_eq!(desk.session.next_output(0), None);
    desk.session.receive(Incoming::PubRec(two.id, None));
    assert_eq!(desk.session.next_output(0), None, "the broker's half of the exchange is not completed");
    let mut answers = desk.answers();
    answers.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(answers, [(1, Outcome::InDoubt), (2, Outcome::InDoubt), (3, Outcome::NotActive)]);
    for _ in 0..70_000 {
        assert_ne!(desk.session.take_id(), two.id, "the id is not used again");
    }
    desk.reconnect(false);
    assert!(desk.session.abandoned.is_empty());
}

#[test]
fn only_changed_filters_are_sent_and_unconfirmed_ones_again() {
    let mut desk = Desk::new(1, 1);
    let wanted: BTreeMap<_, _> = (0..130).map(|n| (format!("f{n}"), (Qos::AtLeastOnce, false))).collect();
    desk.session.subscribe(&wanted);
    let packets: Vec<_> = std::iter::from_fn(|| desk.session.next_control()).collect();
    assert_eq!(packets.len(), 3);
    let [Outgoing::Subscribe(first, _), Outgoing::Subscribe(second, _), ..] = packets.as_slice() else {
        panic!()
    };
    desk.session.receive(Incoming::SubAck(*first, vec![true; 64]));
    let mut answers = vec![true; 64];
    answers[3] = false;
    let Event::Refused(refused) = desk.session.receive(Incoming::SubAck(*second, answers)) else { panic!() };
    assert_eq!(refused.len(), 1);
    desk.reconnect(true);
    desk.session.subscribe(&wanted);
    let Some(Outgoing::Subscribe(_, filters)) = desk.session.next_control() else { panic!() };
    assert_eq!((filters.len(), desk.session.next_control()), (2, None));
    desk.session.subscribe(&BTreeMap::new());
    let gone: usize = std::iter::from_fn(|| desk.session.next_control())
        .map(|packet| {
            let Outgoing::Unsubscribe(_, filters) = packet else { panic!("{packet:?}") };
            filters.len()
        })
        .sum();
    assert_eq!(gone, 130);
}

#[derive(Debug, Clone)]
enum Step {
    Send(u8),
    Output,
    Flush,
    Ack(u16),
    Rec(u16),
    Comp(u16),
    Reconnect(bool),
    RoleLoss,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..3).prop_map(Step::Send),
        4 => Just(Step::Output),
        1 => Just(Step::Flush),
        3 => (1_u16..12).prop_map(Step::Ack),
        2 => (1_u16..12).prop_map(Step::Rec),
        2 => (1_u16..12).prop_map(Step::Comp),
        1 => any::<bool>().prop_map(Step::Reconnect),
        1 => Just(Step::RoleLoss),
    ]
}

proptest! {
    /// Whatever the broker answers and however often the connection breaks: each write has exactly one answer,
    /// and a QoS 2 message is never sent as a new one a second time.
    #[test]
    fn every_write_is_answered_exactly_once(steps in prop::collection::vec(step(), 0..200)) {
        let mut desk = Desk::new(8, 4);
        let mut fresh = BTreeMap::<Bytes, u32>::new();
        for step in steps {
            match step {
                Step::Send(qos) => desk.send(Qos::from_number(qos).unwrap(), i64::MAX),
                Step::Output => {
                    if let Some(Outgoing::Publish(publish)) = desk.session.next_output(0)
                        && publish.qos == Qos::ExactlyOnce
                        && !publish.dup
                    {
                        *fresh.entry(publish.payload).or_default() += 1;
                    }
                }
                Step::Flush => desk.session.flushed(),
                Step::Ack(id) => { desk.session.receive(Incoming::PubAck(id, None)); }
                Step::Rec(id) => { desk.session.receive(Incoming::PubRec(id, None)); }
                Step::Comp(id) => { desk.session.receive(Incoming::PubComp(id)); }
                Step::Reconnect(present) => desk.reconnect(present),
                Step::RoleLoss => {
                    desk.session.refuse_waiting();
                    desk.session.abandon();
                }
            }
        }
        desk.session.refuse_waiting();
        desk.session.abandon();
        let mut ids: Vec<u64> = desk.answers().into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, (1..=desk.next).collect::<Vec<_>>());
        prop_assert!(fresh.values().all(|count| *count == 1));
    }
}
