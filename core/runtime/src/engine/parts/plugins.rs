//! What plugins keep beside values and commands, so that the instance of the other node goes on where this one stood.
//!
//! ```text
//! active:    snapshot, every second and once more when inputs are closed -> record, if it is another one
//! successor: apply, before the order to act; a state that it gave itself since it acts is not given back
//! ```
//! A state is up to 1 MiB and travels in pieces, which stand in the journal one behind the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use minicbor::{Decode, Encode};
use twinhub_contract::constants::STATE_BYTES_MAX;
use twinhub_model::{Moment, Part, Position, Severity};

use super::PartState;
use crate::clock;
use crate::engine::{Engine, Phase};
use crate::instance::Moves;

/// The state that an interface's plugin gave last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginState {
    /// Of the plugin's own counting.
    pub(crate) version: u32,
    pub(crate) bytes: Arc<[u8]>,
    /// Tells states of one interface apart.
    serial: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PluginStates {
    states: BTreeMap<String, PluginState>,
    /// States of which not all pieces have come, and how many have.
    partial: BTreeMap<String, (u64, u32, Vec<u8>)>,
}

/// One record, and one piece of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Piece {
    #[n(0)]
    interface: String,
    #[n(1)]
    version: u32,
    #[n(2)]
    serial: u64,
    #[n(3)]
    index: u32,
    #[n(4)]
    count: u32,
    #[cbor(n(5), with = "minicbor::bytes")]
    bytes: Vec<u8>,
}

impl PluginStates {
    fn take(&mut self, body: &[u8]) -> Result<(), String> {
        let piece: Piece = minicbor::decode(body).map_err(|error| format!("a plugin's state: {error}"))?;
        let Piece { interface, version, serial, index, count, bytes } = piece;
        if count == 0 || index >= count || bytes.len() > CHUNK_BYTES {
            return Err(format!("piece {index} of {count} of the state of interface {interface}"));
        }
        let (begun, have, mut all) = self.partial.remove(&interface).unwrap_or_default();
        if begun == serial && index < have {
            // The same one once more.
            self.partial.insert(interface, (begun, have, all));
            return Ok(());
        }
        if index == 0 {
            all.clear();
        } else if begun != serial || have != index {
            // Its first pieces were left out.
            return Ok(());
        }
        if all.len() + bytes.len() > STATE_BYTES_MAX {
            return Err(format!("the state of interface {interface} is longer than {STATE_BYTES_MAX} bytes"));
        }
        all.extend(bytes);
        if index + 1 == count {
            self.states.insert(interface, PluginState { version, bytes: all.into(), serial });
        } else {
            self.partial.insert(interface, (serial, index + 1, all));
        }
        Ok(())
    }

    /// What an interface's plugin gave last.
    pub(crate) fn of(&self, interface: &str) -> Option<&PluginState> {
        self.states.get(interface)
    }
}

fn pieces_of(interface: &str, state: &PluginState) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> =
        if state.bytes.is_empty() { vec![&[]] } else { state.bytes.chunks(CHUNK_BYTES).collect() };
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let pieces = chunks.into_iter().zip(0..).map(|(bytes, index)| Piece {
        interface: interface.to_owned(),
        version: state.version,
        serial: state.serial,
        index,
        count,
        bytes: bytes.to_vec(),
    });
    // Into memory: it has no way to fail.
    pieces.map(|piece| minicbor::to_vec(&piece).unwrap_or_default()).collect()
}

impl PartState for PluginStates {
    fn part(&self) -> Part {
        Part::PLUGINS
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        self.take(body)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        self.states.iter().flat_map(|(interface, state)| pieces_of(interface, state)).collect()
    }

    fn clear(&mut self) {
        *self = PluginStates::default();
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.take(piece)
    }
}

/// What the engine knows of the instances of this node.
#[derive(Debug, Default)]
pub(crate) struct StateKeeping {
    /// Instances that were asked and have not answered.
    asked: BTreeSet<usize>,
    /// Before this, nobody is asked.
    due: Moment,
    /// Before this, an instance with a large state, or without one, is only asked when it lets go of the role.
    rests: BTreeMap<usize, Moment>,
    /// The states that this node's present instances gave themselves: they need not be given back.
    own: BTreeMap<usize, u64>,
}

impl Engine {
    fn keepers(&self) -> Vec<usize> {
        let keeps = |number: &usize| {
            self.interfaces[*number].port.setup.moves == Moves::State
                && !self.down.contains(number)
                && !self.is_off(*number)
        };
        self.relevant().filter(keeps).collect()
    }

