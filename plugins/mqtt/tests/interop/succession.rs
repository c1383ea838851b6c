//! Sessions of nodes that act one after the other and hear nothing in between.

use std::time::Duration;

use twinhub_mqtt::link::{Role, State};
use twinhub_mqtt::payload::Value;

use crate::broker::Broker;
use crate::rig::{Rig, Shared, row, run, until};

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

fn node(broker: &Broker, name: &str, version: &str, shared: &Shared) -> Rig {
    node_at(broker.port, name, version, shared)
}

fn node_at(port: u16, name: &str, version: &str, shared: &Shared) -> Rig {
    let settings = format!(r#""version":"{version}","client_id":"{{node}}-{version}""#);
    Rig::new(port, name, &settings, &[(1, "r", row("in", "i64"))]).shares(shared)
}

fn say(broker: &Broker, value: i64) {
    broker.publish("in", value.to_string().as_bytes(), &["-q", "1"]);
}

async fn hears(rig: &Rig, values: &[i64]) {
    let values: Vec<_> = values.iter().map(|value| Value::I64(*value)).collect();
    until(&format!("{values:?}"), || rig.hub.values(1).last() == values.last()).await;
    assert_eq!(rig.hub.values(1), values);
}

/// The main dies, and the broker queues for it what the backup deals with. When it acts again, that is not news.
#[test]
fn what_a_broker_queued_while_another_node_acted_is_not_heard() {
    run(async {
        let broker = Broker::start();
        for version in VERSIONS {
            for standby in [Role::Cold, Role::Warm] {
                let shared = Shared::default();
                let main = node(&broker, "main", version, &shared);
                let backup = node(&broker, "backup", version, &shared);
                backup.role(standby, 1).await;
                main.role(Role::Active, 1).await;
                say(&broker, 1);
                hears(&main, &[1]).await;
                main.crash().await;
                backup.role(Role::Active, 2).await;
                say(&broker, 2);
                hears(&backup, &[2]).await;
                let main = node(&broker, "main", version, &shared);
                main.role(standby, 2).await;
                say(&broker, 3);
                hears(&backup, &[2, 3]).await;
                backup.role(standby, 3).await;
                main.role(Role::Active, 3).await;
                say(&broker, 4);
                hears(&main, &[4]).await;

                // Its session lasts: what comes while its connection is gone is there after it.
                main.crash().await;
                say(&broker, 5);
                let main = node(&broker, "main", version, &shared);
                main.role(standby, 3).await;
                main.role(Role::Active, 4).await;
                hears(&main, &[5]).await;
                for rig in [main, backup] {
                    rig.role(Role::Cold, 5).await;
                }
            }
        }
    });
}

/// A successor that does not reach the broker has heard nothing, so nothing is old for the node before.
#[test]
fn what_a_broker_queued_while_the_acting_node_could_not_hear_it_is_heard() {
    run(async {
        let broker = Broker::start();
        let [nobody] = twinhub_peers::Port::hold();
        for version in VERSIONS {
            let shared = Shared::default();
            let main = node(&broker, "main", version, &shared);
            main.role(Role::Active, 1).await;
            main.crash().await;
            say(&broker, 1);
            let backup = node_at(nobody, "backup", version, &shared);
            backup.link.change_role(Role::Active, 2, Duration::from_millis(50)).await;
            until("an attempt", || backup.hub.state() == Some(State::Connecting)).await;
            backup.crash().await;
            let main = node(&broker, "main", version, &shared);
            main.role(Role::Cold, 2).await;
            main.role(Role::Active, 3).await;
            hears(&main, &[1]).await;
            main.role(Role::Cold, 4).await;
        }
    });
}

/// Looking would take from the session what nobody else has.
#[test]
fn a_warm_standby_that_acted_last_keeps_away_until_another_node_acts() {
    run(async {
        let broker = Broker::start();
        for version in VERSIONS {
            let shared = Shared::default();
            let main = node(&broker, "main", version, &shared);
            main.role(Role::Active, 1).await;
            main.crash().await;
            let main = node(&broker, "main", version, &shared);
            main.role(Role::Warm, 1).await;
            let cause = main.hub.states.borrow().last().map(|(_, cause)| cause.clone()).unwrap_or_default();
            assert!(cause.contains("until another node acts"), "{cause}");
            let backup = node(&broker, "backup", version, &shared);
            backup.role(Role::Active, 2).await;
            until("its connection", || {
                main.hub.states.borrow().iter().any(|(_, cause)| cause == "connected, not active")
            })
            .await;
            for rig in [main, backup] {
                rig.role(Role::Cold, 3).await;
            }
        }
    });
}

/// What is heard before it is known who hears it could be heard a second time by the node before.
#[test]
fn nothing_is_heard_before_it_is_kept_who_acts() {
    run(async {
        let broker = Broker::start();
        let shared = Shared::default();
        let main = node(&broker, "main", "5", &shared);
        main.role(Role::Cold, 1).await;
        main.hub.keeps.set(false);
        main.lease(Duration::from_secs(3600));
        main.link.change_role(Role::Active, 1, Duration::from_millis(50)).await;
        until("its connection", || main.hub.state() == Some(State::Ok)).await;
        let mut observer = broker.observe("in", &[]).await;
        say(&broker, 1);
        assert_eq!(observer.next().await.text(), "1");
        assert!(main.hub.values(1).is_empty() && shared.borrow().is_none());
        main.hub.keeps.set(true);
        // It subscribed before, and the broker has it for the session.
        hears(&main, &[1]).await;
        assert!(shared.borrow().is_some());
    });
}

/// What it hears is no older than what the other one had, and a takeover is not held up.
#[test]
fn a_hot_standby_does_not_wait_until_it_is_kept_who_acts() {
    run(async {
        let broker = Broker::start();
        let shared = Shared::default();
        let main = node(&broker, "main", "5", &shared);
        main.role(Role::Hot, 1).await;
        main.hub.keeps.set(false);
        main.role(Role::Active, 2).await;
        say(&broker, 1);
        hears(&main, &[1]).await;
        main.hub.keeps.set(true);
        until("the name", || shared.borrow().is_some()).await;
    });
}
