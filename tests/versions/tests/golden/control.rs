//! What role machines, voters and supervisors say to each other.

use twinhub_model::{Epoch, Incarnation, NodeRank, Position};
use twinhub_redundancy::{
    Absence, Counted, Ground, Heartbeat, Hold, Members, MembersChange, Message, MoveCause, NodeState,
    RefusalCause, Stamp, TransferToken, VoterId,
};
use twinhub_runtime::roles::GroupMessage;
use twinhub_wire::{
    Channel, FRAME_CONTROL_MAX, FrameReader, Hello, Kind, PROTOCOL, PROTOCOL_MIN, PeerKind, PluginCode,
    PluginLibrary, Probe, write_frame,
};

use crate::protocol::{check, goldens, versions};

const MAIN: NodeRank = NodeRank(0);
const BACKUP: NodeRank = NodeRank(1);

#[test]
fn every_control_message_has_the_same_bytes_and_meaning_in_each_version() {
    for message in messages() {
        let name = format!("control-{}", name_of(&message));
        for version in versions() {
            let body = GroupMessage { group: "site".to_owned(), message: message.clone(), lease_ms: 1500 };
            let Some(frame) = body.frame(version) else {
                assert!(goldens().bytes(version, &name).is_err(), "{name} is not in version {version}");
                continue;
            };
            check(version, &name, frame, |bytes| {
                let read: GroupMessage = minicbor::decode(&only_frame(Kind::Control, bytes)).unwrap();
                assert_eq!(read.frame(version).unwrap(), bytes, "what was read is written in the same way");
                read
            });
        }
    }
}

#[test]
fn the_hello_and_the_probe_have_the_same_bytes_and_meaning_in_each_version() {
    for version in versions() {
        let hello = Hello::new("backup", "main", Channel::Data, 0x0123_4567_89ab_cdef)
            .with_protocol(version)
            .with_process(1, Incarnation(7), "1.2.3", 0xfeed_beef)
            .with_kind(PeerKind::Node)
            .with_contract(1);
        let mut frame = Vec::new();
        write_frame(Kind::Hello, &hello.encode(), &mut frame);
        check(version, "hello", frame, |bytes| Hello::decode(&only_frame(Kind::Hello, bytes)).unwrap());
        let question = Probe::ask(twinhub_model::Moment(1_000), twinhub_model::Timestamp(2_000));
        let answer = question.answer(twinhub_model::Timestamp(3_000)).unwrap();
        for (name, probe) in [("probe-question", question), ("probe-answer", answer)] {
            let mut frame = Vec::new();
            write_frame(Kind::Probe, &probe.encode(), &mut frame);
            check(version, name, frame, |bytes| Probe::decode(&only_frame(Kind::Probe, bytes)).unwrap());
        }
    }
}

/// Nodes of protocol 1 do not say it, and skip it.
#[test]
fn what_a_hello_says_of_plugins_has_the_same_bytes_and_meaning() {
    let library = |id: &str| PluginLibrary {
        id: id.to_owned(),
        version: "1.2.3".to_owned(),
        sha256: "0123456789abcdef".repeat(4),
    };
    let plugins = PluginCode {
        lock: Some("fedcba9876543210".repeat(4)),
        libraries: vec![library("org.twinhub.modbus"), library("org.twinhub.mqtt")],
    };
    let hello = Hello::new("backup", "main", Channel::Control, 0x0123_4567_89ab_cdef).with_plugins(plugins);
    let mut frame = Vec::new();
    write_frame(Kind::Hello, &hello.encode(), &mut frame);
    check(2, "hello-plugins", frame, |bytes| Hello::decode(&only_frame(Kind::Hello, bytes)).unwrap());
}

/// Nodes of protocol 1 are not told.
#[test]
fn what_a_node_says_of_plugins_that_changed_has_the_same_bytes_and_meaning() {
    let library = PluginLibrary {
        id: "org.twinhub.modbus".to_owned(),
        version: "1.2.4".to_owned(),
        sha256: "0123456789abcdef".repeat(4),
    };
    let code = PluginCode { lock: None, libraries: vec![library] };
    let mut frame = Vec::new();
    write_frame(Kind::Plugins, &code.encode(), &mut frame);
    assert_eq!(Kind::Plugins.since(), 2);
    check(2, "plugins", frame, |bytes| PluginCode::decode(&only_frame(Kind::Plugins, bytes)).unwrap());
}

/// A node of the version before is told exactly what a node of that version would have said, and what this
/// version reads from it is the message without what that version does not have.
#[test]
fn a_message_of_the_version_before_is_read_as_one_without_what_is_new() {
    let Message::Heartbeat(old) = heartbeat().in_protocol(PROTOCOL_MIN).unwrap() else { unreachable!() };
    assert_eq!((old.proven, old.members, old.protected), (None, None, None));
    assert_eq!(heartbeat().in_protocol(PROTOCOL).unwrap(), heartbeat());
    assert_eq!(Message::Leave { incarnation: Incarnation(1) }.in_protocol(PROTOCOL_MIN), None);
}

/// What a later version may add to a message is skipped here: a field behind the last one known.
#[test]
fn fields_of_a_later_version_are_skipped_and_its_messages_refused_one_by_one() {
    let known = minicbor::to_vec(heartbeat()).unwrap();
    // Variant 0 with one field, the heartbeat, an array whose length is its first byte.
    assert_eq!(known[..3], [0x82, 0x00, 0x81]);
    let length = known[3] & 0x1f;
    assert_eq!(known[3] & 0xe0, 0x80);
    let mut later = known.clone();
    later[3] = 0x80 | (length + 2);
    later.extend_from_slice(&[0xf6, 0x82, 0x01, 0x61, b'x']);
    assert_eq!(minicbor::decode::<Message>(&later).unwrap(), heartbeat());

    let mut unknown = known;
    unknown[1] = 0x17;
    let error = minicbor::decode::<Message>(&unknown).unwrap_err().to_string();
    assert!(error.contains("23"), "{error}");
}

