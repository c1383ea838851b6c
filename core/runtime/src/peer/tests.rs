//! Two ends of a connection without a network between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinhub_model::NodeRank;

use super::conversation::converse;
use super::*;
use crate::pki;

/// A node that has everything ready sends its first frames in the same segment as its hello.
#[test]
fn frames_right_behind_a_hello_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    pki::ensure(dir.path(), &["main", "backup"]).unwrap();
    let (main, backup) = (endpoint(dir.path(), "main"), endpoint(dir.path(), "backup"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let hello = Hello::new("main", "backup", Channel::Data, main.credentials.cluster)
            .with_protocol(main.protocol)
            .with_process(0, main.incarnation, "1.2.3", 1);
        let mut bytes = Vec::new();
        write_frame(Kind::Hello, &hello.encode(), &mut bytes);
        write_frame(Kind::Replica, b"first", &mut bytes);
        write_frame(Kind::Replica, b"second", &mut bytes);
        far.write_all(&bytes).await.unwrap();

        let (theirs, info) = exchange_hello(&backup, &mut near, "main", Channel::Data).await.unwrap();
        assert_eq!((theirs.version.as_str(), info.protocol), ("1.2.3", backup.protocol));
        let (events, mut happened) = mpsc::channel(8);
        let manner = Manner {
            channel: Channel::Data,
            silence_max: Duration::from_secs(20),
            backoff_min: Duration::ZERO,
            backoff_max: Duration::ZERO,
        };
        let peer = VoterId::Node(NodeRank(0));
        let mut bodies = Vec::new();
        let listen = async {
            // The link is kept, or the conversation would end.
            let mut link = None;
            while bodies.len() < 2 {
                match happened.recv().await.unwrap() {
                    LinkEvent::Up { link: up, .. } => link = Some(up),
                    LinkEvent::Frame { body, .. } => bodies.push(body),
                    LinkEvent::Down { loss, .. } => panic!("{}", loss.error),
                    LinkEvent::Measured { .. } | LinkEvent::Skipped { .. } => {}
                }
            }
            drop(link);
        };
        tokio::select! {
            loss = converse(Box::new(near), peer, 0, info, manner, &events) => panic!("{}", loss.error),
            () = listen => {}
        }
        assert_eq!(bodies, [b"first".to_vec(), b"second".to_vec()]);
    });
}

/// A site where nothing changes has nothing to replicate, and its data connection stays.
#[test]
fn a_data_connection_without_data_is_not_taken_for_dead() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let silence_max = Duration::from_millis(2_500);
        let manner = Manner {
            channel: Channel::Data,
            silence_max,
            backoff_min: Duration::ZERO,
            backoff_max: Duration::ZERO,
        };
        let (events, mut happened) = mpsc::channel(64);
        let peer = |rank| VoterId::Node(NodeRank(rank));
        let info = || PeerInfo {
            name: "main".to_owned(),
            version: String::new(),
            config_hash: 1,
            protocol: twinhub_wire::PROTOCOL,
            is_newer: false,
            plugins: None,
        };
        let mut links = Vec::new();
        let keep = async {
            while let Some(event) = happened.recv().await {
                if let LinkEvent::Up { link, .. } = event {
                    links.push(link);
                }
            }
        };
        tokio::select! {
            loss = converse(Box::new(near), peer(0), 0, info(), manner, &events) => panic!("{}", loss.error),
            loss = converse(Box::new(far), peer(1), 0, info(), manner, &events) => panic!("{}", loss.error),
            () = keep => {}
            // Longer than a dead one is waited for.
            () = tokio::time::sleep(silence_max + Duration::from_secs(1)) => {}
        }
    });
}

fn endpoint(pki: &std::path::Path, name: &str) -> Endpoint {
    let members =
        [("main", 0), ("backup", 1)].map(|(name, rank)| (name.to_owned(), VoterId::Node(NodeRank(rank))));
    Endpoint {
        name: name.to_owned(),
        incarnation: twinhub_model::Incarnation(1),
        config_hash: Arc::new(1.into()),
        credentials: pki::load(pki, name).unwrap(),
        members: Arc::new(BTreeMap::from(members)),
        accept_any_node: false,
        protocol: twinhub_wire::PROTOCOL,
        plugins: None,
    }
}
