//! All machines in the basement, found by number.

use std::ops::Index;

use twinhub_redundancy::VoterId;

use crate::site::Site;

/// All sites: the nodes by rank, then the witness.
#[derive(Debug)]
pub struct Sites {
    /// At [`place`].
    sites: Vec<Option<Site>>,
}

/// A number for each site that can be, small where the group is.
pub(crate) fn place(id: VoterId) -> usize {
    match id {
        VoterId::Witness => 0,
        VoterId::Node(node) => usize::from(node.0) + 1,
    }
}

impl Sites {
    /// The nodes by rank from zero on, and the witness last if there is one.
    pub(crate) fn new(all: Vec<Site>) -> Sites {
        let mut sites = vec![None];
        for site in all {
            if site.id == VoterId::Witness {
                sites[0] = Some(site);
            } else {
                sites.push(Some(site));
            }
        }
        Sites { sites }
    }

    /// A site, if there is one of this id.
    pub fn get(&self, id: VoterId) -> Option<&Site> {
        self.sites.get(place(id))?.as_ref()
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: VoterId) -> Option<&mut Site> {
        self.sites.get_mut(place(id))?.as_mut()
    }

    /// Every id.
    pub fn ids(&self) -> impl Iterator<Item = VoterId> + '_ {
        self.iter().map(|site| site.id)
    }

    /// Every site.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.sites[1..].iter().chain(&self.sites[..1]).flatten()
    }

    /// The same, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Site> {
        self.sites.iter_mut().flatten()
    }
}

impl Index<&VoterId> for Sites {
    type Output = Site;

    fn index(&self, id: &VoterId) -> &Site {
        self.get(*id).expect("a test names sites that are there")
    }
}
