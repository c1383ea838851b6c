//! What main and backup do in their roles.

use std::time::Duration;

use twinhub_mqtt::item::Row;
use twinhub_mqtt::link::Role;
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::session::Outcome;

use crate::broker::Broker;
use crate::rig::{Rig, run, until};

const ITEMS: [(u32, &str, Row<'static>); 2] = [
    (
        1,
        "w",
        Row {
            path: "",
            address: "out",
            kind: "i64",
            is_readable: false,
            is_writable: false,
            qos: "",
            retain: "",
            json: "",
            format: "",
            key: "",
            key_path: "",
            command_topic: "",
        },
    ),
    (
        2,
        "r",
        Row {
            path: "",
            address: "in",
            kind: "i64",
            is_readable: false,
            is_writable: false,
            qos: "",
            retain: "",
            json: "",
            format: "",
            key: "",
            key_path: "",
            command_topic: "",
        },
    ),
];

#[test]
fn a_hot_standby_receives_everything_and_publishes_nothing() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}""#);
            let main = Rig::new(broker.port, "main", &settings, &ITEMS);
            let backup = Rig::new(broker.port, "backup", &settings, &ITEMS);
            main.role(Role::Active, 1).await;
            backup.role(Role::Hot, 1).await;
            let mut observer = broker.observe("out", &[]).await;

            backup.write([(1, Value::I64(99))]);
            assert_eq!(*backup.hub.answers.borrow(), [(1, Outcome::NotActive)]);
            main.write([(1, Value::I64(5))]);
            broker.publish("in", b"6", &["-q", "1"]);

            until("the read-back image", || backup.hub.values(1) == [Value::I64(5)]).await;
            until("the input", || backup.hub.values(2) == [Value::I64(6)]).await;
            until("the input", || main.hub.values(2) == [Value::I64(6)]).await;
            assert!(main.hub.values(1).is_empty(), "an active node does not hear itself");
            assert_eq!(observer.next().await.text(), "5");
            assert!(observer.drain().is_empty());
            main.link.stop(Duration::from_secs(5)).await;
            backup.link.stop(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn a_planned_switch_loses_and_doubles_nothing() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}""#);
            let nodes = [
                Rig::new(broker.port, "main", &settings, &ITEMS),
                Rig::new(broker.port, "backup", &settings, &ITEMS),
            ];
            nodes[0].role(Role::Active, 1).await;
            nodes[1].role(Role::Hot, 1).await;
            let mut observer = broker.observe("out", &["-q", "1"]).await;
            let mut sent = 0;
            let mut expected = Vec::new();
            for epoch in 2..6 {
                let (from, to) = if epoch % 2 == 0 { (0, 1) } else { (1, 0) };
                for _ in 0..50 {
                    nodes[from].write([(1, Value::I64(sent))]);
                    sent += 1;
                    tokio::task::yield_now().await;
                }
                nodes[from].role(Role::Hot, epoch).await;
                nodes[to].role(Role::Active, epoch).await;
            }
            // Refused as not active means not sent; all others are sent exactly once, in order per node.
            let done = nodes[0].hub.outcomes(Outcome::Done) + nodes[1].hub.outcomes(Outcome::Done);
            let refused =
                nodes[0].hub.outcomes(Outcome::NotActive) + nodes[1].hub.outcomes(Outcome::NotActive);
            assert_eq!(done + refused, usize::try_from(sent).unwrap());
            for _ in 0..done {
                expected.push(observer.next().await.text().parse::<i64>().unwrap());
            }
            assert!(expected.is_sorted_by(|a, b| a < b), "{expected:?}");
            assert!(observer.drain().is_empty());
            for node in nodes {
                node.link.stop(Duration::from_secs(5)).await;
            }
        }
    });
}

#[test]
fn the_status_topic_tells_of_birth_crash_and_good_bye() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let node = if version == "5" { "five" } else { "three" };
            let topic = format!("twinhub/s/m/{node}");
            let settings = format!(r#""version":"{version}""#);
            let mut observer = broker.observe(&topic, &[]).await;
            let rig = Rig::new(broker.port, node, &settings, &ITEMS);
            rig.role(Role::Hot, 1).await;
            assert_eq!(observer.next().await.text(), "online");
            rig.crash().await;
            assert_eq!(observer.next().await.text(), "offline", "the last will");

            let rig = Rig::new(broker.port, node, &settings, &ITEMS);
            rig.role(Role::Active, 2).await;
            assert_eq!(observer.next().await.text(), "online");
            rig.link.stop(Duration::from_secs(5)).await;
            assert_eq!(observer.next().await.text(), "offline");
            let kept = broker.observe(&topic, &[]).await.next().await;
            assert!(kept.retain && kept.text() == "offline");
            assert!(observer.drain().is_empty(), "no last will after a good-bye");
        }
    });
}

#[test]
fn the_active_topic_names_the_active_node_and_its_epoch() {
    run(async {
        let broker = Broker::start();
        let settings = r#""active_topic":"{site}/active""#;
        let main = Rig::new(broker.port, "main", settings, &ITEMS);
        main.role(Role::Hot, 1).await;
        let mut observer = broker.observe("s/active", &[]).await;
        main.role(Role::Active, 513).await;
        assert_eq!(observer.next().await.text(), r#"{"node":"main","epoch":513}"#);
    });
}

#[test]
fn a_warm_standby_is_connected_and_hears_nothing() {
    run(async {
        let broker = Broker::start();
        let rig = Rig::new(broker.port, "backup", "", &ITEMS);
        rig.role(Role::Warm, 1).await;
        broker.publish("in", b"1", &["-q", "1"]);
        broker.publish("out", b"1", &["-q", "1"]);
        // Hot sees what comes after, so an earlier message would stand before it.
        rig.role(Role::Hot, 1).await;
        broker.publish("in", b"2", &["-q", "1"]);
        until("the later value", || rig.hub.values(2) == [Value::I64(2)]).await;
        rig.role(Role::Cold, 1).await;
        broker.publish("in", b"3", &["-q", "1"]);
        rig.role(Role::Hot, 1).await;
        broker.publish("in", b"4", &["-q", "1"]);
        until("the last value", || rig.hub.values(2) == [Value::I64(2), Value::I64(4)]).await;
    });
}
