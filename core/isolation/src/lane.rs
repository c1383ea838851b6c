//! One direction between hub and child: a ring, and behind it a line for what the ring has no room for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ring::{Broken, Consumer, Head, Producer, RoomBell};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way.
    Taken,
    /// There is no room; nothing of it was taken.
    Full,
    /// It will never arrive: the lane is closed, or the message is longer than any may be.
    Lost,
}

/// The sending side. Messages arrive in the order in which they were taken.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    producer: Producer,
    waiting: VecDeque<(u16, Vec<u64>)>,
    waiting_words: usize,
    has_pump: bool,
    is_closed: bool,
    /// How many messages were taken.
    count: u64,
}

impl Lane {
    pub(crate) fn new(producer: Producer) -> Self {
        let state = State {
            producer,
            waiting: VecDeque::new(),
            waiting_words: 0,
            has_pump: false,
            is_closed: false,
            count: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Sends if there is room now. A message longer than a record waits behind the ring, if nothing else does.
    pub(crate) fn try_send(&self, kind: u16, parts: &[&[u64]]) -> Sent {
        let mut state = self.lock();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if state.is_closed || length > MESSAGE_WORDS_MAX {
            return Sent::Lost;
        }
        if !state.waiting.is_empty() {
            return Sent::Full;
        }
        if length > state.producer.record_max() {
            return self.wait_behind(state, kind, parts.concat());
        }
        match state.producer.push(Head { kind, more: false }, parts) {
            Ok(true) => {
                state.count += 1;
                Sent::Taken
            }
            Ok(false) => Sent::Full,
            Err(Broken) => Sent::Lost,
        }
    }

    /// Sends in any case: what finds no room waits behind the ring, up to [`WAITING_WORDS_MAX`].
    pub(crate) fn send(&self, kind: u16, words: &[u64]) -> Sent {
        let sent = self.try_send(kind, &[words]);
        if sent != Sent::Full {
            return sent;
        }
        let state = self.lock();
        if state.waiting_words + words.len() > WAITING_WORDS_MAX {
            return Sent::Full;
        }
        self.wait_behind(state, kind, words.to_vec())
    }

    /// How many messages were taken.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// Waits until a message of the usual length finds room, or the time is over; whether it does.
    pub(crate) fn wait_for_room(&self, patience: Duration) -> bool {
        let (bell, words, is_behind) = {
            let state = self.lock();
            (state.producer.room_bell(), state.producer.record_max(), !state.waiting.is_empty())
        };
        if is_behind {
            // What waits behind the ring goes first.
            std::thread::sleep(Duration::from_millis(1).min(patience));
            return false;
        }
        bell.wait(words, patience)
    }

    /// Waits until nothing waits behind the ring, or the time is over.
    pub(crate) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.lock().waiting.is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing more is taken; what waits is given up.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.shared.changed.notify_all();
    }

    fn wait_behind(&self, mut state: MutexGuard<'_, State>, kind: u16, words: Vec<u64>) -> Sent {
        if state.is_closed {
            return Sent::Lost;
        }
        if !state.has_pump {
            let shared = Arc::clone(&self.shared);
            let pump = std::thread::Builder::new().name("isolated-lane".to_owned()).stack_size(STACK);
            if pump.spawn(move || shared.pump()).is_err() {
                return Sent::Full;
            }
            state.has_pump = true;
        }
        state.waiting_words += words.len();
        state.waiting.push_back((kind, words));
        state.count += 1;
        drop(state);
        self.shared.changed.notify_all();
        Sent::Taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what waits into the ring, in pieces of a record. The message that it works at stays in the line meanwhile,
    /// so nothing overtakes it.
    fn pump(&self) {
        let mut begun = 0;
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.is_closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_closed {
                return;
            }
            match state.push_piece(begun) {
                Ok(Piece::Pushed(end)) => begun = end,
                Ok(Piece::Last) => begun = 0,
                Ok(Piece::NoRoom(bell, words)) => {
                    drop(state);
                    // Not for ever: the lane may be closed meanwhile.
                    bell.wait(words, Duration::from_millis(100));
                }
                Err(Broken) => state.is_closed = true,
            }
        }
    }
}

enum Piece {
    Pushed(usize),
    Last,
    NoRoom(RoomBell, usize),
}

impl State {
    fn push_piece(&mut self, begun: usize) -> Result<Piece, Broken> {
        let Some((kind, words)) = self.waiting.front() else { return Ok(Piece::Last) };
        let end = words.len().min(begun + self.producer.record_max());
        let more = end < words.len();
        if !self.producer.push(Head { kind: *kind, more }, &[&words[begun..end]])? {
            return Ok(Piece::NoRoom(self.producer.room_bell(), end - begun));
        }
        if more {
            return Ok(Piece::Pushed(end));
        }
        if let Some((_, words)) = self.waiting.pop_front() {
            self.waiting_words -= words.len();
        }
        Ok(Piece::Last)
    }
}

/// The receiving side: puts messages together.
#[derive(Debug)]
pub(crate) struct Receiver {
    consumer: Consumer,
    is_begun: bool,
}

impl Receiver {
    pub(crate) fn new(consumer: Consumer) -> Self {
        Self { consumer, is_begun: false }
    }

