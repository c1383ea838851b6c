//! Broken connections, restarted brokers and nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use twinhub_mqtt::link::{Role, State};
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::session::Outcome;

use crate::broker::Broker;
use crate::rig::{Rig, row, run, until};

const PERSISTENT: &str = "persistence true\npersistence_location DIR/\nautosave_interval 1";

/// What the broker confirmed is not sent again, what it did not confirm is: every value arrives, and each write has
/// exactly one answer.
#[test]
fn two_thousand_messages_survive_a_broker_restart() {
    run(async {
        for version in ["3.1.1", "5"] {
            let mut broker = Broker::with(PERSISTENT);
            let settings = format!(r#""version":"{version}""#);
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "w", row("count", "i64"))]);
            rig.role(Role::Active, 1).await;
            let mut observer = broker.observe("count", &["-q", "1", "-c", "-i", "observer"]).await;
            for number in 0..2000 {
                rig.write([(1, Value::I64(number))]);
                if number == 700 {
                    rig.answered(Outcome::Done, 300).await;
                    broker.terminate();
                }
                if number == 1300 {
                    until("the lost connection", || rig.hub.state() != Some(State::Ok)).await;
                    broker.restart();
                }
            }
            rig.answered(Outcome::Done, 2000).await;
            let mut seen = BTreeSet::new();
            while seen.len() < 2000 {
                seen.insert(observer.next().await.text().parse::<i64>().unwrap());
            }
            let answers = rig.hub.answers.borrow();
            assert_eq!(answers.len(), 2000);
            assert_eq!(answers.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 2000);
        }
    });
}

#[test]
fn subscriptions_return_when_the_broker_forgot_the_session() {
    run(async {
        for version in ["3.1.1", "5"] {
            let mut broker = Broker::with("persistence false");
            let settings = format!(r#""version":"{version}""#);
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "r", row("in", "i64"))]);
            rig.role(Role::Active, 1).await;
            broker.publish("in", b"1", &["-q", "1"]);
            until("the first value", || rig.hub.values(1).len() == 1).await;
            broker.terminate();
            until("the lost connection", || rig.hub.state() == Some(State::Connecting)).await;
            broker.restart();
            until("the connection", || rig.hub.state() == Some(State::Ok)).await;
            rig.role(Role::Active, 1).await;
            broker.publish("in", b"2", &["-q", "1"]);
            until("the second value", || rig.hub.values(1) == [Value::I64(1), Value::I64(2)]).await;
        }
    });
}

/// Item 2 only writes: what it shows does not come from the broker.
#[test]
fn items_are_uncertain_while_the_broker_is_away() {
    run(async {
        let mut broker = Broker::with("persistence false");
        let items = [(1, "r", row("in", "i64")), (2, "w", row("out", "i64"))];
        let rig = Rig::new(broker.port, "main", "", &items);
        let standby = Rig::new(broker.port, "backup", "", &items);
        rig.role(Role::Active, 1).await;
        standby.role(Role::Hot, 1).await;
        let last = |rig: &Rig| rig.hub.qualities.borrow().last().copied();
        until("the subscription", || last(&rig) == Some((1, true))).await;
        broker.terminate();
        until("the loss", || last(&rig) == Some((1, false))).await;
        until("the loss at the standby", || standby.hub.state() == Some(State::Connecting)).await;
        broker.restart();
        until("the return", || last(&rig) == Some((1, true))).await;
        until("the return of the standby", || standby.hub.state() == Some(State::Suppressed)).await;
        assert!(standby.hub.qualities.borrow().is_empty());
        standby.role(Role::Active, 2).await;
        until("the word of the successor", || last(&standby) == Some((1, true))).await;
    });
}

