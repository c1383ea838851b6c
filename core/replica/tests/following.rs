//! A sender and a receiver against a model of journal and table, over a line that duplicates, drops and cuts.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop at the first surprise")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use twinhub_model::{Epoch, Position};
use twinhub_replica::{
    EntryBatch, Message, Receiver, ReceiverAction, ReceiverState, Relation, ReplicaError, Sender,
    SenderOptions, SnapshotHead, TailEnd, TailRead, TailSource, Unacked,
};

const OPTIONS: SenderOptions = SenderOptions { window_bytes: 200, message_bytes: 60 };

/// A journal whose records are numbers, and the table that their sum makes: slot = number % 8.
#[derive(Debug, Clone, Default)]
struct Node {
    records: Vec<(Position, u64)>,
    /// Records up to here came as a snapshot or were deleted.
    first: Position,
    table: BTreeMap<u64, u64>,
    dictionary: Vec<u8>,
    aside: Vec<(Position, u64)>,
}

impl Node {
    fn append(&mut self, position: Position, number: u64) {
        self.records.push((position, number));
        self.table.insert(number % 8, number);
    }

    fn last(&self) -> Position {
        self.records.last().map_or(self.first, |(at, _)| *at)
    }
}

impl TailSource for Node {
    fn relation(&mut self, position: Position) -> Relation {
        if position == self.first || self.records.iter().any(|(at, _)| *at == position) {
            return Relation::Present;
        }
        if position < self.first {
            return Relation::TooOld;
        }
        let common = self.records.iter().rev().map(|(at, _)| *at).find(|at| *at < position);
        Relation::Diverged { common: common.unwrap_or(self.first) }
    }

    fn read_after(&mut self, after: Position, max_bytes: usize, out: &mut EntryBatch) -> TailRead {
        let dictionary = hash(&self.dictionary);
        if after < self.first {
            return TailRead { end: TailEnd::Gap, dictionary };
        }
        for (at, number) in self.records.iter().filter(|(at, _)| *at > after) {
            if !out.is_empty() && out.size_bytes() + 28 > max_bytes {
                return TailRead { end: TailEnd::More, dictionary };
            }
            out.push(*at, &number.to_le_bytes());
        }
        TailRead { end: TailEnd::CaughtUp, dictionary }
    }

    fn dictionary(&mut self, wanted: u64, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.dictionary);
        wanted == hash(&self.dictionary)
    }

    fn snapshot_begin(&mut self) -> SnapshotHead {
        let items = self.table.len() as u64;
        SnapshotHead { at: self.last(), items, dictionary: hash(&self.dictionary) }
    }

    fn snapshot_chunk(&mut self, cursor: u32, _max_bytes: usize, out: &mut Vec<u8>) -> Option<u32> {
        if let Some(number) = self.table.get(&u64::from(cursor)) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        (cursor < 7).then_some(cursor + 1)
    }

    fn snapshot_state(&mut self, number: u32) -> Option<(String, Vec<u8>)> {
        (number < 2).then(|| (format!("state {number}"), vec![1]))
    }

    fn last(&mut self) -> Position {
        Node::last(self)
    }
}

/// Both ends and what is on the line.
#[derive(Debug)]
struct Pair {
    active: Node,
    standby: Node,
    sender: Sender,
    receiver: Receiver,
    to_standby: Vec<Message>,
    states: usize,
    /// Images behind which the standby's journal went on without a gap.
    images: usize,
}

impl Pair {
    fn new(active: Node, standby: Node) -> Pair {
        let mut pair = Pair {
            receiver: Receiver::new(standby.last(), standby.first, 1),
            sender: Sender::new(OPTIONS),
            active,
            standby,
            to_standby: Vec::new(),
            states: 0,
            images: 0,
        };
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        self.to_standby.clear();
        self.sender = Sender::new(OPTIONS);
        let want = self.receiver.want();
        self.tell_active(&want);
    }

    fn tell_active(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let message = Message::decode(&bytes).unwrap();
        self.sender.handle(message, &mut self.active).unwrap();
    }

    fn send(&mut self) -> bool {
        let message = self.sender.poll(&mut self.active);
        assert!(self.sender.in_flight_bytes() <= OPTIONS.window_bytes + OPTIONS.message_bytes + 28);
        let has_some = message.is_some();
        self.to_standby.extend(message);
        has_some
    }

    fn deliver(&mut self, number: usize) {
        let message = self.to_standby.remove(number);
        self.receive(message);
    }

