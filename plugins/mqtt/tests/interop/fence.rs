//! Nothing is published without a permit, whatever happened in between.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use twinhub_mqtt::link::{Role, State};
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::session::Outcome;

use crate::broker::Broker;
use crate::fake::{Fake, NEW_SESSION, OLD_SESSION, Peer};
use crate::rig::{Rig, row, run, until};

/// Long against every timer of the connection task.
const QUIET: Duration = Duration::from_millis(300);

async fn assert_silent(peer: &mut Peer) {
    if let Ok(packet) = timeout(QUIET, peer.publish()).await {
        panic!("published without a permit, or gone: {packet:?}");
    }
}

/// The thread stands still while the lease ends, as in a frozen process; the write was taken before.
#[test]
fn a_frozen_and_woken_node_publishes_nothing() {
    run(async {
        let broker = Broker::start();
        for version in ["3.1.1", "5"] {
            let settings = format!(r#""version":"{version}""#);
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "w", row("out", "i64"))]);
            rig.role(Role::Active, 1).await;
            let mut observer = broker.observe("out", &[]).await;
            rig.lease(Duration::from_millis(50));
            rig.write((0..50).map(|number| (1, Value::I64(number))));
            std::thread::sleep(Duration::from_millis(100));
            // Time for the task to do wrong, and a marker behind which nothing may come.
            tokio::time::sleep(QUIET).await;
            rig.role(Role::Hot, 2).await;
            broker.publish("out", b"end", &["-q", "1"]);
            assert_eq!(observer.next().await.text(), "end");
            assert_eq!(rig.hub.outcomes(Outcome::NotActive), 50);
            rig.link.stop(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn a_lease_that_ends_on_the_way_cuts_the_connection_and_stops_the_resend() {
    run(async {
        let fake = Fake::start().await;
        let rig = Rig::new(fake.port, "main", "", &[(1, "w", row("out", "i64"))]);
        rig.lease(Duration::from_secs(3600));
        rig.link.change_role(Role::Active, 1, Duration::ZERO).await;
        let mut peer = fake.accept(NEW_SESSION).await;
        rig.write([(1, Value::I64(1))]);
        let first = peer.publish().await.unwrap();
        assert_eq!(first[0], 0x32, "QoS 1, first time");

        let ended = Instant::now();
        rig.hub.lease_end.set(None);
        assert_eq!(peer.publish().await, None);
        assert!(ended.elapsed() < Duration::from_millis(200), "{:?}", ended.elapsed());

        let mut peer = fake.accept(OLD_SESSION).await;
        assert_silent(&mut peer).await;
        rig.lease(Duration::from_secs(3600));
        let again = timeout(Duration::from_secs(5), peer.publish()).await.unwrap().unwrap();
        assert_eq!((again[0], &again[1..]), (0x3a, &first[1..]), "the same packet, marked as duplicate");
        peer.send(&[0x40, 2, again[7], again[8]]).await;
        rig.answered(Outcome::Done, 1).await;
        assert_eq!(rig.hub.answers.borrow().len(), 1);
    });
}

/// The broker stops reading, so that outputs wait in the write buffer when the lease ends. Of what had been written
/// the kernel throws away the rest; nothing is written afterwards.
#[test]
fn outputs_in_the_write_buffer_die_with_the_lease() {
    run(async {
        let fake = Fake::start().await;
        let rig = Rig::new(fake.port, "main", r#""send_timeout":"1m""#, &[(1, "w", row("out", "string"))]);
        rig.lease(Duration::from_secs(3600));
        rig.link.change_role(Role::Active, 1, Duration::ZERO).await;
        let mut peer = fake.accept(NEW_SESSION).await;
        until("the connection", || rig.hub.state() == Some(State::Ok)).await;
        let text = "x".repeat(100_000);
        rig.write((0..150).map(|_| (1, Value::Str(text.as_str().into()))));
        tokio::time::sleep(QUIET).await;
        rig.hub.lease_end.set(None);
        until("the cut", || rig.hub.state() == Some(State::Connecting)).await;
        let mut received = 0;
        let mut buffer = vec![0; 65_536];
        while let Ok(count) = peer.stream.read(&mut buffer).await {
            received += count;
            if count == 0 {
                break;
            }
        }
        assert!(received < 15_000_000, "everything was sent: {received}");
        assert_eq!(rig.hub.count("outbox.fenced"), 1);
        let mut peer = fake.accept(NEW_SESSION).await;
        assert_silent(&mut peer).await;
        rig.link.change_role(Role::Hot, 2, Duration::from_millis(500)).await;
        assert_eq!(rig.hub.outcomes(Outcome::NotActive) + rig.hub.outcomes(Outcome::InDoubt), 150);
    });
}

#[test]
fn a_role_loss_without_receipt_is_reported_in_doubt_and_cuts_the_connection() {
    run(async {
        let fake = Fake::start().await;
        let rig = Rig::new(fake.port, "main", "", &[(1, "w", row("out", "i64"))]);
        rig.lease(Duration::from_secs(3600));
        rig.link.change_role(Role::Active, 1, Duration::ZERO).await;
        let mut peer = fake.accept(NEW_SESSION).await;
        rig.write([(1, Value::I64(1))]);
        peer.publish().await.unwrap();
        // A broker that answers nothing, not even the sign of life behind the message.
        let silent = async { while peer.packet().await.is_some() {} };
        tokio::join!(rig.link.change_role(Role::Hot, 2, Duration::from_millis(200)), silent);
        assert_eq!(*rig.hub.answers.borrow(), [(1, Outcome::InDoubt)]);
        let mut peer = fake.accept(OLD_SESSION).await;
        assert_silent(&mut peer).await;
    });
}

/// The broker has read the message, but gives no receipt: the outcome is unknown, and nothing is in the network.
#[test]
fn a_role_loss_with_proof_of_arrival_keeps_the_connection() {
    run(async {
        let fake = Fake::start().await;
        let rig = Rig::new(fake.port, "main", "", &[(1, "w", row("out", "i64"))]);
        rig.lease(Duration::from_secs(3600));
        rig.link.change_role(Role::Active, 1, Duration::ZERO).await;
        let mut peer = fake.accept(NEW_SESSION).await;
        rig.write([(1, Value::I64(1))]);
        peer.publish().await.unwrap();
        tokio::select! {
            () = rig.link.change_role(Role::Hot, 2, Duration::from_millis(200)) => {}
            packet = peer.publish() => panic!("published or gone: {packet:?}"),
        }
        assert_eq!(*rig.hub.answers.borrow(), [(1, Outcome::InDoubt)]);
        assert_silent(&mut peer).await;
    });
}

#[test]
fn hostile_brokers_cost_a_reconnect_and_nothing_else() {
    run(async {
        let fake = Fake::start().await;
        let rig = Rig::new(fake.port, "main", r#""keep_alive":"1s""#, &[(1, "r", row("in", "i64"))]);
        rig.link.change_role(Role::Hot, 1, Duration::ZERO).await;
        // The last one looks like the beginning of a packet; silence ends it.
        for garbage in [
            &[0xff_u8; 64][..],
            &[0x30, 0xff, 0xff, 0xff, 0x7f],
            &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x32, 4, 0, 2, b'i', b'n'],
            &[0x20, 2, 0, 0],
            &[0x10, 1, 0],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ] {
            let mut peer = fake.accept(NEW_SESSION).await;
            peer.send(garbage).await;
            while peer.packet().await.is_some() {}
        }
        // Receipts for nothing are counted and tolerated.
        let mut peer = fake.accept(NEW_SESSION).await;
        peer.send(&[0x40, 2, 9, 9, 0x50, 2, 9, 9, 0x70, 2, 9, 9, 0x62, 2, 9, 9, 0x90, 3, 9, 9, 1]).await;
        peer.send(&[0x30, 5, 0, 2, b'i', b'n', b'5']).await;
        until("a value", || rig.hub.values(1) == [Value::I64(5)]).await;
        until("the count", || rig.hub.count("session.unsolicited") == 4).await;
    });
}

/// What the node before published last is under way while the role comes: it is part of the mirror.
#[test]
fn the_mirror_is_complete_when_the_active_role_is_reached() {
    run(async {
        for version in ["3.1.1", "5"] {
            let is_5 = version == "5";
            let fake = Fake::start().await;
            let settings = format!(r#""version":"{version}","status_topic":"""#);
            let rig = Rig::new(fake.port, "backup", &settings, &[(1, "w", row("out", "i64"))]);
            let play = async {
                let mut peer = fake.accept(if is_5 { &[0x20, 3, 0, 0, 0] } else { NEW_SESSION }).await;
                while let Some(packet) = peer.packet().await {
                    match packet[0] >> 4 {
                        8 if is_5 => peer.send(&[0x90, 4, packet[2], packet[3], 0, 1]).await,
                        8 => peer.send(&[0x90, 3, packet[2], packet[3], 1]).await,
                        10 => {
                            peer.send(b"\x30\x06\x00\x03out5").await;
                            peer.send(&[0xb0, 2, packet[2], packet[3]]).await;
                        }
                        12 => {
                            peer.send(b"\x30\x07\x00\x03out\x005").await;
                            peer.send(&[0xd0, 0]).await;
                        }
                        _ => {}
                    }
                }
            };
            let change = async {
                rig.role(Role::Hot, 1).await;
                assert!(rig.hub.values(1).is_empty());
                rig.lease(Duration::from_secs(3600));
                rig.link.change_role(Role::Active, 2, Duration::from_secs(5)).await;
                let seen = rig.hub.updates.borrow().iter().map(|update| update.is_mirror).collect::<Vec<_>>();
                assert_eq!((rig.hub.values(1), seen), (vec![Value::I64(5)], vec![true]), "{version}");
            };
            tokio::select! {
                () = play => panic!("the connection ended"),
                () = change => {}
            }
        }
    });
}
