//! What the configuration says about roles: members, addresses, timers, the machine of a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use twinhub_config::Site;
use twinhub_loader::Library;
use twinhub_model::NodeRank;
use twinhub_redundancy::{Failback, NodeInfo, Policy, Profile, Setup, Timers, VoterId};
use twinhub_wire::Channel;

use super::LAG_LIMIT_RECORDS;
use crate::error::StartError;
use crate::peer::{Manner, Target};

pub(crate) fn members(site: &Site) -> BTreeMap<String, VoterId> {
    let mut members: BTreeMap<String, VoterId> =
        site.nodes.iter().map(|node| (node.name.clone(), VoterId::Node(NodeRank(node.rank)))).collect();
    members.insert("witness".to_owned(), VoterId::Witness);
    members
}

/// Every path to every other node and to the witness.
pub(crate) fn everyone_but(site: &Site, rank: NodeRank) -> Vec<Target> {
    let mut targets = targets(site, rank);
    for node in site.nodes.iter().filter(|node| node.rank > rank.0) {
        for (path, address) in (0_u8..).zip(&node.links) {
            let voter = VoterId::Node(NodeRank(node.rank));
            targets.push(Target { name: node.name.clone(), voter, path, address: address.clone() });
        }
    }
    targets
}

/// Of two nodes the one of higher rank dials; everyone dials the witness.
pub(crate) fn targets(site: &Site, rank: NodeRank) -> Vec<Target> {
    let mut targets = Vec::new();
    for node in site.nodes.iter().filter(|node| node.rank < rank.0) {
        for (path, address) in (0_u8..).zip(&node.links) {
            targets.push(Target {
                name: node.name.clone(),
                voter: VoterId::Node(NodeRank(node.rank)),
                path,
                address: address.clone(),
            });
        }
    }
    if let Some(twinhub_config::Witness::Address(address)) = &site.cluster.witness {
        targets.push(Target {
            name: "witness".to_owned(),
            voter: VoterId::Witness,
            path: 0,
            address: address.clone(),
        });
    }
    targets
}

pub(crate) fn data_targets(targets: &[Target]) -> Vec<Target> {
    targets.iter().filter(|target| target.voter != VoterId::Witness).cloned().collect()
}

pub(crate) fn data_manner() -> Manner {
    Manner {
        channel: Channel::Data,
        silence_max: Duration::from_secs(10),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_secs(2),
    }
}

pub(crate) fn timers(site: &Site, libraries: &BTreeMap<String, Arc<Library>>) -> Result<Timers, StartError> {
    let profile = match site.cluster.profile {
        twinhub_config::Profile::Lan => Profile::Lan,
        twinhub_config::Profile::Fast => Profile::Fast,
        twinhub_config::Profile::Normal => Profile::Normal,
        twinhub_config::Profile::Wan => Profile::Wan,
    };
    let mut timers = Timers::of(profile);
    let given = &site.cluster.timers;
    for (field, value) in [
        (&mut timers.heartbeat, given.heartbeat),
        (&mut timers.lease, given.lease),
        (&mut timers.renew, given.renew),
        (&mut timers.margin, given.margin),
        (&mut timers.guard, given.guard),
        (&mut timers.stagger, given.stagger),
        (&mut timers.start, given.start),
        (&mut timers.ring, given.ring),
        (&mut timers.drain, given.drain),
    ] {
        if let Some(value) = value {
            *field = value;
        }
    }
    let in_flight = libraries
        .values()
        .filter(|library| library.manifest().mb.fence == twinhub_contract::manifest::Fence::Bounded)
        .filter_map(|library| library.manifest().mb.in_flight_max_ms)
        .max()
        .unwrap_or(0);
    // A plugin's bound is what it guarantees with its default settings; the guard must cover it.
    let covered = Duration::from_millis(in_flight).min(timers.guard);
    timers.check(covered).map_err(|error| StartError::Config(error.to_string()))?;
    if Duration::from_millis(in_flight) > timers.guard {
        timers.guard = Duration::from_millis(in_flight);
    }
    Ok(timers)
}

pub(crate) fn machine_setup(
    site: &Site,
    group: &twinhub_config::Group,
    rank: NodeRank,
    cluster: u64,
    timers: Timers,
) -> Setup {
    let nodes = group
        .nodes
        .iter()
        .filter_map(|name| site.nodes.iter().find(|node| node.name == *name))
        .map(|node| NodeInfo { node: NodeRank(node.rank), name: node.name.clone(), votes: true })
        .collect();
    Setup {
        group: group.id.clone(),
        cluster,
        me: VoterId::Node(rank),
        nodes,
        witness: site.cluster.witness.is_some(),
        without_witness: match site.cluster.without_witness {
            twinhub_config::Policy::Manual => Policy::Manual,
            twinhub_config::Policy::Evidence => Policy::Evidence,
            twinhub_config::Policy::Availability => Policy::Availability,
        },
        timers,
        failback: match site.cluster.failback {
            twinhub_config::Failback::Auto => Failback::Auto { hold_off: site.cluster.hold_back },
            twinhub_config::Failback::Manual => Failback::Manual,
        },
        lag_limit_records: LAG_LIMIT_RECORDS,
        config_hash: site.hash,
    }
}
