use std::io;

use twinhub_model::{Epoch, Incarnation, NodeRank, Position};
use twinhub_redundancy::{Heartbeat, Hold, Message, NodeState};
use twinhub_wire::FrameReader;

use super::*;
use crate::role_writer::tests::{Hand, SlowDisk, role_file_on};

const LEASE: Duration = Duration::from_millis(1_500);

/// A witness on a disk that stops at every sync, with one node connected.
struct Bench {
    witness: Witness,
    written: mpsc::UnboundedReceiver<Written>,
    answers: mpsc::Receiver<Vec<u8>>,
    hand: Hand,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (disk, hand) = SlowDisk::new();
        let (tell, written) = mpsc::unbounded_channel();
        let file = role_file_on(&dir.path().join("role"), disk);
        let writer = RoleWriter::start(file, move |end| drop(tell.send(end))).unwrap();
        let mut witness = Witness::new(7, writer, RoleState::default());
        let (sender, answers) = mpsc::channel(64);
        let peer = VoterId::Node(NodeRank(0));
        let link = Link { peer, path: 0, protocol: protocol::newest().unwrap(), sender };
        witness.links.insert((peer, 0), link);
        Bench { witness, written, answers, hand, _dir: dir }
    }

    fn ask(&mut self, message: &Message, lease: Duration) {
        self.witness.on_message(VoterId::Node(NodeRank(0)), "site", message, lease);
    }

    /// Lets the write that is under way end like this, and tells the witness.
    fn disk_ends(&mut self, how: io::Result<()>) {
        self.hand.begun.recv().unwrap();
        self.hand.ends.send(how).unwrap();
        let end = self.written.blocking_recv().unwrap();
        self.witness.on_written(&end);
    }

    fn said(&mut self) -> Vec<Message> {
        let mut said = Vec::new();
        while let Ok(frame) = self.answers.try_recv() {
            let mut reader = FrameReader::new(1 << 16);
            reader.push(&frame);
            let frame = reader.next_frame().unwrap().unwrap();
            said.push(minicbor::decode::<GroupMessage>(frame.body).unwrap().message);
        }
        said
    }
}

fn campaign(counter: u64, round: u64) -> Message {
    let epoch = Epoch::new(counter, NodeRank(0));
    Message::Campaign { epoch, round, incarnation: Incarnation(1), token: None, members: None }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        incarnation: Incarnation(1),
        sequence: 1,
        state: NodeState::Standby,
        epoch: Epoch::NONE,
        promised: Epoch::NONE,
        position: Position::default(),
        config_hash: 0,
        score: 100,
        active: None,
        unquorate: false,
        hold: Hold::default(),
        proven: None,
        members: None,
        protected: None,
    }
}

fn grants(said: &[Message]) -> Vec<u64> {
    let round =
        |message: &Message| if let Message::Grant { round, .. } = message { Some(*round) } else { None };
    said.iter().filter_map(round).collect()
}

#[test]
fn a_slow_disk_holds_up_the_vote_and_no_answer_to_a_heartbeat() {
    let mut bench = Bench::new();
    bench.ask(&campaign(1, 1), LEASE);
    assert_eq!(bench.said(), [], "a promise is on disk before it is spoken");
    bench.ask(&Message::Heartbeat(heartbeat()), LEASE);
    let [Message::VoterStatus { promised, .. }] = bench.said()[..] else {
        panic!("a heartbeat is answered while the disk is busy");
    };
    assert_eq!(promised, Epoch::NONE, "what is not on disk is not told");
    bench.disk_ends(Ok(()));
    assert_eq!(grants(&bench.said()), [1]);
}

#[test]
fn a_promise_that_the_disk_refused_is_written_at_the_next_question() {
    let mut bench = Bench::new();
    bench.ask(&campaign(1, 1), LEASE);
    bench.disk_ends(Err(io::ErrorKind::StorageFull.into()));
    assert_eq!(bench.said(), []);
    bench.ask(&campaign(1, 2), LEASE);
    bench.disk_ends(Ok(()));
    assert_eq!(
        grants(&bench.said()),
        [1, 2],
        "the same question is answered once the disk takes the promise"
    );
}

#[test]
fn a_longer_lease_waits_until_the_promise_before_is_on_disk() {
    let mut bench = Bench::new();
    bench.ask(&campaign(1, 1), LEASE);
    bench.ask(&campaign(1, 2), LEASE * 2);
    bench.disk_ends(Ok(()));
    assert_eq!(grants(&bench.said()), [1], "a voter made anew takes what it was given for stored");
    bench.ask(&campaign(1, 3), LEASE * 2);
    assert_eq!(grants(&bench.said()), [3]);
}