    /// Asks plugins for their state from time to time.
    pub(crate) fn tend_states(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Active { .. }) || now < self.states.due {
            return;
        }
        self.states.due = now + INTERVAL;
        let mut keepers = self.keepers();
        keepers.retain(|number| self.states.rests.get(number).is_none_or(|until| now >= *until));
        self.ask_for_states(&keepers);
    }

    /// Asks all that keep a state; whether there is any.
    pub(crate) fn ask_states(&mut self) -> bool {
        let keepers = self.keepers();
        self.ask_for_states(&keepers);
        !keepers.is_empty()
    }

    /// Asks this one, if it keeps a state that counts.
    pub(crate) fn ask_state_of(&mut self, interface: usize) {
        let mut keepers = self.keepers();
        keepers.retain(|number| *number == interface);
        self.ask_for_states(&keepers);
    }

    fn ask_for_states(&mut self, keepers: &[usize]) {
        for number in keepers {
            if self.states.asked.insert(*number) {
                self.interfaces[*number].ask_state();
            }
        }
    }

    /// Whether all that were asked have answered.
    pub(crate) fn has_all_states(&self) -> bool {
        self.states.asked.is_empty()
    }

    /// Whether a state still goes to the journal: nothing comes behind the end that a move in order has told.
    fn takes_states(&self) -> bool {
        match &self.phase {
            Phase::Active { .. } => true,
            Phase::Draining(draining) => draining.takes_states(),
            Phase::Activating(_) | Phase::Standby | Phase::Closing(_) => false,
        }
    }

    /// An instance answered; nothing if its state is the one before.
    pub(crate) fn on_state(&mut self, interface: usize, state: Option<(u32, Vec<u8>)>) {
        self.states.asked.remove(&interface);
        let length = state.as_ref().map(|(_, bytes)| bytes.len());
        let rest = length.map_or(REST, |length| Duration::from_secs((length / LARGE_BYTES) as u64));
        self.states.rests.insert(interface, clock::now() + rest);
        let Some((version, bytes)) = state.filter(|_| self.takes_states() && self.journal_ok) else { return };
        let id = self.interfaces[interface].port.setup.id.clone();
        let known = self.parts.get::<PluginStates>().and_then(|states| states.of(&id));
        if let Some(known) = known.filter(|known| known.version == version && *known.bytes == *bytes) {
            // It has what it was given, and goes on from there: it must not be thrown back to it later.
            self.states.own.insert(interface, known.serial);
            return;
        }
        let serial = u64::try_from(clock::utc().0).unwrap_or(0);
        let state = PluginState { version, bytes: bytes.into(), serial };
        for piece in pieces_of(&id, &state) {
            if self.append_part(Part::PLUGINS, &piece).is_none() {
                return;
            }
        }
        self.states.own.insert(interface, serial);
    }

    /// Before an instance is told to act: what the plugin knew where it acted before.
    pub(crate) fn give_state(&self, interface: usize) {
        let target = &self.interfaces[interface];
        if target.port.setup.moves == Moves::Nothing {
            return;
        }
        let known = self.parts.get::<PluginStates>().and_then(|states| states.of(&target.port.setup.id));
        if let Some(state) = known
            && self.states.own.get(&interface) != Some(&state.serial)
        {
            target.give_state(state.version, Arc::clone(&state.bytes));
        }
    }

    /// There is another instance, which knows nothing.
    pub(crate) fn forget_state(&mut self, interface: usize) {
        self.states.own.remove(&interface);
        self.states.asked.remove(&interface);
        self.states.rests.remove(&interface);
    }

    /// There is another instance, which was given what the one before knew: where this node acts, that is newer than what
    /// the journal has.
    pub(crate) fn adopt_state(&mut self, interface: usize) {
        self.forget_state(interface);
        let id = &self.interfaces[interface].port.setup.id;
        let serial =
            self.parts.get::<PluginStates>().and_then(|states| states.of(id)).map(|state| state.serial);
        if let Some(serial) = serial.filter(|_| self.is_acting()) {
            self.states.own.insert(interface, serial);
        }
    }

    pub(crate) fn on_state_refused(&mut self, interface: usize, cause: &str) {
        let id = self.interfaces[interface].port.setup.id.clone();
        let text = format!(
            "the plugin of interface `{id}` does not take over what it knew where it acted before, and begins without: \
             {cause}"
        );
        self.event(Severity::Warning, &id, "TH-PLUGIN-004", &text);
    }
}

/// Between two snapshots of an instance that acts.
const INTERVAL: Duration = Duration::from_secs(1);
/// An instance that gave none, or one that is too long, is asked again after this.
const REST: Duration = Duration::from_secs(60);
/// A state of so many bytes is written every second second, one of twice as many every third, and so on.
const LARGE_BYTES: usize = 64 * 1024;
/// Bytes of a state in one record.
const CHUNK_BYTES: usize = 192 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::parts::PIECE_BYTES_MAX;

    fn state(length: usize, serial: u64) -> PluginState {
        let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        PluginState { version: 3, bytes: bytes.into(), serial }
    }

    proptest! {
        #[test]
        fn states_of_any_length_come_back_from_records_and_copies(length in 0..STATE_BYTES_MAX, again in any::<bool>()) {
            let given = state(length, 7);
            let mut states = PluginStates::default();
            for piece in pieces_of("plc1", &given) {
                prop_assert!(piece.len() <= PIECE_BYTES_MAX);
                states.apply(Position::START, &piece).unwrap();
                if again {
                    states.apply(Position::START, &piece).unwrap();
                }
            }
            prop_assert_eq!(states.of("plc1"), Some(&given));
            let mut copy = PluginStates::default();
            for piece in states.pieces() {
                copy.restore(&piece).unwrap();
            }
            prop_assert_eq!(copy.of("plc1"), Some(&given));
        }

        #[test]
        fn hostile_records_are_refused_or_left_out(body: Vec<u8>) {
            let mut states = PluginStates::default();
            let _taken = states.apply(Position::START, &body);
            prop_assert!(states.of("plc1").is_none());
        }
    }

    #[test]
    fn a_state_whose_pieces_are_not_all_there_is_none() {
        let (old, new) = (state(10, 1), state(500_000, 2));
        let mut states = PluginStates::default();
        states.take(&pieces_of("plc1", &old)[0]).unwrap();
        let pieces = pieces_of("plc1", &new);
        assert_eq!(pieces.len(), 3);
        states.take(&pieces[0]).unwrap();
        states.take(&pieces[2]).unwrap();
        assert_eq!(states.of("plc1"), Some(&old));
        for piece in &pieces {
            states.take(piece).unwrap();
        }
        assert_eq!(states.of("plc1"), Some(&new));
    }
}