fn only_frame(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut reader = FrameReader::new(FRAME_CONTROL_MAX);
    reader.push(bytes);
    let frame = reader.next_frame().unwrap().unwrap();
    assert_eq!(frame.kind, kind);
    let body = frame.body.to_vec();
    assert!(reader.next_frame().unwrap().is_none() && reader.pending_bytes() == 0);
    body
}

fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Heartbeat(_) => "heartbeat",
        Message::VoterStatus { .. } => "voter-status",
        Message::PreVote { .. } => "pre-vote",
        Message::PreVoteReply { .. } => "pre-vote-reply",
        Message::Campaign { .. } => "campaign",
        Message::Renew { .. } => "renew",
        Message::Grant { .. } => "grant",
        Message::Refuse { .. } => "refuse",
        Message::Transfer { token } => match token.cause {
            MoveCause::Operator { .. } => "transfer-operator",
            MoveCause::Failback { .. } => "transfer-failback",
            MoveCause::Score { .. } => "transfer-score",
            MoveCause::StepFailed => "transfer-step-failed",
            MoveCause::Maintenance => "transfer-maintenance",
            MoveCause::Shutdown => "transfer-shutdown",
        },
        Message::Resigned { .. } => "resigned",
        Message::RequestSwitchover { .. } => "request-switchover",
        Message::SwitchoverRefused { .. } => "switchover-refused",
        Message::Bye { .. } => "bye",
        Message::Leave { .. } => "leave",
        Message::RequestMembers { .. } => "request-members",
        Message::MembersRefused { .. } => "members-refused",
    }
}

fn heartbeat() -> Message {
    Message::Heartbeat(Heartbeat {
        incarnation: Incarnation(7),
        sequence: 300,
        state: NodeState::Standby,
        epoch: Epoch::new(12, MAIN),
        promised: Epoch::new(13, BACKUP),
        position: Position::new(Epoch::new(12, MAIN), 4_711),
        config_hash: 0xfeed_beef,
        score: 90,
        active: Some(MAIN),
        unquorate: true,
        hold: Hold { version: 3, on: true },
        proven: Some(80),
        members: Some(members().into()),
        protected: Some(true),
    })
}

fn members() -> Members {
    let absence = Absence {
        voter: VoterId::Node(BACKUP),
        ground: Ground::Stopped,
        hold: true,
        process: Some(Incarnation(4)),
    };
    Members { stamp: stamp(), absent: vec![absence], before: Some(vec![VoterId::Witness]) }
}

fn stamp() -> Stamp {
    Stamp { epoch: Epoch::new(12, MAIN), revision: 5 }
}

/// Every message, with every field set.
fn messages() -> Vec<Message> {
    let (epoch, round, incarnation) = (Epoch::new(13, BACKUP), 99, Incarnation(7));
    let token = |cause| TransferToken {
        epoch: Epoch::new(12, MAIN),
        from: MAIN,
        to: BACKUP,
        position: Position::new(Epoch::new(12, MAIN), 4_711),
        drained: true,
        cause,
        counted: Some(Counted { since: Hold { version: 6, on: false }, moves: 2 }),
    };
    let change = MembersChange::Shrink { voter: VoterId::Node(BACKUP), fenced: true, hold: false };
    let causes = [
        MoveCause::Operator { by: BACKUP },
        MoveCause::Failback { stable_ms: 60_000 },
        MoveCause::Score { mine: 40, theirs: 100 },
        MoveCause::StepFailed,
        MoveCause::Maintenance,
        MoveCause::Shutdown,
    ];
    let mut messages = vec![
        heartbeat(),
        Message::VoterStatus {
            promised: epoch,
            holder: Some(MAIN),
            members: Some(members().into()),
            incarnation: Some(incarnation),
        },
        Message::PreVote { epoch, round, members: Some(members().into()), asker: Some(incarnation) },
        Message::PreVoteReply {
            epoch,
            round,
            granted: true,
            promised: epoch,
            holder: Some(MAIN),
            remaining_ms: 1_200,
            members: Some(members().into()),
            asker: Some(incarnation),
        },
        Message::Campaign {
            epoch,
            round,
            incarnation,
            token: Some(token(MoveCause::Maintenance)),
            members: Some(members().into()),
        },
        Message::Renew { epoch, round, incarnation, members: Some(members().into()) },
        Message::Grant { epoch, round, members: Some(stamp()) },
        Message::Refuse {
            epoch,
            round,
            promised: epoch,
            cause: RefusalCause::Granted,
            remaining_ms: 1_200,
            members: Some(members().into()),
        },
        Message::Resigned { node: MAIN, epoch, incarnation },
        Message::RequestSwitchover { to: Some(BACKUP), by: MAIN },
        Message::SwitchoverRefused { to: Some(BACKUP), why: "node 1 is not in sync".to_owned() },
        Message::Bye { incarnation },
        Message::Leave { incarnation },
        Message::RequestMembers { change },
        Message::MembersRefused { change, why: "node 1 is active".to_owned() },
    ];
    messages.extend(causes.map(|cause| Message::Transfer { token: token(cause) }));
    messages
}