    fn receive(&mut self, message: Message) {
        let Ok(action) = self.receiver.handle(message) else {
            // What a broken connection does.
            self.connect();
            return;
        };
        match action {
            ReceiverAction::Nothing | ReceiverAction::BeginSnapshot { .. } => {}
            ReceiverAction::Send(want) => self.tell_active(&want),
            ReceiverAction::UseDictionary { record, .. } => self.standby.dictionary = record,
            ReceiverAction::ApplySamples { body } => {
                let number = u64::from_le_bytes(body.try_into().unwrap());
                self.standby.table.insert(number % 8, number);
            }
            ReceiverAction::ApplyState { .. } => self.states += 1,
            ReceiverAction::EndSnapshot { at, .. } if at == self.standby.last() => self.images += 1,
            ReceiverAction::EndSnapshot { at, .. } => {
                self.standby.records.clear();
                self.standby.first = at;
            }
            ReceiverAction::AppendEntries { batch } => {
                for (at, body) in batch.iter() {
                    let last = self.standby.last();
                    assert!(at > last && (at == last.next() || at.seq == 1), "{at} behind {last}");
                    self.standby.append(at, u64::from_le_bytes(body.try_into().unwrap()));
                }
            }
            ReceiverAction::Diverged { common } => {
                let aside = self.standby.records.iter().filter(|(at, _)| *at > common).copied();
                self.standby.aside.extend(aside);
                self.standby.records.retain(|(at, _)| *at <= common);
                self.receiver.want_image();
                let want = self.receiver.restart(self.standby.last(), self.standby.first);
                self.tell_active(&want);
            }
        }
        if let Some(ack) = self.receiver.ack(self.standby.last()) {
            self.tell_active(&ack);
        }
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            while self.send() {}
            if self.to_standby.is_empty() {
                return;
            }
            self.deliver(0);
        }
        panic!("the two never come to rest");
    }

    fn assert_equal(&self) {
        assert_eq!(self.standby.last(), self.active.last());
        assert_eq!(self.standby.dictionary, self.active.dictionary);
        let from = self.standby.records.first().map(|(at, _)| *at);
        let tail: Vec<_> = self.active.records.iter().filter(|(at, _)| Some(*at) >= from).copied().collect();
        if from.is_some() {
            assert!(self.standby.records.ends_with(&tail));
        }
        assert!(self.receiver.is_consistent() && self.sender.is_caught_up());
        assert_eq!(self.sender.acked(), self.active.last());
        assert_eq!(self.sender.lag(self.active.last()), Some(0));
    }
}

#[test]
fn an_empty_standby_gets_an_image_and_then_the_tail() {
    let mut pair = Pair::new(node(1, 20), Node::default());
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.standby.table, pair.active.table);
    assert_eq!((pair.sender.snapshots(), pair.states), (1, 2));
    pair.active.append(at(1, 21), 99);
    pair.settle();
    pair.assert_equal();
    assert_eq!((pair.standby.records.len(), pair.sender.snapshots()), (1, 1));
}

#[test]
fn a_standby_that_was_away_gets_only_what_it_missed() {
    let mut pair = Pair::new(node(1, 20), node(1, 12));
    pair.settle();
    pair.assert_equal();
    assert_eq!((pair.sender.snapshots(), pair.standby.records.len()), (0, 20));
}

#[test]
fn a_standby_that_lacks_nothing_learns_so_on_an_idle_site() {
    let mut pair = Pair::new(node(1, 20), node(1, 20));
    assert!(!pair.receiver.is_consistent());
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sender.durable(), at(1, 20));
    pair.connect();
    pair.settle();
    pair.assert_equal();
    let mut empty = Pair::new(Node::default(), Node::default());
    empty.settle();
    empty.assert_equal();
}

#[test]
fn only_what_reached_the_disk_is_worth_a_word_at_once() {
    let mut pair = Pair::new(node(1, 5), node(1, 5));
    assert_eq!(pair.receiver.unacked(at(1, 5)), Unacked::Nothing, "it has only asked");
    pair.settle();
    assert_eq!(pair.receiver.unacked(at(1, 5)), Unacked::Nothing);
    pair.active.append(at(1, 6), 99);
    while let Some(message) = pair.sender.poll(&mut pair.active) {
        pair.receiver.handle(message).unwrap();
    }
    assert_eq!(pair.receiver.unacked(at(1, 5)), Unacked::Received);
    assert_eq!(pair.receiver.unacked(at(1, 6)), Unacked::Durable);
    pair.receiver.ack(at(1, 5)).unwrap();
    assert_eq!(pair.receiver.unacked(at(1, 5)), Unacked::Nothing);
    assert_eq!(pair.receiver.unacked(at(1, 7)), Unacked::Durable);
    pair.receiver.ack(at(1, 7)).unwrap();
    assert_eq!(pair.receiver.unacked(at(1, 7)), Unacked::Nothing, "more than was received is not told");
}