#[test]
fn a_node_that_was_away_gets_what_it_missed() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}""#);
            let items = [(1, "r", row("in", "i64"))];
            let rig = Rig::new(broker.port, "main", &settings, &items);
            rig.role(Role::Hot, 1).await;
            rig.crash().await;
            for number in 0..20 {
                broker.publish("in", number.to_string().as_bytes(), &["-q", "1"]);
            }
            let rig = Rig::new(broker.port, "main", &settings, &items);
            rig.role(Role::Hot, 1).await;
            until("what was missed", || rig.hub.values(1).len() == 20).await;
            assert_eq!(rig.hub.values(1), (0..20).map(Value::I64).collect::<Vec<_>>());
            rig.crash().await;
        }
    });
}

/// The session at the broker outlives the process, and with it the filters of items that are gone.
#[test]
fn subscriptions_of_an_earlier_process_end_when_nobody_wants_them() {
    run(async {
        let broker = Broker::start();
        let rig =
            Rig::new(broker.port, "main", "", &[(1, "r", row("old", "i64")), (2, "r", row("kept", "i64"))]);
        rig.role(Role::Hot, 1).await;
        rig.crash().await;

        let rig = Rig::new(broker.port, "main", "", &[(2, "r", row("kept", "i64"))]);
        rig.role(Role::Hot, 1).await;
        broker.publish("old", b"1", &["-q", "1"]);
        until("the message that nobody wants", || rig.hub.count("input.unmatched") == 1).await;
        until("its end", || rig.link.is_settled()).await;
        broker.publish("old", b"2", &["-q", "1"]);
        broker.publish("kept", b"2", &["-q", "1"]);
        until("the value", || rig.hub.values(2) == [Value::I64(2)]).await;
        // The count is reported at intervals; the end of the connection reports the rest.
        rig.link.stop(Duration::from_secs(5)).await;
        assert_eq!(rig.hub.count("input.unmatched"), 1);
    });
}

#[test]
fn a_message_is_acknowledged_only_when_the_hub_has_accepted_it() {
    run(async {
        let broker = Broker::start();
        for qos in ["1", "2"] {
            let items = [(1, "r", row("in", "i64"))];
            let settings = r#""qos":2"#;
            let rig = Rig::new(broker.port, "main", settings, &items);
            rig.role(Role::Hot, 1).await;
            rig.hub.has_room.set(false);
            broker.publish("in", b"7", &["-q", qos]);
            until("the value", || rig.hub.values(1).len() == 1).await;
            rig.crash().await;

            let rig = Rig::new(broker.port, "main", settings, &items);
            rig.role(Role::Hot, 1).await;
            until("the value again", || rig.hub.values(1) == [Value::I64(7)]).await;
            rig.link.stop(Duration::from_secs(5)).await;

            let rig = Rig::new(broker.port, "main", settings, &items);
            rig.role(Role::Hot, 1).await;
            broker.publish("in", b"8", &["-q", qos]);
            until("the next value", || rig.hub.values(1) == [Value::I64(8)]).await;
            rig.link.stop(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn a_full_outbox_refuses_writes_and_counts_them() {
    run(async {
        let mut broker = Broker::start();
        let rig =
            Rig::new(broker.port, "main", r#""outbox_messages_max":10"#, &[(1, "w", row("out", "i64"))]);
        rig.role(Role::Active, 1).await;
        broker.terminate();
        until("the lost connection", || rig.hub.state() == Some(State::Connecting)).await;
        for number in 0..25 {
            rig.write([(1, Value::I64(number))]);
        }
        assert_eq!(rig.hub.outcomes(Outcome::Busy), 15);
        broker.restart();
        rig.answered(Outcome::Done, 10).await;
        until("the count", || rig.hub.count("outbox.overflow") == 15).await;
    });
}

#[test]
fn a_refused_login_is_a_fault_and_says_why() {
    run(async {
        let broker = Broker::with("password_file DIR/m.conf\nallow_anonymous false");
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}","user":"nobody","password":"wrong""#);
            let rig = Rig::new(broker.port, "main", &settings, &[]);
            rig.link.change_role(Role::Hot, 1, Duration::ZERO).await;
            until("the fault", || rig.hub.state() == Some(State::Fault)).await;
            let cause =
                rig.hub.states.borrow().iter().find(|(state, _)| *state == State::Fault).unwrap().1.clone();
            assert!(cause.contains("NotAuthorized"), "{cause}");
            assert!(!cause.contains("wrong"), "{cause}");
        }
    });
}

/// A broken connection while the hub has not accepted: what it has already is not delivered twice.
#[test]
fn a_message_that_comes_again_on_a_new_connection_is_delivered_once() {
    run(async {
        for (version, qos) in [("3.1.1", "1"), ("3.1.1", "2"), ("5", "1"), ("5", "2")] {
            let mut broker = Broker::with(PERSISTENT);
            let settings = format!(r#""version":"{version}","qos":2"#);
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "r", row("in", "i64"))]);
            rig.role(Role::Active, 1).await;
            rig.hub.has_room.set(false);
            broker.publish("in", b"7", &["-q", qos]);
            until("the value", || rig.hub.values(1).len() == 1).await;
            broker.terminate();
            until("the lost connection", || rig.hub.state() == Some(State::Connecting)).await;
            broker.restart();
            until("the same message again", || rig.hub.count("session.duplicates") > 0).await;
            rig.hub.has_room.set(true);
            broker.publish("in", b"8", &["-q", qos]);
            until("the next value", || rig.hub.values(1).len() == 2).await;
            assert_eq!(rig.hub.values(1), [Value::I64(7), Value::I64(8)]);

            // Its receipt arrived: nothing comes again.
            rig.link.stop(Duration::from_secs(5)).await;
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "r", row("in", "i64"))]);
            rig.role(Role::Active, 2).await;
            broker.publish("in", b"9", &["-q", qos]);
            until("the last value", || rig.hub.values(1) == [Value::I64(9)]).await;
        }
    });
}

