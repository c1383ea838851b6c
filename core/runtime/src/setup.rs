//! What the configuration says about roles: members, addresses, timers, the machine of a group.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_config::Site;
use twinhub_loader::Manifest;
use twinhub_model::NodeRank;
use twinhub_redundancy::{Failback, NodeInfo, Policy, Profile, Setup, Timers, VOTERS_MAX, VoterId};
use twinhub_wire::Channel;

use crate::error::StartError;
use crate::peer::{Manner, Target};

/// A standby this many records behind is still in sync enough to be a candidate.
pub(crate) const LAG_LIMIT_RECORDS: u64 = 1_000;

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

/// What of nodes, groups and timers cannot work together: one sentence each.
pub fn check_cluster(site: &Site, manifests: &[&Manifest]) -> Vec<String> {
    let timers = match timers(site, manifests) {
        Ok(timers) => timers,
        Err(error) => return vec![error.to_string()],
    };
    let setups = site.groups.iter().filter_map(|group| {
        let first = site.node(group.nodes.first()?)?;
        Some(machine_setup(site, group, NodeRank(first.rank), 0, &timers))
    });
    setups.filter_map(|setup| Some(setup.check().err()?.to_string())).collect()
}

pub(crate) fn timers(site: &Site, manifests: &[&Manifest]) -> Result<Timers, StartError> {
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
    timers.hold_back = site.cluster.hold_back;
    // What follows from the heartbeat and has no key of its own.
    let beats = timers.heartbeat * 2;
    for field in [&mut timers.confirm, &mut timers.score_hold, &mut timers.evidence_age] {
        *field = beats.max(*field);
    }
    let in_flight = manifests
        .iter()
        .filter(|manifest| manifest.mb.fence == twinhub_contract::manifest::Fence::Bounded)
        .filter_map(|manifest| manifest.mb.in_flight_max_ms)
        .max()
        .unwrap_or(0);
    // A plugin's bound is what it guarantees with its default settings; the guard must cover it.
    let in_flight = Duration::from_millis(in_flight);
    timers.guard = timers.guard.max(Timers::guard_over(in_flight));
    timers.check(in_flight).map_err(|error| StartError::Config(error.to_string()))?;
    Ok(timers)
}

/// How many nodes of a group vote, the first ones in its order. Those beyond are observers: they follow, and can be
/// moved forward in the configuration.
pub(crate) fn voting_nodes(site: &Site) -> usize {
    VOTERS_MAX - usize::from(site.cluster.witness.is_some())
}

pub(crate) fn machine_setup(
    site: &Site,
    group: &twinhub_config::Group,
    rank: NodeRank,
    cluster: u64,
    timers: &Timers,
) -> Setup {
    let voting = voting_nodes(site);
    let nodes = group
        .nodes
        .iter()
        .filter_map(|name| site.nodes.iter().find(|node| node.name == *name))
        .zip(0..)
        .map(|(node, place)| NodeInfo {
            node: NodeRank(node.rank),
            name: node.name.clone(),
            votes: place < voting,
        })
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
        timers: *timers,
        failback: match site.cluster.failback {
            twinhub_config::Failback::Auto => Failback::Auto { hold_off: site.cluster.hold_back },
            twinhub_config::Failback::Manual => Failback::Manual,
        },
        lag_limit_records: LAG_LIMIT_RECORDS,
        config_hash: site.hash,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use twinhub_config::{ItemSource, ItemSourceError};

    use super::*;

    struct NoFiles;

    impl ItemSource for NoFiles {
        fn read(&self, _: &str) -> Result<Vec<u8>, ItemSourceError> {
            Ok(Vec::new())
        }
    }

    fn voters(nodes: usize, witness: &str) -> usize {
        let names: Vec<String> = (0..nodes).map(|rank| format!("n{rank}")).collect();
        let mut text = format!("version = 1\nsite = \"s\"\n[cluster]\nnodes = {names:?}\n{witness}\n");
        for (rank, name) in names.iter().enumerate() {
            writeln!(text, "[nodes.{name}]\nlinks = [\"10.0.0.{rank}:7620\"]").unwrap();
        }
        let site = twinhub_config::parse(&text, "twinhub.toml", &NoFiles).unwrap().site;
        assert_eq!(check_cluster(&site, &[]), Vec::<String>::new());
        let setup = machine_setup(&site, &site.groups[0], NodeRank(0), 1, &timers(&site, &[]).unwrap());
        assert!(setup.nodes.iter().rev().skip_while(|node| !node.votes).all(|node| node.votes));
        setup.voters().count()
    }

    /// Nobody is refused for a timer that has no key.
    #[test]
    fn timers_without_a_key_follow_the_heartbeat() {
        let text = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"n0\"]\nprofile = \"lan\"\n\
                    timers = { heartbeat = \"6s\", lease = \"60s\", margin = \"2s\", start = \"120s\", ring = \"300s\" }\n\
                    [nodes.n0]\nlinks = [\"10.0.0.1:7620\"]\n";
        let site = twinhub_config::parse(text, "twinhub.toml", &NoFiles).unwrap().site;
        let timers = timers(&site, &[]).unwrap();
        let beats = Duration::from_secs(12);
        assert_eq!((timers.confirm, timers.score_hold, timers.evidence_age), (beats, beats, beats));
    }

    #[test]
    fn up_to_seven_vote_and_those_beyond_observe() {
        let witness = "witness = \"10.0.1.1:7621\"";
        for (nodes, with, without) in [(1, 2, 1), (2, 3, 2), (3, 4, 3), (6, 7, 6), (7, 7, 7), (12, 7, 7)] {
            assert_eq!((voters(nodes, witness), voters(nodes, "")), (with, without), "{nodes} nodes");
        }
    }
}