#[test]
fn a_standby_away_for_too_long_gets_an_image() {
    let mut active = node(1, 20);
    active.first = at(1, 15);
    active.records.drain(..15);
    let mut pair = Pair::new(active, node(1, 12));
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sender.snapshots(), 1);
}

#[test]
fn records_the_active_lacks_are_set_aside_and_not_lost() {
    let mut active = node(1, 10);
    active.append(at(2, 1), 500);
    let mut pair = Pair::new(active, node(1, 14));
    pair.settle();
    pair.assert_equal();
    let aside: Vec<_> = pair.standby.aside.iter().map(|(at, _)| at.seq).collect();
    assert_eq!(aside, [11, 12, 13, 14]);
    assert_eq!(pair.standby.records, pair.active.records);
    assert_eq!(
        (pair.images, pair.sender.snapshots()),
        (1, 1),
        "its table is another one, its journal goes on"
    );
}

/// A node of the version before knows no such wish.
#[test]
fn who_wants_an_image_and_is_sent_records_asks_for_everything() {
    let mut receiver = Receiver::new(at(1, 3), Position::START, 0).numbered_after(7);
    receiver.want_image();
    let want = receiver.want();
    assert!(matches!(want, Message::Want { stream: 8, image: Some(true), .. }), "{want:?}");
    let mut batch = EntryBatch::new();
    batch.push(at(1, 4), &4_u64.to_le_bytes());
    let action = receiver.handle(Message::Entries { stream: 8, after: at(1, 3), batch });
    let Ok(ReceiverAction::Send(again)) = action else { panic!("{action:?}") };
    assert!(matches!(again, Message::Want { stream: 9, from: Position::START, .. }), "{again:?}");
    let late = receiver.handle(Message::Entries { stream: 8, after: at(1, 3), batch: EntryBatch::new() });
    assert_eq!((late, receiver.is_consistent()), (Ok(ReceiverAction::Nothing), false));
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut pair = Pair::new(node(1, 500), node(1, 1));
    while pair.send() {}
    assert!(pair.sender.in_flight_bytes() >= OPTIONS.window_bytes);
    assert!(pair.sender.in_flight_bytes() < OPTIONS.window_bytes + OPTIONS.message_bytes + 28);
    assert!(!pair.sender.is_caught_up());
    assert_eq!(pair.sender.lag(at(1, 500)), Some(499));
    pair.settle();
    pair.assert_equal();
}

#[test]
fn a_snapshot_stops_when_its_allowance_is_used() {
    let mut pair = Pair::new(node(1, 20), Node::default());
    pair.sender.allow_bulk(Some(10));
    pair.settle();
    assert!(matches!(pair.receiver.state(), ReceiverState::Snapshot { .. }));
    assert_eq!(pair.sender.snapshot_bytes(), 16);
    pair.sender.allow_bulk(None);
    pair.settle();
    pair.assert_equal();
}

#[test]
fn a_dictionary_goes_before_the_records_that_need_it() {
    let mut pair = Pair::new(node(1, 3), node(1, 3));
    pair.settle();
    pair.active.dictionary = vec![9; 150];
    pair.active.append(at(1, 4), 1);
    pair.send();
    assert!(matches!(pair.to_standby[0], Message::Dictionary { offset: 0, total: 150, .. }));
    pair.settle();
    pair.assert_equal();
}

#[test]
fn records_that_come_twice_are_skipped_without_asking_again() {
    let mut receiver = Receiver::new(at(1, 3), Position::START, 0);
    let stream = receiver.want().stream();
    let entries = |range: std::ops::RangeInclusive<u64>| {
        let mut batch = EntryBatch::new();
        let after = at(1, range.start() - 1);
        range.for_each(|seq| batch.push(at(1, seq), b"x"));
        Message::Entries { stream, after, batch }
    };
    assert_eq!(receiver.handle(entries(2..=3)), Ok(ReceiverAction::Nothing));
    let Ok(ReceiverAction::AppendEntries { batch }) = receiver.handle(entries(2..=5)) else {
        panic!("two records are new");
    };
    let positions: Vec<_> = batch.iter().map(|(at, _)| at).collect();
    assert_eq!((batch.first(), batch.len(), positions), (at(1, 4), 2, vec![at(1, 4), at(1, 5)]));
    assert_eq!((receiver.duplicates(), receiver.gaps(), receiver.received()), (4, 0, at(1, 5)));
    assert!(matches!(receiver.handle(entries(7..=7)), Ok(ReceiverAction::Send(Message::Want { .. }))));
    assert_eq!(receiver.gaps(), 1);
}

