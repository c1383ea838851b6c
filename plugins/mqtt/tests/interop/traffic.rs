//! Messages in both directions, every version and `QoS`.

use twinhub_mqtt::item::Row;
use twinhub_mqtt::link::Role;
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::session::Outcome;

use crate::broker::Broker;
use crate::rig::{Rig, row, run, until};

const VERSIONS: [(&str, &str); 2] = [("3.1.1", "311"), ("5", "5")];

#[test]
fn values_travel_both_ways_in_every_version_and_qos() {
    run(async {
        let broker = Broker::start();
        for (version, tool) in VERSIONS {
            for qos in ["0", "1", "2"] {
                let qos_row = |address| Row { qos, ..row(address, "f64") };
                let settings = format!(r#""version":"{version}","persistent":false"#);
                let rig = Rig::new(
                    broker.port,
                    "main",
                    &settings,
                    &[(1, "w", qos_row("out")), (2, "r", qos_row("in"))],
                );
                rig.role(Role::Active, 1).await;
                let mut observer = broker.observe("out", &["-q", "2", "-V", tool]).await;
                rig.write([(1, Value::F64(21.5))]);
                let seen = observer.next().await;
                assert_eq!((seen.text(), seen.qos.to_string().as_str()), ("21.5", qos), "{version}");
                rig.answered(Outcome::Done, 1).await;
                broker.publish("in", b"-7", &["-q", qos, "-V", tool]);
                until("the value", || rig.hub.values(2) == [Value::F64(-7.0)]).await;
                rig.link.stop(std::time::Duration::from_secs(5)).await;
                assert_eq!(rig.hub.answers.borrow().len(), 1);
            }
        }
    });
}

#[test]
fn retained_messages_are_kept_and_come_back_as_snapshot() {
    run(async {
        let broker = Broker::start();
        for (version, _) in VERSIONS {
            let settings = format!(r#""version":"{version}","client_id":"c{version}""#);
            let out = Row { retain: "true", ..row("kept", "i64") };
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "w", out)]);
            rig.role(Role::Active, 1).await;
            rig.write([(1, Value::I64(4))]);
            rig.answered(Outcome::Done, 1).await;
            let seen = broker.observe("kept", &[]).await.next().await;
            assert!(seen.retain && seen.text() == "4");
            rig.link.stop(std::time::Duration::from_secs(5)).await;

            let settings = format!(r#""version":"{version}","client_id":"r{version}""#);
            let reader = Rig::new(broker.port, "backup", &settings, &[(1, "r", row("kept", "i64"))]);
            reader.role(Role::Active, 1).await;
            until("the kept value", || reader.hub.values(1) == [Value::I64(4)]).await;
            assert!(reader.hub.updates.borrow()[0].is_snapshot);
            reader.link.stop(std::time::Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn messages_of_fifty_kilobytes_pass_both_ways() {
    run(async {
        let broker = Broker::start();
        for (version, _) in VERSIONS {
            let settings = format!(r#""version":"{version}""#);
            let items = [(1, "w", row("big/out", "string")), (2, "r", row("big/in", "string"))];
            let rig = Rig::new(broker.port, "main", &settings, &items);
            rig.role(Role::Active, 1).await;
            let text = "0123456789".repeat(5_000);
            let mut observer = broker.observe("big/out", &[]).await;
            rig.write([(1, Value::Str(text.as_str().into()))]);
            assert_eq!(observer.next().await.text(), text);
            broker.publish("big/in", text.as_bytes(), &["-q", "1"]);
            until("the text", || rig.hub.values(2) == [Value::Str(text.as_str().into())]).await;
            rig.link.stop(std::time::Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn a_batch_of_registers_is_one_message_on_the_wire() {
    run(async {
        let broker = Broker::start();
        let names: Vec<String> = (0..125).map(|register| format!("r{register}")).collect();
        let items: Vec<_> = (0..)
            .zip(&names)
            .map(|(item, name)| (item, "w", Row { json: name, ..row("block", "u16") }))
            .collect();
        let rig = Rig::new(broker.port, "main", "", &items);
        rig.role(Role::Active, 1).await;
        let mut observer = broker.observe("block", &[]).await;
        for round in 0..10 {
            rig.write((0..125).map(|item| (item, Value::I64(i64::from(item) + round))));
        }
        rig.answered(Outcome::Done, 1250).await;
        for round in 0..10 {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(observer.next().await.text()).unwrap();
            assert_eq!((object.len(), &object["r7"]), (125, &serde_json::json!(7 + round)));
        }
        assert!(observer.drain().is_empty());
    });
}

#[test]
fn one_wildcard_subscription_feeds_many_items() {
    run(async {
        let broker = Broker::start();
        let keyed = |key| Row { key, ..row("site/+/temperature", "f64") };
        let rig = Rig::new(broker.port, "main", "", &[(1, "r", keyed("room1")), (2, "r", keyed("room2"))]);
        rig.role(Role::Active, 1).await;
        broker.publish("site/room2/temperature", b"19.5", &["-q", "1"]);
        until("the value", || rig.hub.values(2) == [Value::F64(19.5)]).await;
        assert!(rig.hub.values(1).is_empty());
    });
}

#[test]
fn payloads_that_do_not_fit_are_bad_values_and_do_not_stop_the_others() {
    run(async {
        let broker = Broker::start();
        let rig = Rig::new(broker.port, "main", "", &[(1, "r", row("a", "u8")), (2, "r", row("b", "u8"))]);
        rig.role(Role::Active, 1).await;
        for payload in [&b"300"[..], b"x", b"", &[0xff; 1000], "[".repeat(5_000).as_bytes()] {
            broker.publish("a", payload, &["-q", "1"]);
        }
        broker.publish("b", b"3", &["-q", "1"]);
        until("the good value", || rig.hub.values(2) == [Value::I64(3)]).await;
        assert!(rig.hub.values(1).is_empty());
        assert_eq!(rig.hub.updates.borrow().len(), 6);
        until("the count", || rig.hub.count("input.undecodable") == 5).await;
    });
}
