//! All machines in the basement, found by number.

use std::ops::Index;

use twinhub_redundancy::VoterId;

use crate::site::Site;

/// All sites: the nodes by rank, then the witness.
#[derive(Debug)]
pub struct Sites {
    sites: Vec<Site>,
    nodes: usize,
}

impl Sites {
    /// The nodes by rank from zero on, and the witness last if there is one.
    pub(crate) fn new(sites: Vec<Site>) -> Sites {
        let nodes = sites.iter().filter(|site| site.id.node().is_some()).count();
        Sites { sites, nodes }
    }

    fn place(&self, id: VoterId) -> usize {
        match id {
            VoterId::Node(node) if usize::from(node.0) < self.nodes => usize::from(node.0),
            VoterId::Node(_) => usize::MAX,
            VoterId::Witness => self.nodes,
        }
    }

    /// A site, if there is one of this id.
    pub fn get(&self, id: VoterId) -> Option<&Site> {
        self.sites.get(self.place(id))
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: VoterId) -> Option<&mut Site> {
        let place = self.place(id);
        self.sites.get_mut(place)
    }

    /// Every id.
    pub fn ids(&self) -> impl Iterator<Item = VoterId> + '_ {
        self.sites.iter().map(|site| site.id)
    }

    /// Every site.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }

    /// The same, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Site> {
        self.sites.iter_mut()
    }
}

impl Index<&VoterId> for Sites {
    type Output = Site;

    fn index(&self, id: &VoterId) -> &Site {
        self.get(*id).expect("a test names sites that are there")
    }
}
