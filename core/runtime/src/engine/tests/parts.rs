//! Parts that keep their state in the journal: over replication, copies, restarts and older peers.

use std::path::Path;

use twinhub_contract::role;
use twinhub_model::{Moment, NodeRank, Part, PartRecord, Position, Record};
use twinhub_replica::Message;

use crate::engine::parts::{PIECE_BYTES_MAX, PartState, Parts, is_placeholder};
use crate::inbox::Job;

use super::bench::{Bench, Spec, carry_until, epoch, follow, pair};

/// A part that knows every word it was told.
#[derive(Debug, Default)]
pub(crate) struct Words {
    words: std::collections::BTreeSet<String>,
}

impl PartState for Words {
    fn part(&self) -> Part {
        WORDS
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        let word = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        self.words.insert(word.to_owned());
        Ok(())
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.words.iter().map(|word| word.clone().into_bytes()).collect()
    }

    fn clear(&mut self) {
        self.words.clear();
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        assert!(piece.len() <= PIECE_BYTES_MAX);
        self.apply(Position::START, piece)
    }
}

const WORDS: Part = Part(999);

fn specs() -> [Spec; 1] {
    [Spec { standby: role::WARM, ..Spec::new("plc") }]
}

fn words(bench: &Bench) -> Vec<String> {
    bench.engine.parts.get::<Words>().expect("every bench has it").words.iter().cloned().collect()
}

fn tell(bench: &mut Bench, word: &str) {
    bench.engine.append_part(WORDS, word.as_bytes()).expect("the journal takes it");
    bench.turn();
}

#[test]
fn what_a_part_says_on_the_active_node_is_known_on_the_standby() {
    let (mut main, mut backup) = pair(&specs());
    tell(&mut main, "one");
    tell(&mut main, "two");
    carry_until(&mut main, &mut backup, "both words", |main, backup| main.last() == backup.last());
    assert_eq!(words(&backup), ["one", "two"]);
    backup.become_active(epoch(1, 2));
    tell(&mut backup, "three");
    assert_eq!(words(&backup), ["one", "three", "two"]);
}

#[test]
fn a_full_copy_brings_the_state_and_takes_away_what_is_not_in_it() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    tell(&mut main, "one");
    let mut backup = Bench::new(1, &specs());
    let stray = PartRecord { part: WORDS, body: b"stray".as_slice().into() };
    backup.engine.parts.apply(Position::START.next(), &stray).unwrap();
    follow(&mut main, &mut backup, epoch(0, 1));
    assert_eq!(words(&backup), ["one"]);
    tell(&mut main, "two");
    carry_until(&mut main, &mut backup, "the second word", |main, backup| main.last() == backup.last());
    assert_eq!(words(&backup), ["one", "two"]);
}

#[test]
fn a_state_is_there_after_a_crash_from_the_journal_alone() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    tell(&mut main, "one");
    main.wait("the disk", |bench| bench.engine.journal.durable() == bench.last());
    let main = main.restarted(&specs());
    assert_eq!(words(&main), ["one"]);
}

#[test]
fn a_peer_of_an_older_version_gets_a_record_that_says_nothing_in_the_same_place() {
    let mut main = Bench::new(0, &specs());
    main.become_active(epoch(0, 1));
    let peer = NodeRank(1);
    main.connect_in(peer, 1);
    let want = Message::Want {
        image: None,
        stream: 1,
        from: main.last(),
        journal_first: main.engine.journal.first(),
        config_hash: 1,
        dictionary: 0,
    };
    let from = main.last();
    main.job(Job::Peer { peer, message: want });
    tell(&mut main, "one");
    main.publish(0, 7);
    let mut batches = Vec::new();
    for message in main.sent() {
        if let Message::Entries { batch, .. } = message {
            batches.push(batch);
        }
    }
    let entries: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            let read = |(position, body): (Position, &[u8])| (position, twinhub_wire::record::decode(body));
            batch.iter().map(read).collect::<Vec<_>>()
        })
        .collect();
    let positions: Vec<_> = entries.iter().map(|(position, _)| *position).collect();
    // Behind the value stands the command that it drives.
    assert_eq!(positions, [1, 2, 3].map(|number| Position { seq: from.seq + number, ..from }), "no gap");
    assert!(is_placeholder(entries[0].1.as_ref().unwrap()), "{entries:?}");
    assert!(matches!(entries[1].1, Ok(Record::Samples(_))), "{entries:?}");
}

#[test]
fn a_node_that_was_updated_asks_for_what_it_could_not_understand_before() {
    let (mut main, mut backup) = pair(&specs());
    tell(&mut main, "one");
    let placeholder = twinhub_wire::record::placeholder(&encoded("one"), 1).expect("a part's record");
    let at = backup.last().next();
    backup.engine.journal.append_encoded(at, &placeholder).unwrap();
    backup.engine.journal.sync().unwrap();
    let backup = backup.restarted(&specs());
    assert!(backup.engine.replication.lacks_copy);
    assert_eq!(words(&backup), [""; 0]);
}

fn encoded(word: &str) -> Vec<u8> {
    let record = Record::Part(PartRecord { part: WORDS, body: word.as_bytes().into() });
    let mut bytes = Vec::new();
    twinhub_wire::record::encode(&record, &mut bytes);
    bytes
}

fn open(dir: &Path) -> Parts {
    let (parts, troubles) = Parts::open(dir, vec![Box::new(Words::default())]);
    assert_eq!(troubles, []);
    parts
}

fn known(parts: &Parts) -> Vec<&str> {
    parts.get::<Words>().expect("it was opened with it").words.iter().map(String::as_str).collect()
}

fn place(seq: u64) -> Position {
    Position::new(epoch(0, 1), seq)
}

fn say(parts: &mut Parts, seq: u64, word: &str) {
    parts.apply(place(seq), &PartRecord { part: WORDS, body: word.as_bytes().into() }).unwrap();
}

#[test]
fn a_stored_state_outlives_the_journal_and_is_never_ahead_of_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = open(dir.path());
    say(&mut parts, 1, "one");
    say(&mut parts, 2, "two");
    // The second record is not on disk: the state with it is not stored either.
    parts.finish(place(1));
    assert_eq!(known(&open(dir.path())), [""; 0]);
    parts.finish(place(2));
    let mut again = open(dir.path());
    assert_eq!(known(&again), ["one", "two"]);
    // What the journal still has comes once more and changes nothing.
    say(&mut again, 1, "one");
    say(&mut again, 3, "three");
    assert_eq!(known(&again), ["one", "three", "two"]);
}

#[test]
fn a_changed_state_is_stored_while_the_node_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = open(dir.path());
    say(&mut parts, 1, "one");
    let file = dir.path().join("part-999.state");
    let begun = std::time::Instant::now();
    while !file.exists() {
        assert!(begun.elapsed().as_secs() < 30, "the state was not stored");
        assert_eq!(parts.store(Moment::ZERO + std::time::Duration::from_secs(60), place(1)), []);
        std::thread::yield_now();
    }
    assert_eq!(known(&open(dir.path())), ["one"]);
}

#[test]
fn an_unreadable_state_is_set_aside_reported_and_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("part-999.state"), b"nonsense").unwrap();
    let (parts, troubles) = Parts::open(dir.path(), vec![Box::new(Words::default())]);
    assert_eq!(known(&parts), [""; 0]);
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].text.contains("part-999.state.damaged"), "{}", troubles[0].text);
    assert!(dir.path().join("part-999.state.damaged").exists());
}
