//! Received messages that wait for their receipt: the hub has to accept their values first.
//!
//! A broker keeps what has no receipt, and delivers it again on the next connection: with the same packet id, which
//! it cannot use for anything else meanwhile, and the mark DUP. Of such a message the hub has the values already, so
//! it is not delivered twice; it gets its receipt when they are accepted.

use std::collections::VecDeque;

use crate::packet::Qos;

/// What became of values that were handed to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// They are stored as the hub's configuration wants it.
    Yes,
    /// They are on their way.
    NotYet,
    /// They did not get there.
    Lost,
}

/// The hub did not take the values of a message: the broker has to deliver it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub could not take a message, it has to be delivered again")]
pub struct Lost;

/// Messages without a receipt, in the order they came.
#[derive(Debug, Default)]
pub struct Receipts {
    held: VecDeque<Held>,
    /// Messages of an earlier connection that did not come again yet.
    absent: usize,
    unmarked: usize,
}

#[derive(Debug)]
struct Held {
    qos: Qos,
    id: u16,
    /// How much had been handed to the hub with its values.
    mark: Option<u64>,
    /// Whether it came on this connection: only then a receipt means this message.
    is_here: bool,
}

impl Receipts {
    /// A connection begins. `is_resumed`: the broker kept the session, and nobody else used it meanwhile.
    pub fn connected(&mut self, is_resumed: bool) {
        if !is_resumed {
            *self = Self::default();
        }
        // Without a mark its values never left this process.
        self.held.retain(|held| held.mark.is_some());
        self.unmarked = 0;
        for held in &mut self.held {
            held.is_here = false;
        }
        self.absent = self.held.len();
    }

    /// A message came. False if the hub has its values already.
    pub fn receive(&mut self, qos: Qos, id: u16, is_repeat: bool) -> bool {
        if (is_repeat || self.absent > 0)
            && let Some(place) = self.held.iter().position(|held| held.id == id)
        {
            let known = &mut self.held[place];
            let was_absent = !std::mem::replace(&mut known.is_here, true);
            self.absent -= usize::from(was_absent);
            if is_repeat && known.qos == qos {
                return false;
            }
            // Another message: the broker has forgotten the one before.
            self.unmarked -= usize::from(known.mark.is_none());
            self.held.remove(place);
        }
        self.held.push_back(Held { qos, id, mark: None, is_here: true });
        self.unmarked += 1;
        true
    }

    /// Whether there are messages whose values were not marked.
    pub fn has_unmarked(&self) -> bool {
        self.unmarked > 0
    }

    /// Everything received so far was handed to the hub before `mark`.
    pub fn mark(&mut self, mark: u64) {
        for held in self.held.iter_mut().rev().take_while(|held| held.mark.is_none()) {
            held.mark = Some(mark);
        }
        self.unmarked = 0;
    }

    /// How many messages of this connection wait.
    pub fn waiting(&self) -> usize {
        self.held.len() - self.absent
    }

    /// Takes the messages whose values are accepted, in the order they came, as the standard wants their receipts
    /// (MQTT 5.0, 4.6).
    ///
    /// # Errors
    /// If the hub did not take a message: nothing behind it may get a receipt, and the connection has to end.
    pub fn settle(
        &mut self,
        mut look: impl FnMut(u64) -> Accepted,
        mut settled: impl FnMut(Qos, u16),
    ) -> Result<(), Lost> {
        let mut place = 0;
        while let Some(held) = self.held.get(place) {
            if !held.is_here {
                place += 1;
                continue;
            }
            let Some(mark) = held.mark else { break };
            match look(mark) {
                Accepted::NotYet => break,
                Accepted::Yes => {
                    settled(held.qos, held.id);
                    self.held.remove(place);
                }
                Accepted::Lost => {
                    // It comes again as if it were new.
                    self.held.clear();
                    (self.absent, self.unmarked) = (0, 0);
                    return Err(Lost);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Qos = Qos::AtLeastOnce;

    fn settle(receipts: &mut Receipts, accepted: u64) -> Vec<u16> {
        let mut ids = Vec::new();
        let look = |mark| if mark <= accepted { Accepted::Yes } else { Accepted::NotYet };
        receipts.settle(look, |_, id| ids.push(id)).unwrap();
        ids
    }

    #[test]
    fn a_receipt_waits_for_the_values_and_those_before() {
        let mut receipts = Receipts::default();
        assert!(receipts.receive(ONE, 1, false) && receipts.receive(ONE, 2, false));
        assert_eq!(settle(&mut receipts, 9), [0; 0], "not handed over yet");
        receipts.mark(5);
        assert!(receipts.receive(ONE, 3, false));
        receipts.mark(8);
        assert_eq!(settle(&mut receipts, 7), [1, 2]);
        assert_eq!((settle(&mut receipts, 8), receipts.waiting()), (vec![3], 0));
    }

    #[test]
    fn what_comes_again_on_the_next_connection_is_not_delivered_twice() {
        let mut receipts = Receipts::default();
        receipts.receive(ONE, 1, false);
        receipts.receive(ONE, 2, false);
        receipts.mark(2);
        receipts.connected(true);
        assert_eq!(
            (settle(&mut receipts, 2), receipts.waiting()),
            (vec![], 0),
            "a receipt would mean nothing"
        );
        assert!(!receipts.receive(ONE, 1, true));
        assert!(receipts.receive(ONE, 3, false));
        assert_eq!(settle(&mut receipts, 2), [1]);
        assert!(receipts.receive(ONE, 2, false), "an id without DUP is another message");
        receipts.mark(4);
        assert_eq!(settle(&mut receipts, 4), [3, 2]);
    }

    #[test]
    fn a_message_whose_values_never_left_is_delivered_when_it_comes_again() {
        let mut receipts = Receipts::default();
        receipts.receive(ONE, 1, false);
        receipts.connected(true);
        assert!(receipts.receive(ONE, 1, true));
    }

    #[test]
    fn what_a_forgotten_session_held_is_forgotten() {
        let mut receipts = Receipts::default();
        receipts.receive(ONE, 1, false);
        receipts.mark(1);
        receipts.connected(false);
        assert!(receipts.receive(ONE, 1, true));
    }

    #[test]
    fn what_the_hub_lost_ends_the_connection_and_is_delivered_again() {
        let mut receipts = Receipts::default();
        receipts.receive(ONE, 1, false);
        receipts.mark(1);
        assert_eq!(receipts.settle(|_| Accepted::Lost, |_, _| panic!("no receipt")), Err(Lost));
        receipts.connected(true);
        assert!(receipts.receive(ONE, 1, true));
    }
}