/// One session for all nodes: the standby stays away from it, and the successor gets what has no receipt.
#[test]
fn the_successor_in_a_shared_session_gets_what_has_no_receipt() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let settings =
                format!(r#""version":"{version}","client_id":"one-{version}","shared_session":true"#);
            let items = [(1, "r", row("in", "i64"))];
            let main = Rig::new(broker.port, "main", &settings, &items);
            let backup = Rig::new(broker.port, "backup", &settings, &items);
            main.role(Role::Active, 1).await;
            backup.link.change_role(Role::Hot, 1, Duration::from_secs(1)).await;
            broker.publish("in", b"1", &["-q", "1"]);
            until("the first value", || main.hub.values(1) == [Value::I64(1)]).await;
            broker.publish("in", b"2", &["-q", "1"]);
            until("the second value", || main.hub.values(1).len() == 2).await;
            main.hub.has_room.set(false);
            broker.publish("in", b"3", &["-q", "1"]);
            until("the third value", || main.hub.values(1).len() == 3).await;
            main.crash().await;
            broker.publish("in", b"4", &["-q", "1"]);
            backup.role(Role::Active, 2).await;
            until("what was not acknowledged, and what came since", || {
                backup.hub.values(1).ends_with(&[Value::I64(3), Value::I64(4)])
            })
            .await;
            assert_eq!(backup.hub.values(1).iter().filter(|value| **value == Value::I64(1)).count(), 0);

            // Handed over in order, nothing of the time in between is missing either.
            backup.link.change_role(Role::Cold, 2, Duration::from_secs(5)).await;
            broker.publish("in", b"5", &["-q", "1"]);
            let main = Rig::new(broker.port, "main", &settings, &items);
            main.role(Role::Active, 3).await;
            until("what came in between", || main.hub.values(1).contains(&Value::I64(5))).await;
            assert_eq!(main.hub.values(1), [Value::I64(5)], "{version}");
            main.crash().await;
        }
    });
}
