//! Questions: what topics there are, and how the connection is.

use serde_json::Value as Json;
use twinhub_mqtt::browse::catalog::Place;
use twinhub_mqtt::browse::listener::listen;
use twinhub_mqtt::link::Role;
use twinhub_mqtt::payload::Value;
use twinhub_plugin::{Code, Page};

use crate::broker::Broker;
use crate::fake::{Fake, NEW_SESSION};
use crate::rig::{Rig, row, run, until};

fn nodes(page: &Page) -> Vec<Json> {
    serde_json::to_value(page).unwrap()["nodes"].as_array().unwrap().clone()
}

fn names(page: &Page) -> Vec<String> {
    nodes(page).iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn topics_are_found_whether_they_are_retained_or_published_meanwhile() {
    run(async {
        let broker = Broker::start();
        broker.publish("plant/boiler", b"{\"flow\":21.5}", &["-r"]);
        broker.publish("plant/boiler/state", b"on", &["-r"]);
        broker.publish("plant/gone", b"1", &[]);
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}""#);
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "r", row("in", "i64"))]);
            rig.role(Role::Active, 1).await;
            let place = Place::Topic("plant".to_owned());
            let live = async {
                // Again and again, since nobody says when it listens.
                loop {
                    broker.publish("plant/live", b"1", &[]);
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            };
            let heard = tokio::select! {
                heard = listen(&rig.link, &place) => heard.unwrap(),
                () = live => unreachable!("it never ends"),
            };
            let page = heard.page(&place, 0, 100);
            assert_eq!(names(&page), ["boiler", "boiler {…}", "live"]);
            assert_eq!(nodes(&page)[0]["row"]["type"], "json");
            assert_eq!(nodes(&page)[0]["parent"], "plant/boiler");
            let values = heard.page(&Place::Payload("plant/boiler".to_owned()), 0, 100);
            assert_eq!(nodes(&values)[0]["row"]["json"], "$['flow']");
            // The session of the interface knows nothing of it.
            assert_eq!(rig.hub.count("input.unmatched"), 0);
            broker.publish("in", b"7", &["-q", "1"]);
            until("the value", || rig.hub.values(1) == [Value::I64(7)]).await;
            rig.role(Role::Cold, 2).await;
        }
    });
}

#[test]
fn no_topic_is_looked_for_in_a_cold_role_or_without_a_broker() {
    run(async {
        let broker = Broker::start();
        let rig = Rig::new(broker.port, "main", "", &[]);
        rig.role(Role::Cold, 1).await;
        assert_eq!(listen(&rig.link, &Place::Top).await.unwrap_err().code(), Code::NotActive);
        let [nobody] = twinhub_peers::Port::hold();
        let rig = Rig::new(nobody, "main", "", &[]);
        rig.link.change_role(Role::Hot, 1, std::time::Duration::ZERO).await;
        let error = listen(&rig.link, &Place::Top).await.unwrap_err();
        assert!(error.detail().contains("no connection to the broker"), "{error}");
    });
}

#[test]
fn a_broker_that_forbids_to_look_is_quoted() {
    run(async {
        let broker = Fake::start().await;
        let rig = Rig::new(broker.port, "main", "", &[]);
        let ((), _connected) = tokio::join!(
            rig.link.change_role(Role::Hot, 1, std::time::Duration::ZERO),
            broker.accept(NEW_SESSION)
        );
        let place = Place::Topic("secret".to_owned());
        let refusing = async {
            let mut peer = broker.accept(NEW_SESSION).await;
            let subscribe = peer.packet().await.unwrap();
            peer.send(&[0x90, 3, subscribe[2], subscribe[3], 0x80]).await;
            peer
        };
        let (heard, _peer) = tokio::join!(listen(&rig.link, &place), refusing);
        let error = heard.unwrap_err();
        assert!(error.detail().contains("refuses the subscription of `secret/#`"), "{error}");
    });
}

#[test]
fn a_diagnosis_tells_of_connection_session_and_errors_and_no_secret() {
    run(async {
        let mut broker = Broker::start();
        let items = [(1, "rw", row("in", "i64"))];
        let settings = r#""user":"hub","password":"hunter2","version":"5""#;
        let rig = Rig::new(broker.port, "main", settings, &items);
        rig.role(Role::Active, 7).await;
        broker.publish("in", b"7", &["-q", "1"]);
        until("the value", || !rig.hub.values(1).is_empty()).await;
        let diagnosis = rig.link.diagnosis();
        assert_eq!(diagnosis["connection"]["is_connected"], true, "{diagnosis:#}");
        assert_eq!((&diagnosis["role"], &diagnosis["epoch"]), (&"active".into(), &7.into()));
        assert_eq!(diagnosis["session"]["this_node_acted_last"], true);
        assert_eq!(diagnosis["messages"]["received"], 1);
        broker.terminate();
        until("the lost connection", || rig.link.diagnosis()["connection"]["is_connected"] == false).await;
        broker.restart();
        until("a connection", || rig.link.diagnosis()["connection"]["is_connected"] == true).await;
        let diagnosis = rig.link.diagnosis();
        assert!(diagnosis["connection"]["last_error"].is_string(), "{diagnosis:#}");
        assert_eq!(diagnosis["connection"]["connections"], 2);
        assert!(!diagnosis.to_string().contains("hunter2"));
    });
}