    /// The next message, if all of it is there, in `words`. They are to be given again unchanged until there is one.
    pub(crate) fn next(&mut self, words: &mut Vec<u64>) -> Result<Option<u16>, Broken> {
        loop {
            if !self.is_begun {
                words.clear();
            }
            let Some(head) = self.consumer.pop(words)? else { return Ok(None) };
            if words.len() > MESSAGE_WORDS_MAX {
                return Err(Broken);
            }
            self.is_begun = head.more;
            if !head.more {
                return Ok(Some(head.kind));
            }
        }
    }

    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }
}

/// Longest message: a batch of long texts.
pub(crate) const MESSAGE_WORDS_MAX: usize = 4 << 20;
/// What may wait behind a ring.
const WAITING_WORDS_MAX: usize = 8 << 20;
/// Of the thread behind a lane.
pub(crate) const STACK: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::region::Region;
    use crate::ring::memory_of;

    fn lane() -> (Lane, Receiver) {
        let region = Arc::new(Region::create("lane", memory_of(256), false).unwrap());
        (Lane::new(Producer::new(Arc::clone(&region))), Receiver::new(Consumer::new(region)))
    }

    fn receive(receiver: &mut Receiver, words: &mut Vec<u64>) -> u16 {
        loop {
            match receiver.next(words).unwrap() {
                Some(kind) => return kind,
                None => receiver.consumer().wait(Duration::from_secs(60)),
            }
        }
    }

    #[test]
    fn long_messages_come_in_pieces_and_nothing_overtakes_them() {
        let (lane, mut receiver) = lane();
        let long: Vec<u64> = (0..10_000).collect();
        assert_eq!(lane.try_send(1, &[&[1]]), Sent::Taken);
        assert_eq!(lane.try_send(2, &[&long]), Sent::Taken);
        assert_eq!(lane.try_send(3, &[&[3]]), Sent::Full, "it would overtake");
        assert_eq!(lane.send(4, &[4]), Sent::Taken);
        assert_eq!(lane.count(), 3);
        let mut words = Vec::new();
        assert_eq!((receive(&mut receiver, &mut words), words.clone()), (1, vec![1]));
        assert_eq!((receive(&mut receiver, &mut words), words.clone()), (2, long));
        assert_eq!((receive(&mut receiver, &mut words), words.clone()), (4, vec![4]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (lane, _receiver) = lane();
        let mut sent = 0;
        let long = vec![0; 1 << 20];
        while lane.send(1, &long) == Sent::Taken {
            sent += 1;
        }
        assert_eq!(sent, 8);
        assert_eq!(lane.send(1, &vec![0; MESSAGE_WORDS_MAX + 1]), Sent::Lost);
        lane.close();
        assert_eq!(lane.send(1, &[]), Sent::Lost);
    }

    #[test]
    fn a_message_that_never_ends_is_refused() {
        let region = Arc::new(Region::create("lane", memory_of(256), false).unwrap());
        let mut producer = Producer::new(Arc::clone(&region));
        let mut receiver = Receiver::new(Consumer::new(region));
        let mut words = Vec::new();
        for _ in 0..MESSAGE_WORDS_MAX / 60 + 2 {
            assert!(producer.push(Head { kind: 1, more: true }, &[&[0; 60]]).unwrap());
            match receiver.next(&mut words) {
                Ok(None) => {}
                Ok(Some(_)) => panic!("it has no end"),
                Err(Broken) => return,
            }
        }
        panic!("it was taken");
    }
}
