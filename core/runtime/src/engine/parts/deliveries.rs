//! Events that interfaces give each other (`twinhub.events/1`), as a part of the journal.
//!
//! ```text
//! active:  give -> the lane of values -> record -> waits -> brought -> answered -> record -> over
//! standby:                   journal of the active node -> waits            -> over
//! ```
//! What waits in the lane of values waits there in the order in which the instance gave, put and published it. One that the
//! journal does not take is owed, with what is kept by key: until it is paid, no later value is journaled either.

use std::sync::Arc;

use twinhub_deliveries::decode;
use twinhub_model::{Part, Position};

use super::{PIECE_BYTES_MAX, PartState};
use crate::exchange::Exchange;

/// See the module.
#[derive(Debug)]
pub(crate) struct DeliveryState {
    exchange: Arc<Exchange>,
}

impl DeliveryState {
    pub(crate) fn new(exchange: &Arc<Exchange>) -> DeliveryState {
        DeliveryState { exchange: Arc::clone(exchange) }
    }
}

impl PartState for DeliveryState {
    fn part(&self) -> Part {
        Part::DELIVERIES
    }

    fn apply(&mut self, at: Position, body: &[u8]) -> Result<(), String> {
        for entry in decode(body).map_err(|error| error.to_string())? {
            self.exchange.apply(at.epoch.0, entry);
        }
        Ok(())
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.exchange.read(|book| book.pieces(PIECE_BYTES_MAX))
    }

    fn clear(&mut self) {
        self.exchange.clear();
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.exchange.restore(piece)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinhub_deliveries::{Entry, Given, Name, encode};

    use super::*;
    use crate::exchange::Streams;

    fn state() -> DeliveryState {
        DeliveryState::new(&Arc::new(Exchange::new(Streams::new())))
    }

    #[test]
    fn what_waits_goes_into_pieces_that_fit_messages_and_comes_back() {
        let mut state = state();
        for number in 0..60 {
            let given = Given {
                name: Name::new("pms", "guest", &number.to_string()),
                key: String::new(),
                payload: vec![7; 65_536].into(),
                at_ns: 5,
                to: vec!["locks".to_owned()],
            };
            state.apply(Position::START, &encode(&[Entry::Given(given)])).unwrap();
        }
        let mut copy = self::state();
        for piece in state.pieces() {
            assert!(piece.len() <= PIECE_BYTES_MAX, "{}", piece.len());
            copy.restore(&piece).unwrap();
        }
        assert_eq!(copy.pieces(), state.pieces());
        assert_eq!(copy.exchange.read(|book| book.counts("locks")), (60, 0));
        copy.clear();
        assert!(copy.pieces().is_empty());
    }

    proptest! {
        #[test]
        fn hostile_records_are_refused_or_left_out(body: Vec<u8>) {
            let mut state = state();
            drop(state.apply(Position::START, &body));
            drop(state.restore(&body));
        }
    }
}