#[test]
fn lost_last_records_of_an_epoch_are_noticed_when_the_next_epoch_begins() {
    let mut receiver = Receiver::new(at(1, 3), Position::START, 0);
    let stream = receiver.want().stream();
    let mut batch = EntryBatch::new();
    batch.push(at(2, 1), b"x");
    let action = receiver.handle(Message::Entries { stream, after: at(1, 5), batch });
    assert!(matches!(action, Ok(ReceiverAction::Send(Message::Want { .. }))), "{action:?}");
}

#[test]
fn messages_from_the_wrong_side_or_out_of_place_are_refused() {
    let mut sender = Sender::new(OPTIONS);
    let mut source = node(1, 3);
    let wrong = Message::SnapshotStart { stream: 0, at: at(1, 1), items: 0 };
    assert!(matches!(sender.handle(wrong, &mut source), Err(ReplicaError::WrongSide { .. })));
    let ahead = Message::Ack { stream: 0, received: at(1, 9), durable: at(1, 9) };
    assert!(matches!(sender.handle(ahead, &mut source), Err(ReplicaError::AckBeyondSent { .. })));
    let mut receiver = Receiver::new(Position::START, Position::START, 0);
    let stream = receiver.want().stream();
    let early = Message::SnapshotSamples { stream, body: vec![] };
    assert!(matches!(receiver.handle(early), Err(ReplicaError::OutOfPlace { .. })));
    let want = Message::Throttle { stream, bytes_per_second: 1 };
    assert!(matches!(receiver.handle(want), Err(ReplicaError::WrongSide { .. })));
    let huge = Message::Dictionary { stream, hash: 1, offset: 0, total: u64::MAX, bytes: vec![1] };
    assert!(matches!(receiver.handle(huge), Err(ReplicaError::Unreadable { .. })));
    let stale = Message::Diverged { stream: stream - 1, common: at(1, 1) };
    assert_eq!(receiver.handle(stale), Ok(ReceiverAction::Nothing));
}

proptest! {
    /// Whatever a line loses, repeats or cuts, and whatever the active appends, deletes or takes over in the
    /// meantime: once the line is good, both are equal, and no record was applied twice or out of order.
    #[test]
    fn both_are_equal_once_the_line_is_good(steps in prop::collection::vec((0_u8..8, any::<u16>()), 0..150)) {
        let mut pair = Pair::new(node(1, 9), node(1, 4));
        for (kind, number) in steps {
            let last = pair.active.last();
            match kind {
                0 => pair.active.append(last.next(), u64::from(number)),
                1 => pair.active.append(Position::new(Epoch(last.epoch.0 + 256), 1), u64::from(number)),
                2 | 3 => { pair.send(); }
                4 if !pair.to_standby.is_empty() => pair.deliver(0),
                5 if !pair.to_standby.is_empty() => {
                    let number = usize::from(number) % pair.to_standby.len();
                    let twice = pair.to_standby[number].clone();
                    pair.to_standby.push(twice);
                    pair.to_standby.remove(0);
                }
                6 => pair.connect(),
                7 if pair.active.records.len() > 3 => {
                    pair.active.records.drain(..2);
                    pair.active.first = pair.active.records.remove(0).0;
                }
                _ => {}
            }
        }
        pair.connect();
        pair.settle();
        pair.assert_equal();
    }

    #[test]
    fn a_hostile_active_never_makes_a_standby_panic(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..30),
    ) {
        let mut receiver = Receiver::new(at(1, 3), Position::START, 0);
        let stream = receiver.want().stream();
        for (number, mut bytes) in messages.into_iter().enumerate() {
            bytes.splice(0..0, [u8::try_from(number % 11).unwrap(), 1]);
            if let [_, _, rest @ ..] = &mut bytes[..] && rest.len() >= 4 {
                rest[..4].copy_from_slice(&stream.to_le_bytes());
            }
            if let Ok(message) = Message::decode(&bytes) {
                drop(receiver.handle(message));
            }
        }
    }
}

fn node(counter: u64, count: u64) -> Node {
    let mut node = Node { dictionary: vec![1, 2, 3], ..Node::default() };
    for seq in 1..=count {
        node.append(at(counter, seq), seq * 3);
    }
    node
}

const fn at(counter: u64, seq: u64) -> Position {
    Position::new(Epoch(counter << 8), seq)
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}
