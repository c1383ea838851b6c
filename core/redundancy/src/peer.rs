//! What a machine knows of the others.

use std::ops::Index;

use twinhub_model::{Epoch, Incarnation, Moment};

use crate::message::{Heartbeat, PathId};
use crate::setup::VoterId;

/// What a machine knows of the others: the nodes by rank, then the witness.
///
/// They are few and always the same, so that a list finds them sooner than a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    ids: Vec<VoterId>,
    views: Vec<PeerView>,
}

impl Peers {
    pub(crate) fn new(ids: impl Iterator<Item = VoterId>) -> Peers {
        let mut ids: Vec<VoterId> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let views = ids.iter().map(|_| PeerView::default()).collect();
        Peers { ids, views }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether a machine is alone in its group.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What is known of this one, if it belongs to the group.
    pub fn get(&self, id: VoterId) -> Option<&PeerView> {
        self.views.get(self.place(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: VoterId) -> Option<&mut PeerView> {
        let place = self.place(id)?;
        self.views.get_mut(place)
    }

    /// All of them.
    pub fn keys(&self) -> impl Iterator<Item = &VoterId> {
        self.ids.iter()
    }

    /// What is known of each.
    pub fn values(&self) -> impl Iterator<Item = &PeerView> {
        self.views.iter()
    }

    /// All of them with what is known of each.
    pub fn iter(&self) -> impl Iterator<Item = (&VoterId, &PeerView)> {
        self.ids.iter().zip(&self.views)
    }

    fn place(&self, id: VoterId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }
}

impl Index<&VoterId> for Peers {
    type Output = PeerView;

    fn index(&self, id: &VoterId) -> &PeerView {
        self.get(*id).expect("who names a peer knows that it belongs to the group")
    }
}

/// What a machine knows of one node or of the witness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerView {
    /// The last heartbeat, if it is a node and one came.
    pub heartbeat: Option<Heartbeat>,
    /// When the last message came, over all paths.
    pub heard: Option<Moment>,
    /// When the last message came, by path.
    pub paths: Vec<(PathId, PathView)>,
    /// The last of its processes that a supervisor reported dead, or that left in order.
    pub dead: Option<Incarnation>,
    /// What its voter promised, as last told.
    pub promised: Epoch,
    /// Its process, as last told.
    pub process: Option<Incarnation>,
}

impl PeerView {
    /// One path, if it is known or more may be.
    pub(crate) fn path_mut(&mut self, path: PathId) -> Option<&mut PathView> {
        let known = self.paths.iter().position(|(id, _)| *id == path);
        let place = known.unwrap_or(self.paths.len());
        if known.is_none() && place < PATHS_MAX {
            self.paths.push((path, PathView::default()));
        }
        self.paths.get_mut(place).map(|(_, view)| view)
    }
}

/// More network paths to one peer than anybody lays.
const PATHS_MAX: usize = 8;

/// One path to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathView {
    /// Whether a connection stands.
    pub connected: bool,
    /// When the last message came.
    pub heard: Option<Moment>,
}
