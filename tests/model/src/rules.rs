//! Which rules hold, and what may go wrong.

use stateright::{Model, Property};

use crate::state::{Move, State};
use crate::{ANOTHER_WINS, FAILOVER, HANDED_OVER, NO_STALE_WRITE, NOT_DISTURBED, ONE_HOLDER, ONE_OWNER};

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

/// What voters do about the token of a holder that gave the role away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Nobody gives any.
    Off,
    /// One of the epoch that was promised frees the grant; one that a later epoch has overtaken is refused.
    OfThisEpoch,
    /// One that was overtaken frees nothing, but its bearer is granted what is free.
    Overtaken,
    /// One that freed a grant once does so again.
    Twice,
    /// Any frees the grant of the node that gave it.
    OfAnyEpoch,
}

/// When a holder gives its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// When it has stopped, and waited for a tick for what is on its way; the token says if that was not enough.
    Waits,
    /// When it has stopped; the token says whether something may still be on its way.
    Hurries,
    /// When it has stopped; the token always says that nothing is on its way.
    SaysDrained,
    /// Before it has stopped.
    ActsOn,
}

/// What the word that a process is dead frees. It is spoken by the supervisor that waited for the process, or by the
/// process itself when it stops for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Nobody speaks any.
    Off,
    /// The grant of this process and of those before it, up to the epoch that the word names.
    OfThisProcess,
    /// Any grant of the node.
    OfAnyProcess,
    /// The grant of this process, but the word may be spoken while the process acts.
    BeforeDeath,
    /// The grant of this process in any epoch, also in one that it won after it said that it stopped.
    OfAnyEpoch,
}

/// Whether a node asks, before it raises its epoch, if it would win with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreVotes {
    /// It does not, and nobody looks whom that disturbs.
    Off,
    /// A majority must say so, and a voter says so only when it is free to grant.
    OfMajority,
    /// It does not.
    Skipped,
    /// Any vote will do, such as its own.
    OfAnyone,
    /// A majority must say so, but its voters look at the epoch only, not at whom they have granted.
    IgnoreGrants,
}

/// The rules, and the bounds of what is looked at.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule or a bound of its own")]
pub struct Rules {
    /// How many nodes there are, 2 or 3; each votes.
    pub nodes: u8,
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
    /// A candidate asks others only with an epoch that its own vote has promised it; if not, more can happen.
    pub own_vote_first: bool,
    /// Whether a node asks before it raises its epoch.
    pub pre_votes: PreVotes,
    /// What the plant does.
    pub sink: Sink,
    /// What voters do about tokens.
    pub tokens: Tokens,
    /// When tokens are given.
    pub giver: Giver,
    /// What the word that a process is dead frees.
    pub words: Words,
    /// A voter that promised this much starts no further election.
    pub epochs: u8,
    /// How many crashes there may be.
    pub crashes: u8,
    /// How many messages may be on the wire; one more is lost.
    pub in_flight: usize,
    /// Whether writes are looked at; if not, there are far fewer states.
    pub watches_writes: bool,
    /// Whether writes of node 1 after node 0 are looked for.
    pub watches_failover: bool,
}

/// `L_v` in ticks.
pub const LEASE: u8 = 3;

impl Rules {
    /// The rules of the product: pair with witness, margin, promises on disk, restart wait, guard.
    pub const PRODUCT: Rules = Rules {
        nodes: 2,
        witness: true,
        votes_needed: 2,
        hold: LEASE - 1,
        drift: 1,
        restart: Restart::Waits,
        guard: 1,
        flight: Flight::AtMost(1),
        own_vote_first: false,
        pre_votes: PreVotes::Off,
        sink: Sink::Blind,
        tokens: Tokens::Off,
        giver: Giver::Waits,
        words: Words::Off,
        epochs: 3,
        crashes: 1,
        in_flight: 2,
        watches_writes: true,
        watches_failover: false,
    };

    /// The same, with planned moves: the holder gives the role to the other node, and its token arrives at any time
    /// and any number of times, or never.
    pub const HANDOVER: Rules = Rules { tokens: Tokens::OfThisEpoch, own_vote_first: true, ..Rules::PRODUCT };

    /// The same, with the word that a process is dead, which arrives like a token: at any time and any number of times,
    /// or never. What the dead process sent is still on its way, and no end of a lease lies between: the guard is a
    /// tick longer than that way, as there is no first and second within a tick.
    pub const RESIGNED: Rules =
        Rules { words: Words::OfThisProcess, own_vote_first: true, guard: 2, ..Rules::PRODUCT };

    /// The same, with pre-votes; that they keep nobody from disturbing a holder is one promise more.
    pub const PRE_VOTE: Rules = Rules {
        pre_votes: PreVotes::OfMajority,
        own_vote_first: true,
        guard: 0,
        watches_writes: false,
        ..Rules::PRODUCT
    };

    /// Three nodes and no witness: any two of them are the majority.
    pub const THREE_NODES: Rules = Rules {
        nodes: 3,
        witness: false,
        own_vote_first: true,
        epochs: 6,
        in_flight: 4,
        watches_writes: false,
        ..Rules::PRODUCT
    };

    /// How many voters there are.
    pub fn voters(&self) -> usize {
        usize::from(self.nodes) + usize::from(self.witness)
    }

    /// Whose epoch it is.
    pub(crate) fn owner(&self, epoch: u8) -> u8 {
        epoch % self.nodes
    }

    /// To whom the holder of this epoch gives the role.
    pub(crate) fn heir(&self, epoch: u8) -> u8 {
        (epoch + 1) % self.nodes
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
            Property::always(NOT_DISTURBED, |_: &Rules, state: &State| !state.is_disturbed),
            Property::sometimes(FAILOVER, |_: &Rules, state: &State| state.has_moved),
            Property::sometimes(ANOTHER_WINS, |_: &Rules, state: &State| state.has_changed_hands()),
            Property::sometimes(HANDED_OVER, |_: &Rules, state: &State| state.is_handed_over()),
        ]
    }
}
