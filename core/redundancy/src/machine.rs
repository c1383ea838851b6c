//! todo
use crate::{Input, NodeState, Output, PeerView, Reason, Setup, StoredState, VoterId};
use twinhub_model::{Epoch, Incarnation, Moment};

/// One group on one node.
#[derive(Debug)]
pub struct Machine {
    setup: Setup,
    stored: StoredState,
    peers: std::collections::BTreeMap<VoterId, PeerView>,
    reason: Reason,
}

#[expect(missing_docs, reason = "")]
impl Machine {
    pub fn new(
        setup: Setup,
        stored: StoredState,
        incarnation: Incarnation,
        _seed: u64,
        _now: Moment,
    ) -> Machine {
        Machine { setup, stored, peers: Default::default(), reason: Reason::Booted { incarnation } }
    }
    pub fn handle_input(&mut self, _input: Input, _now: Moment) {}
    pub fn poll_output(&mut self, _now: Moment) -> Output {
        Output::Timeout(Moment::NEVER)
    }
    pub fn state(&self) -> NodeState {
        NodeState::Starting
    }
    pub fn epoch(&self) -> Epoch {
        Epoch::NONE
    }
    pub fn lease_end(&self) -> Option<Moment> {
        None
    }
    pub fn is_protected(&self) -> bool {
        false
    }
    pub fn is_unquorate(&self) -> bool {
        false
    }
    pub fn split_possible(&self) -> bool {
        false
    }
    pub fn is_paused(&self) -> bool {
        false
    }
    pub fn active(&self) -> Option<twinhub_model::NodeRank> {
        None
    }
    pub fn last_reason(&self) -> &Reason {
        &self.reason
    }
    pub fn peers(&self) -> &std::collections::BTreeMap<VoterId, PeerView> {
        &self.peers
    }
    pub fn stored(&self) -> &StoredState {
        &self.stored
    }
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
    pub fn dropped_sends(&self) -> u64 {
        0
    }
}
