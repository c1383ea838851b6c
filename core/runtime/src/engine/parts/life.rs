//! A random name of a group's journal, which no other journal has: its life.
//!
//! Epochs begin again where all nodes lost their state, and where a backup was restored. Then the same positions come a
//! second time, for other records. Whoever keeps positions away from the nodes, as a central database does, keeps the life
//! beside them. The node that acts names a journal that has no name; a copy of the state carries it, a backup does not.

use std::sync::Arc;

use twinhub_model::{Part, Position};

use super::PartState;
use crate::documents::secret;
use crate::engine::Engine;

const BYTES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LifeState {
    known: Option<([u8; BYTES], Arc<str>)>,
}

impl LifeState {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let bytes =
            bytes.try_into().map_err(|_| format!("the name of a journal has {} bytes", bytes.len()))?;
        self.known = Some((bytes, format!("{:032x}", u128::from_be_bytes(bytes)).into()));
        Ok(())
    }
}

impl PartState for LifeState {
    fn part(&self) -> Part {
        Part::LIFE
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        self.take(body)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.known.iter().map(|(bytes, _)| bytes.to_vec()).collect()
    }

    fn clear(&mut self) {
        self.known = None;
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.take(piece)
    }
}

impl Engine {
    /// The name of the journal; `None` until the node that acts has given it one.
    pub(crate) fn life(&self) -> Option<Arc<str>> {
        self.parts.get::<LifeState>()?.known.as_ref().map(|(_, name)| Arc::clone(name))
    }

    pub(super) fn name_journal(&mut self) {
        let is_missing = self.parts.get::<LifeState>().is_some_and(|state| state.known.is_none());
        if !is_missing || !self.is_writer() || !self.journal_ok {
            return;
        }
        match secret::random::<BYTES>() {
            Ok(bytes) => {
                self.append_part(Part::LIFE, &bytes);
            }
            // It is tried again with the next turn.
            Err(error) => tracing::debug!(%error, "the journal is not named"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_what_was_given_and_nothing_else_is_taken(bytes: Vec<u8>, name: [u8; BYTES]) {
            let mut state = LifeState::default();
            prop_assert_eq!(state.apply(Position::START, &bytes).is_ok(), bytes.len() == BYTES);
            state.clear();
            prop_assert!(state.pieces().is_empty());
            state.restore(&name).unwrap();
            prop_assert_eq!(state.pieces(), [name.to_vec()]);
            prop_assert_eq!(state.known.unwrap().1.len(), 2 * BYTES);
        }
    }
}
