//! Which rules hold, and what may go wrong.

use stateright::{Model, Property};

use crate::state::{Move, State};
use crate::{FAILOVER, NO_STALE_WRITE, ONE_HOLDER, ONE_OWNER};

/// What a voter does about its stored grant when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Takes it for given just now.
    Waits,
    /// Takes it for ended.
    GrantsAtOnce,
    /// Has not stored anything.
    Forgets,
}

/// How long a write is on its way after its permit was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// At most so many ticks; then it is cut off.
    AtMost(u8),
    /// As long as it likes. One state, not a counter, or the states would never end.
    Unbounded,
}

/// What the plant does about epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Accepts every write.
    Blind,
    /// Refuses those of older epochs.
    ComparesEpochs,
}

/// The rules, and the bounds of what is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether a witness votes.
    pub witness: bool,
    /// How many votes win.
    pub votes_needed: u32,
    /// `L_h` in ticks; `L_v` is [`LEASE`]. The difference is the margin.
    pub hold: u8,
    /// How many ticks a node's clock may lose during one lease.
    pub drift: u8,
    /// What a restarted voter does.
    pub restart: Restart,
    /// G in ticks.
    pub guard: u8,
    /// How long writes are on their way.
    pub flight: Flight,
    /// What the plant does.
    pub sink: Sink,
    /// A voter that promised this much starts no further election.
    pub epochs: u8,
    /// How many crashes there may be.
    pub crashes: u8,
    /// Whether writes of node 1 after node 0 are looked for.
    pub watches_failover: bool,
}

/// `L_v` in ticks.
pub const LEASE: u8 = 3;

impl Rules {
    /// The rules of the product: pair with witness, margin, promises on disk, restart wait, guard.
    pub const PRODUCT: Rules = Rules {
        witness: true,
        votes_needed: 2,
        hold: LEASE - 1,
        drift: 1,
        restart: Restart::Waits,
        guard: 1,
        flight: Flight::AtMost(1),
        sink: Sink::Blind,
        epochs: 3,
        crashes: 1,
        watches_failover: false,
    };

    /// How many voters there are.
    pub fn voters(&self) -> usize {
        if self.witness { 3 } else { 2 }
    }
}

impl Model for Rules {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        state.moves(self, moves);
    }

    fn next_state(&self, state: &State, step: Move) -> Option<State> {
        state.after(self, step)
    }

    fn properties(&self) -> Vec<Property<Rules>> {
        vec![
            Property::always(ONE_HOLDER, |_: &Rules, state: &State| state.holders() <= 1),
            Property::always(ONE_OWNER, |_: &Rules, state: &State| !state.is_epoch_shared),
            Property::always(NO_STALE_WRITE, |_: &Rules, state: &State| !state.is_stale_write_accepted),
            Property::sometimes(FAILOVER, |_: &Rules, state: &State| state.has_moved),
        ]
    }
}
